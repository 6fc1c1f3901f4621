"""PersistentVolumeClaimResize: a claim may grow only if its class says so.

Source: kubernetes/plugin/pkg/admission/storage/persistentvolume/resize.
"""

from __future__ import annotations

from typing import Any

from api import errors
from api.quantity import Quantity
from api.types.core_v1 import PersistentVolumeClaim
from api.types.storage_v1 import StorageClass
from apiserver.admission import Operation
from apiserver.strategy import Context


class PersistentVolumeClaimResize:
    name = "PersistentVolumeClaimResize"

    def handles(self, ctx: Context, operation: Operation) -> bool:
        return operation == "UPDATE" and ctx.resource.kind == "PersistentVolumeClaim" and not ctx.subresource

    async def mutate(self, ctx: Context, operation: Operation, new: Any, old: Any) -> None:
        """Changes nothing."""

    async def validate(
        self, ctx: Context, operation: Operation, new: PersistentVolumeClaim, old: PersistentVolumeClaim
    ) -> None:
        """Raises StatusError 403."""
        before, after = _size(old), _size(new)
        if before is None or after is None or after <= before:
            return
        name = new.metadata.name or ""
        if old.status.phase != "Bound":
            raise errors.forbidden(
                "persistentvolumeclaims", name, "only bound persistent volume claims can be expanded"
            )
        class_name = new.spec.storage_class_name
        found = ctx.registry.cached(StorageClass, class_name) if class_name else None
        if found is None or not found.allow_volume_expansion:
            detail = (
                "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must "
                "support resize"
            )
            raise errors.forbidden("persistentvolumeclaims", name, detail)


def _size(claim: PersistentVolumeClaim) -> Quantity | None:
    value = (claim.spec.resources.requests or {}).get("storage")
    return None if value is None else Quantity(value)
