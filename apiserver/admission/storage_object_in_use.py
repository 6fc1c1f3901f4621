"""StorageObjectInUseProtection: volumes and claims are held by a finalizer until nothing uses them.

Source: kubernetes/plugin/pkg/admission/storage/storageobjectinuseprotection; the controllers take the finalizers off.
"""

from __future__ import annotations

from typing import Any

from apiserver.admission import Operation
from apiserver.strategy import Context

FINALIZERS = {
    "PersistentVolume": "kubernetes.io/pv-protection",
    "PersistentVolumeClaim": "kubernetes.io/pvc-protection",
    "VolumeAttributesClass": "kubernetes.io/vac-protection",
}


class StorageObjectInUseProtection:
    name = "StorageObjectInUseProtection"

    def handles(self, ctx: Context, operation: Operation) -> bool:
        return operation == "CREATE" and ctx.resource.kind in FINALIZERS and not ctx.subresource

    async def mutate(self, ctx: Context, operation: Operation, new: Any, old: Any) -> None:
        finalizer = FINALIZERS[ctx.resource.kind]
        if finalizer not in (new.metadata.finalizers or ()):
            new.metadata.finalizers = [*(new.metadata.finalizers or ()), finalizer]

    async def validate(self, ctx: Context, operation: Operation, new: Any, old: Any) -> None:
        """Only adds."""
