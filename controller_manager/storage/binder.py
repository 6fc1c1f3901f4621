"""Binds claims to volumes, and gives volumes back when their claim is gone.

Invariants:
- a volume belongs to one claim: `spec.claimRef` is written first and with the claim's uid, and decides every dispute;
- a bound claim whose volume disappears or belongs to another is Lost, and stays so;
- classes with WaitForFirstConsumer wait until a pod that uses the claim has a node, then volume and node have to agree;
- a volume whose claim is gone is Released, then kept (Retain), deleted (Delete), or marked failed (Recycle, which
  upstream has given up).

Volumes of classes of our own provisioner are made here (`local_provisioner.py`); others by whoever watches for the
annotation that names their provisioner.
"""

from __future__ import annotations

import asyncio
from typing import Any

from api import codec, errors
from api.types.core_v1 import Node, ObjectReference, PersistentVolume, PersistentVolumeClaim, Pod
from api.types.storage_v1 import StorageClass
from client.controller import Controller
from client.store import Key, key_of
from controller_manager import pods as pod_facts
from controller_manager.context import Context
from controller_manager.storage import local_directories, matching
from controller_manager.storage import local_provisioner as local
from controller_manager.storage.claims_of_pods import INDEX, claims_of

_STATIC = "kubernetes.io/no-provisioner"


class PersistentVolumeBinder:
    def __init__(self, context: Context) -> None:
        self._api = context.api
        self._root = context.settings.local_volume_root
        self._recorder = context.recorder("persistentvolume-controller")
        self._claims = context.informers.informer(PersistentVolumeClaim)
        self._volumes = context.informers.informer(PersistentVolume)
        self._classes = context.informers.informer(StorageClass)
        self._pods = context.informers.informer(Pod)
        self._nodes = context.informers.informer(Node)
        self._directories = local_directories.LocalDirectories(
            context.api, self._pods, self._nodes, root=self._root, image=context.settings.local_volume_image
        )
        self._fresh: dict[str, Any] = {}  # by uid: what we wrote and the informer has not shown yet
        self.claims: Controller[Key] = Controller("claims", self.sync_claim, workers=1)
        self.volumes: Controller[Key] = Controller("volumes", self.sync_volume, workers=1)
        self._pods.add_index(INDEX, claims_of)
        self._claims.add_handler(
            on_add=lambda c: self.claims.enqueue(key_of(c)),
            on_update=lambda _, c: self.claims.enqueue(key_of(c)),
            on_delete=self._claim_gone,
        )
        self._volumes.add_handler(
            on_add=self._volume_changed, on_update=lambda _, v: self._volume_changed(v), on_delete=self._volume_changed
        )
        self._classes.add_handler(on_add=lambda _: self._wake_unbound(), on_update=lambda _, __: self._wake_unbound())
        self._pods.add_handler(on_add=self._pod_seen, on_update=lambda _, new: self._pod_seen(new))

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self.claims.run())
            group.create_task(self.volumes.run())

    # -- events -----------------------------------------------------------------------------------------------------

    def _claim_gone(self, claim: PersistentVolumeClaim) -> None:
        self._fresh.pop(claim.metadata.uid or "", None)
        for volume in self._volumes.list():
            if matching.refers_to(volume.spec.claim_ref, claim):
                self.volumes.enqueue(key_of(volume))

    def _volume_changed(self, volume: PersistentVolume) -> None:
        self.volumes.enqueue(key_of(volume))
        ref = volume.spec.claim_ref
        if ref is not None:
            self.claims.enqueue((ref.namespace or "", ref.name or ""))
        else:
            self._wake_unbound()

    def _wake_unbound(self) -> None:
        for claim in self._claims.list():
            if not matching.annotation(claim, matching.BIND_COMPLETED):
                self.claims.enqueue(key_of(claim))

    def _pod_seen(self, pod: Pod) -> None:
        task = (pod.metadata.labels or {}).get(local_directories.LABEL)
        if task and pod.metadata.namespace == local_directories.NAMESPACE:
            self.volumes.enqueue(("", task))
            self._wake_unbound()
            return
        for key in claims_of(pod):
            claim = self._claims.get(*key)
            if claim is not None and not claim.spec.volume_name:
                self.claims.enqueue(key)

    def _newest(self, obj: Any) -> Any:
        """The informer's object, or what we made of it meanwhile."""
        ours = self._fresh.get(obj.metadata.uid)
        if ours is None:
            return obj
        if int(ours.metadata.resource_version or 0) > int(obj.metadata.resource_version or 0):
            return ours
        del self._fresh[obj.metadata.uid]
        return obj

    async def _write(self, obj: Any, *, status: bool = False) -> Any:
        written = await (self._api.update_status(obj) if status else self._api.update(obj))
        self._fresh[written.metadata.uid] = written
        return written

    # -- claims -----------------------------------------------------------------------------------------------------

    async def sync_claim(self, key: Key) -> float | None:
        cached = self._claims.get(*key)
        if cached is None:
            return None
        claim = self._newest(cached)
        if matching.annotation(claim, matching.BIND_COMPLETED):
            await self._sync_bound(claim)
        elif claim.spec.volume_name:
            await self._sync_named(claim)
        else:
            await self._sync_unbound(claim)
        return None

    async def _sync_bound(self, claim: PersistentVolumeClaim) -> None:
        volume = self._volume(claim.spec.volume_name or "")
        if not claim.spec.volume_name or volume is None:
            message = "Bound claim has lost its PersistentVolume. Data on the volume is lost!"
            await self._lose(claim, "ClaimLost", message)
        elif volume.spec.claim_ref is None or matching.refers_to(volume.spec.claim_ref, claim):
            await self._bind(volume, claim)
        else:
            message = "Two claims are bound to the same volume, this one is bound incorrectly"
            await self._lose(claim, "ClaimMisbound", message)

    async def _lose(self, claim: PersistentVolumeClaim, reason: str, message: str) -> None:
        if claim.status.phase == "Lost":
            return
        await self._set_claim_phase(claim, "Lost")
        self._recorder.event(claim, "Warning", reason, message)

    async def _sync_named(self, claim: PersistentVolumeClaim) -> None:
        """The claim asks for one volume by name."""
        volume = self._volume(claim.spec.volume_name or "")
        if volume is None:
            await self._set_claim_phase(claim, "Pending")
            return
        ref = volume.spec.claim_ref
        if ref is not None and not matching.refers_to(ref, claim):
            await self._set_claim_phase(claim, "Pending")
            message = f'volume "{volume.metadata.name}" already bound to a different claim.'
            self._recorder.event(claim, "Warning", "FailedBinding", message)
            return
        why = matching.suits(volume, claim)
        if why and ref is None:
            message = f'Cannot bind to requested volume "{volume.metadata.name}": {why}'
            self._recorder.event(claim, "Warning", "VolumeMismatch", message)
            await self._set_claim_phase(claim, "Pending")
            return
        await self._bind(volume, claim)

    async def _sync_unbound(self, claim: PersistentVolumeClaim) -> None:
        claim = await self._with_default_class(claim)
        storage_class = self._classes.get("", matching.class_of(claim))
        waits = storage_class is not None and storage_class.volume_binding_mode == "WaitForFirstConsumer"
        node = self._node_for(claim)
        volumes = map(self._newest, self._volumes.list())
        volume = matching.best(volumes, claim, node=node, delayed=waits and node is None)
        if volume is not None:
            await self._bind(volume, claim)
            return
        await self._set_claim_phase(claim, "Pending")
        if claim.metadata.deletion_timestamp:
            return
        if waits and node is None:
            users = [p for p in self._users(claim) if not pod_facts.is_terminal(p)]
            if users:
                listed = ", ".join(sorted(p.metadata.name or "" for p in users))
                message = f"waiting for pod {listed} to be scheduled"
                self._recorder.event(claim, "Normal", "WaitForPodScheduled", message)
            else:
                message = "waiting for first consumer to be created before binding"
                self._recorder.event(claim, "Normal", "WaitForFirstConsumer", message)
        elif not matching.class_of(claim):
            message = "no persistent volumes available for this claim and no storage class is set"
            self._recorder.event(claim, "Normal", "FailedBinding", message)
        else:
            await self._provision(claim, storage_class, node)

    async def _with_default_class(self, claim: PersistentVolumeClaim) -> PersistentVolumeClaim:
        if claim.spec.storage_class_name is not None or matching.annotation(claim, matching.BETA_CLASS):
            return claim
        default = matching.default_class(self._classes.list())
        if default is None:
            return claim
        changed = codec.deepcopy(claim)
        changed.spec.storage_class_name = default.metadata.name
        written: PersistentVolumeClaim = await self._write(changed)
        return written

    def _users(self, claim: PersistentVolumeClaim) -> list[Pod]:
        return self._pods.by_index(INDEX, key_of(claim))

    def _node_for(self, claim: PersistentVolumeClaim) -> Node | None:
        """Where the scheduler wants the claim, or where a pod that uses it was put."""
        chosen = matching.annotation(claim, matching.SELECTED_NODE)
        if not chosen:
            chosen = next((p.spec.node_name or "" for p in self._users(claim) if p.spec.node_name), "")
        return self._nodes.get("", chosen) if chosen else None

    async def _provision(
        self, claim: PersistentVolumeClaim, storage_class: StorageClass | None, node: Node | None
    ) -> None:
        if storage_class is None:
            message = f'storageclass.storage.k8s.io "{matching.class_of(claim)}" not found'
            self._recorder.event(claim, "Warning", "ProvisioningFailed", message)
            return
        provisioner = storage_class.provisioner
        if provisioner == _STATIC:
            message = "no volume plugin matched name: kubernetes.io/no-provisioner"
            self._recorder.event(claim, "Normal", "FailedBinding", message)
            return
        marks = {matching.PROVISIONER: provisioner, matching.BETA_PROVISIONER: provisioner}
        if any(matching.annotation(claim, name) != value for name, value in marks.items()):
            changed = codec.deepcopy(claim)
            changed.metadata.annotations = {**(changed.metadata.annotations or {}), **marks}
            claim = await self._write(changed)
        if provisioner != local.PROVISIONER:
            message = (
                f"Waiting for a volume to be created either by the external provisioner '{provisioner}' or manually by "
                "the system administrator. If volume creation is delayed, please verify that the provisioner is "
                "running and correctly registered."
            )
            self._recorder.event(claim, "Normal", "ExternalProvisioning", message)
            return
        try:
            volume = local.volume_for(claim, storage_class, node, self._root)
            if (claim.spec.data_source or claim.spec.data_source_ref) and not await self._copied(claim, volume):
                return
            made = await self._api.create(volume)
        except (errors.StatusError, local.Impossible, local_directories.TaskFailed) as error:
            if isinstance(error, errors.StatusError) and errors.is_already_exists(error):
                return
            message = f'failed to provision volume with StorageClass "{storage_class.metadata.name}": {error}'
            self._recorder.event(claim, "Warning", "ProvisioningFailed", message)
            if isinstance(error, local.Impossible):
                return
            raise
        self._fresh[made.metadata.uid or ""] = made
        message = f"Successfully provisioned volume {made.metadata.name} using {provisioner}"
        self._recorder.event(claim, "Normal", "ProvisioningSucceeded", message)
        await self._bind(made, claim)

    async def _copied(self, claim: PersistentVolumeClaim, volume: PersistentVolume) -> bool:
        """Whether the new volume holds what the claim's source does. Raises Impossible, TaskFailed."""
        asked = claim.spec.data_source or claim.spec.data_source_ref
        assert asked is not None
        if asked.kind != "PersistentVolumeClaim":
            raise local.Impossible(f"a directory cannot be made from a {asked.kind}")
        source = self._claims.get(claim.metadata.namespace or "", asked.name)
        if source is None:
            raise local.Impossible(f'persistentvolumeclaim "{asked.name}" not found')
        held = self._volume(source.spec.volume_name or "") if source.spec.volume_name else None
        if held is None or matching.annotation(held, matching.PROVISIONED_BY) != local.PROVISIONER:
            raise local.Impossible(f'claim "{asked.name}" has no volume of {local.PROVISIONER} yet')
        if matching.requested(claim) < matching.capacity(held):
            raise local.Impossible(f'the clone of "{asked.name}" must not be smaller than it')
        if matching.annotation(held, matching.SELECTED_NODE) != matching.annotation(volume, matching.SELECTED_NODE):
            raise local.Impossible(f'the volume of "{asked.name}" is on another node')
        return await self._directories.copied(held, volume)

    # -- binding ----------------------------------------------------------------------------------------------------

    async def _bind(self, volume: PersistentVolume, claim: PersistentVolumeClaim) -> None:
        """Volume first, claim second: in between the claimRef says whose the volume is."""
        volume = await self._bind_volume(volume, claim)
        if volume.status.phase != "Bound":
            await self._set_volume_phase(volume, "Bound")
        changed = codec.deepcopy(claim)
        annotations = changed.metadata.annotations = changed.metadata.annotations or {}
        if changed.spec.volume_name != volume.metadata.name:
            changed.spec.volume_name = volume.metadata.name
            annotations[matching.BOUND_BY_CONTROLLER] = "yes"
        annotations[matching.BIND_COMPLETED] = "yes"
        if changed != claim:
            claim = await self._write(changed)
        status = codec.deepcopy(claim)
        status.status.phase = "Bound"
        status.status.access_modes = volume.spec.access_modes
        if claim.status.phase != "Bound" or not claim.status.capacity:
            status.status.capacity = volume.spec.capacity
        if status.status != claim.status:
            await self._write(status, status=True)

    async def _bind_volume(self, volume: PersistentVolume, claim: PersistentVolumeClaim) -> PersistentVolume:
        ref = volume.spec.claim_ref
        if ref is not None and ref.uid == claim.metadata.uid:
            return volume
        changed = codec.deepcopy(volume)
        meta = claim.metadata
        changed.spec.claim_ref = ObjectReference(
            api_version="v1",
            kind="PersistentVolumeClaim",
            namespace=meta.namespace,
            name=meta.name,
            uid=meta.uid,
            resource_version=meta.resource_version,
        )
        if ref is None:
            marked = {**(changed.metadata.annotations or {}), matching.BOUND_BY_CONTROLLER: "yes"}
            changed.metadata.annotations = marked
        written: PersistentVolume = await self._write(changed)
        return written

    async def _set_claim_phase(self, claim: PersistentVolumeClaim, phase: str) -> None:
        if claim.status.phase != phase:
            changed = codec.deepcopy(claim)
            changed.status.phase = phase
            await self._write(changed, status=True)

    async def _set_volume_phase(self, volume: PersistentVolume, phase: str, message: str | None = None) -> None:
        if volume.status.phase != phase:
            changed = codec.deepcopy(volume)
            changed.status.phase, changed.status.message = phase, message
            await self._write(changed, status=True)

    # -- volumes ----------------------------------------------------------------------------------------------------

    def _volume(self, name: str) -> PersistentVolume | None:
        found = self._volumes.get("", name)
        return self._newest(found) if found is not None else self._just_made(name)

    def _just_made(self, name: str) -> PersistentVolume | None:
        for obj in self._fresh.values():
            if isinstance(obj, PersistentVolume) and obj.metadata.name == name:
                return obj
        return None

    async def sync_volume(self, key: Key) -> float | None:
        cached = self._volumes.get(*key)
        if cached is None:
            self._forget_volume(key[1])
            return None
        volume: PersistentVolume = self._newest(cached)
        ref = volume.spec.claim_ref
        if ref is None or not ref.uid:
            await self._set_volume_phase(volume, "Available")
            return None
        claim = self._claims.get(ref.namespace or "", ref.name or "")
        if claim is None or claim.metadata.uid != ref.uid:
            claim = await self._live_claim(ref)
        if claim is None:
            await self._release(volume)
        elif claim.spec.volume_name == volume.metadata.name:
            await self._set_volume_phase(volume, "Bound")
        elif not claim.spec.volume_name:
            self.claims.enqueue(key_of(claim))
        elif matching.annotation(volume, matching.PROVISIONED_BY) and volume.spec.persistent_volume_reclaim_policy == (
            "Delete"
        ):
            await self._release(volume)  # made for a claim that has found another volume meanwhile
        else:
            await self._unbind(volume)
        return None

    def _forget_volume(self, name: str) -> None:
        for uid, obj in list(self._fresh.items()):
            if isinstance(obj, PersistentVolume) and obj.metadata.name == name:
                del self._fresh[uid]

    async def _live_claim(self, ref: ObjectReference) -> PersistentVolumeClaim | None:
        """The cache may not know yet of a claim that was made a moment ago."""
        try:
            live = await self._api.get(PersistentVolumeClaim, ref.name or "", namespace=ref.namespace or "")
        except errors.StatusError as error:
            if errors.is_not_found(error):
                return None
            raise
        return live if live.metadata.uid == ref.uid else None

    async def _unbind(self, volume: PersistentVolume) -> None:
        changed = codec.deepcopy(volume)
        annotations = changed.metadata.annotations or {}
        if annotations.pop(matching.BOUND_BY_CONTROLLER, None):
            changed.spec.claim_ref = None
        elif changed.spec.claim_ref is not None:
            changed.spec.claim_ref.uid = None
        changed.metadata.annotations = annotations or None
        await self._set_volume_phase(await self._write(changed), "Available")

    async def _release(self, volume: PersistentVolume) -> None:
        if volume.status.phase != "Failed":
            await self._set_volume_phase(volume, "Released")
            volume = self._newest(volume)
        policy = volume.spec.persistent_volume_reclaim_policy
        if policy == "Recycle":
            message = "Volume recycling is deprecated and not supported: use dynamic provisioning instead"
            if volume.status.phase != "Failed":
                self._recorder.event(volume, "Warning", "VolumeFailedRecycle", message)
                await self._set_volume_phase(volume, "Failed", message)
        elif policy == "Delete" and not volume.metadata.deletion_timestamp:
            if matching.annotation(volume, matching.PROVISIONED_BY) != local.PROVISIONER:
                return  # whoever made it deletes it
            try:
                if not await self._directories.removed(volume):
                    return
                await self._api.delete(PersistentVolume, volume.metadata.name or "", uid=volume.metadata.uid)
            except local_directories.TaskFailed as error:
                self._recorder.event(volume, "Warning", "VolumeFailedDelete", str(error))
                raise
            except errors.StatusError as error:
                if not errors.is_not_found(error):
                    raise
