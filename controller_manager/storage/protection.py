"""Keeps claims that a pod uses, and volumes that a claim is bound to, from being deleted under them.

Each has a finalizer from its creation; when its deletion has been asked for it goes once nobody uses the object any
more, which a live list of pods confirms, since the cache may not know the newest.
"""

from __future__ import annotations

import asyncio

from api import codec, errors
from api.types.core_v1 import PersistentVolume, PersistentVolumeClaim, Pod
from client.controller import Controller
from client.store import Key, key_of
from controller_manager import pods as pod_facts
from controller_manager.context import Context
from controller_manager.storage.claims_of_pods import INDEX, claims_of

CLAIM_FINALIZER = "kubernetes.io/pvc-protection"
VOLUME_FINALIZER = "kubernetes.io/pv-protection"


class StorageProtectionController:
    def __init__(self, context: Context) -> None:
        self._api = context.api
        self._claims = context.informers.informer(PersistentVolumeClaim)
        self._volumes = context.informers.informer(PersistentVolume)
        self._pods = context.informers.informer(Pod)
        self.claims: Controller[Key] = Controller("pvcprotection", self.sync_claim, workers=4)
        self.volumes: Controller[Key] = Controller("pvprotection", self.sync_volume, workers=4)
        self._pods.add_index(INDEX, claims_of)
        self._claims.add_handler(
            on_add=lambda c: self.claims.enqueue(key_of(c)), on_update=lambda _, c: self.claims.enqueue(key_of(c))
        )
        self._volumes.add_handler(
            on_add=lambda v: self.volumes.enqueue(key_of(v)), on_update=lambda _, v: self.volumes.enqueue(key_of(v))
        )
        self._pods.add_handler(on_update=lambda _, new: self._wake(new) if _done(new) else None, on_delete=self._wake)

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self.claims.run())
            group.create_task(self.volumes.run())

    def _wake(self, pod: Pod) -> None:
        for key in claims_of(pod):
            self.claims.enqueue(key)

    async def sync_claim(self, key: Key) -> float | None:
        claim = self._claims.get(*key)
        if claim is None:
            return None
        finalizers = claim.metadata.finalizers or []
        if not claim.metadata.deletion_timestamp:
            if CLAIM_FINALIZER not in finalizers:
                await self._set(claim, [*finalizers, CLAIM_FINALIZER])
        elif CLAIM_FINALIZER in finalizers and not await self._used(key):
            await self._set(claim, [f for f in finalizers if f != CLAIM_FINALIZER])
        return None

    async def _used(self, key: Key) -> bool:
        if any(not _done(pod) for pod in self._pods.by_index(INDEX, key)):
            return True
        live = await self._api.list(Pod, namespace=key[0])
        return any(key in claims_of(pod) and not _done(pod) for pod in live.items)

    async def sync_volume(self, key: Key) -> float | None:
        volume = self._volumes.get(*key)
        if volume is None:
            return None
        finalizers = volume.metadata.finalizers or []
        if not volume.metadata.deletion_timestamp:
            if VOLUME_FINALIZER not in finalizers:
                await self._set(volume, [*finalizers, VOLUME_FINALIZER])
        elif VOLUME_FINALIZER in finalizers and volume.status.phase != "Bound":
            await self._set(volume, [f for f in finalizers if f != VOLUME_FINALIZER])
        return None

    async def _set(self, obj: PersistentVolumeClaim | PersistentVolume, finalizers: list[str]) -> None:
        changed = codec.deepcopy(obj)
        changed.metadata.finalizers = finalizers or None
        try:
            await self._api.update(changed)
        except errors.StatusError as error:
            if not errors.is_not_found(error):
                raise


def _done(pod: Pod) -> bool:
    """A pod uses its claims until it is gone or has ended; one that never got a node and goes uses nothing."""
    if not pod.spec.node_name and pod.metadata.deletion_timestamp:
        return True
    return pod_facts.is_terminal(pod)
