"""RuntimeClass: a pod gets the overhead and the node constraints of the runtime class it names.

Source: kubernetes/plugin/pkg/admission/runtimeclass.
"""

from __future__ import annotations

from typing import Any

from api import codec, errors
from api.quantity import Quantity
from api.types.core_v1 import Pod
from api.types.node_v1 import RuntimeClass, Scheduling
from apiserver.admission import Operation
from apiserver.strategy import Context


class RuntimeClassAdmission:
    name = "RuntimeClass"

    def handles(self, ctx: Context, operation: Operation) -> bool:
        pods = ctx.resource.kind == "Pod" and not ctx.resource.group and not ctx.subresource
        return pods and operation == "CREATE"

    async def mutate(self, ctx: Context, operation: Operation, new: Pod, old: Any) -> None:
        """Raises StatusError 403 for a class that does not exist or that contradicts the pod."""
        runtime = await self._class(ctx, new)
        if runtime is None:
            return
        if runtime.overhead is not None and runtime.overhead.pod_fixed:
            if new.spec.overhead is not None and _amounts(new.spec.overhead) != _amounts(runtime.overhead.pod_fixed):
                detail = "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead"
                raise errors.forbidden("pods", new.metadata.name or "", detail)
            new.spec.overhead = dict(runtime.overhead.pod_fixed)
        if runtime.scheduling is not None:
            _constrain(new, runtime.scheduling)

    async def validate(self, ctx: Context, operation: Operation, new: Pod, old: Any) -> None:
        """Raises StatusError 403 for an overhead without a class that has one."""
        runtime = await self._class(ctx, new)
        fixed = runtime.overhead.pod_fixed if runtime is not None and runtime.overhead is not None else None
        if new.spec.overhead and not fixed:
            detail = "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead"
            raise errors.forbidden("pods", new.metadata.name or "", detail)

    @staticmethod
    async def _class(ctx: Context, pod: Pod) -> RuntimeClass | None:
        name = pod.spec.runtime_class_name
        if not name:
            return None
        found = ctx.registry.cached(RuntimeClass, name)
        if found is not None:
            return found
        try:
            return await ctx.registry.get(RuntimeClass, name)
        except errors.StatusError as error:
            if not errors.is_not_found(error):
                raise
        raise errors.forbidden("pods", pod.metadata.name or "", f'pod rejected: RuntimeClass "{name}" not found')


def _amounts(resources: dict[str, Any]) -> dict[str, Quantity]:
    return {name: Quantity(value) for name, value in resources.items()}


def _constrain(pod: Pod, scheduling: Scheduling) -> None:
    selector = pod.spec.node_selector or {}
    for key, value in (scheduling.node_selector or {}).items():
        if selector.get(key, value) != value:
            detail = (
                f"conflict: runtimeClass.scheduling.nodeSelector[{key}] = {value}; "
                f"pod.spec.nodeSelector[{key}] = {selector[key]}"
            )
            raise errors.forbidden("pods", pod.metadata.name or "", detail)
        selector = {**selector, key: value}
    pod.spec.node_selector = selector or None
    have = pod.spec.tolerations or []
    added = [codec.deepcopy(t) for t in scheduling.tolerations or () if t not in have]
    if added:
        pod.spec.tolerations = [*have, *added]
