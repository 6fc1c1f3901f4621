"""DefaultStorageClass: a claim that names no class gets the cluster's default one.

Source: kubernetes/plugin/pkg/admission/storage/storageclass/setdefault.
"""

from __future__ import annotations

from typing import Any

from api.types.core_v1 import PersistentVolumeClaim
from api.types.storage_v1 import StorageClass
from apiserver.admission import Operation
from apiserver.strategy import Context

MARKS = ("storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class")
_CLASS_ANNOTATION = "volume.beta.kubernetes.io/storage-class"


def is_default(storage_class: StorageClass) -> bool:
    annotations = storage_class.metadata.annotations or {}
    return any(annotations.get(mark) == "true" for mark in MARKS)


class DefaultStorageClass:
    name = "DefaultStorageClass"

    def handles(self, ctx: Context, operation: Operation) -> bool:
        claims = ctx.resource.kind == "PersistentVolumeClaim" and not ctx.subresource
        return claims and operation == "CREATE"

    async def mutate(self, ctx: Context, operation: Operation, new: PersistentVolumeClaim, old: Any) -> None:
        if new.spec.storage_class_name is not None or _CLASS_ANNOTATION in (new.metadata.annotations or {}):
            return
        defaults = [c for c in ctx.registry.cached_list(StorageClass) if is_default(c)]
        if defaults:
            # Of several the newest, then the first by name.
            defaults.sort(key=lambda c: c.metadata.name or "")
            newest = max(defaults, key=lambda c: c.metadata.creation_timestamp or "")
            new.spec.storage_class_name = newest.metadata.name

    async def validate(self, ctx: Context, operation: Operation, new: Any, old: Any) -> None:
        """Only sets."""
