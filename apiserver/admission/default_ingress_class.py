"""DefaultIngressClass: an ingress that names no class gets the default one.

Source: kubernetes/plugin/pkg/admission/network/defaultingressclass.
"""

from __future__ import annotations

from typing import Any

from api.types.networking_v1 import Ingress, IngressClass
from apiserver.admission import Operation
from apiserver.strategy import Context

MARK = "ingressclass.kubernetes.io/is-default-class"
_CLASS_ANNOTATION = "kubernetes.io/ingress.class"


class DefaultIngressClass:
    name = "DefaultIngressClass"

    def handles(self, ctx: Context, operation: Operation) -> bool:
        return ctx.resource.kind == "Ingress" and not ctx.subresource and operation == "CREATE"

    async def mutate(self, ctx: Context, operation: Operation, new: Ingress, old: Any) -> None:
        if new.spec.ingress_class_name is not None or _CLASS_ANNOTATION in (new.metadata.annotations or {}):
            return
        defaults = [
            c for c in ctx.registry.cached_list(IngressClass) if (c.metadata.annotations or {}).get(MARK) == "true"
        ]
        if not defaults:
            return
        # Of several the newest, then the first by name (upstream since v1.28).
        defaults.sort(key=lambda c: c.metadata.name or "")
        newest = max(defaults, key=lambda c: c.metadata.creation_timestamp or "")
        new.spec.ingress_class_name = newest.metadata.name

    async def validate(self, ctx: Context, operation: Operation, new: Any, old: Any) -> None:
        """Only sets."""
