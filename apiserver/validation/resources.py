"""Resource names, quantities, requests and limits (ValidateResourceRequirements and what it needs)."""

from __future__ import annotations

from functools import lru_cache

from api.errors import FieldError, Path
from api.quantity import Quantity
from api.types import core_v1
from apiserver.validation import names

Resources = dict[str, str | int | float]

_COMPUTE = frozenset({"cpu", "memory", "ephemeral-storage"})
_STANDARD = _COMPUTE | {
    "requests.cpu", "requests.memory", "requests.ephemeral-storage", "limits.cpu", "limits.memory",
    "limits.ephemeral-storage", "pods", "resourcequotas", "services", "replicationcontrollers", "secrets",
    "configmaps", "persistentvolumeclaims", "storage", "requests.storage", "services.nodeports",
    "services.loadbalancers",
}  # fmt: skip
_INTEGER = frozenset({
    "pods", "resourcequotas", "services", "replicationcontrollers", "secrets", "configmaps", "persistentvolumeclaims",
    "services.nodeports", "services.loadbalancers",
})  # fmt: skip
_POD_LEVEL = frozenset({"cpu", "memory"})


def is_hugepages(name: str) -> bool:
    return name.startswith("hugepages-")


def is_native(name: str) -> bool:
    """Kubernetes' own names, which have no domain or its own."""
    return "/" not in name or "kubernetes.io/" in name


@lru_cache(maxsize=1024)
def is_extended(name: str) -> bool:
    if is_native(name) or name.startswith("requests."):
        return False
    return not names.qualified_name(f"requests.{name}")


def overcommittable(name: str) -> bool:
    return is_native(name) and not is_hugepages(name)


def is_standard_quota(name: str) -> bool:
    return name in _STANDARD or is_hugepages(name) or name.startswith("requests.hugepages-")


@lru_cache(maxsize=1024)
def container_resource_name_errors(name: str) -> tuple[str, ...]:
    """validateContainerResourceName."""
    errors = names.qualified_name(name)
    if errors:
        return tuple(errors)
    if "/" not in name:
        if not is_standard_quota(name):
            errors.append("must be a standard resource type or fully qualified")
        if name not in _COMPUTE and not is_hugepages(name):
            errors.append("must be a standard resource for containers")
    elif not is_native(name) and not is_extended(name):
        errors.append("doesn't follow extended resource name standard")
    return tuple(errors)


@lru_cache(maxsize=1024)
def resource_name_errors(name: str) -> tuple[str, ...]:
    """validateResourceName."""
    errors = names.qualified_name(name)
    if not errors and "/" not in name and not is_standard_quota(name):
        errors.append("must be a standard resource type or fully qualified")
    return tuple(errors)


@lru_cache(maxsize=8192)
def _quantity_problem(name: str, value: str | int | float) -> str:
    quantity = Quantity(value)
    if quantity < Quantity(0):
        return "must be greater than or equal to 0"
    if (name in _INTEGER or is_extended(name)) and quantity.milli % 1000:
        return "must be an integer"
    return ""


def quantity_value(name: str, value: str | int | float, path: Path) -> list[FieldError]:
    """ValidateResourceQuantityValue."""
    problem = _quantity_problem(name, value)
    return [FieldError.invalid(path, str(Quantity(value)), problem)] if problem else []


def resource_list(resources: Resources | None, path: Path) -> list[FieldError]:
    """Capacities and the like: any resource name, amounts not negative."""
    errors: list[FieldError] = []
    for name, value in (resources or {}).items():
        at = path.key(name)
        errors += [FieldError.invalid(at, name, message) for message in resource_name_errors(name)]
        errors += quantity_value(name, value, at)
    return errors


def requirements(
    resources: core_v1.ResourceRequirements, path: Path, *, claims: frozenset[str] | None = None, pod: bool = False
) -> list[FieldError]:
    """ValidateContainerResourceRequirements, or for `pod` the pod-level ones."""
    limits, requests = resources.limits or {}, resources.requests or {}
    errors: list[FieldError] = []
    if not limits and not requests and not resources.claims:
        return errors
    limit_path, request_path = path.child("limits"), path.child("requests")
    for at, values in ((limit_path, limits), (request_path, requests)):
        for name, value in values.items():
            for message in _name_errors(name, pod):
                errors.append(FieldError.invalid(at.key(name), name, message))
            if problem := _quantity_problem(name, value):
                errors.append(FieldError.invalid(at.key(name), str(Quantity(value)), problem))
    for name, value in requests.items():
        errors += _against_limit(name, value, limits.get(name), request_path, limit_path)
    if any(is_hugepages(name) for name in (*limits, *requests)) and not ({"cpu", "memory"} & {*limits, *requests}):
        errors.append(FieldError.forbidden(path, "HugePages require cpu or memory"))
    errors += _claims(resources.claims, claims, path.child("claims"))
    return errors


def _name_errors(name: str, pod: bool) -> tuple[str, ...]:
    if pod and not (name in _POD_LEVEL or is_hugepages(name)):
        return ("must be a standard resource for pods",)
    return container_resource_name_errors(name)


def _against_limit(
    name: str, value: str | int | float, limit: str | int | float | None, request_path: Path, limit_path: Path
) -> list[FieldError]:
    if limit is None:
        if overcommittable(name):
            return []
        return [FieldError.required(limit_path, "Limit must be set for non overcommitable resources")]
    if limit == value:
        return []
    asked, bound = Quantity(value), Quantity(limit)
    if asked != bound and not overcommittable(name):
        return [FieldError.invalid(request_path, str(asked), f"must be equal to {name} limit of {bound}")]
    if asked > bound:
        return [FieldError.invalid(request_path, str(asked), f"must be less than or equal to {name} limit of {bound}")]
    return []


def _claims(claims: list[core_v1.ResourceClaim] | None, known: frozenset[str] | None, path: Path) -> list[FieldError]:
    errors: list[FieldError] = []
    seen: set[tuple[str, str]] = set()
    for index, claim in enumerate(claims or ()):
        at = path.index(index)
        if not claim.name:
            errors.append(FieldError.required(at))
        elif (claim.name, claim.request or "") in seen:
            errors.append(FieldError.duplicate(at, claim.name))
        elif known is not None and claim.name not in known:
            errors.append(FieldError.not_found(at.child("name"), claim.name))
        seen.add((claim.name, claim.request or ""))
    return errors
