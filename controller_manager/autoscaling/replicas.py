"""How many replicas a metric asks for (upstream's replica calculator).

Invariants:
- a usage within the tolerance of its target asks for no change;
- pods of which nothing is known yet never make a change larger: on the way up they count as idle, on the way down as
  using all of the target; and a change that reverses with them is not made.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from api import time as api_time
from api.quantity import Quantity
from api.types.core_v1 import Pod
from controller_manager import pods as pod_facts
from controller_manager.autoscaling.metrics import NoMetrics, Sample


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


@dataclass
class Groups:
    ready: int
    unready: set[str]
    missing: set[str]
    ignored: set[str]


def group(pods: Iterable[Pod], samples: Mapping[str, Sample], resource: str, timing: Timing) -> Groups:
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
    current: int,
    target: int,
    pods: list[Pod],
    samples: Mapping[str, Sample],
    resource: str,
    container: str,
    tolerance: Tolerance,
    timing: Timing,
) -> tuple[int, int, int]:
    """Replicas, present utilization in percent of requests, present average in thousandths."""
    if not pods:
        raise NoMetrics("no pods returned by selector while calculating replica count")
    groups = group(pods, samples, resource, timing)
    values = _without(samples, groups)
    requests = {p.metadata.name or "": _requests(p, resource, container) for p in pods}
    total = sum(requests[n] for n in values if n in requests)
    if total == 0:
        raise NoMetrics("no metrics returned matched known pods")
    used = sum(v for n, v in values.items() if n in requests)
    utilization = used * 100 // total
    replicas = _replicas(
        current,
        utilization / target,
        groups,
        values,
        fill=lambda name, down: requests.get(name, 0) * max(100, target) // 100 if down else 0,
        ratio=lambda vs: (
            (
                sum(v for n, v in vs.items() if n in requests)
                * 100
                / max(1, sum(requests[n] for n in vs if n in requests))
            )
            / target
        ),
        tolerance=tolerance,
    )
    return replicas, utilization, used // len(values)


def by_average(
    current: int,
    target: int,
    pods: list[Pod],
    samples: Mapping[str, Sample],
    resource: str,
    tolerance: Tolerance,
    timing: Timing,
) -> tuple[int, int]:
    """Replicas and present average in thousandths; `target` too."""
    if not pods:
        raise NoMetrics("no pods returned by selector while calculating replica count")
    groups = group(pods, samples, resource, timing)
    values = _without(samples, groups)
    average = sum(values.values()) // len(values)
    replicas = _replicas(
        current,
        average / target,
        groups,
        values,
        fill=lambda name, down: target if down else 0,
        ratio=lambda vs: sum(vs.values()) / len(vs) / target,
        tolerance=tolerance,
    )
    return replicas, average


def by_total(current: int, ready: int, used: int, target: int, tolerance: Tolerance) -> int:
    """A metric of something else (an object, an external one) against a target for all replicas together."""
    ratio = used / target
    if current == 0:
        return math.ceil(ratio)
    return current if tolerance.covers(ratio) else math.ceil(ratio * ready)


def by_share(current: int, used: int, target: int, tolerance: Tolerance) -> int:
    """The same against a target for each replica."""
    ratio = used / (target * current) if current else math.inf
    return current if tolerance.covers(ratio) else math.ceil(used / target)


def _without(samples: Mapping[str, Sample], groups: Groups) -> dict[str, int]:
    left = {n: s.value for n, s in samples.items() if n not in groups.ignored and n not in groups.unready}
    if not left:
        raise NoMetrics("did not receive metrics for targeted pods (pods might be unready)")
    return left


def _replicas(
    current: int,
    usage: float,
    groups: Groups,
    values: dict[str, int],
    *,
    fill: object,
    ratio: object,
    tolerance: Tolerance,
) -> int:
    counts_unready = bool(groups.unready) and usage > 1.0
    if not counts_unready and not groups.missing:
        return current if tolerance.covers(usage) else math.ceil(usage * groups.ready)
    if groups.missing and usage != 1.0:
        for name in groups.missing:
            values[name] = fill(name, usage < 1.0)  # type: ignore[operator]
    if counts_unready:
        values.update(dict.fromkeys(groups.unready, 0))
    again: float = ratio(values)  # type: ignore[operator]
    if tolerance.covers(again) or (usage < 1.0 < again) or (again < 1.0 < usage):
        return current
    wanted = math.ceil(again * len(values))
    if (again < 1.0 and wanted > current) or (again > 1.0 and wanted < current):
        return current
    return wanted
