"""What one metric of an autoscaler asks for: reads it, compares it with its target, and says what it found."""

from __future__ import annotations

from dataclasses import dataclass

from api.quantity import Quantity
from api.types.autoscaling_v2 import (
    ContainerResourceMetricStatus,
    ExternalMetricStatus,
    MetricSpec,
    MetricStatus,
    MetricTarget,
    MetricValueStatus,
    ObjectMetricStatus,
    PodsMetricStatus,
    ResourceMetricStatus,
)
from api.types.meta_v1 import LabelSelector
from controller_manager.autoscaling import replicas
from controller_manager.autoscaling.metrics import MetricsClient, NoMetrics
from controller_manager.autoscaling.replicas import Situation

_NO_TARGET = "neither a value target nor an average value target was set"


@dataclass(frozen=True)
class Demand:
    """A number of replicas, the name by which events speak of the metric, and the metric's entry in the status."""

    replicas: int
    name: str
    status: MetricStatus


class Unmeasured(Exception):
    """A metric cannot be read: `reason` and the message for condition and event, `summary` for all metrics together."""

    def __init__(self, reason: str, message: str, summary: str) -> None:
        super().__init__(message)
        self.reason, self.summary = reason, summary


async def demand(client: MetricsClient, spec: MetricSpec, namespace: str, selector: str, now: Situation) -> Demand:
    """Raises Unmeasured."""
    question = _Question(client, namespace, selector, now)
    match spec.type:
        case "Resource" if spec.resource is not None:
            asked, reason = question.resource(spec), "FailedGetResourceMetric"
            summary = f"failed to get {spec.resource.name} resource metric value: "
        case "ContainerResource" if spec.container_resource is not None:
            asked, reason = question.container_resource(spec), "FailedGetContainerResourceMetric"
            summary = f"failed to get {spec.container_resource.container} container metric value: "
        case "Pods" if spec.pods is not None:
            asked, reason = question.pods(spec), "FailedGetPodsMetric"
            summary = "failed to get pods metric value: "
        case "Object" if spec.object is not None:
            asked, reason = question.object(spec), "FailedGetObjectMetric"
            summary = "failed to get object metric value: "
            if spec.object.target.average_value is not None:
                summary += f"failed to get {spec.object.metric.name} object metric: "
        case "External" if spec.external is not None:
            asked, reason = question.external(spec), "FailedGetExternalMetric"
            name = spec.external.metric.name
            per_pod = spec.external.target.average_value is not None
            how = f"failed to get {name} external metric: " if per_pod else f"failed to get external metric {name}: "
            summary = f"failed to get {name} external metric value: {how}"
        case _:
            words = f'unknown metric source type "{spec.type}"'
            raise Unmeasured("InvalidMetricSourceType", words, words)
    try:
        return await asked
    except NoMetrics as error:
        raise Unmeasured(reason, str(error), f"{summary}{error}") from None


def _milli(value: int) -> str:
    return str(Quantity(f"{value}m"))


def _target(value: object) -> int:
    return Quantity(value).milli  # type: ignore[arg-type]


def selector_text(selector: LabelSelector | None) -> str:
    """As upstream's messages have it: Go's own notation of the type."""
    if selector is None:
        return "nil"
    labels = "".join(f"{key}: {value}," for key, value in sorted((selector.match_labels or {}).items()))
    expressions = "".join(
        f"LabelSelectorRequirement{{Key:{e.key},Operator:{e.operator},Values:[{' '.join(e.values or ())}],}},"
        for e in selector.match_expressions or ()
    )
    return (
        f"&LabelSelector{{MatchLabels:map[string]string{{{labels}}},"
        f"MatchExpressions:[]LabelSelectorRequirement{{{expressions}}},}}"
    )


@dataclass(frozen=True)
class _Question:
    client: MetricsClient
    namespace: str
    selector: str
    now: Situation

    async def resource(self, spec: MetricSpec) -> Demand:
        assert spec.resource is not None
        source = spec.resource
        count, value, name = await self._measure(source.name, "", source.target)
        status = MetricStatus(type="Resource", resource=ResourceMetricStatus(name=source.name, current=value))
        return Demand(count, name, status)

    async def container_resource(self, spec: MetricSpec) -> Demand:
        assert spec.container_resource is not None
        source = spec.container_resource
        count, value, name = await self._measure(source.name, source.container, source.target)
        current = ContainerResourceMetricStatus(name=source.name, container=source.container, current=value)
        return Demand(count, name, MetricStatus(type="ContainerResource", container_resource=current))

    async def _measure(self, name: str, container: str, target: MetricTarget) -> tuple[int, MetricValueStatus, str]:
        if target.average_value is None and target.average_utilization is None:
            kinds = "neither an average utilization target nor an average value (usage) target was set"
            raise NoMetrics(f"invalid resource metric source: {kinds}")
        what = "usage" if target.average_value is not None else "utilization"
        try:
            try:
                samples = await self.client.resource(name, self.namespace, self.selector, container)
            except NoMetrics as error:
                raise NoMetrics(f"unable to get metrics for resource {name}: {error}") from None
            if target.average_value is not None:
                count, average = replicas.by_average(self.now, _target(target.average_value), samples, name)
                return count, MetricValueStatus(average_value=_milli(average)), f"{name} resource"
            wanted = target.average_utilization or 0
            count, percent, average = replicas.by_utilization(self.now, wanted, samples, name, container)
        except NoMetrics as error:
            raise NoMetrics(f"failed to get {name} {what}: {error}") from None
        value = MetricValueStatus(average_utilization=percent, average_value=_milli(average))
        label = f"{name} container resource" if container else f"{name} resource"
        return count, value, f"{label} utilization (percentage of request)"

    async def pods(self, spec: MetricSpec) -> Demand:
        assert spec.pods is not None
        metric, target = spec.pods.metric, spec.pods.target
        try:
            samples = await self.client.pods(metric.name, self.namespace, self.selector, metric.selector)
        except NoMetrics as error:
            raise NoMetrics(f"unable to get metric {metric.name}: {error}") from None
        count, average = replicas.by_average(self.now, _target(target.average_value), samples)
        current = PodsMetricStatus(metric=metric, current=MetricValueStatus(average_value=_milli(average)))
        return Demand(count, f"pods metric {metric.name}", MetricStatus(type="Pods", pods=current))

    async def object(self, spec: MetricSpec) -> Demand:
        assert spec.object is not None
        metric, ref, target = spec.object.metric, spec.object.described_object, spec.object.target
        if target.value is None and target.average_value is None:
            raise NoMetrics(f"invalid object metric source: {_NO_TARGET}")
        try:
            used = await self.client.object(metric.name, self.namespace, ref, metric.selector)
        except NoMetrics as error:
            # Name and cause in this order: upstream's words, as people look for them.
            raise NoMetrics(
                f"unable to get metric {metric.name}: {ref.kind} on {self.namespace} {ref.name}/{error}"
            ) from None
        count, value = self._against(used, target)
        name = f"{ref.kind} metric {metric.name}"
        if target.average_value is not None:
            name = f"external metric {metric.name}({selector_text(metric.selector)})"
        current = ObjectMetricStatus(metric=metric, described_object=ref, current=value)
        return Demand(count, name, MetricStatus(type="Object", object=current))

    async def external(self, spec: MetricSpec) -> Demand:
        assert spec.external is not None
        metric, target = spec.external.metric, spec.external.target
        if target.value is None and target.average_value is None:
            raise NoMetrics(f"invalid external metric source: {_NO_TARGET}")
        selector = selector_text(metric.selector)
        try:
            used = sum(await self.client.external(metric.name, self.namespace, metric.selector))
        except NoMetrics as error:
            where = f"{self.namespace}/{metric.name}/{selector}"
            raise NoMetrics(f"unable to get external metric {where}: {error}") from None
        count, value = self._against(used, target)
        current = ExternalMetricStatus(metric=metric, current=value)
        name = f"external metric {metric.name}({selector})"
        return Demand(count, name, MetricStatus(type="External", external=current))

    def _against(self, used: int, target: MetricTarget) -> tuple[int, MetricValueStatus]:
        if target.average_value is not None:
            count, average = replicas.by_share(self.now, used, _target(target.average_value))
            return count, MetricValueStatus(average_value=_milli(average))
        return replicas.by_total(self.now, used, _target(target.value)), MetricValueStatus(value=_milli(used))
