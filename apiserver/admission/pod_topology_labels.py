"""PodTopologyLabels: a pod learns its node's zone and region as labels when it is bound (KEP-4742).

Source: kubernetes/plugin/pkg/admission/podtopologylabels.
"""

from __future__ import annotations

from typing import Any

from api.types.core_v1 import Binding, Node
from apiserver.admission import Operation
from apiserver.strategy import Context

_LABELS = ("topology.kubernetes.io/zone", "topology.kubernetes.io/region")


class PodTopologyLabels:
    name = "PodTopologyLabels"

    def handles(self, ctx: Context, operation: Operation) -> bool:
        if operation != "CREATE" or ctx.resource.group:
            return False
        return ctx.resource.kind == "Binding" or (ctx.resource.kind == "Pod" and ctx.subresource == "binding")

    async def mutate(self, ctx: Context, operation: Operation, new: Any, old: Any) -> None:
        if not isinstance(new, Binding):
            return
        node = ctx.registry.cached(Node, new.target.name or "")
        labels = (node.metadata.labels or {}) if node is not None else {}
        learned = {key: labels[key] for key in _LABELS if key in labels}
        if learned:
            new.metadata.labels = {**(new.metadata.labels or {}), **learned}

    async def validate(self, ctx: Context, operation: Operation, new: Any, old: Any) -> None:
        """Only adds."""
