"""Limit ranges and resource quotas."""

from __future__ import annotations

from api.errors import FieldError, Path
from api.quantity import Quantity
from api.types import core_v1
from apiserver.validation import names
from apiserver.validation.common import immutable, name_errors
from apiserver.validation.resources import (
    Resources,
    container_resource_name_errors,
    is_extended,
    is_standard_quota,
    overcommittable,
    quantity_value,
    resource_name_errors,
)

_SPEC, _STATUS = Path("spec"), Path("status")
_SCOPES = (
    "BestEffort", "CrossNamespacePodAffinity", "NotBestEffort", "NotTerminating", "PriorityClass", "Terminating",
    "VolumeAttributesClass",
)  # fmt: skip
_EXCLUSIVE = (("BestEffort", "NotBestEffort"), ("Terminating", "NotTerminating"))


def validate_limit_range(limits: core_v1.LimitRange) -> list[FieldError]:
    errors: list[FieldError] = []
    seen: set[str] = set()
    for index, item in enumerate(limits.spec.limits):
        at = _SPEC.child("limits").index(index)
        if not item.type:
            errors.append(FieldError.required(at.child("type")))
        elif "/" not in item.type and item.type not in ("Pod", "Container", "PersistentVolumeClaim"):
            detail = "must be a standard limit type or fully qualified"
            errors.append(FieldError.invalid(at.child("type"), item.type, detail))
        if item.type in seen:
            errors.append(FieldError.duplicate(at.child("type"), item.type))
        seen.add(item.type)
        errors += _limit_item(item, at)
    return errors


def _limit_item(item: core_v1.LimitRangeItem, path: Path) -> list[FieldError]:
    errors: list[FieldError] = []
    groups = (
        ("max", item.max),
        ("min", item.min),
        ("default", item.default),
        ("defaultRequest", item.default_request),
        ("maxLimitRequestRatio", item.max_limit_request_ratio),
    )
    keys: dict[str, None] = {}
    for field, values in groups:
        for name in values or {}:
            keys[name] = None
            check = container_resource_name_errors if item.type == "Container" else resource_name_errors
            at = path.child(field).key(name)
            errors += [FieldError.invalid(at, name, message) for message in check(name)]
    if item.type == "Pod":
        for field, values in groups[2:4]:
            if values:
                detail = "may not be specified when `type` is 'Pod'"
                errors.append(FieldError.forbidden(path.child(field), detail))
    if item.type == "PersistentVolumeClaim" and "storage" not in {*(item.min or {}), *(item.max or {})}:
        detail = "either minimum or maximum storage value is required, but neither was provided"
        errors.append(FieldError.required(path.child("limits"), detail))
    for name in keys:
        errors += _bounds(item, name, path)
    return errors


def _value(values: Resources | None, name: str) -> Quantity | None:
    found = (values or {}).get(name)
    return None if found is None else Quantity(found)


def _bounds(item: core_v1.LimitRangeItem, name: str, path: Path) -> list[FieldError]:
    low, high = _value(item.min, name), _value(item.max, name)
    default, request = _value(item.default, name), _value(item.default_request, name)
    ratio = _value(item.max_limit_request_ratio, name)
    errors: list[FieldError] = []

    def ordered(first: Quantity | None, second: Quantity | None, field: str, first_word: str, second_word: str) -> None:
        if first is not None and second is not None and first > second:
            detail = f"{first_word} value {first} is greater than {second_word} value {second}"
            wrong = first if field in ("min", "defaultRequest") else second
            errors.append(FieldError.invalid(path.child(field).key(name), str(wrong), detail))

    ordered(low, high, "min", "min", "max")
    if low is not None and request is not None and low > request:
        detail = f"min value {low} is greater than default request value {request}"
        errors.append(FieldError.invalid(path.child("defaultRequest").key(name), str(request), detail))
    ordered(request, high, "defaultRequest", "default request", "max")
    ordered(request, default, "defaultRequest", "default request", "default limit")
    if low is not None and default is not None and low > default:
        detail = f"min value {low} is greater than default value {default}"
        errors.append(FieldError.invalid(path.child("default").key(name), str(low), detail))
    if default is not None and high is not None and default > high:
        detail = f"default value {default} is greater than max value {high}"
        errors.append(FieldError.invalid(path.child("default").key(name), str(high), detail))
    if ratio is not None and ratio < Quantity(1):
        detail = f"ratio {ratio} is less than 1"
        errors.append(FieldError.invalid(path.child("maxLimitRequestRatio").key(name), str(ratio), detail))
    both_fixed = default is not None and request is not None and default != request
    if both_fixed and (not overcommittable(name) or is_extended(name)):
        detail = f"default value {default} must equal to defaultRequest value {request} in {name}"
        errors.append(FieldError.invalid(path.child("default").key(name), str(default), detail))
    return errors


def validate_resource_quota(quota: core_v1.ResourceQuota) -> list[FieldError]:
    spec = quota.spec
    errors = _hard(spec.hard, _SPEC.child("hard"))
    for index, scope in enumerate(spec.scopes or ()):
        if scope not in _SCOPES:
            at = _SPEC.child("scopes").index(index)
            errors.append(FieldError.invalid(at, scope, "unsupported scope"))
    for pair in _EXCLUSIVE:
        if all(scope in (spec.scopes or ()) for scope in pair):
            errors.append(FieldError.invalid(_SPEC.child("scopes"), spec.scopes, "conflicting scopes"))
    if spec.scope_selector is None:
        return errors
    path = _SPEC.child("scopeSelector").child("matchExpressions")
    for index, requirement in enumerate(spec.scope_selector.match_expressions or ()):
        at = path.index(index)
        if requirement.scope_name not in _SCOPES:
            errors.append(FieldError.invalid(at.child("scopeName"), requirement.scope_name, "unsupported scope"))
        match requirement.operator:
            case "In" | "NotIn":
                if not requirement.values:
                    detail = "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector"
                    errors.append(FieldError.required(at.child("values"), detail))
            case "Exists" | "DoesNotExist":
                if requirement.values:
                    detail = "must be no value when `operator` is 'Exists' or 'DoesNotExist' for scope selector"
                    errors.append(FieldError.invalid(at.child("values"), requirement.values, detail))
            case _:
                detail = "not a valid selector operator"
                errors.append(FieldError.invalid(at.child("operator"), requirement.operator, detail))
        valued = requirement.scope_name in ("PriorityClass", "VolumeAttributesClass")
        if not valued and requirement.operator != "Exists":
            detail = (
                "must be 'Exist' when scope is any of ResourceQuotaScopeTerminating, "
                "ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort "
                "or ResourceQuotaScopeCrossNamespacePodAffinity"
            )
            errors.append(FieldError.invalid(at.child("operator"), requirement.operator, detail))
    return errors


def _hard(resources: Resources | None, path: Path) -> list[FieldError]:
    errors: list[FieldError] = []
    for name, value in (resources or {}).items():
        at = path.key(name)
        problems = name_errors(names.qualified_name, name, at)
        if not problems and "/" not in name and not is_standard_quota(name) and not name.startswith("count/"):
            detail = "must be a standard resource for quota"
            problems.append(FieldError.invalid(at, name, detail))
        errors += problems + quantity_value(name, value, at)
    return errors


def validate_resource_quota_update(new: core_v1.ResourceQuota, old: core_v1.ResourceQuota) -> list[FieldError]:
    errors = validate_resource_quota(new)
    if sorted(new.spec.scopes or ()) != sorted(old.spec.scopes or ()):
        errors.append(FieldError.invalid(_SPEC.child("scopes"), new.spec.scopes, "field is immutable"))
    return errors + immutable(new.spec.scope_selector, old.spec.scope_selector, _SPEC.child("scopeSelector"))


def validate_resource_quota_status_update(new: core_v1.ResourceQuota, old: core_v1.ResourceQuota) -> list[FieldError]:
    if not new.metadata.resource_version:
        return [FieldError.required("resourceVersion")]
    errors = _hard(new.status.hard, _STATUS.child("hard"))
    return errors + _hard(new.status.used, _STATUS.child("used"))
