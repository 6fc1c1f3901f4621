"""NodePorts: two pods can't claim the same host port on one node."""

from __future__ import annotations

from scheduler.framework import ClusterEvent, Plugin, Rejection
from scheduler.nodes import NodeTable
from scheduler.pods import PodInfo


class NodePorts(Plugin):
    name = "NodePorts"

    def filter(self, table: NodeTable, pod: PodInfo) -> list[Rejection]:
        taken = table.port_conflicts(pod.ports) if pod.ports else None
        return [] if taken is None else [Rejection("node(s) didn't have free ports for the requested pod ports", taken)]

    def helped_by(self, event: ClusterEvent, pod: PodInfo) -> bool:
        if event.resource == "Node":
            return event.action == "Add"
        return event.resource == "Pod" and event.action == "Delete"
