"""Which nodes need which objects: a pod on a node leads to its secrets, config maps, claims, volumes and accounts.

Kept up to date from pods, persistent volumes and volume attachments; asked by the node authorizer. References are
counted, since many pods of a node use the same object.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

from api.types.core_v1 import PersistentVolume, Pod, PodSpec
from api.types.storage_v1 import VolumeAttachment
from apiserver.auth.source import Source

#: (resource, namespace, name)
Vertex = tuple[str, str, str]

MIRROR = "kubernetes.io/config.mirror"
_SECRET_VOLUMES = ("cephfs", "flex_volume", "iscsi", "rbd", "scale_io", "storageos")
_CSI_SECRETS = (
    "controller_expand_secret_ref",
    "controller_publish_secret_ref",
    "node_expand_secret_ref",
    "node_publish_secret_ref",
    "node_stage_secret_ref",
)


class Graph:
    """Fed by `source` from the moment it is made."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._nodes: dict[Vertex, Counter[str]] = defaultdict(Counter)
        self._volumes_of_secret: dict[Vertex, set[str]] = defaultdict(set)
        self._attachments: dict[str, str] = {}
        source.subscribe(Pod, self._pod_changed, self._rebuild)
        source.subscribe(PersistentVolume, self._volume_changed, self._rebuild)
        source.subscribe(VolumeAttachment, self._attachment_changed, self._rebuild)
        self._rebuild()

    def _rebuild(self) -> None:
        self._nodes.clear()
        self._volumes_of_secret.clear()
        self._attachments.clear()
        for pod in self._source.list(Pod):
            self._pod_changed(None, pod)
        for volume in self._source.list(PersistentVolume):
            self._volume_changed(None, volume)
        for attachment in self._source.list(VolumeAttachment):
            self._attachment_changed(None, attachment)

    def reaches(self, node: str, resource: str, namespace: str, name: str) -> bool:
        """Whether a node has a pod that needs an object."""
        vertex = (resource, namespace, name)
        if node in self._nodes.get(vertex, ()):
            return True
        if resource == "volumeattachments":
            return self._attachments.get(name) == node
        if resource == "persistentvolumes":
            return self._claims_reach(node, name)
        if resource == "secrets":
            return any(self._claims_reach(node, volume) for volume in self._volumes_of_secret.get(vertex, ()))
        return False

    def _claims_reach(self, node: str, volume_name: str) -> bool:
        volume = self._source.get(PersistentVolume, volume_name)
        claim = volume.spec.claim_ref if volume else None
        if claim is None:
            return False
        return node in self._nodes.get(("persistentvolumeclaims", claim.namespace or "", claim.name or ""), ())

    def _pod_changed(self, old: Pod | None, new: Pod | None) -> None:
        before = _edges(old) if old else None
        after = _edges(new) if new else None
        if before == after:
            return
        if before:
            node, vertices = before
            for vertex in vertices:
                counts = self._nodes[vertex]
                counts[node] -= 1
                if counts[node] <= 0:
                    del counts[node]
                if not counts:
                    del self._nodes[vertex]
        if after:
            node, vertices = after
            for vertex in vertices:
                self._nodes[vertex][node] += 1

    def _volume_changed(self, old: PersistentVolume | None, new: PersistentVolume | None) -> None:
        for vertex in _volume_secrets(old) if old else ():
            self._volumes_of_secret[vertex].discard(old.metadata.name or "" if old else "")
            if not self._volumes_of_secret[vertex]:
                del self._volumes_of_secret[vertex]
        for vertex in _volume_secrets(new) if new else ():
            self._volumes_of_secret[vertex].add(new.metadata.name or "" if new else "")

    def _attachment_changed(self, old: VolumeAttachment | None, new: VolumeAttachment | None) -> None:
        if new is not None:
            self._attachments[new.metadata.name or ""] = new.spec.node_name
        elif old is not None:
            self._attachments.pop(old.metadata.name or "", None)


def _edges(pod: Pod) -> tuple[str, frozenset[Vertex]] | None:
    node = pod.spec.node_name
    if not node:
        return None
    namespace, name = pod.metadata.namespace or "", pod.metadata.name or ""
    found: set[Vertex] = {("pods", namespace, name)}
    # A mirror pod says what the node runs; anyone who could write one would get at what it names.
    if MIRROR not in (pod.metadata.annotations or {}):
        found.update((resource, namespace, used) for resource, used in pod_references(pod.spec, name) if used)
        for status in pod.status.resource_claim_statuses or ():
            found.add(("resourceclaims", namespace, status.resource_claim_name or ""))
        for claim in pod.spec.resource_claims or ():
            found.add(("resourceclaims", namespace, claim.resource_claim_name or ""))
    return node, frozenset(found)


def pod_references(spec: PodSpec, pod_name: str) -> Iterator[tuple[str, str | None]]:
    """(resource, name) of everything in its namespace that a pod uses."""
    yield "serviceaccounts", spec.service_account_name
    for pull_secret in spec.image_pull_secrets or ():
        yield "secrets", pull_secret.name
    for container in (*spec.containers, *(spec.init_containers or ()), *(spec.ephemeral_containers or ())):
        for source in container.env_from or ():
            if source.config_map_ref:
                yield "configmaps", source.config_map_ref.name
            if source.secret_ref:
                yield "secrets", source.secret_ref.name
        for variable in container.env or ():
            value = variable.value_from
            if value and value.config_map_key_ref:
                yield "configmaps", value.config_map_key_ref.name
            if value and value.secret_key_ref:
                yield "secrets", value.secret_key_ref.name
    for volume in spec.volumes or ():
        yield from _volume_references(volume, pod_name)


def _volume_references(volume: Any, pod_name: str) -> Iterator[tuple[str, str | None]]:
    if volume.secret:
        yield "secrets", volume.secret.secret_name
    if volume.config_map:
        yield "configmaps", volume.config_map.name
    if volume.persistent_volume_claim:
        yield "persistentvolumeclaims", volume.persistent_volume_claim.claim_name
    if volume.ephemeral:
        yield "persistentvolumeclaims", f"{pod_name}-{volume.name}"
    if volume.projected:
        for source in volume.projected.sources or ():
            if source.secret:
                yield "secrets", source.secret.name
            if source.config_map:
                yield "configmaps", source.config_map.name
    if volume.csi and volume.csi.node_publish_secret_ref:
        yield "secrets", volume.csi.node_publish_secret_ref.name
    if volume.azure_file:
        yield "secrets", volume.azure_file.secret_name
    for attribute in _SECRET_VOLUMES:
        kind = getattr(volume, attribute)
        if kind and kind.secret_ref:
            yield "secrets", kind.secret_ref.name


def _volume_secrets(volume: PersistentVolume) -> set[Vertex]:
    spec = volume.spec
    claim_namespace = (spec.claim_ref.namespace or "") if spec.claim_ref else ""
    found: set[Vertex] = set()
    if spec.azure_file:
        namespace = spec.azure_file.secret_namespace or claim_namespace
        found.add(("secrets", namespace, spec.azure_file.secret_name))
    references: list[Any] = [getattr(spec.csi, name) for name in _CSI_SECRETS] if spec.csi else []
    references += [getattr(kind, "secret_ref", None) for name in _SECRET_VOLUMES if (kind := getattr(spec, name))]
    for reference in references:
        if reference:
            found.add(("secrets", reference.namespace or claim_namespace, reference.name or ""))
    return found
