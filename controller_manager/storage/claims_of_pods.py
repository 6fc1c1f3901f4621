"""Which claims a pod uses: those it names, and those that are made for its ephemeral volumes."""

from __future__ import annotations

from api.types.core_v1 import Pod
from client.store import Key

INDEX = "claims"


def ephemeral_claim(pod: Pod, volume: str) -> str:
    return f"{pod.metadata.name}-{volume}"


def claims_of(pod: Pod) -> list[Key]:
    """Index function: namespace and name of each."""
    namespace = pod.metadata.namespace or ""
    found = []
    for volume in pod.spec.volumes or ():
        if volume.persistent_volume_claim is not None:
            found.append((namespace, volume.persistent_volume_claim.claim_name))
        elif volume.ephemeral is not None:
            found.append((namespace, ephemeral_claim(pod, volume.name)))
    return found
