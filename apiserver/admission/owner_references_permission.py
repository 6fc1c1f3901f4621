"""OwnerReferencesPermissionEnforcement: to make a deletion wait for a dependent takes the right to finalize its owner.

Only for references with `blockOwnerDeletion` that a write adds. Optional, as upstream.
Source: kubernetes/plugin/pkg/admission/gc.
"""

from __future__ import annotations

from typing import Any

from api import errors
from api.resources import find_kind
from api.types.meta_v1 import OwnerReference
from apiserver.admission import Operation
from apiserver.auth import Attributes, Authorizer, Decision
from apiserver.strategy import Context


class OwnerReferencesPermissionEnforcement:
    name = "OwnerReferencesPermissionEnforcement"

    def __init__(self, authorizer: Authorizer) -> None:
        self._authorizer = authorizer

    def handles(self, ctx: Context, operation: Operation) -> bool:
        return operation in ("CREATE", "UPDATE") and not ctx.subresource

    async def mutate(self, ctx: Context, operation: Operation, new: Any, old: Any) -> None:
        """Changes nothing."""

    async def validate(self, ctx: Context, operation: Operation, new: Any, old: Any) -> None:
        """Raises StatusError 403."""
        if not new.metadata.owner_references:
            return
        known = {o.uid for o in (old.metadata.owner_references or ()) if o.block_owner_deletion} if old else set()
        for owner in new.metadata.owner_references:
            if owner.block_owner_deletion and owner.uid not in known and not self._may_finalize(ctx, owner):
                detail = (
                    "cannot set blockOwnerDeletion if an ownerReference refers to a resource you can't set "
                    "finalizers on: "
                )
                raise errors.forbidden(ctx.resource.group_resource, new.metadata.name or "", detail)

    def _may_finalize(self, ctx: Context, owner: OwnerReference) -> bool:
        resource = find_kind(owner.api_version, owner.kind)
        if resource is None:
            return True
        attributes = Attributes(
            user=ctx.user,
            verb="update",
            group=resource.group,
            version=resource.version,
            resource=resource.plural,
            subresource="finalizers",
            namespace=ctx.namespace if resource.namespaced else "",
            name=owner.name,
        )
        decision, _ = self._authorizer.authorize(attributes)
        return decision is Decision.ALLOW
