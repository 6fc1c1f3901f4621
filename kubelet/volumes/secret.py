"""secret: the keys of a Secret as files that follow it, kept in memory and never on the node's disk."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from api.types.core_v1 import Pod, Volume
from kubelet import mounts, podutil
from kubelet.objects import Objects
from kubelet.volumes import atomic_writer, payload
from kubelet.volumes.base import VolumeKind
from kubelet.volumes.ownership import apply_fs_group


def memory_directory(path: Path) -> None:
    """An in-memory file system at `path`, if there is none yet."""
    path.mkdir(mode=0o777, parents=True, exist_ok=True)
    if not mounts.is_mount_point(path):
        mounts.mount("tmpfs", path, "tmpfs", mounts.MS_NOSUID | mounts.MS_NODEV)
    path.chmod(0o777)


class SecretVolume(VolumeKind):
    plugin: ClassVar[str] = "kubernetes.io/secret"
    live: ClassVar[bool] = True

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    def supports(self, volume: Volume) -> bool:
        return volume.secret is not None

    async def set_up(self, pod: Pod, volume: Volume, path: Path) -> Path:
        source = volume.secret
        assert source is not None
        mode = payload.DEFAULT_MODE if source.default_mode is None else source.default_mode
        files = await payload.secret_files(
            self._objects, podutil.namespace(pod), source.secret_name or "", source.items, mode, bool(source.optional)
        )
        memory_directory(path)
        atomic_writer.write(path, files, lambda fresh: apply_fs_group(pod, fresh, read_only=True))
        return path
