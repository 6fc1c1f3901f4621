"""Priority: turns a pod's priorityClassName into its priority, and keeps one class at most the default.

Source: kubernetes/plugin/pkg/admission/priority.
"""

from __future__ import annotations

from typing import Any

from api import errors
from api.types.core_v1 import Pod
from api.types.scheduling_v1 import PriorityClass
from apiserver.admission import Operation
from apiserver.strategy import Context

_DEFAULT_PRIORITY = 0
_DEFAULT_POLICY = "PreemptLowerPriority"


class Priority:
    name = "Priority"

    def handles(self, ctx: Context, operation: Operation) -> bool:
        if ctx.subresource or operation not in ("CREATE", "UPDATE"):
            return False
        return ctx.resource.kind == "PriorityClass" or (ctx.resource.kind == "Pod" and not ctx.resource.group)

    async def mutate(self, ctx: Context, operation: Operation, new: Any, old: Any) -> None:
        if isinstance(new, Pod):
            if operation == "CREATE":
                await self._set(ctx, new)
            else:
                # A client that sends the pod back without what was filled in has not changed it.
                if new.spec.priority is None and new.spec.priority_class_name == old.spec.priority_class_name:
                    new.spec.priority = old.spec.priority
                if new.spec.preemption_policy is None:
                    new.spec.preemption_policy = old.spec.preemption_policy

    async def validate(self, ctx: Context, operation: Operation, new: Any, old: Any) -> None:
        if not isinstance(new, PriorityClass) or not new.global_default:
            return
        for other in ctx.registry.cached_list(PriorityClass):
            if other.global_default and other.metadata.name != new.metadata.name:
                detail = f"PriorityClass {other.metadata.name} is already marked as default. Only one default can exist"
                raise errors.forbidden("priorityclasses.scheduling.k8s.io", new.metadata.name or "", detail)

    async def _set(self, ctx: Context, pod: Pod) -> None:
        name = pod.spec.priority_class_name
        value, policy = _DEFAULT_PRIORITY, _DEFAULT_POLICY
        if name:
            found = ctx.registry.cached(PriorityClass, name) or await self._get(ctx, pod, name)
            value, policy = found.value or 0, found.preemption_policy or _DEFAULT_POLICY
        else:
            defaults = [c for c in ctx.registry.cached_list(PriorityClass) if c.global_default]
            if defaults:
                # Several can exist for a moment when two were made at once; the least important counts.
                found = min(defaults, key=lambda c: c.value or 0)
                pod.spec.priority_class_name = found.metadata.name
                value, policy = found.value or 0, found.preemption_policy or _DEFAULT_POLICY
        if pod.spec.priority is not None and pod.spec.priority != value:
            detail = (
                f"the integer value of priority ({pod.spec.priority}) must not be provided in pod spec; "
                f"priority admission controller computed {value} from the given PriorityClass name"
            )
            raise errors.forbidden("pods", pod.metadata.name or "", detail)
        if pod.spec.preemption_policy is not None and pod.spec.preemption_policy != policy:
            detail = (
                f"the string value of PreemptionPolicy ({pod.spec.preemption_policy}) must not be provided in pod "
                f"spec; priority admission controller computed {policy} from the given PriorityClass name"
            )
            raise errors.forbidden("pods", pod.metadata.name or "", detail)
        pod.spec.priority, pod.spec.preemption_policy = value, policy

    async def _get(self, ctx: Context, pod: Pod, name: str) -> PriorityClass:
        try:
            return await ctx.registry.get(PriorityClass, name)
        except errors.StatusError as error:
            if not errors.is_not_found(error):
                raise
        raise errors.forbidden("pods", pod.metadata.name or "", f"no PriorityClass with name {name} was found")
