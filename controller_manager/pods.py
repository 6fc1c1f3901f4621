"""What several controllers want to know of pods: ready, available, active, and which of them goes first."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

from api import time as api_time
from api.types.core_v1 import Pod, PodCondition
from controller_manager import conditions

DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"


def condition(pod: Pod, type: str) -> PodCondition | None:
    return conditions.find(pod.status.conditions, type)


def is_ready(pod: Pod) -> bool:
    found = condition(pod, "Ready")
    return found is not None and found.status == "True"


def is_terminal(pod: Pod) -> bool:
    return pod.status.phase in ("Succeeded", "Failed")


def is_active(pod: Pod) -> bool:
    return not is_terminal(pod) and not pod.metadata.deletion_timestamp


def is_terminating(pod: Pod) -> bool:
    return not is_terminal(pod) and bool(pod.metadata.deletion_timestamp)


def ready_since(pod: Pod) -> datetime | None:
    found = condition(pod, "Ready")
    if found is None or found.status != "True" or not found.last_transition_time:
        return None
    return api_time.parse(found.last_transition_time)


def available_in(pod: Pod, min_ready_seconds: int, now: datetime) -> float | None:
    """Seconds until the pod is available (0: it is), None if it is not ready."""
    if not is_ready(pod):
        return None
    if not min_ready_seconds:
        return 0.0
    since = ready_since(pod)
    if since is None:
        return None
    return max(0.0, min_ready_seconds - (now - since).total_seconds())


def is_available(pod: Pod, min_ready_seconds: int, now: datetime | None = None) -> bool:
    return available_in(pod, min_ready_seconds, now or datetime.now(UTC)) == 0.0


def key(pod: Pod) -> str:
    """Namespace and name: what deletions are expected under."""
    return f"{pod.metadata.namespace}/{pod.metadata.name}"


def deletion_cost(pod: Pod) -> int:
    """The annotation's value; 0 if it is missing or malformed (which validation would have refused)."""
    text = (pod.metadata.annotations or {}).get(DELETION_COST, "0")
    try:
        return int(text)
    except ValueError:
        return 0


_PHASES = {"Pending": 0, None: 0, "": 0, "Unknown": 1, "Running": 2}


def first_to_delete(pods: Sequence[Pod], related: Iterable[Pod], now: datetime | None = None) -> list[Pod]:
    """`pods` in the order in which a controller deletes them (upstream's ActivePodsWithRanks).

    First those that are not assigned, then pending before unknown before running, not ready before ready, lower
    deletion cost, those that share their node with more of `related`, shorter ready (in steps of powers of two, ties by
    uid, so that no age is favoured), more restarts, newer.
    """
    now = now or datetime.now(UTC)
    per_node: dict[str, int] = {}
    for pod in related:
        if is_active(pod) and pod.spec.node_name:
            per_node[pod.spec.node_name] = per_node.get(pod.spec.node_name, 0) + 1

    def compare(a: Pod, b: Pod) -> int:
        for difference in (
            bool(a.spec.node_name) - bool(b.spec.node_name),
            _PHASES.get(a.status.phase, 0) - _PHASES.get(b.status.phase, 0),
            is_ready(a) - is_ready(b),
            deletion_cost(a) - deletion_cost(b),
            per_node.get(b.spec.node_name or "", 0) - per_node.get(a.spec.node_name or "", 0),
        ):
            if difference:
                return difference
        if is_ready(a) and is_ready(b) and (difference := _newer_first(a, b, ready_since(a), ready_since(b), now)):
            return difference
        if difference := max_restarts(b) - max_restarts(a):
            return difference
        return _newer_first(a, b, _created(a), _created(b), now)

    return sorted(pods, key=functools.cmp_to_key(compare))


def max_restarts(pod: Pod) -> int:
    return max((status.restart_count for status in pod.status.container_statuses or ()), default=0)


def _created(pod: Pod) -> datetime | None:
    return api_time.parse(pod.metadata.creation_timestamp) if pod.metadata.creation_timestamp else None


def _newer_first(a: Pod, b: Pod, time_a: datetime | None, time_b: datetime | None, now: datetime) -> int:
    if time_a == time_b:
        return 0
    if time_a is None:
        return -1
    if time_b is None:
        return 1
    ranks = [int(math.log2(max(1.0, (now - t).total_seconds() * 1e9))) for t in (time_a, time_b)]
    if ranks[0] != ranks[1]:
        return ranks[0] - ranks[1]
    return -1 if (a.metadata.uid or "") < (b.metadata.uid or "") else 1


def labels_text(labels: Mapping[str, str] | None) -> str:
    return ",".join(f"{k}={v}" for k, v in sorted((labels or {}).items()))
