"""Horizontal pod autoscalers and the scale subresource."""

from __future__ import annotations

from api.errors import FieldError, Path
from api.quantity import Quantity
from api.types import autoscaling_v2
from apiserver.validation import names
from apiserver.validation.common import name_errors, not_negative

_SPEC, _STATUS = Path("spec"), Path("status")
_MAX_WINDOW, _MAX_PERIOD = 3600, 1800
_SOURCES = {
    "Resource": ("resource", "resource"), "ContainerResource": ("container_resource", "containerResource"),
    "Pods": ("pods", "pods"), "Object": ("object", "object"), "External": ("external", "external"),
}  # fmt: skip


def validate_autoscaler(autoscaler: autoscaling_v2.HorizontalPodAutoscaler) -> list[FieldError]:
    spec = autoscaler.spec
    errors: list[FieldError] = []
    if spec.min_replicas is not None and spec.min_replicas < 1:
        detail = "must be greater than or equal to 1"
        errors.append(FieldError.invalid(_SPEC.child("minReplicas"), spec.min_replicas, detail))
    if spec.max_replicas < 1:
        errors.append(FieldError.invalid(_SPEC.child("maxReplicas"), spec.max_replicas, "must be greater than 0"))
    if spec.min_replicas is not None and spec.max_replicas < spec.min_replicas:
        detail = "must be greater than or equal to `minReplicas`"
        errors.append(FieldError.invalid(_SPEC.child("maxReplicas"), spec.max_replicas, detail))
    errors += _reference(spec.scale_target_ref, _SPEC.child("scaleTargetRef"))
    for index, metric in enumerate(spec.metrics or ()):
        errors += _metric(metric, _SPEC.child("metrics").index(index))
    if spec.behavior is not None:
        at = _SPEC.child("behavior")
        errors += _rules(spec.behavior.scale_up, at.child("scaleUp"))
        errors += _rules(spec.behavior.scale_down, at.child("scaleDown"))
    return errors


def _reference(reference: autoscaling_v2.CrossVersionObjectReference, path: Path) -> list[FieldError]:
    errors: list[FieldError] = []
    for field, value in (("kind", reference.kind), ("name", reference.name)):
        if not value:
            errors.append(FieldError.required(path.child(field)))
        else:
            errors += name_errors(names.path_segment, value, path.child(field))
    return errors


def _metric(metric: autoscaling_v2.MetricSpec, path: Path) -> list[FieldError]:
    if not metric.type:
        return [FieldError.required(path.child("type"), "must specify a metric source type")]
    if metric.type not in _SOURCES:
        return [FieldError.not_supported(path.child("type"), metric.type, sorted(_SOURCES))]
    attribute, json = _SOURCES[metric.type]
    errors: list[FieldError] = []
    for other, (name, other_json) in _SOURCES.items():
        if other != metric.type and getattr(metric, name) is not None:
            detail = "must populate the given metric source only"
            errors.append(FieldError.forbidden(path.child(other_json), detail))
    source = getattr(metric, attribute)
    at = path.child(json)
    if source is None:
        return [*errors, FieldError.required(at, "must populate information for the given metric source")]
    if metric.type in ("Resource", "ContainerResource"):
        if not source.name:
            errors.append(FieldError.required(at.child("name"), "must specify a resource name"))
        if metric.type == "ContainerResource" and not source.container:
            errors.append(FieldError.required(at.child("container"), "must specify a container"))
        if source.target.average_utilization is None and source.target.average_value is None:
            detail = "must set either a target raw value or a target utilization"
            errors.append(FieldError.required(at.child("target").child("averageUtilization"), detail))
    else:
        if not source.metric.name:
            errors.append(FieldError.required(at.child("metric").child("name"), "must specify a metric name"))
        if metric.type == "Pods" and source.target.average_value is None:
            detail = "must specify a positive target averageValue"
            errors.append(FieldError.required(at.child("target").child("averageValue"), detail))
        elif source.target.value is None and source.target.average_value is None:
            detail = "must set either a target value for metric or a per-pod target"
            errors.append(FieldError.required(at.child("target").child("averageValue"), detail))
        if metric.type == "Object":
            errors += _reference(source.described_object, at.child("describedObject"))
    return errors + _target(source.target, at.child("target"))


def _target(target: autoscaling_v2.MetricTarget, path: Path) -> list[FieldError]:
    errors: list[FieldError] = []
    if not target.type:
        errors.append(FieldError.required(path.child("type"), "must specify a metric target type"))
    elif target.type not in ("Utilization", "Value", "AverageValue"):
        detail = "must be either Utilization, Value, or AverageValue"
        errors.append(FieldError.invalid(path.child("type"), target.type, detail))
    if target.average_utilization is not None and target.average_utilization < 1:
        detail = "must be greater than 0"
        errors.append(FieldError.invalid(path.child("averageUtilization"), target.average_utilization, detail))
    for field, value in (("value", target.value), ("averageValue", target.average_value)):
        if value is not None and Quantity(value) <= Quantity(0):
            errors.append(FieldError.invalid(path.child(field), str(Quantity(value)), "must be positive"))
    return errors


def _rules(rules: autoscaling_v2.HPAScalingRules | None, path: Path) -> list[FieldError]:
    if rules is None:
        return []
    errors: list[FieldError] = []
    window, at = rules.stabilization_window_seconds, path.child("stabilizationWindowSeconds")
    if window is not None:
        if window < 0:
            errors.append(FieldError.invalid(at, window, "must be greater than or equal to zero"))
        if window > _MAX_WINDOW:
            errors.append(FieldError.invalid(at, window, f"must be less than or equal to {_MAX_WINDOW}"))
    if rules.select_policy is not None and rules.select_policy not in ("Disabled", "Max", "Min"):
        valid = ("Disabled", "Max", "Min")
        errors.append(FieldError.not_supported(path.child("selectPolicy"), rules.select_policy, valid))
    at = path.child("policies")
    if rules.policies is not None and not rules.policies:
        errors.append(FieldError.required(at, "must specify at least one Policy"))
    for index, policy in enumerate(rules.policies or ()):
        where = at.index(index)
        if policy.type not in ("Percent", "Pods"):
            errors.append(FieldError.not_supported(where.child("type"), policy.type, ("Percent", "Pods")))
        for field, value in (("value", policy.value), ("periodSeconds", policy.period_seconds)):
            if value <= 0:
                errors.append(FieldError.invalid(where.child(field), value, "must be greater than zero"))
        if policy.period_seconds > _MAX_PERIOD:
            detail = f"must be less than or equal to {_MAX_PERIOD}"
            errors.append(FieldError.invalid(where.child("periodSeconds"), policy.period_seconds, detail))
    return errors


def validate_autoscaler_status_update(
    new: autoscaling_v2.HorizontalPodAutoscaler, old: autoscaling_v2.HorizontalPodAutoscaler
) -> list[FieldError]:
    errors = not_negative(new.status.current_replicas, _STATUS.child("currentReplicas"))
    return errors + not_negative(new.status.desired_replicas, _STATUS.child("desiredReplicas"))
