"""What an object counts for in a resource quota, by the names that quotas use.

Source: kubernetes/pkg/quota/v1/evaluator/core and the generic object counter of k8s.io/apiserver.
"""

from __future__ import annotations

from typing import Any

from api.pod_resources import qos_class
from api.quantity import Quantity
from api.resources import Resource
from api.types.core_v1 import (
    PersistentVolumeClaim,
    Pod,
    ResourceQuota,
    ScopedResourceSelectorRequirement,
    Service,
)
from apiserver.defaults.pods import aggregate
from apiserver.validation.resources import is_extended, is_hugepages

Usage = dict[str, Quantity]

_ONE = Quantity(1)
_LEGACY = frozenset({"configmaps", "secrets", "replicationcontrollers", "resourcequotas"})
_MUST_BE_SPECIFIED = frozenset({
    "cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory"
})  # fmt: skip
_BETA_CLASS = "volume.beta.kubernetes.io/storage-class"


def usage(resource: Resource, obj: Any) -> Usage:
    """All that an object of a resource uses."""
    counts: Usage = {f"count/{resource.group_resource}": _ONE}
    if resource.group:
        return counts
    if isinstance(obj, Pod):
        if not _over(obj):
            counts["pods"] = _ONE
            counts.update(_compute(obj))
    elif isinstance(obj, PersistentVolumeClaim):
        counts.update(_storage(obj))
    elif isinstance(obj, Service):
        counts["services"] = _ONE
        counts.update(_ports(obj))
    elif resource.plural in _LEGACY:
        counts[resource.plural] = _ONE
    return counts


def _over(pod: Pod) -> bool:
    """Pods that are finished, or should have been gone long ago, use nothing."""
    return pod.status.phase in ("Succeeded", "Failed")


def _compute(pod: Pod) -> Usage:
    found: Usage = {}
    requests, limits = aggregate(pod.spec, "requests"), aggregate(pod.spec, "limits")
    if pod.spec.resources is not None:
        requests.update({k: Quantity(v) for k, v in (pod.spec.resources.requests or {}).items()})
        limits.update({k: Quantity(v) for k, v in (pod.spec.resources.limits or {}).items()})
    for name, value in (pod.spec.overhead or {}).items():
        for amounts in (requests, limits):
            if name in amounts:
                amounts[name] = amounts[name] + Quantity(value)
    for name, amount in requests.items():
        if name in ("cpu", "memory", "ephemeral-storage") or is_hugepages(name):
            found[name] = found[f"requests.{name}"] = amount
        elif is_extended(name):
            found[f"requests.{name}"] = amount
    for name in ("cpu", "memory", "ephemeral-storage"):
        if name in limits:
            found[f"limits.{name}"] = limits[name]
    return found


def _storage(claim: PersistentVolumeClaim) -> Usage:
    found: Usage = {"persistentvolumeclaims": _ONE}
    storage_class = (claim.metadata.annotations or {}).get(_BETA_CLASS) or claim.spec.storage_class_name
    suffix = f"{storage_class}.storageclass.storage.k8s.io/" if storage_class else ""
    if suffix:
        found[f"{suffix}persistentvolumeclaims"] = _ONE
    requested = (claim.spec.resources.requests or {}).get("storage")
    if requested is not None:
        found["requests.storage"] = Quantity(requested)
        if suffix:
            found[f"{suffix}requests.storage"] = Quantity(requested)
    return found


def _ports(service: Service) -> Usage:
    found: Usage = {}
    ports = len(service.spec.ports or ())
    if service.spec.type == "LoadBalancer":
        found["services.loadbalancers"] = _ONE
        if service.spec.allocate_load_balancer_node_ports is False:
            ports = sum(1 for port in service.spec.ports or () if port.node_port)
        found["services.nodeports"] = Quantity(ports)
    elif service.spec.type == "NodePort":
        found["services.nodeports"] = Quantity(ports)
    return found


def selects(quota: ResourceQuota, obj: Any) -> bool:
    """Whether an object is within a quota's scopes; only pods and claims are in any."""
    requirements = [
        ScopedResourceSelectorRequirement(scope_name=scope, operator="Exists") for scope in quota.spec.scopes or ()
    ]
    if quota.spec.scope_selector is not None:
        requirements += quota.spec.scope_selector.match_expressions or []
    if not requirements:
        return True
    if isinstance(obj, Pod):
        return all(_pod_in_scope(obj, requirement) for requirement in requirements)
    if isinstance(obj, PersistentVolumeClaim):
        names = {requirement.scope_name for requirement in requirements}
        return names == {"VolumeAttributesClass"} and all(
            _matches(obj.spec.volume_attributes_class_name or "", requirement) for requirement in requirements
        )
    return False


def _pod_in_scope(pod: Pod, requirement: ScopedResourceSelectorRequirement) -> bool:
    terminating = pod.spec.active_deadline_seconds is not None and pod.spec.active_deadline_seconds >= 0
    match requirement.scope_name:
        case "Terminating":
            return terminating
        case "NotTerminating":
            return not terminating
        case "BestEffort":
            return qos_class(pod.spec) == "BestEffort"
        case "NotBestEffort":
            return qos_class(pod.spec) != "BestEffort"
        case "PriorityClass":
            return _matches(pod.spec.priority_class_name or "", requirement)
        case "CrossNamespacePodAffinity":
            return _crosses_namespaces(pod)
        case _:
            return False


def _matches(value: str, requirement: ScopedResourceSelectorRequirement) -> bool:
    match requirement.operator:
        case "In":
            return value in (requirement.values or ())
        case "NotIn":
            return value not in (requirement.values or ())
        case "Exists":
            return bool(value)
        case _:
            return not value


def _crosses_namespaces(pod: Pod) -> bool:
    affinity = pod.spec.affinity
    for group in (affinity.pod_affinity, affinity.pod_anti_affinity) if affinity is not None else ():
        if group is None:
            continue
        terms = list(group.required_during_scheduling_ignored_during_execution or ())
        terms += [w.pod_affinity_term for w in group.preferred_during_scheduling_ignored_during_execution or ()]
        if any(term.namespaces or term.namespace_selector is not None for term in terms):
            return True
    return False


def unspecified(quota: ResourceQuota, pod: Pod) -> str:
    """What the containers of a pod leave open that this quota limits: `limits.cpu for: c1; ...`."""
    required = _MUST_BE_SPECIFIED & set(quota.spec.hard or ())
    if not required or pod.spec.resources is not None:
        return ""
    missing: dict[str, list[str]] = {}
    for container in (*pod.spec.containers, *(pod.spec.init_containers or ())):
        requests, limits = container.resources.requests or {}, container.resources.limits or {}
        given = {*requests, *(f"requests.{name}" for name in requests), *(f"limits.{name}" for name in limits)}
        for name in required - given:
            missing.setdefault(name, []).append(container.name)
    return "; ".join(f"{name} for: {','.join(sorted(missing[name]))}" for name in sorted(missing))
