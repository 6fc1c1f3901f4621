"""VolumeBinding: a pod runs where its volumes are, or where they can be made (KEP-490).

Bound claims keep the pod on the nodes that their volumes can be reached from. Claims that wait for their first consumer
are given existing volumes, smallest first, or are to be provisioned; both may rule nodes out.
"""

from __future__ import annotations

import numpy as np

from api.types.core_v1 import PersistentVolume
from api.types.storage_v1 import StorageClass
from api.volumes import SELECTED_NODE, annotation, claim_names
from scheduler.framework import ClusterEvent, Plugin, Rejection
from scheduler.nodes import NAME_FIELD, Mask, NodeTable
from scheduler.plugins.node_affinity import term_mask
from scheduler.pods import PodInfo
from scheduler.volumes import Choice, Needs, Volumes

_CONFLICT = "node(s) didn't match PersistentVolume's node affinity"
_NONE_FOUND = "node(s) didn't find available persistent volumes to bind"
_MISSING = "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)"


class VolumeBinding(Plugin):
    name = "VolumeBinding"

    def __init__(self, volumes: Volumes) -> None:
        self._volumes = volumes

    def refuses(self, pod: PodInfo) -> str:
        needs = self._volumes.needs(pod.pod)
        return needs.refusal if needs is not None else ""

    def filter(self, table: NodeTable, pod: PodInfo) -> list[Rejection]:
        needs = self._volumes.needs(pod.pod)
        if needs is None:
            return []
        if needs.refusal:
            return [Rejection(needs.refusal, np.ones(table.size, bool), resolvable=False)]
        rejections = []
        if needs.missing:
            rejections.append(Rejection(_MISSING, np.ones(table.size, bool), resolvable=False))
        if needs.bound:
            mask = np.ones(table.size, bool)
            for volume in needs.bound:
                mask &= _reachable(table, volume)
            rejections.append(Rejection(_CONFLICT, ~mask, resolvable=False))
        if needs.waiting:
            served, _ = self._match(table, needs)
            rejections.append(Rejection(_NONE_FOUND, ~served, resolvable=False))
        return rejections

    def choose(self, table: NodeTable, pod: PodInfo, node_name: str) -> list[Choice]:
        """What the pod's waiting claims get on this node, which the filter has let pass."""
        needs = self._volumes.needs(pod.pod)
        if needs is None or not needs.waiting:
            return []
        row = table.rows[node_name]
        _, taken = self._match(table, needs)
        choices = []
        for (claim, _), volumes in zip(needs.waiting, taken, strict=True):
            choices.append(Choice(claim, next((v for v, mask in volumes if mask[row]), None)))
        return choices

    def _match(self, table: NodeTable, needs: Needs) -> tuple[Mask, list[list[tuple[PersistentVolume, Mask]]]]:
        """Nodes on which every waiting claim is served; and for each claim which volume it takes on which nodes."""
        served = np.ones(table.size, bool)
        used: dict[str, Mask] = {}
        taken = []
        for claim, storage_class in needs.waiting:
            selected = annotation(claim, SELECTED_NODE)
            unserved = np.ones(table.size, bool)
            volumes = []
            # A claim with a selected node has its volume made there at this moment.
            for volume in () if selected else self._volumes.candidates(claim):
                name = volume.metadata.name or ""
                mask = _reachable(table, volume) & unserved & ~used.get(name, np.zeros(table.size, bool))
                used[name] = used.get(name, np.zeros(table.size, bool)) | mask
                unserved &= ~mask
                volumes.append((volume, mask))
            if self._volumes.can_be_made(storage_class):
                possible = _allowed(table, storage_class)
                if selected:
                    column = table.label(NAME_FIELD)
                    possible &= column.codes == column.values.get(selected, -1)
                source = self._volumes.source_of(claim)
                if source is not None:
                    possible &= _reachable(table, source)  # a copy is made where the original lives
                unserved &= ~possible
            served &= ~unserved
            taken.append(volumes)
        return served, taken

    def helped_by(self, event: ClusterEvent, pod: PodInfo) -> bool:
        if event.resource == "PersistentVolumeClaim":
            meta = (event.new or event.old).metadata
            mine = {name for name, _ in claim_names(pod.pod)}
            return event.action != "Delete" and meta.namespace == pod.namespace and meta.name in mine
        if event.resource in ("PersistentVolume", "StorageClass"):
            return event.action != "Delete"
        if event.resource == "Node" and event.new is not None:
            return event.action == "Add" or event.old.metadata.labels != event.new.metadata.labels
        return False


def _reachable(table: NodeTable, volume: PersistentVolume) -> Mask:
    required = volume.spec.node_affinity.required if volume.spec.node_affinity else None
    if required is None:
        return np.ones(table.size, bool)
    mask = np.zeros(table.size, bool)
    for term in required.node_selector_terms:
        mask |= term_mask(table, term)
    return mask


def _allowed(table: NodeTable, storage_class: StorageClass) -> Mask:
    """Where the class' `allowedTopologies` let volumes be made; everywhere if it names none."""
    terms = storage_class.allowed_topologies or []
    if not terms:
        return np.ones(table.size, bool)
    mask = np.zeros(table.size, bool)
    for term in terms:
        all_of = np.ones(table.size, bool)
        for requirement in term.match_label_expressions or ():
            column = table.label(requirement.key)
            one_of = np.zeros(table.size, bool)
            for value in requirement.values:
                one_of |= column.codes == column.values.get(value, -1)
            all_of &= one_of
        mask |= all_of
    return mask
