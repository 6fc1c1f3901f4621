"""TaintToleration: untolerated NoSchedule and NoExecute taints refuse, PreferNoSchedule taints count against a node."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from api.types.core_v1 import Toleration
from scheduler.framework import ClusterEvent, Plugin, Rejection, Rows, normalized
from scheduler.nodes import Ints, NodeTable
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
        refused = [
            mask
            for taint, mask in table.taints.items()
            if taint[2] in ("NoSchedule", "NoExecute") and not tolerated(taint, pod.shape.tolerations)
        ]
        if not refused:
            return []
        # Which taints stays unsaid, as upstream has it since 1.35: who makes pods need not know what nodes are for.
        return [Rejection("node(s) had untolerated taint(s)", np.logical_or.reduce(refused), resolvable=False)]

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
