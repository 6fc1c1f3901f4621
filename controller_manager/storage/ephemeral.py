"""Makes the claims of pods' ephemeral volumes (KEP-1698).

The claim is named after pod and volume, is owned by the pod, and goes with it. A claim of that name that belongs to
somebody else is never used: the pod stays pending and an event says why.
"""

from __future__ import annotations

from api import codec, errors
from api.types.core_v1 import PersistentVolumeClaim, Pod
from api.types.meta_v1 import ObjectMeta
from client.controller import Controller
from client.store import Key, key_of
from controller_manager import pods as pod_facts
from controller_manager.context import Context
from controller_manager.owners import controller_ref, is_controlled_by
from controller_manager.storage.claims_of_pods import ephemeral_claim


class EphemeralVolumeController:
    def __init__(self, context: Context) -> None:
        self._api = context.api
        self._recorder = context.recorder("ephemeral_volume")
        self._pods = context.informers.informer(Pod)
        self._claims = context.informers.informer(PersistentVolumeClaim)
        self.controller: Controller[Key] = Controller("ephemeral_volume", self.reconcile, workers=4)
        self._pods.add_handler(on_add=self._seen)

    async def run(self) -> None:
        await self.controller.run()

    def _seen(self, pod: Pod) -> None:
        if not pod.metadata.deletion_timestamp and any(v.ephemeral is not None for v in pod.spec.volumes or ()):
            self.controller.enqueue(key_of(pod))

    async def reconcile(self, key: Key) -> float | None:
        pod = self._pods.get(*key)
        if pod is None or pod.metadata.deletion_timestamp or pod_facts.is_terminal(pod):
            return None
        for volume in pod.spec.volumes or ():
            if volume.ephemeral is None or volume.ephemeral.volume_claim_template is None:
                continue
            name = ephemeral_claim(pod, volume.name)
            existing = self._claims.get(key[0], name)
            if existing is not None:
                if not is_controlled_by(existing, pod):
                    message = f"PVC {key[0]}/{name} was not created for pod {key[0]}/{key[1]} (pod is not owner)"
                    self._recorder.event(pod, "Warning", "EphemeralVolumeClaimConflict", message)
                    raise errors.conflict("persistentvolumeclaims", name, message)
                continue
            template = codec.deepcopy(volume.ephemeral.volume_claim_template)
            claim = PersistentVolumeClaim(
                metadata=ObjectMeta(
                    name=name,
                    namespace=key[0],
                    labels=template.metadata.labels,
                    annotations=template.metadata.annotations,
                    owner_references=[controller_ref(pod)],
                ),
                spec=template.spec,
            )
            await self._api.create(claim)
        return None
