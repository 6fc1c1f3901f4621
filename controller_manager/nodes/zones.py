"""How fast nodes of a zone may be emptied (upstream's zone states and rate-limited taints).

- Normal: `node_eviction_rate` nodes a second (0.1);
- partial disruption (at least 55 % and more than two nodes not ready): the secondary rate in a large zone, else none;
- full disruption of one zone among healthy ones: the normal rate; of all zones: none, since then the fault is more
  likely between us and the nodes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from api.types.core_v1 import Node
from controller_manager import conditions
from controller_manager.context import Settings

_LABELS = (
    ("topology.kubernetes.io/region", "failure-domain.beta.kubernetes.io/region"),
    ("topology.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/zone"),
)


def zone_of(node: Node) -> str:
    labels = node.metadata.labels or {}
    return ":".join(labels.get(new) or labels.get(old) or "" for new, old in _LABELS)


@dataclass
class _Bucket:
    rate: float
    tokens: float
    filled: float


class EvictionRates:
    def __init__(self, settings: Settings, clock: Callable[[], float]) -> None:
        self._settings, self._clock = settings, clock
        self._buckets: dict[str, _Bucket] = {}

    def update(self, nodes: Sequence[Node]) -> None:
        """Set every zone's rate by the health of its nodes."""
        zones: dict[str, list[Node]] = {}
        for node in nodes:
            zones.setdefault(zone_of(node), []).append(node)
        states = {zone: self._state(members) for zone, members in zones.items()}
        blind = bool(states) and all(state == "full" for state in states.values())
        for zone, state in states.items():
            rate = 0.0 if blind else self._rate(state, len(zones[zone]))
            bucket = self._buckets.get(zone)
            if bucket is None:
                self._buckets[zone] = _Bucket(rate, 1.0, self._clock())
            elif bucket.rate != rate:
                self._fill(bucket)
                bucket.rate = rate

    def may_evict(self, node: Node) -> bool:
        """Takes a token of the node's zone."""
        bucket = self._buckets.get(zone_of(node))
        if bucket is None or bucket.rate <= 0:
            return False
        self._fill(bucket)
        if bucket.tokens < 1:
            return False
        bucket.tokens -= 1
        return True

    def give_back(self, zone: str) -> None:
        bucket = self._buckets.get(zone)
        if bucket is not None:
            bucket.tokens = min(1.0, bucket.tokens + 1)

    def _fill(self, bucket: _Bucket) -> None:
        now = self._clock()
        bucket.tokens = min(1.0, bucket.tokens + (now - bucket.filled) * bucket.rate)
        bucket.filled = now

    def _state(self, nodes: Sequence[Node]) -> str:
        sick = sum(1 for n in nodes if not conditions.is_true(n.status.conditions, "Ready"))
        if sick == len(nodes) and sick > 0:
            return "full"
        if sick > 2 and sick / len(nodes) >= self._settings.unhealthy_zone_threshold:
            return "partial"
        return "normal"

    def _rate(self, state: str, size: int) -> float:
        if state != "partial":
            return self._settings.node_eviction_rate
        large = size > self._settings.large_cluster_size_threshold
        return self._settings.secondary_node_eviction_rate if large else 0.0
