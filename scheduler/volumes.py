"""Claims, volumes and storage classes as the scheduler knows them, and the bindings it has under way.

Invariants:
- a volume that was promised to a claim is not promised to another, even before the apiserver knows (`assume`); a
  promise ends when the claim is bound, or when the binding has failed;
- the scheduler only says what it has chosen, by a volume's claimRef or by the claim's selected-node annotation; binding
  and making volumes is the controller manager's (or a driver's), and a pod is bound to its node when that is done.

Source: upstream's volumebinding/binder.go; KEP-490 (topology-aware volume scheduling).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from api import errors
from api.selectors import selector_from
from api.types.core_v1 import PersistentVolume, PersistentVolumeClaim, Pod
from api.types.storage_v1 import StorageClass
from api.volumes import (
    BOUND_BY_CONTROLLER,
    NO_PROVISIONER,
    SELECTED_NODE,
    annotation,
    capacity,
    claim_names,
    class_of,
    is_bound,
    refers_to,
    requested,
    suits,
)
from client.api import Api
from client.informer import Factory
from scheduler.framework import ClusterEvent

#: How long a pod waits for its volumes on the node that was chosen (upstream's bindTimeoutSeconds).
BIND_TIMEOUT_SECONDS = 600.0

Claim = tuple[str, str]  # namespace and name


class BindingFailed(Exception):
    """The claims did not get their volumes on the chosen node; the pod has to be scheduled again."""


@dataclass(slots=True)
class Needs:
    """What a pod's claims ask of its node. `refusal`: why no node will do at all, in upstream's words."""

    refusal: str = ""
    bound: list[PersistentVolume] = field(default_factory=list)
    missing: bool = False  # a claim is bound to a volume that does not exist
    waiting: list[tuple[PersistentVolumeClaim, StorageClass]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Choice:
    """A waiting claim gets this volume, or None: one is to be made for it on the pod's node."""

    claim: PersistentVolumeClaim
    volume: PersistentVolume | None


class Volumes:
    """`on_change` is told of every change that may help a pod that waits for storage."""

    def __init__(self, api: Api, factory: Factory) -> None:
        self._api = api
        self._claims = factory.informer(PersistentVolumeClaim)
        self._volumes = factory.informer(PersistentVolume)
        self._classes = factory.informer(StorageClass)
        self._promised: dict[str, Claim] = {}  # by the volume's name
        self._changed = asyncio.Event()
        self.on_change: Callable[[ClusterEvent], None] = lambda event: None
        kinds: tuple[tuple[Any, Literal["PersistentVolumeClaim", "PersistentVolume", "StorageClass"]], ...] = (
            (self._claims, "PersistentVolumeClaim"),
            (self._volumes, "PersistentVolume"),
            (self._classes, "StorageClass"),
        )
        for informer, kind in kinds:
            informer.add_handler(
                on_add=lambda new, kind=kind: self._tell(ClusterEvent(kind, "Add", None, new)),
                on_update=lambda old, new, kind=kind: self._tell(ClusterEvent(kind, "Update", old, new)),
                on_delete=lambda old, kind=kind: self._tell(ClusterEvent(kind, "Delete", old, None)),
            )

    @property
    def has_synced(self) -> bool:
        return self._claims.has_synced and self._volumes.has_synced and self._classes.has_synced

    def _tell(self, event: ClusterEvent) -> None:
        self._changed.set()
        self.on_change(event)

    # -- what a pod needs -----------------------------------------------------------------------------------------

    def needs(self, pod: Pod) -> Needs | None:
        """None for a pod without claims."""
        names = claim_names(pod)
        if not names:
            return None
        needs = Needs()
        immediate = False
        for name, own in names:
            claim = self._claims.get(pod.metadata.namespace or "", name)
            if claim is None:
                waiting = f'waiting for ephemeral volume controller to create the persistentvolumeclaim "{name}"'
                return Needs(waiting if own else f'persistentvolumeclaim "{name}" not found')
            if claim.metadata.deletion_timestamp:
                return Needs(f'persistentvolumeclaim "{name}" is being deleted')
            if claim.status.phase == "Lost":
                volume_name = claim.spec.volume_name
                return Needs(f'persistentvolumeclaim "{name}" bound to non-existent persistentvolume "{volume_name}"')
            if own and not any(
                o.uid == pod.metadata.uid for o in claim.metadata.owner_references or () if o.controller
            ):
                namespace = pod.metadata.namespace
                what = f"PVC {namespace}/{name} was not created for pod {namespace}/{pod.metadata.name}"
                return Needs(f"{what} (pod is not owner)")
            if is_bound(claim):
                volume = self._volumes.get("", claim.spec.volume_name or "")
                if volume is None:
                    needs.missing = True
                else:
                    needs.bound.append(volume)
                continue
            storage_class = self._classes.get("", class_of(claim))
            waits = storage_class is not None and storage_class.volume_binding_mode == "WaitForFirstConsumer"
            if storage_class is not None and waits and not claim.spec.volume_name:
                needs.waiting.append((claim, storage_class))
            else:
                immediate = True
        return Needs("pod has unbound immediate PersistentVolumeClaims") if immediate else needs

    def exclusive(self, pod: Pod) -> set[str]:
        """Names of the pod's claims that only one pod may use."""
        namespace = pod.metadata.namespace or ""
        claims = [self._claims.get(namespace, name) for name, _ in claim_names(pod)] if pod.spec.volumes else []
        return {c.metadata.name or "" for c in claims if c and "ReadWriteOncePod" in (c.spec.access_modes or ())}

    def candidates(self, claim: PersistentVolumeClaim) -> list[PersistentVolume]:
        """Existing volumes that the claim could get, in the order in which they are taken: reserved, then smallest."""
        selector = selector_from(claim.spec.selector) if claim.spec.selector is not None else None
        key = (claim.metadata.namespace or "", claim.metadata.name or "")
        found = []
        for volume in self._volumes.list():
            if self._promised.get(volume.metadata.name or "", key) != key:
                continue
            if volume.spec.claim_ref is not None:
                if refers_to(volume.spec.claim_ref, claim) and capacity(volume) >= requested(claim):
                    return [volume]
                continue
            if volume.metadata.deletion_timestamp or volume.status.phase not in (None, "", "Pending", "Available"):
                continue
            if suits(volume, claim) or (selector is not None and not selector.matches(volume.metadata.labels)):
                continue
            found.append(volume)
        return sorted(found, key=capacity)

    def source_of(self, claim: PersistentVolumeClaim) -> PersistentVolume | None:
        """The volume that the claim's own is to be a copy of."""
        source = claim.spec.data_source or claim.spec.data_source_ref
        if source is None or source.kind != "PersistentVolumeClaim":
            return None
        original = self._claims.get(claim.metadata.namespace or "", source.name)
        return self._volumes.get("", original.spec.volume_name) if original and original.spec.volume_name else None

    @staticmethod
    def can_be_made(storage_class: StorageClass) -> bool:
        return bool(storage_class.provisioner) and storage_class.provisioner != NO_PROVISIONER

    # -- binding --------------------------------------------------------------------------------------------------

    def assume(self, choices: list[Choice]) -> None:
        for choice in choices:
            if choice.volume is not None:
                meta = choice.claim.metadata
                self._promised[choice.volume.metadata.name or ""] = (meta.namespace or "", meta.name or "")

    def forget(self, choices: list[Choice]) -> None:
        for choice in choices:
            if choice.volume is not None:
                self._promised.pop(choice.volume.metadata.name or "", None)

    async def bind(self, choices: list[Choice], node: str) -> None:
        """Write what was chosen and wait until every claim is bound. Raises BindingFailed."""
        try:
            async with asyncio.timeout(BIND_TIMEOUT_SECONDS):
                announced = [(choice, await self._announce(choice, node)) for choice in choices]
                while not all(self._done(choice, version, node) for choice, version in announced):
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise BindingFailed("binding volumes: context deadline exceeded") from None
        except errors.StatusError as error:
            raise BindingFailed(f"binding volumes: {error.message}") from None
        finally:
            self.forget(choices)

    async def _announce(self, choice: Choice, node: str) -> int:
        """The claim's resourceVersion from which on what was chosen stands in it."""
        claim, volume = choice.claim, choice.volume
        if volume is None:
            patch: dict[str, Any] = {
                "metadata": {
                    "uid": claim.metadata.uid,
                    "annotations": {SELECTED_NODE: node},
                }
            }
            if annotation(claim, SELECTED_NODE) != node:
                name, namespace = claim.metadata.name or "", claim.metadata.namespace or ""
                claim = await self._api.patch(PersistentVolumeClaim, name, patch, namespace=namespace)
            return int(claim.metadata.resource_version or 0)
        reserved = volume.spec.claim_ref
        if reserved is not None and reserved.uid == claim.metadata.uid:
            return 0
        ref = {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "namespace": claim.metadata.namespace,
            "name": claim.metadata.name,
            "uid": claim.metadata.uid,
            "resourceVersion": claim.metadata.resource_version,
        }
        metadata: dict[str, Any] = {"resourceVersion": volume.metadata.resource_version}
        if reserved is None:
            metadata["annotations"] = {BOUND_BY_CONTROLLER: "yes"}
        patch = {"metadata": metadata, "spec": {"claimRef": ref}}
        await self._api.patch(PersistentVolume, volume.metadata.name or "", patch)
        return 0

    def _done(self, choice: Choice, version: int, node: str) -> bool:
        """Raises BindingFailed if waiting longer is of no use."""
        meta = choice.claim.metadata
        claim = self._claims.get(meta.namespace or "", meta.name or "")
        if claim is None or claim.metadata.uid != meta.uid:
            raise BindingFailed(f'binding volumes: persistentvolumeclaim "{meta.name}" not found')
        if is_bound(claim):
            if choice.volume is not None and claim.spec.volume_name != choice.volume.metadata.name:
                raise BindingFailed(f'binding volumes: claim "{meta.name}" was bound to another volume')
            return True
        known = int(claim.metadata.resource_version or 0) >= version
        if choice.volume is None and known and annotation(claim, SELECTED_NODE) != node:
            # The provisioner takes its annotation away if it can't make a volume there.
            raise BindingFailed(f'binding volumes: selectedNode annotation reset for PVC "{meta.name}"')
        return False
