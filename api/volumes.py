"""What claims and volumes say about each other: annotations, classes, sizes, and whether one suits the other.

Here because two components decide about it and have to agree: the scheduler where a claim waits for its first consumer,
the controller manager everywhere else.
"""

from __future__ import annotations

from typing import Any

from api.quantity import Quantity
from api.types.core_v1 import ObjectReference, PersistentVolume, PersistentVolumeClaim, Pod

BIND_COMPLETED = "pv.kubernetes.io/bind-completed"
BOUND_BY_CONTROLLER = "pv.kubernetes.io/bound-by-controller"
PROVISIONED_BY = "pv.kubernetes.io/provisioned-by"
PROVISIONER = "volume.kubernetes.io/storage-provisioner"
BETA_PROVISIONER = "volume.beta.kubernetes.io/storage-provisioner"
SELECTED_NODE = "volume.kubernetes.io/selected-node"
BETA_CLASS = "volume.beta.kubernetes.io/storage-class"
DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"
#: The provisioner of classes whose volumes somebody makes by hand.
NO_PROVISIONER = "kubernetes.io/no-provisioner"
#: The cluster's own provisioner: directories on nodes, named by the controller manager and made by the kubelet.
LOCAL_PROVISIONER = "pykube.dev/local"


def annotation(obj: Any, name: str) -> str:
    return str((obj.metadata.annotations or {}).get(name, ""))


def class_of(obj: PersistentVolume | PersistentVolumeClaim) -> str:
    return annotation(obj, BETA_CLASS) or obj.spec.storage_class_name or ""


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


def is_bound(claim: PersistentVolumeClaim) -> bool:
    """Bound from both sides: the controller has finished."""
    return bool(claim.spec.volume_name and annotation(claim, BIND_COMPLETED))


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


def claim_names(pod: Pod) -> list[tuple[str, bool]]:
    """The claims that a pod uses, in its namespace; whether each is one of its own (an ephemeral volume's)."""
    names = []
    for volume in pod.spec.volumes or ():
        if volume.persistent_volume_claim is not None:
            names.append((volume.persistent_volume_claim.claim_name, False))
        elif volume.ephemeral is not None:
            names.append((f"{pod.metadata.name}-{volume.name}", True))
    return names
