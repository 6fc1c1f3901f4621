"""fsGroup: what the kubelet gives to the pod's group, and how (upstream's SetVolumeOwnership)."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from api.types.core_v1 import Pod

READ_WRITE, READ_ONLY, EXECUTE = 0o660, 0o440, 0o110


def fs_group(pod: Pod) -> int | None:
    return pod.spec.security_context.fs_group if pod.spec.security_context else None


def apply_fs_group(pod: Pod, root: Path, *, read_only: bool = False, outlives_pod: bool = False) -> None:
    """Give everything below `root`, and itself, to the pod's fsGroup.

    `outlives_pod`: the pod's fsGroupChangePolicy applies, by which `OnRootMismatch` leaves alone what is done already.
    """
    group = fs_group(pod)
    if group is None:
        return
    policy = pod.spec.security_context.fs_group_change_policy if pod.spec.security_context else None
    if outlives_pod and policy == "OnRootMismatch" and _matches(root, group, read_only):
        return
    # Bottom up: the root is done last, so that an interrupted run is not taken for a finished one.
    for directory, folders, files in os.walk(root, topdown=False):
        for entry in (*files, *folders):
            _change(Path(directory, entry), group, read_only)
    _change(root, group, read_only)


def _matches(root: Path, group: int, read_only: bool) -> bool:
    found = root.lstat()
    wanted = (READ_ONLY if read_only else READ_WRITE) | EXECUTE | stat.S_ISGID
    return found.st_gid == group and found.st_mode & wanted == wanted


def _change(path: Path, group: int, read_only: bool) -> None:
    found = path.lstat()
    if stat.S_ISLNK(found.st_mode):
        os.lchown(path, -1, group)
        return
    mask = READ_ONLY if read_only else READ_WRITE
    if stat.S_ISDIR(found.st_mode):
        mask |= EXECUTE | stat.S_ISGID
    os.chown(path, -1, group)
    path.chmod(stat.S_IMODE(found.st_mode) | mask)
