"""VolumeRestrictions: a ReadWriteOncePod claim is used by one pod of the whole cluster (KEP-2485)."""

from __future__ import annotations

import numpy as np

from api.volumes import claim_names
from scheduler.framework import ClusterEvent, Plugin, Rejection
from scheduler.nodes import NodeTable
from scheduler.pods import PodInfo
from scheduler.volumes import Volumes

_REASON = "node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode"


class VolumeRestrictions(Plugin):
    name = "VolumeRestrictions"

    def __init__(self, volumes: Volumes) -> None:
        self._volumes = volumes

    def filter(self, table: NodeTable, pod: PodInfo) -> list[Rejection]:
        mine = self._volumes.exclusive(pod.pod)
        if not mine:
            return []
        # Looks at all pods, which only pods with such a claim pay for.
        for placed in table.placed.values():
            other = placed.pod
            if other.namespace != pod.namespace or other.uid == pod.uid or not other.pod.spec.volumes:
                continue
            if not mine.isdisjoint(name for name, _ in claim_names(other.pod)):
                return [Rejection(_REASON, np.ones(table.size, bool))]
        return []

    def helped_by(self, event: ClusterEvent, pod: PodInfo) -> bool:
        if event.resource == "PersistentVolumeClaim":
            return event.action != "Delete"
        return event.resource == "Pod" and event.action == "Delete"
