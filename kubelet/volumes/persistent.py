"""persistentVolumeClaim and ephemeral: the volume behind a claim, once the claim is bound.

PersistentVolumes of type hostPath, local and nfs are served; what a CSI driver would do is refused in upstream's words.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from api import errors
from api.types.core_v1 import PersistentVolume, PersistentVolumeClaim, Pod, Volume
from api.volumes import LOCAL_PROVISIONER, PROVISIONED_BY, annotation
from client import Api
from kubelet import podutil
from kubelet.volumes import host_path
from kubelet.volumes.base import VolumeError, VolumeKind
from kubelet.volumes.csi import not_registered
from kubelet.volumes.nfs import mount_nfs
from kubelet.volumes.ownership import apply_fs_group


class PersistentVolumeClaimVolume(VolumeKind):
    plugin: ClassVar[str] = "kubernetes.io/local-volume"

    def __init__(self, api: Api) -> None:
        self._api = api

    def supports(self, volume: Volume) -> bool:
        return volume.persistent_volume_claim is not None or volume.ephemeral is not None

    async def set_up(self, pod: Pod, volume: Volume, path: Path) -> Path:
        claim = await self._claim(pod, volume)
        found = await self._volume(claim)
        read_only = bool(volume.persistent_volume_claim and volume.persistent_volume_claim.read_only)
        return await self._mount(pod, found, path, read_only)

    async def _claim(self, pod: Pod, volume: Volume) -> PersistentVolumeClaim:
        namespace = podutil.namespace(pod)
        source = volume.persistent_volume_claim
        name = source.claim_name if source else f"{podutil.name(pod)}-{volume.name}"
        try:
            claim = await self._api.get(PersistentVolumeClaim, name, namespace=namespace)
        except errors.StatusError as error:
            raise VolumeError(
                f"error processing PVC {namespace}/{name}: failed to fetch PVC from API server: {error.message}"
            ) from None
        owners = claim.metadata.owner_references or []
        if source is None and not any(o.uid == podutil.uid(pod) for o in owners if o.controller):
            raise VolumeError(f"PVC {namespace}/{name} was not created for pod {podutil.key(pod)} (pod is not owner)")
        if claim.status.phase != "Bound" or not claim.spec.volume_name:
            raise VolumeError(f"error processing PVC {namespace}/{name}: PVC is not bound")
        return claim

    async def _volume(self, claim: PersistentVolumeClaim) -> PersistentVolume:
        name = claim.spec.volume_name or ""
        try:
            found = await self._api.get(PersistentVolume, name)
        except errors.StatusError as error:
            raise VolumeError(f"failed to fetch PV {name} from API server: {error.message}") from None
        bound_to = found.spec.claim_ref
        if bound_to is None or bound_to.uid != claim.metadata.uid:
            raise VolumeError(f"PV {name} claimRef UID doesn't match the claim's UID {claim.metadata.uid}")
        return found

    async def _mount(self, pod: Pod, found: PersistentVolume, path: Path, read_only: bool) -> Path:
        spec = found.spec
        if spec.host_path:
            source = Path(spec.host_path.path)
            host_path.check(source, spec.host_path.type or "")
            return source
        if spec.local:
            local = Path(spec.local.path)
            if not local.exists() and annotation(found, PROVISIONED_BY) == LOCAL_PROVISIONER:
                # The provisioner only names the directory: this is the first pod that uses it.
                local.mkdir(parents=True)
                local.chmod(0o777)
            if not local.exists():
                raise VolumeError(f'path "{local}" does not exist')
            if spec.volume_mode != "Block":
                apply_fs_group(pod, local, read_only=read_only, outlives_pod=True)
            return local
        if spec.nfs:
            only = read_only or bool(spec.nfs.read_only)
            await mount_nfs(spec.nfs.server, spec.nfs.path, path, only, spec.mount_options or ())
            return path
        if spec.csi:
            raise not_registered(spec.csi.driver)
        raise VolumeError("no volume plugin matched")
