"""How many replicas a metric asks for (upstream's replica calculator).

Invariants:
- a usage within the tolerance of its target asks for no change;
- pods of which nothing is known yet never make a change larger: on the way up they count as idle, on the way down as
  using all of the target; and a change that reverses with them is not made;
- averages and percentages are whole numbers before they are compared, as upstream's: what the status shows is what
  has decided.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from api import time as api_time
from api.quantity import Quantity
from api.types.core_v1 import Pod
from controller_manager import pods as pod_facts
from controller_manager.autoscaling.metrics import NoMetrics, Sample

_NO_PODS = "no pods returned by selector while calculating replica count"


@dataclass(frozen=True)
class Tolerance:
    """Relative deviations that are no reason to scale."""

    down: float = 0.1
    up: float = 0.1

    def covers(self, ratio: float) -> bool:
        return 1.0 - self.down <= ratio <= 1.0 + self.up


@dataclass(frozen=True)
class Timing:
    """Seconds: how long a starting pod's CPU is not believed, and how long its first readiness may take."""

    cpu_initialization: float = 300.0
    initial_readiness: float = 30.0


@dataclass(frozen=True)
class Situation:
    """The target as it is: its pods, the replicas it should have and those it has."""

    pods: list[Pod]
    replicas: int
    observed: int
    tolerance: Tolerance = Tolerance()
    timing: Timing = Timing()


@dataclass
class Groups:
    ready: int
    unready: set[str]
    missing: set[str]
    ignored: set[str]


def group(pods: Iterable[Pod], samples: Mapping[str, Sample], resource: str, timing: Timing) -> Groups:
    """Whose samples count. Only CPU is not believed while a pod starts: starting costs more than running does."""
    groups = Groups(0, set(), set(), set())
    for pod in pods:
        name = pod.metadata.name or ""
        if pod.metadata.deletion_timestamp or pod.status.phase == "Failed":
            groups.ignored.add(name)
        elif pod.status.phase in (None, "", "Pending"):
            groups.unready.add(name)
        elif name not in samples:
            groups.missing.add(name)
        elif resource == "cpu" and _still_starting(pod, samples[name], timing):
            groups.unready.add(name)
        else:
            groups.ready += 1
    return groups


def _still_starting(pod: Pod, sample: Sample, timing: Timing) -> bool:
    ready = pod_facts.condition(pod, "Ready")
    if ready is None or not pod.status.start_time:
        return True
    started = api_time.parse(pod.status.start_time)
    changed = api_time.parse(ready.last_transition_time) if ready.last_transition_time else started
    if (datetime.now(UTC) - started).total_seconds() < timing.cpu_initialization:
        return ready.status == "False" or (sample.at - changed).total_seconds() < sample.window
    return ready.status == "False" and (changed - started).total_seconds() < timing.initial_readiness


def _requests(pod: Pod, resource: str, container: str) -> int:
    """Thousandths that a pod, or one container of it, requests. Raises NoMetrics if a request is missing."""
    if not container and pod.spec.resources is not None:
        of_all = (pod.spec.resources.requests or {}).get(resource)
        if of_all is not None:
            return Quantity(of_all).milli
    sidecars = [c for c in pod.spec.init_containers or () if c.restart_policy == "Always"]
    total = 0
    for one in [*pod.spec.containers, *sidecars]:
        if container and one.name != container:
            continue
        request = ((one.resources.requests or {}) if one.resources else {}).get(resource)
        if request is None:
            raise NoMetrics(f"missing request for {resource} in container {one.name} of Pod {pod.metadata.name}")
        total += Quantity(request).milli
    return total


def by_utilization(
    now: Situation, target: int, samples: Mapping[str, Sample], resource: str, container: str = ""
) -> tuple[int, int, int]:
    """Replicas, present utilization in percent of requests (as `target`), present average in thousandths."""
    if not now.pods:
        raise NoMetrics(_NO_PODS)
    groups = group(now.pods, samples, resource, now.timing)
    requests = {p.metadata.name or "": _requests(p, resource, container) for p in now.pods}
    values = _believed(samples, groups)
    utilization, average = _utilization(values, requests)
    if utilization != target:
        low = utilization < target
        for name in groups.missing:
            values[name] = requests[name] * max(100, target) // 100 if low else 0
    count = _count(now, groups, values, utilization / target, lambda vs: _utilization(vs, requests)[0] / target)
    return count, utilization, average


def _utilization(values: Mapping[str, int], requests: Mapping[str, int]) -> tuple[int, int]:
    known = [name for name in values if name in requests]
    requested = sum(requests[name] for name in known)
    if not requested:
        raise NoMetrics("no metrics returned matched known pods")
    used = sum(values[name] for name in known)
    return used * 100 // requested, used // len(known)


def by_average(now: Situation, target: int, samples: Mapping[str, Sample], resource: str = "") -> tuple[int, int]:
    """Replicas and present average in thousandths (as `target`)."""
    if not now.pods:
        raise NoMetrics(_NO_PODS)
    groups = group(now.pods, samples, resource, now.timing)
    values = _believed(samples, groups)
    average = _average(values)
    for name in groups.missing:
        values[name] = target if average < target else 0
    return _count(now, groups, values, average / target, lambda vs: _average(vs) / target), average


def _average(values: Mapping[str, int]) -> int:
    return sum(values.values()) // len(values)


def by_total(now: Situation, used: int, target: int) -> int:
    """A metric of something else (an object, an external one) against a target for all replicas together."""
    ratio = used / target
    if now.replicas == 0:
        return math.ceil(ratio)
    if now.tolerance.covers(ratio):
        return now.replicas
    if not now.pods:
        raise NoMetrics(f"unable to calculate ready pods: {_NO_PODS}")
    ready = sum(1 for p in now.pods if p.status.phase == "Running" and pod_facts.is_ready(p))
    return math.ceil(ratio * ready)


def by_share(now: Situation, used: int, target: int) -> tuple[int, int]:
    """The same against a target for each replica there is: replicas, and present average in thousandths."""
    ratio = used / (target * now.observed) if now.observed else math.inf
    count = now.observed if now.tolerance.covers(ratio) else math.ceil(used / target)
    return count, -(-used // max(1, now.observed))


def _believed(samples: Mapping[str, Sample], groups: Groups) -> dict[str, int]:
    left = {n: s.value for n, s in samples.items() if n not in groups.ignored and n not in groups.unready}
    if not left:
        raise NoMetrics("did not receive metrics for targeted pods (pods might be unready)")
    return left


def _count(
    now: Situation,
    groups: Groups,
    values: dict[str, int],
    usage: float,
    ratio: Callable[[dict[str, int]], float],
) -> int:
    """`usage` is the ratio to the target of the pods that have samples; in `values` the missing ones are filled in."""
    counts_unready = bool(groups.unready) and usage > 1.0
    if not counts_unready and not groups.missing:
        return now.replicas if now.tolerance.covers(usage) else math.ceil(usage * groups.ready)
    if counts_unready:
        values.update(dict.fromkeys(groups.unready, 0))
    again = ratio(values)
    if now.tolerance.covers(again) or (usage < 1.0 < again) or (again < 1.0 < usage):
        return now.replicas
    wanted = math.ceil(again * len(values))
    if (again < 1.0 and wanted > now.replicas) or (again > 1.0 and wanted < now.replicas):
        return now.replicas
    return wanted
