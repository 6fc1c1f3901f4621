"""TaintToleration: untolerated NoSchedule and NoExecute taints refuse, PreferNoSchedule taints count against a node."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from api.types.core_v1 import Toleration
from scheduler.framework import ClusterEvent, Plugin, Rejection, Rows, normalized
from scheduler.nodes import Ints, Mask, NodeTable
from scheduler.pods import PodInfo

Taint = tuple[str, str, str]  # key, value, effect


def tolerated(taint: Taint, tolerations: Iterable[Toleration]) -> bool:
    key, value, effect = taint
    for t in tolerations:
        if t.effect and t.effect != effect:
            continue
        if t.key and t.key != key:
            continue
        if t.operator == "Exists" or (t.operator in (None, "", "Equal") and (t.value or "") == value):
            return True
    return False


class TaintToleration(Plugin):
    name = "TaintToleration"
    weight = 3
    static = True

    def filter(self, table: NodeTable, pod: PodInfo) -> list[Rejection]:
        refused = {
            taint
            for taint in table.taints
            if taint[2] in ("NoSchedule", "NoExecute") and not tolerated(taint, pod.shape.tolerations)
        }
        if not refused:
            return []
        # A node is refused for the first of its taints that is not tolerated: that is the one the message names.
        by_taint: dict[Taint, Mask] = {}
        for row, taints in table.taint_order.items():
            first = next((t for t in taints if t in refused), None)
            if first is not None:
                by_taint.setdefault(first, np.zeros(table.size, bool))[row] = True
        return [
            Rejection(f"node(s) had untolerated taint {{{key}: {value}}}", mask, resolvable=False)
            for (key, value, _), mask in by_taint.items()
        ]

    def score(self, table: NodeTable, pod: PodInfo, rows: Rows) -> Ints | None:
        shunned = [
            mask[rows]
            for taint, mask in table.taints.items()
            if taint[2] == "PreferNoSchedule" and not tolerated(taint, pod.shape.tolerations)
        ]
        return normalized(np.sum(shunned, axis=0, dtype=np.int64), reverse=True) if shunned else None

    def helped_by(self, event: ClusterEvent, pod: PodInfo) -> bool:
        if event.resource != "Node" or event.new is None:
            return False
        taints = [(t.key, t.value or "", t.effect) for t in event.new.spec.taints or ()]
        return all(t[2] == "PreferNoSchedule" or tolerated(t, pod.shape.tolerations) for t in taints)
