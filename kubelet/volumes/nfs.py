"""nfs: a directory of an NFS server, mounted by the system's own `mount` program."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from api.types.core_v1 import Pod, Volume
from kubelet import mounts
from kubelet.volumes.base import VolumeError, VolumeKind


async def mount_nfs(server: str, export: str, path: Path, read_only: bool, options: Sequence[str] = ()) -> None:
    """Raises VolumeError with what `mount` said."""
    path.mkdir(mode=0o750, parents=True, exist_ok=True)
    if mounts.is_mount_point(path):
        return
    chosen = [*options, *(["ro"] if read_only else [])]
    host = f"[{server}]" if ":" in server else server
    command = ["mount", "-t", "nfs", *(["-o", ",".join(chosen)] if chosen else []), f"{host}:{export}", str(path)]
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await process.communicate()
    if process.returncode:
        raise VolumeError(
            f"mount failed: exit status {process.returncode}\nMounting command: mount\n"
            f"Mounting arguments: {' '.join(command[1:])}\nOutput: {output.decode(errors='replace')}"
        )


class NFS(VolumeKind):
    plugin: ClassVar[str] = "kubernetes.io/nfs"

    def supports(self, volume: Volume) -> bool:
        return volume.nfs is not None

    async def set_up(self, pod: Pod, volume: Volume, path: Path) -> Path:
        assert volume.nfs is not None
        await mount_nfs(volume.nfs.server, volume.nfs.path, path, bool(volume.nfs.read_only))
        return path
