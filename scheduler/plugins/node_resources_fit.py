"""NodeResourcesFit: requests must fit into what is allocatable and not yet requested; emptier nodes score higher."""

from __future__ import annotations

import numpy as np

from scheduler.framework import MAX_SCORE, ClusterEvent, Plugin, Rejection, Rows
from scheduler.nodes import CPU, MEMORY, PODS, Ints, NodeTable
from scheduler.pods import PodInfo


class NodeResourcesFit(Plugin):
    name = "NodeResourcesFit"
    weight = 1

    def filter(self, table: NodeTable, pod: PodInfo) -> list[Rejection]:
        rejections = []
        full = table.requested[PODS] + 1 > table.allocatable[PODS]
        if full.any():
            rejections.append(Rejection("Too many pods", full))
        for resource, amount in pod.requests.items():
            row = table.resource(resource)
            lacking = table.requested[row] + amount > table.allocatable[row]
            if lacking.any():
                never = amount > table.allocatable[row]
                rejections.append(Rejection(f"Insufficient {resource}", lacking & ~never))
                # More than the node ever has: no preemption helps there.
                rejections.append(Rejection(f"Insufficient {resource}", lacking & never, resolvable=False))
        return rejections

    def score(self, table: NodeTable, pod: PodInfo, rows: Rows) -> Ints | None:
        """Upstream's LeastAllocated over cpu and memory, equal weights."""
        total = np.zeros(len(rows), np.int64)
        counted = np.zeros(len(rows), np.int64)
        for column, asked in ((CPU, pod.nonzero[0]), (MEMORY, pod.nonzero[1])):
            allocatable = table.allocatable[column, rows]
            after = table.nonzero[column, rows] + asked
            has = allocatable > 0
            free = np.where(has & (after <= allocatable), allocatable - after, 0)
            total += free * MAX_SCORE // np.where(has, allocatable, 1)
            counted += has
        return total // np.maximum(counted, 1)

    def helped_by(self, event: ClusterEvent, pod: PodInfo) -> bool:
        if event.resource == "Node":
            if event.action == "Add":
                return True
            return event.new is not None and event.old.status.allocatable != event.new.status.allocatable
        # A pod that goes makes room; one that is resized down does as well.
        return event.resource == "Pod" and (event.action == "Delete" or event.action == "Update")
