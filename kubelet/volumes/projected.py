"""projected: several sources in one directory: ConfigMaps, Secrets, pod fields, service-account tokens."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from api import errors
from api.types.core_v1 import Pod, Volume
from kubelet import podutil
from kubelet.objects import Objects
from kubelet.tokens import DEFAULT_EXPIRATION, Tokens
from kubelet.volumes import contents, payload
from kubelet.volumes.atomic_writer import Projected
from kubelet.volumes.base import VolumeError, VolumeKind
from kubelet.volumes.downward_api import Allocatable, downward_files
from kubelet.volumes.ownership import fs_group


class ProjectedVolume(VolumeKind):
    plugin: ClassVar[str] = "kubernetes.io/projected"
    live: ClassVar[bool] = True

    def __init__(self, objects: Objects, tokens: Tokens, allocatable: Allocatable) -> None:
        self._objects = objects
        self._tokens = tokens
        self._allocatable = allocatable

    def supports(self, volume: Volume) -> bool:
        return volume.projected is not None

    async def set_up(self, pod: Pod, volume: Volume, path: Path) -> Path:
        files = await self._collect(pod, volume)
        contents.show(pod, path, files, in_memory=True)
        return path

    def refresh_after(self, pod: Pod, volume: Volume) -> float | None:
        sources = (volume.projected.sources if volume.projected else None) or ()
        waits = [
            self._tokens.rotate_after(pod, t.audience or "", t.expiration_seconds or DEFAULT_EXPIRATION)
            for source in sources
            if (t := source.service_account_token)
        ]
        return min(waits, default=None)

    async def _collect(self, pod: Pod, volume: Volume) -> dict[str, Projected]:
        assert volume.projected is not None
        projected = volume.projected
        namespace = podutil.namespace(pod)
        mode = payload.DEFAULT_MODE if projected.default_mode is None else projected.default_mode
        files: dict[str, Projected] = {}
        for source in projected.sources or ():
            if secret := source.secret:
                files |= await payload.secret_files(
                    self._objects, namespace, secret.name or "", secret.items, mode, bool(secret.optional)
                )
            elif config_map := source.config_map:
                files |= await payload.config_map_files(
                    self._objects, namespace, config_map.name or "", config_map.items, mode, bool(config_map.optional)
                )
            elif source.downward_api:
                files |= downward_files(pod, source.downward_api.items or (), mode, self._allocatable())
            elif token := source.service_account_token:
                files[token.path] = await self._token(
                    pod, token.audience or "", token.expiration_seconds or DEFAULT_EXPIRATION, mode
                )
            elif (bundle := source.cluster_trust_bundle) and not bundle.optional:
                raise VolumeError("ClusterTrustBundle projection is not supported in static kubelet mode")
        return files

    async def _token(self, pod: Pod, audience: str, seconds: int, mode: int) -> Projected:
        try:
            value = await self._tokens.get(pod, audience, seconds)
        except errors.StatusError as error:
            raise VolumeError(f"failed to fetch token: {error.message}") from None
        user = _common_user(pod)
        if user is not None or fs_group(pod) is not None:
            mode = 0o600
        return Projected(value.encode(), mode, user)


def _common_user(pod: Pod) -> int | None:
    """The user that every container runs as, if the spec says so: only then may the token belong to it alone."""
    shared = pod.spec.security_context.run_as_user if pod.spec.security_context else None
    users = set()
    for container in podutil.all_containers(pod):
        own = container.security_context.run_as_user if container.security_context else None
        users.add(shared if own is None else own)
    return users.pop() if len(users) == 1 else None
