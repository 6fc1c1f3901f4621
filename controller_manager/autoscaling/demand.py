"""What one metric of an autoscaler asks for: reads it, compares it with its target, and says what it found."""

from __future__ import annotations

from dataclasses import dataclass

from api.quantity import Quantity
from api.resources import RESOURCES
from api.types.autoscaling_v2 import (
    ContainerResourceMetricStatus,
    ExternalMetricStatus,
    MetricIdentifier,
    MetricSpec,
    MetricStatus,
    MetricTarget,
    MetricValueStatus,
    ObjectMetricStatus,
    PodsMetricStatus,
    ResourceMetricStatus,
)
from api.types.core_v1 import Pod
from controller_manager import pods as pod_facts
from controller_manager.autoscaling import replicas
from controller_manager.autoscaling.metrics import MetricsClient, NoMetrics
from controller_manager.autoscaling.replicas import Timing, Tolerance


@dataclass(frozen=True)
class Demand:
    replicas: int
    name: str
    status: MetricStatus


_FAILURES = {
    "Resource": ("FailedGetResourceMetric", "failed to get {name} {what}: "),
    "ContainerResource": ("FailedGetContainerResourceMetric", "failed to get {name} {what}: "),
    "Pods": ("FailedGetPodsMetric", "unable to get metric {name}: "),
    "Object": ("FailedGetObjectMetric", "unable to get metric {name}: "),
    "External": ("FailedGetExternalMetric", "unable to get external metric {name}: "),
}


async def demand(
    client: MetricsClient,
    spec: MetricSpec,
    namespace: str,
    selector: str,
    pods: list[Pod],
    current: int,
    tolerance: Tolerance,
    timing: Timing,
) -> Demand:
    """Raises NoMetrics(message, reason)."""
    question = _Question(client, namespace, selector, pods, current, tolerance, timing)
    try:
        match spec.type:
            case "Resource":
                return await question.resource(spec)
            case "ContainerResource":
                return await question.container_resource(spec)
            case "Pods":
                return await question.pods(spec)
            case "Object":
                return await question.object(spec)
            case "External":
                return await question.external(spec)
    except NoMetrics as error:
        reason, words = _FAILURES[spec.type]
        name, what = _described(spec)
        raise NoMetrics(words.format(name=name, what=what) + str(error), reason) from None
    raise NoMetrics(f'unknown metric source type "{spec.type}"', "InvalidMetricSourceType")


def _described(spec: MetricSpec) -> tuple[str, str]:
    source = spec.resource or spec.container_resource
    if source is not None:
        return source.name, "utilization" if source.target.type == "Utilization" else "usage"
    identified = spec.pods or spec.object or spec.external
    return (identified.metric.name if identified else ""), ""


def _milli(value: int) -> str:
    return str(Quantity(f"{value}m"))


def _target(value: object) -> int:
    return Quantity(value).milli  # type: ignore[arg-type]


@dataclass(frozen=True)
class _Question:
    client: MetricsClient
    namespace: str
    selector: str
    found: list[Pod]
    current: int
    tolerance: Tolerance
    timing: Timing

    async def resource(self, spec: MetricSpec) -> Demand:
        assert spec.resource is not None
        source = spec.resource
        count, value, name = await self._measure(source.name, "", source.target, f"{source.name} resource")
        status = MetricStatus(type="Resource", resource=ResourceMetricStatus(name=source.name, current=value))
        return Demand(count, name, status)

    async def container_resource(self, spec: MetricSpec) -> Demand:
        assert spec.container_resource is not None
        source = spec.container_resource
        label = f"{source.name} container resource"
        count, value, name = await self._measure(source.name, source.container, source.target, label)
        current = ContainerResourceMetricStatus(name=source.name, container=source.container, current=value)
        return Demand(count, name, MetricStatus(type="ContainerResource", container_resource=current))

    async def _measure(
        self, name: str, container: str, target: MetricTarget, label: str
    ) -> tuple[int, MetricValueStatus, str]:
        samples = await self.client.resource(name, self.namespace, self.selector, container)
        if target.average_value is not None:
            count, average = replicas.by_average(
                self.current, _target(target.average_value), self.found, samples, name, self.tolerance, self.timing
            )
            return count, MetricValueStatus(average_value=_milli(average)), label
        if target.average_utilization is None:
            raise NoMetrics(
                "invalid resource metric source: neither an average utilization target nor an average value"
            )
        count, utilization, average = replicas.by_utilization(
            self.current,
            target.average_utilization,
            self.found,
            samples,
            name,
            container,
            self.tolerance,
            self.timing,
        )
        value = MetricValueStatus(average_utilization=utilization, average_value=_milli(average))
        return count, value, f"{label} utilization (percentage of request)"

    async def pods(self, spec: MetricSpec) -> Demand:
        assert spec.pods is not None
        metric, target = spec.pods.metric, spec.pods.target
        samples = await self.client.pods(metric.name, self.namespace, self.selector, metric.selector)
        count, average = replicas.by_average(
            self.current, _target(target.average_value), self.found, samples, "", self.tolerance, self.timing
        )
        current = PodsMetricStatus(metric=metric, current=MetricValueStatus(average_value=_milli(average)))
        return Demand(count, f"pods metric {metric.name}", MetricStatus(type="Pods", pods=current))

    async def object(self, spec: MetricSpec) -> Demand:
        assert spec.object is not None
        metric, ref = spec.object.metric, spec.object.described_object
        group = (ref.api_version or "").rpartition("/")[0]
        resource = next((r.group_resource for r in RESOURCES if (r.group, r.kind) == (group, ref.kind)), None)
        plural = resource or f"{ref.kind.lower()}s"
        used = await self.client.object(metric.name, self.namespace, plural, ref.name, metric.selector)
        count, value = self._against(used, spec.object.target)
        current = ObjectMetricStatus(metric=metric, described_object=ref, current=value)
        return Demand(count, f"{ref.kind} metric {metric.name}", MetricStatus(type="Object", object=current))

    async def external(self, spec: MetricSpec) -> Demand:
        assert spec.external is not None
        metric: MetricIdentifier = spec.external.metric
        used = sum(await self.client.external(metric.name, self.namespace, metric.selector))
        count, value = self._against(used, spec.external.target)
        selector = metric.selector
        current = ExternalMetricStatus(metric=metric, current=value)
        name = f"external metric {metric.name}({selector.match_labels if selector else 'nil'})"
        return Demand(count, name, MetricStatus(type="External", external=current))

    def _against(self, used: int, target: MetricTarget) -> tuple[int, MetricValueStatus]:
        if target.average_value is not None:
            count = replicas.by_share(self.current, used, _target(target.average_value), self.tolerance)
            return count, MetricValueStatus(average_value=_milli(-(-used // max(1, self.current))))
        ready = sum(1 for p in self.found if p.status.phase == "Running" and pod_facts.is_ready(p))
        count = replicas.by_total(self.current, ready, used, _target(target.value), self.tolerance)
        return count, MetricValueStatus(value=_milli(used))
