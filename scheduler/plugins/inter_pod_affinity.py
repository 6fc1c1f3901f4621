"""InterPodAffinity: pods that want to be near other pods, or far from them, by the value of a node label."""

from __future__ import annotations

import numpy as np

from scheduler.framework import MAX_SCORE, ClusterEvent, Plugin, Rejection, Rows
from scheduler.nodes import Ints, Mask, NodeTable
from scheduler.pods import (
    AFFINITY_PREFERRED,
    AFFINITY_REQUIRED,
    ANTI_PREFERRED,
    ANTI_REQUIRED,
    PodInfo,
    Term,
)

_AFFINITY = "node(s) didn't match pod affinity rules"
_ANTI = "node(s) didn't match pod anti-affinity rules"
_EXISTING = "node(s) didn't satisfy existing pods anti-affinity rules"


class InterPodAffinity(Plugin):
    name = "InterPodAffinity"
    weight = 2

    def filter(self, table: NodeTable, pod: PodInfo) -> list[Rejection]:
        rejections = []
        far = np.zeros(table.size, bool)  # a node is refused for the first of the three reasons alone
        if pod.shape.affinity:
            far = ~self._near(table, pod)
            if far.any():
                rejections.append(Rejection(_AFFINITY, far, resolvable=False))
        refused = np.zeros(table.size, bool)
        for term in pod.shape.anti_affinity:
            counts = table.matcher((term,), include_terminating=True).counts
            refused |= _domain_sums(table, term.topology_key, counts) > 0
        refused &= ~far
        if refused.any():
            rejections.append(Rejection(_ANTI, refused))
        existing = np.zeros(table.size, bool)
        for term, (_, counts) in table.held_terms.get(ANTI_REQUIRED, {}).items():
            if term.matches(pod.namespace, pod.labels):
                existing |= _domain_sums(table, term.topology_key, counts) > 0
        existing &= ~(far | refused)
        if existing.any():
            rejections.append(Rejection(_EXISTING, existing))
        return rejections

    def _near(self, table: NodeTable, pod: PodInfo) -> Mask:
        terms = pod.shape.affinity
        labelled = np.ones(table.size, bool)
        for term in terms:
            labelled &= table.label(term.topology_key).codes > 0
        # Upstream counts the pods that match all terms together, in each term's topology.
        counts = table.matcher(tuple(Term(t.namespaces, t.selector) for t in terms), include_terminating=True).counts
        near = labelled.copy()
        nowhere = True
        for term in terms:
            sums = _domain_sums(table, term.topology_key, counts)
            nowhere = nowhere and not sums.any()
            near &= sums > 0
        # The first of a group that wants to be with itself has nobody to be near to yet.
        if nowhere and all(t.matches(pod.namespace, pod.labels) for t in terms):
            return labelled
        return near

    def score(self, table: NodeTable, pod: PodInfo, rows: Rows) -> Ints | None:
        raw = np.zeros(len(rows), np.int64)
        touched = False
        for weight, term in pod.shape.preferred:
            counts = table.matcher((term,), include_terminating=True).counts
            raw += weight * _domain_sums(table, term.topology_key, counts)[rows]
            touched = True
        for kind, sign in ((AFFINITY_REQUIRED, 1), (AFFINITY_PREFERRED, 1), (ANTI_PREFERRED, -1)):
            for term, (_, counts) in table.held_terms.get(kind, {}).items():
                if term.matches(pod.namespace, pod.labels):
                    raw += sign * _domain_sums(table, term.topology_key, counts)[rows]
                    touched = True
        if not touched:
            return None
        least, largest = int(raw.min()), int(raw.max())
        if least == largest:
            return None
        score: Ints = MAX_SCORE * (raw - least) // (largest - least)
        return score

    def helped_by(self, event: ClusterEvent, pod: PodInfo) -> bool:
        if event.resource == "Node":
            return event.new is not None
        return event.resource == "Pod"


def _domain_sums(table: NodeTable, topology_key: str, counts: Ints) -> Ints:
    """For each node the sum of `counts` over all nodes with the same value of the label; 0 without the label."""
    column = table.label(topology_key)
    sums = np.bincount(column.codes, weights=counts, minlength=len(column.values) + 1).astype(np.int64)
    sums[0] = 0
    result: Ints = sums[column.codes]
    return result
