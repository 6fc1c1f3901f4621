"""Makes volumes that are directories on a node, for StorageClasses of the provisioner `pykube.dev/local`.

Such a volume can be used on its node only, which its affinity tells the scheduler. The directory is made by the kubelet
when the first pod mounts it.
"""

from __future__ import annotations

from api.types.core_v1 import (
    LocalVolumeSource,
    Node,
    NodeSelector,
    NodeSelectorRequirement,
    NodeSelectorTerm,
    ObjectReference,
    PersistentVolume,
    PersistentVolumeClaim,
    PersistentVolumeSpec,
    VolumeNodeAffinity,
)
from api.types.meta_v1 import ObjectMeta
from api.types.storage_v1 import StorageClass
from api.volumes import LOCAL_PROVISIONER
from controller_manager.storage import matching

PROVISIONER = LOCAL_PROVISIONER
HOSTNAME = "kubernetes.io/hostname"


class Impossible(Exception):
    """This claim cannot be given a directory; trying again would not help."""


def volume_for(
    claim: PersistentVolumeClaim, storage_class: StorageClass, node: Node | None, root: str
) -> PersistentVolume:
    """Raises Impossible with upstream's kind of words."""
    if claim.spec.volume_mode == "Block":
        raise Impossible("a directory cannot be a block device: volumeMode Block is not supported")
    if claim.spec.selector is not None:
        raise Impossible("claim.Spec.Selector is not supported for dynamic provisioning")
    if "ReadWriteMany" in (claim.spec.access_modes or ()):
        raise Impossible("NodePath only supports ReadWriteOnce and ReadWriteOncePod access modes")
    if node is None:
        raise Impossible("a directory needs a node: use volumeBindingMode WaitForFirstConsumer")
    meta = claim.metadata
    name = f"pvc-{meta.uid}"
    hostname = (node.metadata.labels or {}).get(HOSTNAME, node.metadata.name or "")
    where = NodeSelectorRequirement(key=HOSTNAME, operator="In", values=[hostname])
    if HOSTNAME not in (node.metadata.labels or {}):
        term = NodeSelectorTerm(
            match_fields=[NodeSelectorRequirement(key="metadata.name", operator="In", values=[hostname])]
        )
    else:
        term = NodeSelectorTerm(match_expressions=[where])
    return PersistentVolume(
        metadata=ObjectMeta(
            name=name,
            annotations={
                matching.PROVISIONED_BY: PROVISIONER,
                matching.BOUND_BY_CONTROLLER: "yes",
                matching.SELECTED_NODE: node.metadata.name or "",
            },
            finalizers=["kubernetes.io/pv-protection"],
        ),
        spec=PersistentVolumeSpec(
            access_modes=claim.spec.access_modes,
            capacity={"storage": str(matching.requested(claim))},
            claim_ref=ObjectReference(
                api_version="v1",
                kind="PersistentVolumeClaim",
                namespace=meta.namespace,
                name=meta.name,
                uid=meta.uid,
                resource_version=meta.resource_version,
            ),
            persistent_volume_reclaim_policy=storage_class.reclaim_policy or "Delete",
            storage_class_name=storage_class.metadata.name,
            mount_options=storage_class.mount_options,
            volume_mode="Filesystem",
            local=LocalVolumeSource(path=f"{root.rstrip('/')}/{name}_{meta.namespace}_{meta.name}"),
            node_affinity=VolumeNodeAffinity(required=NodeSelector(node_selector_terms=[term])),
        ),
    )
