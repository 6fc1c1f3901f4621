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
from api.selectors import parse_label_selector
from api.types.apiextensions_v1 import CustomResourceDefinition
from api.types.apiregistration_v1 import APIService
from api.types.autoscaling_v1 import Scale
from api.types.autoscaling_v2 import (
    HorizontalPodAutoscaler,
    HorizontalPodAutoscalerCondition,
    MetricStatus,
)
from api.types.core_v1 import Pod
from client.controller import Controller
from client.store import Key, key_of
from client.writes import Kind, Ref
from controller_manager import conditions
from controller_manager.autoscaling import limits
from controller_manager.autoscaling.demand import Demand, Unmeasured, demand
from controller_manager.autoscaling.metrics import MetricsClient
from controller_manager.autoscaling.replicas import Situation, Timing, Tolerance
from controller_manager.autoscaling.targets import Kinds, Selectors
from controller_manager.context import Context


class _Stuck(Exception):
    """There is no number to be had; the conditions say why, the message is for the event."""


class HorizontalPodAutoscalerController:
    def __init__(self, context: Context, clock: Callable[[], float] = time.monotonic) -> None:
        self._api, self._settings, self._clock = context.api, context.settings, clock
        self._recorder = context.recorder("horizontal-pod-autoscaler")
        self._autoscalers = context.informers.informer(HorizontalPodAutoscaler)
        self._pods = context.informers.informer(Pod)
        self._kinds = Kinds(context.informers.informer(CustomResourceDefinition))
        self._metrics = MetricsClient(context.api, self._kinds, context.informers.informer(APIService))
        self._selectors = Selectors()
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
        self._selectors.forget(key_of(hpa))

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
        ref, name, namespace = hpa.spec.scale_target_ref, hpa.spec.scale_target_ref.name, hpa.metadata.namespace or ""
        try:
            resource = self._kinds.find(ref.api_version, ref.kind)
            if resource is None:
                group = (ref.api_version or "").rpartition("/")[0]
                raise errors.bad_request(f'no matches for kind "{ref.kind}" in group "{group}"')
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
        before = hpa.status.current_metrics
        hpa.status.current_replicas, hpa.status.current_metrics = current, None
        try:
            wanted, why = await self._decide(hpa, scale, current, memory)
        except _Stuck as stuck:
            self._recorder.event(hpa, "Warning", "FailedComputeMetricsReplicas", str(stuck))
            return
        if wanted != current:
            if not await self._rescale(hpa, Ref(resource, name, namespace), scale, wanted, why):
                hpa.status.current_metrics = before
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
    ) -> tuple[int, str]:
        """The size to have and why. Raises _Stuck."""
        least = 1 if hpa.spec.min_replicas is None else hpa.spec.min_replicas
        if current == 0 and least != 0:
            words = "scaling is disabled since the replica count of the target is zero"
            self._say(hpa, "ScalingActive", "False", "ScalingDisabled", words)
            return 0, ""
        if current > hpa.spec.max_replicas:
            return hpa.spec.max_replicas, "Current number of replicas above Spec.MaxReplicas"
        if current < least:
            return least, "Current number of replicas below Spec.MinReplicas"
        most = await self._most_demanding(hpa, scale, current)
        outcome = limits.apply(
            hpa, memory, current, most.replicas, self._clock(), self._settings.hpa_downscale_stabilization
        )
        self._say(hpa, "AbleToScale", "True", *outcome.able)
        self._say(hpa, "ScalingLimited", *outcome.limited)
        why = f"{most.name} above target" if most.replicas > current else ""
        return outcome.replicas, "All metrics below target" if most.replicas < current else why

    async def _most_demanding(self, hpa: HorizontalPodAutoscaler, scale: Scale, current: int) -> Demand:
        """Raises _Stuck if no metric can be read, or one cannot and the others ask for less than there is."""
        selector, namespace = scale.status.selector or "", hpa.metadata.namespace or ""
        now = Situation(
            self._pods_of(hpa, selector), current, scale.status.replicas, self._tolerance(hpa), self._timing()
        )
        metrics = hpa.spec.metrics or []
        asked = (demand(self._metrics, metric, namespace, selector, now) for metric in metrics)
        outcomes = await asyncio.gather(*asked, return_exceptions=True)
        failures: list[Unmeasured] = []
        found: list[Demand] = []
        for outcome in outcomes:
            if isinstance(outcome, Unmeasured):
                self._recorder.event(hpa, "Warning", outcome.reason, str(outcome))
                failures.append(outcome)
            elif isinstance(outcome, BaseException):
                raise outcome
            else:
                found.append(outcome)
        # One entry for each metric, at its place: what cannot be read has an empty one.
        hpa.status.current_metrics = [d.status if isinstance(d, Demand) else MetricStatus() for d in outcomes] or None
        most = max(found, key=lambda d: d.replicas, default=None)
        if most is None or (failures and most.replicas < current):
            first = failures[0]
            words = f"the HPA was unable to compute the replica count: {first}"
            self._say(hpa, "ScalingActive", "False", first.reason, words)
            counts = f"{len(failures)} invalid out of {len(metrics)}"
            raise _Stuck(f"invalid metrics ({counts}), first error is: {first.summary}")
        words = f"the HPA was able to successfully calculate a replica count from {most.name}"
        self._say(hpa, "ScalingActive", "True", "ValidMetricFound", words)
        return most

    def _pods_of(self, hpa: HorizontalPodAutoscaler, selector: str) -> list[Pod]:
        """The target's pods. Raises _Stuck if its selector is none, or another autoscaler looks at them, too."""
        namespace = hpa.metadata.namespace or ""
        if not selector:
            self._recorder.event(hpa, "Warning", "SelectorRequired", "selector is required")
            words = "the HPA target's scale is missing a selector"
            self._say(hpa, "ScalingActive", "False", "InvalidSelector", words)
            raise _Stuck("selector is required")
        try:
            parsed = parse_label_selector(selector)
        except ValueError as error:
            words = f"couldn't convert selector into a corresponding internal selector object: {error}"
            self._recorder.event(hpa, "Warning", "InvalidSelector", words)
            self._say(hpa, "ScalingActive", "False", "InvalidSelector", words)
            raise _Stuck(words) from None
        self._selectors.learn(key_of(hpa), parsed)
        pods = self._pods.list(namespace, parsed)
        sharing = self._selectors.sharing(namespace, pods)
        if len(sharing) > 1:
            named = " ".join(f"{{{name} {space}}}" for space, name in sharing)
            words = f"pods by selector {selector} are controlled by multiple HPAs: [{named}]"
            self._recorder.event(hpa, "Warning", "AmbiguousSelector", words)
            self._say(hpa, "ScalingActive", "False", "AmbiguousSelector", words)
            raise _Stuck(words)
        return pods

    def _tolerance(self, hpa: HorizontalPodAutoscaler) -> Tolerance:
        default, behavior = self._settings.hpa_tolerance, hpa.spec.behavior

        def of(rules: Any) -> float:
            return float(Quantity(rules.tolerance)) if rules is not None and rules.tolerance is not None else default

        if behavior is None:
            return Tolerance(default, default)
        return Tolerance(of(behavior.scale_down), of(behavior.scale_up))

    def _timing(self) -> Timing:
        return Timing(self._settings.hpa_cpu_initialization_period, self._settings.hpa_initial_readiness_delay)
