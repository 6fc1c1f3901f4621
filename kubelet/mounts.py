"""Mounts on Linux: the system calls, and removing a directory that may have mounts below it.

Synchronous; each call takes microseconds except an NFS server that doesn't answer, so network mounts go through the
`mount` program in a thread instead.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import os
import shutil
import stat
from pathlib import Path

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_REMOUNT, MS_BIND, MS_REC = 1, 2, 4, 32, 4096, 16384
MNT_DETACH = 2
UMOUNT_NOFOLLOW = 8

_libc = ctypes.CDLL(ctypes.util.find_library("c") or "libc.so.6", use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def mount(source: str, target: Path, kind: str, flags: int = 0, options: str = "") -> None:
    """mount(2). Raises OSError."""
    arguments = (source.encode(), os.fsencode(target), kind.encode(), ctypes.c_ulong(flags), options.encode())
    _check(_libc.mount(*arguments), f"mount {kind} on {target}")


def bind(source: str, target: Path, *, recursive: bool = True) -> None:
    mount(source, target, "", MS_BIND | (MS_REC if recursive else 0))


def unmount(target: Path, *, lazy: bool = False) -> None:
    """umount2(2), never through a symlink. Raises OSError."""
    _check(_libc.umount2(os.fsencode(target), UMOUNT_NOFOLLOW | (MNT_DETACH if lazy else 0)), f"unmount {target}")


def _unescape(field: str) -> str:
    for code, char in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        field = field.replace(code, char)
    return field


def mount_points(mountinfo: Path = Path("/proc/self/mountinfo")) -> list[str]:
    """Every mount point this process sees, in the order they were mounted (one may be there twice)."""
    return [_unescape(line.split(" ", 5)[4]) for line in mountinfo.read_text().splitlines()]


def mounts_below(directory: Path) -> list[str]:
    """Mount points at or below a directory, deepest and newest first."""
    top = os.path.realpath(directory)
    below = [point for point in mount_points() if point == top or point.startswith(top + "/")]
    return sorted(below, key=lambda point: point.count("/"), reverse=True)


def is_mount_point(path: Path) -> bool:
    """By device number: cheap, and enough for what the kubelet itself mounts (never a bind of the same device)."""
    try:
        here, parent = path.lstat(), path.parent.lstat()
    except FileNotFoundError:
        return False
    return stat.S_ISDIR(here.st_mode) and here.st_dev != parent.st_dev


def clear(directory: Path) -> None:
    """Unmount everything below and remove the directory. Idempotent.

    Never deletes through a mount: if one can't be undone this raises OSError and nothing is removed.
    """
    if not directory.exists():
        return
    for point in mounts_below(directory):
        try:
            unmount(Path(point))
        except OSError:
            unmount(Path(point), lazy=True)
    if left := mounts_below(directory):
        raise OSError(f"{left[0]} is still mounted")
    shutil.rmtree(directory, ignore_errors=False)
