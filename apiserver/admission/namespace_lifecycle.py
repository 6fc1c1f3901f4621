"""NamespaceLifecycle: nothing is created in a namespace that is missing or going, and three namespaces never go.

Source: k8s.io/apiserver/pkg/admission/plugin/namespace/lifecycle.
"""

from __future__ import annotations

from typing import Any

from api import errors
from api.types.core_v1 import Namespace
from api.types.meta_v1 import StatusCause
from apiserver.admission import Operation
from apiserver.strategy import Context

IMMORTAL = frozenset({"default", "kube-system", "kube-public"})
#: Reviews are questions, not objects; they may be asked about a namespace that is not there.
_REVIEWS = frozenset({"localsubjectaccessreviews.authorization.k8s.io"})


class NamespaceLifecycle:
    name = "NamespaceLifecycle"

    def handles(self, ctx: Context, operation: Operation) -> bool:
        if ctx.resource.kind == "Namespace" and not ctx.resource.group:
            return operation == "DELETE"
        return operation == "CREATE" and bool(ctx.namespace)

    async def mutate(self, ctx: Context, operation: Operation, new: Any, old: Any) -> None:
        if operation == "DELETE":
            if ctx.name in IMMORTAL:
                raise errors.forbidden("namespaces", ctx.name, "this namespace may not be deleted")
            return
        if ctx.resource.group_resource in _REVIEWS:
            return
        namespace = ctx.registry.cached(Namespace, ctx.namespace)
        if namespace is None or namespace.metadata.deletion_timestamp:
            # The cache may be a moment behind a namespace that was just made, or made anew under the same name.
            namespace = await ctx.registry.get(Namespace, ctx.namespace)
        if not namespace.metadata.deletion_timestamp or ctx.subresource:
            return
        name = (new.metadata.name if new is not None else "") or ctx.name
        detail = f"unable to create new content in namespace {ctx.namespace} because it is being terminated"
        refusal = errors.forbidden(ctx.resource.group_resource, name, detail)
        cause = StatusCause(
            reason="NamespaceTerminating",
            message=f"namespace {ctx.namespace} is being terminated",
            field="metadata.namespace",
        )
        if refusal.status.details is not None:
            refusal.status.details.causes = [cause]
        raise refusal

    async def validate(self, ctx: Context, operation: Operation, new: Any, old: Any) -> None:
        """All is decided before plugins that write anything."""
