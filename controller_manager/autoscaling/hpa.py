"""HorizontalPodAutoscalers: every 15 seconds, as many replicas as the most demanding metric asks for.

Invariants:
- the target is read and written through its scale subresource only, whatever kind it is;
- a metric that cannot be read never makes the target smaller; if none can be read nothing is changed;
- the result is bounded by min and max, by what the recent past recommended, and by the policies of `behavior`;
- conditions say in upstream's words whether it can scale, does scale, and what held it back.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from api import codec, errors
from api import time as api_time
from api.quantity import Quantity
from api.resources import RESOURCES, Resource, find_kind
from api.selectors import parse_label_selector
from api.types.autoscaling_v1 import Scale
from api.types.autoscaling_v2 import (
    CrossVersionObjectReference,
    HorizontalPodAutoscaler,
    HorizontalPodAutoscalerCondition,
)
from api.types.core_v1 import Pod
from client.controller import Controller
from client.store import Key, key_of
from client.writes import Kind, Ref
from controller_manager import conditions
from controller_manager.autoscaling import limits
from controller_manager.autoscaling.demand import Demand, demand
from controller_manager.autoscaling.metrics import MetricsClient, NoMetrics
from controller_manager.autoscaling.replicas import Timing, Tolerance
from controller_manager.context import Context


class HorizontalPodAutoscalerController:
    def __init__(self, context: Context, clock: Callable[[], float] = time.monotonic) -> None:
        self._api, self._settings, self._clock = context.api, context.settings, clock
        self._recorder = context.recorder("horizontal-pod-autoscaler")
        self._autoscalers = context.informers.informer(HorizontalPodAutoscaler)
        self._pods = context.informers.informer(Pod)
        self._metrics = MetricsClient(context.api)
        self._memory: dict[str, limits.Memory] = {}
        self.controller: Controller[Key] = Controller("horizontalpodautoscaler", self.reconcile, workers=5)
        self._autoscalers.add_handler(
            on_add=lambda h: self.controller.enqueue(key_of(h)),
            on_update=self._updated,
            on_delete=self._deleted,
        )

    async def run(self) -> None:
        await self.controller.run()

    def _updated(self, old: HorizontalPodAutoscaler, new: HorizontalPodAutoscaler) -> None:
        if old.spec != new.spec:
            self.controller.enqueue(key_of(new))

    def _deleted(self, hpa: HorizontalPodAutoscaler) -> None:
        self._memory.pop(hpa.metadata.uid or "", None)

    async def reconcile(self, key: Key) -> float | None:
        cached = self._autoscalers.get(*key)
        if cached is None:
            return None
        hpa = codec.deepcopy(cached)
        hpa.status.observed_generation = hpa.metadata.generation
        try:
            await self._autoscale(hpa)
        finally:
            if hpa.status != cached.status:
                await self._write(hpa)
        return self._settings.hpa_sync_period

    async def _write(self, hpa: HorizontalPodAutoscaler) -> None:
        try:
            await self._api.update_status(hpa)
        except errors.StatusError as error:
            if not (errors.is_not_found(error) or errors.is_conflict(error)):
                raise

    def _say(self, hpa: HorizontalPodAutoscaler, type: str, status: str, reason: str, message: str) -> None:
        new = HorizontalPodAutoscalerCondition(type=type, status=status, reason=reason, message=message)
        hpa.status.conditions = conditions.replaced(hpa.status.conditions, new)

    # -- the target -------------------------------------------------------------------------------------------------

    async def _autoscale(self, hpa: HorizontalPodAutoscaler) -> None:
        resource = target_resource(hpa.spec.scale_target_ref)
        name, namespace = hpa.spec.scale_target_ref.name, hpa.metadata.namespace or ""
        try:
            if resource is None:
                ref = hpa.spec.scale_target_ref
                raise errors.bad_request(f'no matches for kind "{ref.kind}" in version "{ref.api_version or "v1"}"')
            kind: Kind[Any] = Kind(resource, Scale)
            scale: Scale = await self._api.get(kind, name, namespace=namespace, subresource="scale", as_type=Scale)
        except errors.StatusError as error:
            message = f"the HPA controller was unable to get the target's current scale: {error.message}"
            self._say(hpa, "AbleToScale", "False", "FailedGetScale", message)
            self._recorder.event(hpa, "Warning", "FailedGetScale", error.message)
            return
        words = "the HPA controller was able to get the target's current scale"
        self._say(hpa, "AbleToScale", "True", "SucceededGetScale", words)
        current = scale.spec.replicas or 0
        memory = self._memory.setdefault(hpa.metadata.uid or "", limits.Memory())
        if not memory.recommendations:
            memory.recommendations.append((self._clock(), current))
        decided = await self._decide(hpa, scale, current, memory)
        hpa.status.current_replicas = current
        if decided is None:
            hpa.status.desired_replicas = hpa.status.desired_replicas or 0
            return
        wanted, why = decided
        if wanted != current:
            assert resource is not None
            if not await self._rescale(hpa, Ref(resource, name, namespace), scale, wanted, why):
                return
            limits.remember_scaling(hpa, memory, current, wanted, self._clock())
            hpa.status.last_scale_time = api_time.now()
        hpa.status.desired_replicas = wanted

    async def _rescale(self, hpa: HorizontalPodAutoscaler, ref: Ref, scale: Scale, wanted: int, why: str) -> bool:
        changed = codec.deepcopy(scale)
        changed.spec.replicas = wanted
        try:
            await self._api.update(changed, subresource="scale", ref=ref)
        except errors.StatusError as error:
            message = f"the HPA controller was unable to update the target scale: {error.message}"
            self._say(hpa, "AbleToScale", "False", "FailedUpdateScale", message)
            message = f"New size: {wanted}; reason: {why}; error: {error.message}"
            self._recorder.event(hpa, "Warning", "FailedRescale", message)
            return False
        message = f"the HPA controller was able to update the target scale to {wanted}"
        self._say(hpa, "AbleToScale", "True", "SucceededRescale", message)
        self._recorder.event(hpa, "Normal", "SuccessfulRescale", f"New size: {wanted}; reason: {why}")
        return True

    # -- the number -------------------------------------------------------------------------------------------------

    async def _decide(
        self, hpa: HorizontalPodAutoscaler, scale: Scale, current: int, memory: limits.Memory
    ) -> tuple[int, str] | None:
        """The size to have and why; None if nothing can be said."""
        least = 1 if hpa.spec.min_replicas is None else hpa.spec.min_replicas
        if current == 0 and least != 0:
            words = "scaling is disabled since the replica count of the target is zero"
            self._say(hpa, "ScalingActive", "False", "ScalingDisabled", words)
            return 0, ""
        if current > hpa.spec.max_replicas:
            return hpa.spec.max_replicas, "Current number of replicas above Spec.MaxReplicas"
        if current < least:
            return least, "Current number of replicas below Spec.MinReplicas"
        found = await self._most_demanding(hpa, scale, current)
        if found is None:
            return None
        outcome = limits.apply(
            hpa, memory, current, found.replicas, self._clock(), self._settings.hpa_downscale_stabilization
        )
        self._say(hpa, "AbleToScale", "True", *outcome.able)
        self._say(hpa, "ScalingLimited", *outcome.limited)
        why = f"{found.name} above target" if found.replicas > current else ""
        if outcome.replicas < current:
            why = "All metrics below target"
        return outcome.replicas, why

    async def _most_demanding(self, hpa: HorizontalPodAutoscaler, scale: Scale, current: int) -> Demand | None:
        selector = scale.status.selector or ""
        if not selector:
            self._recorder.event(hpa, "Warning", "SelectorRequired", "selector is required")
            words = "the HPA target's scale is missing a selector"
            self._say(hpa, "ScalingActive", "False", "InvalidSelector", words)
            return None
        namespace = hpa.metadata.namespace or ""
        pods = self._pods.list(namespace, parse_label_selector(selector))
        metrics = hpa.spec.metrics or []
        outcomes = await asyncio.gather(
            *(
                demand(self._metrics, m, namespace, selector, pods, current, self._tolerance(hpa), self._timing())
                for m in metrics
            ),
            return_exceptions=True,
        )
        failures: list[NoMetrics] = []
        found: list[Demand] = []
        for outcome in outcomes:
            if isinstance(outcome, NoMetrics):
                failures.append(outcome)
            elif isinstance(outcome, BaseException):
                raise outcome
            else:
                found.append(outcome)
        hpa.status.current_metrics = [d.status for d in found] or None
        most = max(found, key=lambda d: d.replicas, default=None)
        if failures and (most is None or most.replicas < current):
            reason, message = failures[0].args[1], failures[0].args[0]
            self._recorder.event(hpa, "Warning", reason, message)
            words = f"the HPA was unable to compute the replica count: {message}"
            self._say(hpa, "ScalingActive", "False", reason, words)
            summary = f"invalid metrics ({len(failures)} invalid out of {len(metrics)}), first error is: {message}"
            self._recorder.event(hpa, "Warning", "FailedComputeMetricsReplicas", summary)
            return None
        if most is not None:
            words = f"the HPA was able to successfully calculate a replica count from {most.name}"
            self._say(hpa, "ScalingActive", "True", "ValidMetricFound", words)
        return most

    def _tolerance(self, hpa: HorizontalPodAutoscaler) -> Tolerance:
        default, behavior = self._settings.hpa_tolerance, hpa.spec.behavior

        def of(rules: Any) -> float:
            return float(Quantity(rules.tolerance)) if rules is not None and rules.tolerance is not None else default

        if behavior is None:
            return Tolerance(default, default)
        return Tolerance(of(behavior.scale_down), of(behavior.scale_up))

    def _timing(self) -> Timing:
        return Timing(self._settings.hpa_cpu_initialization_period, self._settings.hpa_initial_readiness_delay)


def target_resource(ref: CrossVersionObjectReference) -> Resource | None:
    """The resource of a scale target: its version counts if it is known, else its group and kind do."""
    exact = find_kind(ref.api_version or "v1", ref.kind)
    if exact is not None:
        return exact
    group = (ref.api_version or "").rpartition("/")[0]
    return next((r for r in RESOURCES if (r.group, r.kind) == (group, ref.kind)), None)
