"""PodTopologySpread (KEP-895): even numbers of matching pods over the values of a node label.

Pods without constraints of their own get upstream's default ones (KEP-1258): spread over hostnames and zones, counted
by what selects them: their Services and their owner.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from api.selectors import Selector
from scheduler.framework import MAX_SCORE, ClusterEvent, Plugin, Rejection, Rows
from scheduler.nodes import Ints, Mask, NodeTable
from scheduler.plugins.node_affinity import matching_nodes
from scheduler.plugins.taint_toleration import tolerated
from scheduler.pods import PodInfo, Spread, Term

_REASON = "node(s) didn't match pod topology spread constraints"
_HOSTNAME, _ZONE = "kubernetes.io/hostname", "topology.kubernetes.io/zone"

#: What selects a pod besides itself (Services, owner); None if nothing does.
DefaultSelector = Callable[[PodInfo], Selector | None]


@dataclass(frozen=True, slots=True)
class _Counted:
    """A constraint with its count for each value of the topology label; `present` marks values of eligible nodes."""

    constraint: Spread
    codes: NDArray[np.int32]
    per_value: Ints
    present: Mask
    self_match: int


class PodTopologySpread(Plugin):
    name = "PodTopologySpread"
    weight = 2

    def __init__(self, default_selector: DefaultSelector) -> None:
        self._default_selector = default_selector

    def filter(self, table: NodeTable, pod: PodInfo) -> list[Rejection]:
        required = [c for c in pod.shape.spreads if c.required]
        rejections = []
        left = table.alive.copy()  # a node is refused for the first constraint that it breaks
        for constraint in required:
            counted = _count(table, pod, constraint, required)
            missing = (counted.codes == 0) & left
            if missing.any():
                rejections.append(Rejection(f"{_REASON} (missing required label)", missing, resolvable=False))
            values = counted.per_value[counted.present]
            least = int(values.min()) if len(values) >= constraint.min_domains and len(values) else 0
            skew = counted.per_value[counted.codes] + counted.self_match - least
            uneven = (skew > constraint.max_skew) & left & ~missing
            if uneven.any():
                rejections.append(Rejection(_REASON, uneven))
            left &= ~(missing | uneven)
        return rejections

    def score(self, table: NodeTable, pod: PodInfo, rows: Rows) -> Ints | None:
        own = [c for c in pod.shape.spreads if not c.required]
        constraints = own or ([] if pod.shape.spreads else self._defaults(pod))
        if not constraints:
            return None
        raw = np.zeros(len(rows), np.float64)
        ignored = np.zeros(len(rows), bool)
        for constraint in own:
            ignored |= table.label(constraint.topology_key).codes[rows] == 0
        for constraint in constraints:
            counted = _count(table, pod, constraint, own)
            codes = counted.codes[rows]
            if constraint.topology_key == _HOSTNAME:
                domains = len(rows) - int(np.count_nonzero(ignored))
            else:
                domains = len(np.unique(codes[(codes > 0) & ~ignored]))
            weight = math.log(domains + 2)  # fewer domains weigh less, or zones would outweigh hosts
            raw += np.where(codes > 0, counted.per_value[codes] * weight + (constraint.max_skew - 1), 0)
        rounded = np.rint(raw).astype(np.int64)
        kept = rounded[~ignored]
        if not len(kept):
            return None
        largest, least = int(kept.max()), int(kept.min())
        if largest == 0:
            return np.where(ignored, 0, MAX_SCORE).astype(np.int64)
        score: Ints = np.where(ignored, 0, MAX_SCORE * (largest + least - rounded) // largest).astype(np.int64)
        return score

    def helped_by(self, event: ClusterEvent, pod: PodInfo) -> bool:
        # Any node or any matching pod that comes, goes or changes its labels can change the skew.
        if event.resource == "Node":
            return True
        if event.resource != "Pod":
            return False
        return any(
            c.term.matches(p.metadata.namespace or "", p.metadata.labels or {})
            for c in pod.shape.spreads
            for p in (event.old, event.new)
            if p is not None
        )

    def _defaults(self, pod: PodInfo) -> list[Spread]:
        selector = self._default_selector(pod)
        if selector is None:
            return []
        term = Term(frozenset([pod.namespace]), selector)
        return [Spread(_HOSTNAME, 3, term, required=False), Spread(_ZONE, 5, term, required=False)]


def _count(table: NodeTable, pod: PodInfo, constraint: Spread, together: list[Spread]) -> _Counted:
    """Count matching pods on the nodes that are eligible for `constraint` (its inclusion policies, KEP-3094).

    A node that lacks the topology label of one of the constraints `together` counts for none of them.
    """
    column = table.label(constraint.topology_key)
    eligible = table.alive & (column.codes > 0)
    for other in together:
        eligible = eligible & (table.label(other.topology_key).codes > 0)
    if constraint.honor_affinity and (pod.shape.node_selector or pod.shape.required_nodes is not None):
        eligible = eligible & matching_nodes(table, pod.shape)
    if constraint.honor_taints:
        for taint, mask in table.taints.items():
            if taint[2] in ("NoSchedule", "NoExecute") and not tolerated(taint, pod.shape.tolerations):
                eligible = eligible & ~mask
    matcher = table.matcher((constraint.term,), include_terminating=False)
    codes = column.codes
    size = len(column.values) + 1
    per_value = np.bincount(codes[eligible], weights=matcher.counts[eligible], minlength=size).astype(np.int64)
    present = np.zeros(size, bool)
    present[codes[eligible]] = True
    present[0] = False
    self_match = int(constraint.term.matches(pod.namespace, pod.labels))
    return _Counted(constraint, codes, per_value, present, self_match)
