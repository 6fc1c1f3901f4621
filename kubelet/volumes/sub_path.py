"""subPath: one file or directory inside a volume, held by a bind mount so that nothing can be swapped underneath.

The path is resolved once, must stay inside the volume, and is then opened component by component without following
links; what is mounted is the open descriptor, not the name (CVE-2017-1002101).
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from kubelet import mounts
from kubelet.volumes.base import VolumeError


def prepare(volume: Path, sub_path: str, target: Path) -> Path:
    """Bind `volume/sub_path` (made as a directory if missing) on `target`. Idempotent. Raises VolumeError, OSError."""
    base = os.path.realpath(volume)
    wanted = os.path.realpath(Path(base, sub_path))
    if wanted != base and not wanted.startswith(base.rstrip("/") + "/"):
        raise VolumeError(f"subPath {sub_path!r} is outside of the volume {str(volume)!r}")
    if not Path(wanted).exists():
        _make(base, wanted, stat.S_IMODE(volume.stat().st_mode))
    opened = _open_inside(base, wanted)
    try:
        status = os.fstat(opened)
        if str(target) in mounts.mount_points():
            present = target.stat()
            if (present.st_dev, present.st_ino) == (status.st_dev, status.st_ino):
                return target
            mounts.unmount(target)
        target.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        if stat.S_ISDIR(status.st_mode):
            target.mkdir(mode=0o750, exist_ok=True)
        else:
            target.touch(mode=0o640)
        mounts.bind(f"/proc/self/fd/{opened}", target)
    finally:
        os.close(opened)
    return target


def _make(base: str, wanted: str, mode: int) -> None:
    current = Path(base)
    for part in Path(wanted).relative_to(base).parts:
        current = current / part
        if not current.exists():
            current.mkdir(mode=mode)
            current.chmod(mode)


def _open_inside(base: str, wanted: str) -> int:
    opened = os.open(base, os.O_PATH | os.O_DIRECTORY)
    try:
        for part in Path(wanted).relative_to(base).parts:
            deeper = os.open(part, os.O_PATH | os.O_NOFOLLOW, dir_fd=opened)
            os.close(opened)
            opened = deeper
            if stat.S_ISLNK(os.fstat(opened).st_mode):
                raise VolumeError(f"unexpected symlink found {part!r} in {wanted!r}")
    except BaseException:
        os.close(opened)
        raise
    return opened
