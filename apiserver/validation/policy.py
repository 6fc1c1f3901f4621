"""Disruption budgets, priority and runtime classes, flow control."""

from __future__ import annotations

from typing import Any

from api.errors import FieldError, Path
from api.types import flowcontrol_v1, node_v1, policy_v1, scheduling_v1
from apiserver.validation import names, scheduling
from apiserver.validation.common import (
    immutable,
    int_or_percent,
    label_selector,
    labels,
    name_errors,
    not_more_than_100_percent,
    not_negative,
)
from apiserver.validation.resources import resource_list

_SPEC, _STATUS = Path("spec"), Path("status")
HIGHEST_USER_PRIORITY = 1_000_000_000
SYSTEM_PREFIX = "system-"
SYSTEM_CLASSES = {"system-node-critical": 2_000_001_000, "system-cluster-critical": 2_000_000_000}


def validate_disruption_budget(budget: policy_v1.PodDisruptionBudget) -> list[FieldError]:
    spec = budget.spec
    errors: list[FieldError] = []
    if spec.min_available is not None and spec.max_unavailable is not None:
        detail = "minAvailable and maxUnavailable cannot be both set"
        errors.append(FieldError.invalid(_SPEC, spec, detail))
    for field, value in (("minAvailable", spec.min_available), ("maxUnavailable", spec.max_unavailable)):
        if value is not None:
            errors += int_or_percent(value, _SPEC.child(field))
            errors += not_more_than_100_percent(value, _SPEC.child(field))
    errors += label_selector(spec.selector, _SPEC.child("selector"))
    policy = spec.unhealthy_pod_eviction_policy
    if policy is not None and policy not in ("AlwaysAllow", "IfHealthyBudget"):
        at = _SPEC.child("unhealthyPodEvictionPolicy")
        errors.append(FieldError.not_supported(at, policy, ("AlwaysAllow", "IfHealthyBudget")))
    return errors


def validate_disruption_budget_update(
    new: policy_v1.PodDisruptionBudget, old: policy_v1.PodDisruptionBudget
) -> list[FieldError]:
    return [] if new.spec == old.spec else validate_disruption_budget(new)


def validate_disruption_budget_status_update(
    new: policy_v1.PodDisruptionBudget, old: policy_v1.PodDisruptionBudget
) -> list[FieldError]:
    status = new.status
    errors: list[FieldError] = []
    for field, value in (
        ("disruptionsAllowed", status.disruptions_allowed),
        ("currentHealthy", status.current_healthy),
        ("desiredHealthy", status.desired_healthy),
        ("expectedPods", status.expected_pods),
    ):
        errors += not_negative(value, _STATUS.child(field))
    return errors


def validate_priority_class(priority_class: scheduling_v1.PriorityClass) -> list[FieldError]:
    errors: list[FieldError] = []
    name, value = priority_class.metadata.name or "", priority_class.value or 0
    if name.startswith(SYSTEM_PREFIX):
        if SYSTEM_CLASSES.get(name) != value:
            detail = (
                "priority class names with 'system-' prefix are reserved for system use only. "
                f"error: {name} is not a known system priority class"
                if name not in SYSTEM_CLASSES
                else "priority class names with 'system-' prefix are reserved for system use only. "
                f"error: value of {name} PriorityClass must be {SYSTEM_CLASSES[name]}"
            )
            errors.append(FieldError.forbidden("metadata.name", detail))
    elif value > HIGHEST_USER_PRIORITY:
        detail = f"maximum allowed value of a user defined priority is {HIGHEST_USER_PRIORITY}"
        errors.append(FieldError.forbidden("value", detail))
    if priority_class.preemption_policy not in ("PreemptLowerPriority", "Never"):
        valid = ("PreemptLowerPriority", "Never")
        errors.append(FieldError.not_supported("preemptionPolicy", priority_class.preemption_policy, valid))
    return errors


def validate_priority_class_update(
    new: scheduling_v1.PriorityClass, old: scheduling_v1.PriorityClass
) -> list[FieldError]:
    errors: list[FieldError] = []
    if (new.value or 0) != (old.value or 0):
        errors.append(FieldError.forbidden("value", "may not be changed in an update."))
    return errors + immutable(new.preemption_policy, old.preemption_policy, Path("preemptionPolicy"))


def validate_runtime_class(runtime_class: node_v1.RuntimeClass) -> list[FieldError]:
    errors = name_errors(names.dns1123_label, runtime_class.handler, Path("handler"))
    if runtime_class.overhead is not None:
        errors += resource_list(runtime_class.overhead.pod_fixed, Path("overhead", "podFixed"))
    if runtime_class.scheduling is not None:
        path = Path("scheduling")
        errors += labels(runtime_class.scheduling.node_selector, path.child("nodeSelector"))
        errors += scheduling.tolerations(runtime_class.scheduling.tolerations or [], path.child("tolerations"))
    return errors


def validate_runtime_class_update(new: node_v1.RuntimeClass, old: node_v1.RuntimeClass) -> list[FieldError]:
    return immutable(new.handler, old.handler, Path("handler"))


def validate_spec_unchanged(new: Any, old: Any) -> list[FieldError]:
    """For kinds that are what they were created as."""
    return immutable(new.spec, old.spec, _SPEC)


def validate_flow_schema(schema: flowcontrol_v1.FlowSchema) -> list[FieldError]:
    spec = schema.spec
    errors: list[FieldError] = []
    precedence = spec.matching_precedence or 0
    if precedence <= 0:
        detail = "must be a positive value"
        errors.append(FieldError.invalid(_SPEC.child("matchingPrecedence"), precedence, detail))
    elif precedence > 10000:
        detail = "must not be greater than 10000"
        errors.append(FieldError.invalid(_SPEC.child("matchingPrecedence"), precedence, detail))
    method = spec.distinguisher_method
    if method is not None and method.type not in ("ByNamespace", "ByUser"):
        at = _SPEC.child("distinguisherMethod").child("type")
        errors.append(FieldError.not_supported(at, method.type, ("ByNamespace", "ByUser")))
    at = _SPEC.child("priorityLevelConfiguration").child("name")
    if not spec.priority_level_configuration.name:
        errors.append(FieldError.required(at, "must reference a priority level"))
    for index, rule in enumerate(spec.rules or ()):
        where = _SPEC.child("rules").index(index)
        if not rule.subjects:
            errors.append(FieldError.required(where.child("subjects"), "subjects must contain at least one value"))
        if not rule.resource_rules and not rule.non_resource_rules:
            detail = "at least one of resourceRules and nonResourceRules has to be non-empty"
            errors.append(FieldError.required(where, detail))
    return errors


def validate_priority_level(level: flowcontrol_v1.PriorityLevelConfiguration) -> list[FieldError]:
    spec = level.spec
    match spec.type:
        case "Exempt":
            if spec.limited is not None:
                detail = "must be nil if the type is Exempt"
                return [FieldError.forbidden(_SPEC.child("limited"), detail)]
            return []
        case "Limited":
            if spec.limited is None:
                detail = "must not be empty when type is Limited"
                return [FieldError.required(_SPEC.child("limited"), detail)]
            at = _SPEC.child("limited").child("nominalConcurrencyShares")
            return not_negative(spec.limited.nominal_concurrency_shares, at)
        case _:
            return [FieldError.not_supported(_SPEC.child("type"), spec.type, ("Exempt", "Limited"))]
