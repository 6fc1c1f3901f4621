"""What the volumes of pods take: for the Summary, for eviction, for limits that a pod set for itself.

Walking a directory costs in proportion to its files, so a measurement is good for a while. The file systems of memory
volumes answer for themselves.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from api import time as api_time
from api.types.core_v1 import Pod, Volume
from kubelet import mounts, podutil
from kubelet.runtime.disk import tree_usage
from kubelet.volumes.manager import used_volumes

INTERVAL = 15.0  # seconds for which a measurement is good


class VolumeStats:
    """`pod(uid)` and `paths(uid)` tell of a pod that is here, and where its volumes are."""

    def __init__(
        self,
        pod: Callable[[str], Pod | None],
        paths: Callable[[str], dict[str, Path]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pod = pod
        self._paths = paths
        self._clock = clock
        self._measured: dict[tuple[str, str], tuple[float, int, int]] = {}

    def used(self, uid: str, volume: str, path: Path) -> tuple[int, int]:
        """(bytes, inodes) of one volume."""
        if mounts.is_mount_point(path):
            stat = os.statvfs(path)
            return (stat.f_blocks - stat.f_bfree) * stat.f_frsize, stat.f_files - stat.f_ffree
        now = self._clock()
        known = self._measured.get((uid, volume))
        if known is None or now - known[0] >= INTERVAL:
            known = self._measured[uid, volume] = (now, *tree_usage(str(path)))
            self._measured = {key: m for key, m in self._measured.items() if now - m[0] < 2 * INTERVAL}
        return known[1], known[2]

    def ephemeral(self, uid: str) -> tuple[int, int]:
        """(bytes, inodes) of what lives and dies with the pod on the node's disk."""
        pod, total, inodes = self._pod(uid), 0, 0
        paths = self._paths(uid)
        for volume in used_volumes(pod) if pod else ():
            path = paths.get(volume.name)
            if path is None or not on_node_disk(volume):
                continue
            used, files = self.used(uid, volume.name, path)
            total, inodes = total + used, inodes + files
        return total, inodes

    def volumes(self, uid: str) -> list[dict[str, Any]]:
        """Upstream's `volume` list of PodStats: everything but host paths and devices."""
        pod, found = self._pod(uid), []
        paths = self._paths(uid)
        for volume in used_volumes(pod) if pod else ():
            path = paths.get(volume.name)
            if path is None or volume.host_path is not None or not path.is_dir():
                continue
            stat = os.statvfs(path)
            used, inodes = self.used(uid, volume.name, path)
            entry: dict[str, Any] = {
                "time": api_time.now(),
                "availableBytes": stat.f_bavail * stat.f_frsize,
                "capacityBytes": stat.f_blocks * stat.f_frsize,
                "usedBytes": used,
                "inodesFree": stat.f_favail,
                "inodes": stat.f_files,
                "inodesUsed": inodes,
                "name": volume.name,
            }
            if pod and (claim := _claim(pod, volume)):
                entry["pvcRef"] = {"name": claim, "namespace": podutil.namespace(pod)}
            found.append(entry)
        return found


def on_node_disk(volume: Volume) -> bool:
    """Does the volume count against `ephemeral-storage`? Secrets and projected volumes are in memory."""
    empty = volume.empty_dir
    return (empty is not None and not empty.medium) or volume.config_map is not None


def _claim(pod: Pod, volume: Volume) -> str:
    if volume.persistent_volume_claim:
        return volume.persistent_volume_claim.claim_name
    return f"{podutil.name(pod)}-{volume.name}" if volume.ephemeral else ""
