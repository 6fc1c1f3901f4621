"""Gives claims the larger size that they ask for.

Only if their class allows it. A directory has no size of its own: for volumes of our own provisioner capacity is a
number, which is raised on the volume and then on the claim. For others the claim says that it waits.
"""

from __future__ import annotations

from api import codec
from api.quantity import Quantity
from api.types.core_v1 import PersistentVolume, PersistentVolumeClaim
from api.types.storage_v1 import StorageClass
from client.controller import Controller
from client.store import Key, key_of
from controller_manager.context import Context
from controller_manager.storage import local_provisioner, matching


class ExpansionController:
    def __init__(self, context: Context) -> None:
        self._api = context.api
        self._recorder = context.recorder("volume_expand")
        self._claims = context.informers.informer(PersistentVolumeClaim)
        self._volumes = context.informers.informer(PersistentVolume)
        self._classes = context.informers.informer(StorageClass)
        self.controller: Controller[Key] = Controller("volume_expand", self.reconcile, workers=2)
        self._claims.add_handler(
            on_add=lambda c: self.controller.enqueue(key_of(c)),
            on_update=lambda _, c: self.controller.enqueue(key_of(c)),
        )

    async def run(self) -> None:
        await self.controller.run()

    async def reconcile(self, key: Key) -> float | None:
        claim = self._claims.get(*key)
        if claim is None or claim.status.phase != "Bound" or not claim.spec.volume_name:
            return None
        wanted = matching.requested(claim)
        if wanted <= Quantity((claim.status.capacity or {}).get("storage", 0)):
            return None
        volume = self._volumes.get("", claim.spec.volume_name)
        storage_class = self._classes.get("", matching.class_of(claim))
        if volume is None or storage_class is None or not storage_class.allow_volume_expansion:
            return None
        if matching.annotation(volume, matching.PROVISIONED_BY) != local_provisioner.PROVISIONER:
            message = (
                "waiting for an external controller to expand this PVC: "
                f"{matching.annotation(volume, matching.PROVISIONED_BY) or storage_class.provisioner}"
            )
            self._recorder.event(claim, "Normal", "ExternalExpanding", message)
            return None
        if matching.capacity(volume) < wanted:
            larger = codec.deepcopy(volume)
            larger.spec.capacity = {**(larger.spec.capacity or {}), "storage": str(wanted)}
            await self._api.update(larger)
        changed = codec.deepcopy(claim)
        changed.status.capacity = {**(changed.status.capacity or {}), "storage": str(wanted)}
        await self._api.update_status(changed)
        message = f"ExpandVolume succeeded for volume {key[0]}/{key[1]}"
        self._recorder.event(claim, "Normal", "VolumeResizeSuccessful", message)
        return None
