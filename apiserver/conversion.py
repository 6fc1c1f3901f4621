"""Kinds that are served in two versions and stored in one: events and horizontal pod autoscalers.

Upstream stores both groups' events as core/v1 Events and both versions of HorizontalPodAutoscaler as autoscaling/v2.
Everything above works on the stored type; these functions translate at the edge.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from api import codec
from api.resources import Resource, resource_for
from api.types import autoscaling_v1, autoscaling_v2, core_v1, events_v1

_METRICS = "autoscaling.alpha.kubernetes.io/metrics"
_CURRENT_METRICS = "autoscaling.alpha.kubernetes.io/current-metrics"
_CONDITIONS = "autoscaling.alpha.kubernetes.io/conditions"
_BEHAVIOR = "autoscaling.alpha.kubernetes.io/behavior"


@dataclass(frozen=True)
class Conversion:
    """How a served type relates to the stored one."""

    served: Resource
    stored: Resource
    to_stored: Callable[[Any], Any]
    to_served: Callable[[Any], Any]


def _event_to_core(event: events_v1.Event) -> core_v1.Event:
    series = event.series
    return core_v1.Event(
        metadata=event.metadata,
        involved_object=event.regarding or core_v1.ObjectReference(),
        reason=event.reason,
        message=event.note,
        source=event.deprecated_source or core_v1.EventSource(),
        first_timestamp=event.deprecated_first_timestamp,
        last_timestamp=event.deprecated_last_timestamp,
        count=event.deprecated_count,
        type=event.type,
        event_time=event.event_time,
        series=core_v1.EventSeries(count=series.count, last_observed_time=series.last_observed_time)
        if series
        else None,
        action=event.action,
        related=event.related,
        reporting_component=event.reporting_controller or "",
        reporting_instance=event.reporting_instance or "",
    )


def _event_from_core(event: core_v1.Event) -> events_v1.Event:
    series = event.series
    return events_v1.Event(
        metadata=event.metadata,
        regarding=event.involved_object,
        reason=event.reason,
        note=event.message,
        deprecated_source=event.source,
        deprecated_first_timestamp=event.first_timestamp,
        deprecated_last_timestamp=event.last_timestamp,
        deprecated_count=event.count,
        type=event.type,
        event_time=event.event_time,
        series=events_v1.EventSeries(count=series.count or 0, last_observed_time=series.last_observed_time)
        if series
        else None,
        action=event.action,
        related=event.related,
        reporting_controller=event.reporting_component or None,
        reporting_instance=event.reporting_instance or None,
    )


def _take(annotations: dict[str, str], key: str, type_: Any) -> Any:
    text = annotations.pop(key, None)
    if text is None:
        return None
    try:
        return msgspec.json.decode(text, type=type_)
    except msgspec.MsgspecError:
        return None


def _hpa_to_v2(hpa: autoscaling_v1.HorizontalPodAutoscaler) -> autoscaling_v2.HorizontalPodAutoscaler:
    meta = codec.deepcopy(hpa.metadata)
    annotations = dict(meta.annotations or {})
    metrics: list[autoscaling_v2.MetricSpec] = _take(annotations, _METRICS, list[autoscaling_v2.MetricSpec]) or []
    behavior = _take(annotations, _BEHAVIOR, autoscaling_v2.HorizontalPodAutoscalerBehavior)
    conditions = _take(annotations, _CONDITIONS, list[autoscaling_v2.HorizontalPodAutoscalerCondition])
    current = _take(annotations, _CURRENT_METRICS, list[autoscaling_v2.MetricStatus]) or []
    meta.annotations = annotations or None
    spec, status = hpa.spec, hpa.status
    if (percent := spec.target_cpu_utilization_percentage) is not None:
        target = autoscaling_v2.MetricTarget(type="Utilization", average_utilization=percent)
        resource = autoscaling_v2.ResourceMetricSource(name="cpu", target=target)
        metrics = [autoscaling_v2.MetricSpec(type="Resource", resource=resource), *metrics]
    if (percent := status.current_cpu_utilization_percentage) is not None:
        value = autoscaling_v2.MetricValueStatus(average_utilization=percent)
        resource_status = autoscaling_v2.ResourceMetricStatus(name="cpu", current=value)
        current = [autoscaling_v2.MetricStatus(type="Resource", resource=resource_status), *current]
    reference = spec.scale_target_ref
    return autoscaling_v2.HorizontalPodAutoscaler(
        metadata=meta,
        spec=autoscaling_v2.HorizontalPodAutoscalerSpec(
            scale_target_ref=autoscaling_v2.CrossVersionObjectReference(
                api_version=reference.api_version, kind=reference.kind, name=reference.name
            ),
            min_replicas=spec.min_replicas,
            max_replicas=spec.max_replicas,
            metrics=metrics or None,
            behavior=behavior,
        ),
        status=autoscaling_v2.HorizontalPodAutoscalerStatus(
            observed_generation=status.observed_generation,
            last_scale_time=status.last_scale_time,
            current_replicas=status.current_replicas,
            desired_replicas=status.desired_replicas,
            current_metrics=current or None,
            conditions=conditions,
        ),
    )


def _is_cpu(metric: autoscaling_v2.MetricSpec) -> bool:
    source = metric.resource
    return source is not None and source.name == "cpu" and source.target.average_utilization is not None


def _hpa_from_v2(hpa: autoscaling_v2.HorizontalPodAutoscaler) -> autoscaling_v1.HorizontalPodAutoscaler:
    meta = codec.deepcopy(hpa.metadata)
    annotations = dict(meta.annotations or {})
    spec, status = hpa.spec, hpa.status
    percent = None
    others: list[autoscaling_v2.MetricSpec] = []
    for metric in spec.metrics or []:
        if percent is None and _is_cpu(metric) and metric.resource is not None:
            percent = metric.resource.target.average_utilization
        else:
            others.append(metric)
    current_percent = None
    current_others: list[autoscaling_v2.MetricStatus] = []
    for observed in status.current_metrics or []:
        source = observed.resource
        if current_percent is None and source is not None and source.name == "cpu":
            current_percent = source.current.average_utilization
        else:
            current_others.append(observed)
    kept = (
        (_METRICS, others),
        (_CURRENT_METRICS, current_others),
        (_CONDITIONS, status.conditions),
        (_BEHAVIOR, spec.behavior),
    )
    for key, value in kept:
        if value:
            annotations[key] = codec.encode(value).decode()
    meta.annotations = annotations or None
    reference = spec.scale_target_ref
    return autoscaling_v1.HorizontalPodAutoscaler(
        metadata=meta,
        spec=autoscaling_v1.HorizontalPodAutoscalerSpec(
            scale_target_ref=autoscaling_v1.CrossVersionObjectReference(
                api_version=reference.api_version, kind=reference.kind, name=reference.name
            ),
            min_replicas=spec.min_replicas,
            max_replicas=spec.max_replicas,
            target_cpu_utilization_percentage=percent,
        ),
        status=autoscaling_v1.HorizontalPodAutoscalerStatus(
            observed_generation=status.observed_generation,
            last_scale_time=status.last_scale_time,
            current_replicas=status.current_replicas or 0,
            desired_replicas=status.desired_replicas or 0,
            current_cpu_utilization_percentage=current_percent,
        ),
    )


CONVERSIONS: dict[tuple[str, str, str], Conversion] = {
    (c.served.group, c.served.version, c.served.plural): c
    for c in (
        Conversion(resource_for(events_v1.Event), resource_for(core_v1.Event), _event_to_core, _event_from_core),
        Conversion(
            resource_for(autoscaling_v1.HorizontalPodAutoscaler),
            resource_for(autoscaling_v2.HorizontalPodAutoscaler),
            _hpa_to_v2,
            _hpa_from_v2,
        ),
    )
}
