"""DefaultTolerationSeconds: pods stay five minutes on a node that is not ready or not reachable.

Source: kubernetes/plugin/pkg/admission/defaulttolerationseconds.
"""

from __future__ import annotations

from typing import Any

from api.types.core_v1 import Pod, Toleration
from apiserver.admission import Operation
from apiserver.strategy import Context

SECONDS = 300
_TAINTS = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")


class DefaultTolerationSeconds:
    name = "DefaultTolerationSeconds"

    def handles(self, ctx: Context, operation: Operation) -> bool:
        pods = ctx.resource.kind == "Pod" and not ctx.resource.group
        return pods and not ctx.subresource and operation in ("CREATE", "UPDATE")

    async def mutate(self, ctx: Context, operation: Operation, new: Pod, old: Any) -> None:
        given = new.spec.tolerations or []
        missing = [
            Toleration(key=key, operator="Exists", effect="NoExecute", toleration_seconds=SECONDS)
            for key in _TAINTS
            if not any(t.key in (key, None, "") and t.effect in ("NoExecute", None, "") for t in given)
        ]
        if missing:
            new.spec.tolerations = [*given, *missing]

    async def validate(self, ctx: Context, operation: Operation, new: Any, old: Any) -> None:
        """Only adds."""
