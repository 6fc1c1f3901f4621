"""Requests and limits to cgroups: QoS class, pod and container cgroup settings, the OOM score.

Formulas are those of upstream's container manager (`ResourceConfigForPod`, `MilliCPUToShares`,
`GetContainerOOMScoreAdjust`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from api.quantity import Quantity
from api.types.core_v1 import Container, Pod, ResourceRequirements
from kubelet import podutil
from kubelet.cri import Resources
from kubelet.podutil import AnyContainer

GUARANTEED, BURSTABLE, BEST_EFFORT = "Guaranteed", "Burstable", "BestEffort"

CPU_PERIOD = 100_000  # microseconds
MIN_SHARES, MAX_SHARES = 2, 262_144
MIN_QUOTA = 1_000  # microseconds

#: What one resource name maps to: exact amounts.
Amounts = dict[str, Quantity]

_ZERO = Quantity(0)


def amounts(values: Mapping[str, str | int | float] | None) -> Amounts:
    return {name: Quantity(value) for name, value in (values or {}).items()}


def add(total: Amounts, more: Mapping[str, Quantity]) -> None:
    for name, value in more.items():
        total[name] = total[name] + value if name in total else value


def maximum(total: Amounts, other: Mapping[str, Quantity]) -> None:
    for name, value in other.items():
        if name not in total or total[name] < value:
            total[name] = value


def _requests(requirements: ResourceRequirements | None) -> Amounts:
    return amounts(requirements.requests if requirements else None)


def _limits(requirements: ResourceRequirements | None) -> Amounts:
    return amounts(requirements.limits if requirements else None)


def _combine(pod: Pod, of: str) -> Amounts:
    """Sum over what runs at once, maximum with each init container beside the sidecars started before it (KEP-753)."""
    pick = _requests if of == "requests" else _limits
    total: Amounts = {}
    for container in pod.spec.containers:
        add(total, pick(container.resources))
    sidecars: Amounts = {}
    initial: Amounts = {}
    for container in pod.spec.init_containers or ():
        own = pick(container.resources)
        if podutil.is_sidecar(container):
            add(total, own)
            add(sidecars, own)
            own = dict(sidecars)
        else:
            add(own, sidecars)
        maximum(initial, own)
    maximum(total, initial)
    total.update(pick(pod.spec.resources))  # pod-level resources (KEP-2837) take the place of the sum
    return total


def pod_requests(pod: Pod) -> Amounts:
    """What the pod as a whole is accounted with, overhead included."""
    total = _combine(pod, "requests")
    if pod.spec.overhead:
        add(total, amounts(pod.spec.overhead))
    return total


def pod_limits(pod: Pod) -> Amounts:
    total = _combine(pod, "limits")
    if pod.spec.overhead:
        for name, value in amounts(pod.spec.overhead).items():
            if name in total:
                total[name] = total[name] + value
    return total


def qos_class(pod: Pod) -> str:
    """The pod's QoS class by its cpu and memory requests and limits."""
    if pod.spec.resources and (pod.spec.resources.requests or pod.spec.resources.limits):
        return _qos([pod.spec.resources])
    every: list[Container] = [*pod.spec.containers, *(pod.spec.init_containers or ())]
    return _qos([c.resources for c in every])


def _qos(all_requirements: list[ResourceRequirements]) -> str:
    requests: Amounts = {}
    limits: Amounts = {}
    guaranteed = True
    for requirements in all_requirements:
        counted = {n: q for n, q in _requests(requirements).items() if n in ("cpu", "memory") and q > _ZERO}
        add(requests, counted)
        bounded = {n: q for n, q in _limits(requirements).items() if n in ("cpu", "memory") and q > _ZERO}
        add(limits, bounded)
        guaranteed = guaranteed and {"cpu", "memory"} <= bounded.keys()
    if not requests and not limits:
        return BEST_EFFORT
    if guaranteed and all(name in limits and limits[name] == value for name, value in requests.items()):
        return GUARANTEED
    return BURSTABLE


def cpu_shares(milli: int) -> int:
    if milli == 0:
        return MIN_SHARES
    return max(MIN_SHARES, min(MAX_SHARES, milli * 1024 // 1000))


def cpu_quota(milli: int) -> int | None:
    return max(MIN_QUOTA, milli * CPU_PERIOD // 1000) if milli else None


def cgroup_parent(pod: Pod) -> str:
    """The pod's cgroup below the root of every hierarchy."""
    qos = qos_class(pod)
    middle = "" if qos == GUARANTEED else f"/{qos.lower()}"
    return f"/kubepods{middle}/pod{podutil.uid(pod)}"


def pod_resources(pod: Pod) -> Resources:
    """Limits of the pod's own cgroup: cpu weight by requests; quota and memory only if every container has a limit."""
    requests, limits = pod_requests(pod), pod_limits(pod)
    qos = qos_class(pod)
    if qos == BEST_EFFORT:
        return Resources(cpu_shares=MIN_SHARES, hugepages=_hugepages(limits))
    shared = pod.spec.resources.limits if pod.spec.resources else None
    running: Iterable[Container] = (
        *pod.spec.containers,
        *(c for c in pod.spec.init_containers or () if podutil.is_sidecar(c)),
    )
    everything = [_limits(c.resources) for c in (*running, *(pod.spec.init_containers or ()))]

    def bounded(name: str) -> bool:
        return name in (shared or {}) or all(own.get(name, _ZERO) > _ZERO for own in everything)

    cpu = requests.get("cpu", _ZERO)
    return Resources(
        cpu_shares=cpu_shares(cpu.milli),
        cpu_quota=cpu_quota(limits["cpu"].milli) if "cpu" in limits and bounded("cpu") else None,
        memory_limit=limits["memory"].value if "memory" in limits and bounded("memory") else None,
        hugepages=_hugepages(limits),
    )


def _hugepages(limits: Mapping[str, Quantity]) -> dict[str, int]:
    """`hugepages-2Mi` to the page size as cgroups spell it, `2MB`."""
    prefix = "hugepages-"
    sizes: dict[str, int] = {}
    for name, value in limits.items():
        if name.startswith(prefix):
            sizes[name.removeprefix(prefix).replace("i", "") + "B"] = value.value
    return sizes


def container_resources(
    pod: Pod, container: AnyContainer, *, memory_capacity: int, pids_limit: int | None = None
) -> Resources:
    """Limits of one container; `memory_capacity` in bytes scales the OOM score of burstable pods."""
    requests, limits = _requests(container.resources), _limits(container.resources)
    request = requests.get("cpu", limits.get("cpu", _ZERO))
    limit = limits.get("cpu", _ZERO)
    memory = limits.get("memory", _ZERO)
    if pod.spec.resources and pod.spec.resources.limits:
        shared = _limits(pod.spec.resources)
        limit = limit if limit > _ZERO else shared.get("cpu", _ZERO)
        memory = memory if memory > _ZERO else shared.get("memory", _ZERO)
    return Resources(
        cpu_shares=cpu_shares(request.milli),
        cpu_quota=cpu_quota(limit.milli),
        memory_limit=memory.value or None,
        pids_limit=pids_limit,
        oom_score_adj=oom_score_adj(pod, container, memory_capacity),
        hugepages=_hugepages(limits),
    )


def oom_score_adj(pod: Pod, container: AnyContainer, memory_capacity: int) -> int:
    if podutil.is_critical(pod):
        return -997
    qos = qos_class(pod)
    if qos == GUARANTEED:
        return -997
    if qos == BEST_EFFORT or memory_capacity <= 0:
        return 1000
    requested = _requests(container.resources).get("memory", _ZERO).value
    score = 1000 - 1000 * requested // memory_capacity
    # Guaranteed pods are below and BestEffort pods above every burstable one.
    return 999 if score == 1000 else max(score, 3)
