"""Which volume suits which claim (upstream's FindMatchingVolume), and what annotations say about both."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from api.quantity import Quantity
from api.selectors import selector_from
from api.types.core_v1 import Node, ObjectReference, PersistentVolume, PersistentVolumeClaim
from api.types.storage_v1 import StorageClass
from controller_manager.nodes import affinity

BIND_COMPLETED = "pv.kubernetes.io/bind-completed"
BOUND_BY_CONTROLLER = "pv.kubernetes.io/bound-by-controller"
PROVISIONED_BY = "pv.kubernetes.io/provisioned-by"
PROVISIONER = "volume.kubernetes.io/storage-provisioner"
BETA_PROVISIONER = "volume.beta.kubernetes.io/storage-provisioner"
SELECTED_NODE = "volume.kubernetes.io/selected-node"
BETA_CLASS = "volume.beta.kubernetes.io/storage-class"
DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"


def annotation(obj: Any, name: str) -> str:
    return str((obj.metadata.annotations or {}).get(name, ""))


def class_of(obj: PersistentVolume | PersistentVolumeClaim) -> str:
    return annotation(obj, BETA_CLASS) or obj.spec.storage_class_name or ""


def default_class(classes: Iterable[StorageClass]) -> StorageClass | None:
    """The newest of the default ones."""
    found = [c for c in classes if annotation(c, DEFAULT_CLASS) == "true"]
    return max(found, key=lambda c: (c.metadata.creation_timestamp or "", c.metadata.name or ""), default=None)


def refers_to(ref: ObjectReference | None, claim: PersistentVolumeClaim) -> bool:
    """Whether a volume's claimRef is this claim, or reserves the volume for one of its name."""
    if ref is None:
        return False
    meta = claim.metadata
    return (ref.namespace, ref.name) == (meta.namespace, meta.name) and ref.uid in (None, "", meta.uid)


def requested(claim: PersistentVolumeClaim) -> Quantity:
    requests = (claim.spec.resources.requests or {}) if claim.spec.resources else {}
    return Quantity(requests.get("storage", 0))


def capacity(volume: PersistentVolume) -> Quantity:
    return Quantity((volume.spec.capacity or {}).get("storage", 0))


def suits(volume: PersistentVolume, claim: PersistentVolumeClaim) -> str:
    """Why a volume that was asked for by name does not suit the claim, or ""."""
    if capacity(volume) < requested(claim):
        return "requested PV is too small"
    if class_of(volume) != class_of(claim):
        return "storageClassName does not match"
    if (volume.spec.volume_mode or "Filesystem") != (claim.spec.volume_mode or "Filesystem"):
        return "incompatible volumeMode"
    if not set(claim.spec.access_modes or ()) <= set(volume.spec.access_modes or ()):
        return "incompatible accessMode"
    return ""


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
