"""Which volume a claim gets (upstream's FindMatchingVolume); what both say about each other is in `api.volumes`."""

from __future__ import annotations

from collections.abc import Iterable

from api.selectors import selector_from
from api.types.core_v1 import Node, PersistentVolume, PersistentVolumeClaim
from api.types.storage_v1 import StorageClass
from api.volumes import (
    BETA_CLASS,
    BETA_PROVISIONER,
    BIND_COMPLETED,
    BOUND_BY_CONTROLLER,
    DEFAULT_CLASS,
    PROVISIONED_BY,
    PROVISIONER,
    SELECTED_NODE,
    annotation,
    capacity,
    class_of,
    refers_to,
    requested,
    suits,
)
from controller_manager.nodes import affinity

__all__ = [
    "BETA_CLASS",
    "BETA_PROVISIONER",
    "BIND_COMPLETED",
    "BOUND_BY_CONTROLLER",
    "PROVISIONED_BY",
    "PROVISIONER",
    "SELECTED_NODE",
    "annotation",
    "best",
    "capacity",
    "class_of",
    "default_class",
    "reachable",
    "refers_to",
    "requested",
    "suits",
]


def default_class(classes: Iterable[StorageClass]) -> StorageClass | None:
    """The newest of the default ones."""
    found = [c for c in classes if annotation(c, DEFAULT_CLASS) == "true"]
    return max(found, key=lambda c: (c.metadata.creation_timestamp or "", c.metadata.name or ""), default=None)


def best(
    volumes: Iterable[PersistentVolume], claim: PersistentVolumeClaim, *, node: Node | None, delayed: bool
) -> PersistentVolume | None:
    """The volume reserved for the claim, else the smallest that suits.

    `node`: where the claim's pod will be, which the volume has to be reachable from. `delayed`: only a reserved one.
    """
    selector = selector_from(claim.spec.selector) if claim.spec.selector is not None else None
    smallest: PersistentVolume | None = None
    for volume in volumes:
        if volume.metadata.deletion_timestamp and not refers_to(volume.spec.claim_ref, claim):
            continue
        if volume.spec.claim_ref is not None:
            if refers_to(volume.spec.claim_ref, claim) and capacity(volume) >= requested(claim):
                return volume
            continue
        if delayed or volume.status.phase not in (None, "", "Pending", "Available") or suits(volume, claim):
            continue
        if selector is not None and not selector.matches(volume.metadata.labels):
            continue
        if node is not None and not reachable(volume, node):
            continue
        if smallest is None or capacity(volume) < capacity(smallest):
            smallest = volume
    return smallest


def reachable(volume: PersistentVolume, node: Node) -> bool:
    required = volume.spec.node_affinity.required if volume.spec.node_affinity else None
    return required is None or affinity.terms_match(required.node_selector_terms, node)
