"""NodeUnschedulable: cordoned nodes take only pods that tolerate it."""

from __future__ import annotations

from scheduler.framework import ClusterEvent, Plugin, Rejection
from scheduler.nodes import NodeTable
from scheduler.plugins.taint_toleration import tolerated
from scheduler.pods import PodInfo

_TAINT = ("node.kubernetes.io/unschedulable", "", "NoSchedule")


class NodeUnschedulable(Plugin):
    name = "NodeUnschedulable"
    static = True

    def filter(self, table: NodeTable, pod: PodInfo) -> list[Rejection]:
        if not table.unschedulable.any() or tolerated(_TAINT, pod.shape.tolerations):
            return []
        return [Rejection("node(s) were unschedulable", table.unschedulable.copy(), resolvable=False)]

    def helped_by(self, event: ClusterEvent, pod: PodInfo) -> bool:
        return event.resource == "Node" and event.new is not None and not event.new.spec.unschedulable
