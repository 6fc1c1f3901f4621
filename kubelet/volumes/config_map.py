"""configMap: the keys of a ConfigMap as files that follow it."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from api.types.core_v1 import Pod, Volume
from kubelet import podutil
from kubelet.objects import Objects
from kubelet.volumes import contents, payload
from kubelet.volumes.base import VolumeKind


class ConfigMapVolume(VolumeKind):
    plugin: ClassVar[str] = "kubernetes.io/configmap"
    live: ClassVar[bool] = True

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    def supports(self, volume: Volume) -> bool:
        return volume.config_map is not None

    async def set_up(self, pod: Pod, volume: Volume, path: Path) -> Path:
        source = volume.config_map
        assert source is not None
        mode = payload.DEFAULT_MODE if source.default_mode is None else source.default_mode
        files = await payload.config_map_files(
            self._objects, podutil.namespace(pod), source.name or "", source.items, mode, bool(source.optional)
        )
        contents.show(pod, path, files, in_memory=False)
        return path
