"""Requests and limits to cgroups: pod and container cgroup settings, the OOM score.

Formulas are those of upstream's container manager (`ResourceConfigForPod`, `MilliCPUToShares`,
`GetContainerOOMScoreAdjust`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from api import pod_resources as amounts_of
from api.pod_resources import BEST_EFFORT, GUARANTEED, pod_limits, pod_requests, qos_class
from api.quantity import Quantity
from api.types.core_v1 import Container, Pod
from kubelet import podutil
from kubelet.cri import Resources
from kubelet.podutil import AnyContainer

CPU_PERIOD = 100_000  # microseconds
MIN_SHARES, MAX_SHARES = 2, 262_144
MIN_QUOTA = 1_000  # microseconds

_ZERO = Quantity(0)


def cpu_shares(milli: int) -> int:
    if milli == 0:
        return MIN_SHARES
    return max(MIN_SHARES, min(MAX_SHARES, milli * 1024 // 1000))


def cpu_quota(milli: int) -> int | None:
    return max(MIN_QUOTA, milli * CPU_PERIOD // 1000) if milli else None


def cgroup_parent(pod: Pod) -> str:
    """The pod's cgroup below the root of every hierarchy."""
    qos = qos_class(pod.spec)
    middle = "" if qos == GUARANTEED else f"/{qos.lower()}"
    return f"/kubepods{middle}/pod{podutil.uid(pod)}"


def pod_resources(pod: Pod) -> Resources:
    """Limits of the pod's own cgroup: cpu weight by requests; quota and memory only if every container has a limit."""
    requests, limits = pod_requests(pod), pod_limits(pod)
    qos = qos_class(pod.spec)
    if qos == BEST_EFFORT:
        return Resources(cpu_shares=MIN_SHARES, hugepages=_hugepages(limits))
    shared = pod.spec.resources.limits if pod.spec.resources else None
    running: Iterable[Container] = (
        *pod.spec.containers,
        *(c for c in pod.spec.init_containers or () if podutil.is_sidecar(c)),
    )
    everything = [amounts_of.limits(c.resources) for c in (*running, *(pod.spec.init_containers or ()))]

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
    requests, limits = amounts_of.requests(container.resources), amounts_of.limits(container.resources)
    request = requests.get("cpu", limits.get("cpu", _ZERO))
    limit = limits.get("cpu", _ZERO)
    memory = limits.get("memory", _ZERO)
    if pod.spec.resources and pod.spec.resources.limits:
        shared = amounts_of.limits(pod.spec.resources)
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
    qos = qos_class(pod.spec)
    if qos == GUARANTEED:
        return -997
    if qos == BEST_EFFORT or memory_capacity <= 0:
        return 1000
    requested = amounts_of.requests(container.resources).get("memory", _ZERO).value
    score = 1000 - 1000 * requested // memory_capacity
    # Guaranteed pods are below and BestEffort pods above every burstable one.
    return 999 if score == 1000 else max(score, 3)
