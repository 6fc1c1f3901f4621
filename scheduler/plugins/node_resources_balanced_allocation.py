"""NodeResourcesBalancedAllocation: prefers nodes whose cpu and memory would be used to a similar degree."""

from __future__ import annotations

import numpy as np

from scheduler.framework import MAX_SCORE, Plugin, Rows
from scheduler.nodes import CPU, MEMORY, Ints, NodeTable
from scheduler.pods import PodInfo


class NodeResourcesBalancedAllocation(Plugin):
    name = "NodeResourcesBalancedAllocation"
    weight = 1

    def score(self, table: NodeTable, pod: PodInfo, rows: Rows) -> Ints | None:
        if pod.shape.best_effort:
            return None  # it changes no balance; upstream skips it as well
        fractions = []
        for column, name in ((CPU, "cpu"), (MEMORY, "memory")):
            allocatable = table.allocatable[column, rows]
            after = table.requested[column, rows] + pod.requests.get(name, 0)
            fractions.append(np.minimum(after / np.maximum(allocatable, 1), 1.0))
        # The standard deviation of two values is half of their distance.
        score: Ints = ((1 - np.abs(fractions[0] - fractions[1]) / 2) * MAX_SCORE).astype(np.int64)
        return score
