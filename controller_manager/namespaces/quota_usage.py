"""What an object takes of a ResourceQuota, under the names that quotas use (upstream's quota evaluators)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from api.quantity import Quantity
from api.types.core_v1 import PersistentVolumeClaim, Pod, ResourceQuota, ScopedResourceSelectorRequirement, Service
from controller_manager import pods as pod_facts
from controller_manager.storage.matching import class_of

Usage = dict[str, Quantity]

#: Core resources that may also be counted without `count/`.
COUNTED = (
    "pods",
    "services",
    "replicationcontrollers",
    "resourcequotas",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
)
_ONE = Quantity(1)
_PLAIN = ("cpu", "memory", "ephemeral-storage")


def _add(total: Usage, more: Mapping[str, Any]) -> None:
    for name, value in more.items():
        total[name] = total.get(name, Quantity(0)) + Quantity(value)


def _most(first: Usage, second: Usage) -> Usage:
    return {n: max(first.get(n, Quantity(0)), second.get(n, Quantity(0))) for n in {**first, **second}}


def pod_resources(pod: Pod, what: str) -> Usage:
    """A pod's `requests` or `limits`: containers and sidecars, or an init container's if that is more, and overhead."""
    total: Usage = {}
    for container in pod.spec.containers:
        _add(total, getattr(container.resources, what) or {} if container.resources else {})
    sidecars: Usage = {}
    peak: Usage = {}
    for container in pod.spec.init_containers or ():
        mine: Usage = {}
        _add(mine, getattr(container.resources, what) or {} if container.resources else {})
        if container.restart_policy == "Always":
            _add(sidecars, mine)
            mine = {}
        _add(mine, sidecars)
        peak = _most(peak, mine)
    _add(total, sidecars)
    total = _most(total, peak)
    own = pod.spec.resources
    for name, value in ((getattr(own, what) or {}) if own else {}).items():
        total[name] = Quantity(value)
    _add(total, pod.spec.overhead or {})
    return total


def of_pod(pod: Pod) -> Usage:
    """A pod that has ended takes nothing but its object count."""
    usage: Usage = {"count/pods": _ONE}
    if pod_facts.is_terminal(pod):
        return usage
    usage["pods"] = _ONE
    for name, value in pod_resources(pod, "requests").items():
        if name in _PLAIN or name.startswith("hugepages-"):
            usage[name] = value
        usage[f"requests.{name}"] = value
    for name, value in pod_resources(pod, "limits").items():
        usage[f"limits.{name}"] = value
    return usage


def of_service(service: Service) -> Usage:
    usage: Usage = {"services": _ONE, "count/services": _ONE}
    ports = len(service.spec.ports or ())
    if service.spec.type == "LoadBalancer":
        usage["services.loadbalancers"] = _ONE
        if service.spec.allocate_load_balancer_node_ports is not False:
            usage["services.nodeports"] = Quantity(ports)
        else:
            usage["services.nodeports"] = Quantity(sum(1 for p in service.spec.ports or () if p.node_port))
    elif service.spec.type == "NodePort":
        usage["services.nodeports"] = Quantity(ports)
    return usage


def of_claim(claim: PersistentVolumeClaim) -> Usage:
    usage: Usage = {"persistentvolumeclaims": _ONE, "count/persistentvolumeclaims": _ONE}
    requests = (claim.spec.resources.requests or {}) if claim.spec.resources else {}
    storage = Quantity(requests.get("storage", 0))
    allocated = (claim.status.allocated_resources or {}).get("storage")
    if allocated is not None:
        storage = max(storage, Quantity(allocated))
    usage["requests.storage"] = storage
    name = class_of(claim)
    if name:
        usage[f"{name}.storageclass.storage.k8s.io/requests.storage"] = storage
        usage[f"{name}.storageclass.storage.k8s.io/persistentvolumeclaims"] = _ONE
    return usage


# -- scopes -----------------------------------------------------------------------------------------------------------


def requirements(quota: ResourceQuota) -> list[ScopedResourceSelectorRequirement]:
    """`scopes` and `scopeSelector` as one list; all have to be met."""
    plain = [ScopedResourceSelectorRequirement(scope_name=s, operator="Exists") for s in quota.spec.scopes or ()]
    selector = quota.spec.scope_selector
    return plain + list((selector.match_expressions or ()) if selector else ())


def in_scope(pod: Pod, wanted: Iterable[ScopedResourceSelectorRequirement]) -> bool:
    return all(_meets(pod, requirement) for requirement in wanted)


def _meets(pod: Pod, wanted: ScopedResourceSelectorRequirement) -> bool:
    match wanted.scope_name:
        case "Terminating":
            return pod.spec.active_deadline_seconds is not None
        case "NotTerminating":
            return pod.spec.active_deadline_seconds is None
        case "BestEffort":
            return _best_effort(pod)
        case "NotBestEffort":
            return not _best_effort(pod)
        case "PriorityClass":
            return _priority(pod.spec.priority_class_name, wanted)
        case "CrossNamespacePodAffinity":
            return _across_namespaces(pod)
    return False


def _priority(name: str | None, wanted: ScopedResourceSelectorRequirement) -> bool:
    match wanted.operator:
        case "Exists":
            return bool(name)
        case "DoesNotExist":
            return not name
        case "In":
            return name in (wanted.values or ())
        case "NotIn":
            return name not in (wanted.values or ())
    return False


def _best_effort(pod: Pod) -> bool:
    containers = [*pod.spec.containers, *(pod.spec.init_containers or ())]
    return not any(c.resources and (c.resources.requests or c.resources.limits) for c in containers)


def _across_namespaces(pod: Pod) -> bool:
    affinity = pod.spec.affinity
    for side in (affinity.pod_affinity, affinity.pod_anti_affinity) if affinity else ():
        if side is None:
            continue
        terms = list(side.required_during_scheduling_ignored_during_execution or ())
        terms += [w.pod_affinity_term for w in side.preferred_during_scheduling_ignored_during_execution or ()]
        if any(term.namespaces or term.namespace_selector is not None for term in terms):
            return True
    return False
