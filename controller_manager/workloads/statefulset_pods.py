"""What makes a StatefulSet's pod the one it is: its name, its hostname, its claims; and what these belong to.

Retention policy (KEP-1847): with whenDeleted=Delete a claim belongs to the set, with whenScaled=Delete the claim of a
condemned pod belongs to that pod; the garbage collector does the rest.
"""

from __future__ import annotations

import re
from typing import Any

from api import codec
from api.types.apps_v1 import StatefulSet
from api.types.core_v1 import PersistentVolumeClaim, PersistentVolumeClaimVolumeSource, Pod, Volume
from api.types.meta_v1 import ObjectMeta, OwnerReference
from controller_manager.owners import controller_ref
from controller_manager.pod_control import pod_from_template
from controller_manager.workloads.history import REVISION_LABEL

POD_NAME_LABEL = "statefulset.kubernetes.io/pod-name"
POD_INDEX_LABEL = "apps.kubernetes.io/pod-index"
_NAME = re.compile(r"(.*)-([0-9]+)$")


def ordinal(pod: Pod, owner: StatefulSet) -> int:
    """The pod's number, or -1 if its name is none of the set's."""
    match = _NAME.match(pod.metadata.name or "")
    return int(match[2]) if match and match[1] == owner.metadata.name else -1


def start(owner: StatefulSet) -> int:
    return (owner.spec.ordinals.start or 0) if owner.spec.ordinals else 0


def pod_name(owner: StatefulSet, number: int) -> str:
    return f"{owner.metadata.name}-{number}"


def claim_name(owner: StatefulSet, claim: PersistentVolumeClaim, number: int) -> str:
    return f"{claim.metadata.name}-{owner.metadata.name}-{number}"


def revision_of(pod: Pod) -> str:
    return (pod.metadata.labels or {}).get(REVISION_LABEL, "")


def new_pod(owner: StatefulSet, number: int, revision: str) -> Pod:
    """`owner` has the template of that revision."""
    pod = pod_from_template(owner.spec.template, owner)
    pod.metadata.generate_name = None
    pod.metadata.name = pod_name(owner, number)
    give_identity(owner, pod, number)
    give_storage(owner, pod, number)
    pod.metadata.labels = {**(pod.metadata.labels or {}), REVISION_LABEL: revision}
    pod.spec.hostname = pod.metadata.name
    pod.spec.subdomain = owner.spec.service_name or None
    return pod


def give_identity(owner: StatefulSet, pod: Pod, number: int) -> None:
    labels = {POD_NAME_LABEL: pod_name(owner, number), POD_INDEX_LABEL: str(number)}
    pod.metadata.labels = {**(pod.metadata.labels or {}), **labels}


def give_storage(owner: StatefulSet, pod: Pod, number: int) -> None:
    """Volumes of the claims; they take the place of the template's of the same name."""
    templates = owner.spec.volume_claim_templates or []
    if not templates:
        return
    ours = [
        Volume(
            name=t.metadata.name or "",
            persistent_volume_claim=PersistentVolumeClaimVolumeSource(claim_name=claim_name(owner, t, number)),
        )
        for t in templates
    ]
    named = {v.name for v in ours}
    pod.spec.volumes = [*ours, *(v for v in pod.spec.volumes or () if v.name not in named)]


def identity_matches(owner: StatefulSet, pod: Pod, number: int) -> bool:
    labels = pod.metadata.labels or {}
    return labels.get(POD_NAME_LABEL) == pod_name(owner, number) and labels.get(POD_INDEX_LABEL) == str(number)


def claims(owner: StatefulSet, number: int) -> list[PersistentVolumeClaim]:
    """The claims that the pod of this number needs, as they would be made."""
    made = []
    for template in owner.spec.volume_claim_templates or ():
        claim = codec.deepcopy(template)
        claim.metadata = ObjectMeta(
            name=claim_name(owner, template, number),
            namespace=owner.metadata.namespace,
            labels={**(template.metadata.labels or {}), **(owner.spec.selector.match_labels or {})} or None,
            annotations=claim.metadata.annotations,
        )
        made.append(claim)
    return made


def retention(owner: StatefulSet) -> tuple[bool, bool]:
    """Whether claims go when the set is deleted, and when it is scaled down."""
    policy = owner.spec.persistent_volume_claim_retention_policy
    if policy is None:
        return False, False
    return policy.when_deleted == "Delete", policy.when_scaled == "Delete"


def claim_owners(
    owner: StatefulSet, pod: Pod | None, claim: PersistentVolumeClaim, *, condemned: bool
) -> list[OwnerReference] | None:
    """The owner references that the claim should have, or None if it has them."""
    when_deleted, when_scaled = retention(owner)
    references = list(claim.metadata.owner_references or ())
    by_set, by_pod = owner.metadata.uid, pod.metadata.uid if pod is not None else None
    wanted = [r for r in references if r.uid not in (by_set, by_pod) and not _former_pod(r, owner, claim)]
    if when_scaled and condemned and pod is not None:
        wanted.append(_plain_ref(pod))
    elif when_deleted:
        wanted.append(_set_ref(owner))
    same = sorted(r.uid for r in wanted) == sorted(r.uid for r in references)
    return None if same else wanted


def _former_pod(ref: OwnerReference, owner: StatefulSet, claim: PersistentVolumeClaim) -> bool:
    """A reference to a pod of this set that was condemned before the set was scaled up again."""
    return ref.kind == "Pod" and ref.name.startswith(f"{owner.metadata.name}-") and ref.api_version == "v1"


def _plain_ref(pod: Any) -> OwnerReference:
    return OwnerReference(
        api_version="v1", kind="Pod", name=pod.metadata.name, uid=pod.metadata.uid, block_owner_deletion=True
    )


def _set_ref(owner: StatefulSet) -> OwnerReference:
    ref = controller_ref(owner)
    ref.controller = True
    return ref
