"""VolumeZone: a pod with bound claims runs in the zones and regions that its volumes' labels name.

For volumes that say by labels where they are, as those made outside of a cluster often do; those with a node affinity
are VolumeBinding's. A node without any such label is let pass: a cluster of one zone need not label its nodes.
"""

from __future__ import annotations

import numpy as np

from api.types.core_v1 import PersistentVolume
from scheduler.framework import ClusterEvent, Plugin, Rejection
from scheduler.nodes import Mask, NodeTable
from scheduler.pods import PodInfo
from scheduler.volumes import Volumes

_REASON = "node(s) had no available volume zone"
_STABLE = {
    "topology.kubernetes.io/zone": "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region": "topology.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone": "topology.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region": "topology.kubernetes.io/region",
}
#: Between the zones of a volume that is in several.
_DELIMITER = "__"


class VolumeZone(Plugin):
    name = "VolumeZone"

    def __init__(self, volumes: Volumes) -> None:
        self._volumes = volumes

    def filter(self, table: NodeTable, pod: PodInfo) -> list[Rejection]:
        needs = self._volumes.needs(pod.pod)
        places = [place for volume in needs.bound for place in _places(volume)] if needs is not None else []
        if not places:
            return []
        unlabelled = np.ones(table.size, bool)
        for key in _STABLE:
            unlabelled &= table.label(key).codes == 0
        within = np.ones(table.size, bool)
        for key, values in places:
            within &= _labelled(table, key, values)
        return [Rejection(_REASON, ~(within | unlabelled), resolvable=False)]

    def helped_by(self, event: ClusterEvent, pod: PodInfo) -> bool:
        if event.resource == "Node" and event.new is not None:
            return event.action == "Add" or event.old.metadata.labels != event.new.metadata.labels
        return event.resource in ("PersistentVolume", "PersistentVolumeClaim") and event.action != "Delete"


def _places(volume: PersistentVolume) -> list[tuple[str, set[str]]]:
    labels = volume.metadata.labels or {}
    return [(key, set(labels[key].split(_DELIMITER))) for key in _STABLE if key in labels]


def _labelled(table: NodeTable, key: str, values: set[str]) -> Mask:
    """Nodes with one of `values` under the label `key`, or under its stable name if they have only that."""
    own, stable = table.label(key), table.label(_STABLE[key])
    mask = np.zeros(table.size, bool)
    for value in values:
        mask |= own.codes == own.values.get(value, -1)
        mask |= (own.codes == 0) & (stable.codes == stable.values.get(value, -1))
    return mask
