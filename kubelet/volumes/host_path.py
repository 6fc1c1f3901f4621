"""hostPath: a path of the node, checked (and made, if its type says so) before containers see it."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from api.types.core_v1 import Pod, Volume
from kubelet.volumes.base import VolumeError, VolumeKind

_CHECKS: dict[str, tuple[Callable[[int], bool], str]] = {
    "Directory": (stat.S_ISDIR, "a directory"),
    "DirectoryOrCreate": (stat.S_ISDIR, "a directory"),
    "File": (stat.S_ISREG, "a file"),
    "FileOrCreate": (stat.S_ISREG, "a file"),
    "Socket": (stat.S_ISSOCK, "a socket file"),
    "CharDevice": (stat.S_ISCHR, "a character device"),
    "BlockDevice": (stat.S_ISBLK, "a block device"),
}


def check(path: Path, kind: str) -> None:
    """Make what may be made and raise VolumeError if the path is not what `kind` says."""
    if kind == "DirectoryOrCreate" and not path.exists():
        path.mkdir(mode=0o755, parents=True)
        path.chmod(0o755)
    elif kind == "FileOrCreate" and not path.exists():
        if not path.parent.is_dir():
            raise VolumeError(f"open {path}: no such file or directory")
        path.touch(mode=0o644)
    if not kind:
        if not path.exists():
            path.mkdir(parents=True)  # as a container runtime does for a bind mount whose source is missing
        return
    test, noun = _CHECKS[kind]
    try:
        mode = path.stat().st_mode
    except OSError:
        raise VolumeError(f"hostPath type check failed: {path} is not {noun}") from None
    if not test(mode):
        raise VolumeError(f"hostPath type check failed: {path} is not {noun}")


class HostPath(VolumeKind):
    plugin: ClassVar[str] = "kubernetes.io/host-path"

    def supports(self, volume: Volume) -> bool:
        return volume.host_path is not None

    async def set_up(self, pod: Pod, volume: Volume, path: Path) -> Path:
        assert volume.host_path is not None
        source = Path(volume.host_path.path)
        check(source, volume.host_path.type or "")
        return source
