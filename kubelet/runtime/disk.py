"""What containers take on disk: their writable layers and their logs. Half of a pod's ephemeral storage.

Docker has no cheap answer (its own `size` walks the layer under a lock), so the layer is walked here, in a thread, at
most every quarter of a minute for each container. Layers of other drivers than overlay2 have no directory of their own
and count as empty.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

INTERVAL = 15.0  # seconds for which a measurement is good


@dataclass(frozen=True, slots=True)
class Paths:
    """Where dockerd keeps a container's writable layer and its log; "" if nowhere."""

    layer: str
    log: str

    @classmethod
    def of(cls, inspected: Mapping[str, Any]) -> Paths:
        data = (inspected.get("GraphDriver") or {}).get("Data") or {}
        return cls(layer=str(data.get("UpperDir", "")), log=str(inspected.get("LogPath") or ""))


@dataclass(frozen=True, slots=True)
class Taken:
    layer_bytes: int
    layer_inodes: int
    log_bytes: int


class DiskUsage:
    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._measured: dict[str, tuple[float, Taken]] = {}

    def of(self, container_id: str, paths: Paths) -> Taken:
        """Blocking, for as long as it takes to walk the layer."""
        known = self._measured.get(container_id)
        if known is not None and self._clock() - known[0] < INTERVAL:
            return known[1]
        used, inodes = tree_usage(paths.layer) if paths.layer else (0, 0)
        taken = Taken(used, inodes, _log_usage(paths.log))
        self._measured[container_id] = (self._clock(), taken)
        return taken

    def keep(self, container_ids: Collection[str]) -> None:
        """Forget all others."""
        self._measured = {key: value for key, value in self._measured.items() if key in container_ids}


def tree_usage(directory: str) -> tuple[int, int]:
    """(bytes on disk, inodes) below a directory, itself included; what vanishes meanwhile is not counted."""
    used = inodes = 0
    seen: set[int] = set()  # hard links count once
    pending = [directory]
    while pending:
        try:
            with os.scandir(pending.pop()) as entries:
                for entry in entries:
                    try:
                        stat = entry.stat(follow_symlinks=False)
                        if stat.st_nlink > 1 and not entry.is_dir(follow_symlinks=False):
                            if stat.st_ino in seen:
                                continue
                            seen.add(stat.st_ino)
                        used, inodes = used + stat.st_blocks * 512, inodes + 1
                        if entry.is_dir(follow_symlinks=False):
                            pending.append(entry.path)
                    except OSError:
                        continue
        except OSError:
            continue
    return used, inodes + 1


def _log_usage(path: str) -> int:
    if not path:
        return 0
    used = 0
    for file in Path(path).parent.glob(f"{Path(path).name}*"):
        try:
            used += file.stat().st_blocks * 512
        except OSError:
            continue
    return used


def statistics(taken: Taken, path: str, at: str) -> dict[str, Any]:
    """Upstream's `rootfs` and `logs` of a ContainerStats; `path` is on the file system that they fill."""
    try:
        stat = os.statvfs(path)
    except OSError:
        return {}
    common = {
        "time": at,
        "availableBytes": stat.f_bavail * stat.f_frsize,
        "capacityBytes": stat.f_blocks * stat.f_frsize,
        "inodesFree": stat.f_favail,
        "inodes": stat.f_files,
    }
    return {
        "rootfs": {**common, "usedBytes": taken.layer_bytes, "inodesUsed": taken.layer_inodes},
        "logs": {**common, "usedBytes": taken.log_bytes, "inodesUsed": 1},
    }
