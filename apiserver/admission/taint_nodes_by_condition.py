"""TaintNodesByCondition: a new node takes no pods until the node lifecycle controller has seen it ready.

Source: kubernetes/plugin/pkg/admission/nodetaint.
"""

from __future__ import annotations

from typing import Any

from api.types.core_v1 import Node, Taint
from apiserver.admission import Operation
from apiserver.strategy import Context

_NOT_READY = "node.kubernetes.io/not-ready"


class TaintNodesByCondition:
    name = "TaintNodesByCondition"

    def handles(self, ctx: Context, operation: Operation) -> bool:
        return operation == "CREATE" and ctx.resource.kind == "Node" and not ctx.subresource

    async def mutate(self, ctx: Context, operation: Operation, new: Node, old: Any) -> None:
        taints = new.spec.taints or []
        if not any(t.key == _NOT_READY and t.effect == "NoSchedule" for t in taints):
            new.spec.taints = [*taints, Taint(key=_NOT_READY, effect="NoSchedule")]

    async def validate(self, ctx: Context, operation: Operation, new: Any, old: Any) -> None:
        """Only adds."""
