"""The Summary of upstream's stats/v1alpha1: the node, its file systems, its pods. What `kubectl top` is made of."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import Any, Protocol

import msgspec

from api.time import now
from kubelet import cri
from kubelet.runtime.cgroups import Cgroups, Usage
from kubelet.runtime.stats import Stats, memory

Json = dict[str, Any]


class VolumeStats(Protocol):
    """What the kubelet knows of a pod's volumes; may read the disk for some time."""

    def volumes(self, uid: str) -> list[Json]:
        """Upstream's `volume` list."""
        ...

    def ephemeral(self, uid: str) -> tuple[int, int]:
        """(bytes, inodes) of the volumes that live and die with the pod on the node's disk."""
        ...


class Summary:
    def __init__(
        self,
        runtime: cri.Runtime,
        cgroups: Cgroups,
        *,
        node_name: str,
        root_dir: Path,
        image_dir: Path,
        volumes: VolumeStats | None = None,
        proc: Path = Path("/proc"),
    ) -> None:
        self._runtime = runtime
        self._cgroups = cgroups
        self._node_name = node_name
        self._root_dir = root_dir
        self._image_dir = image_dir
        self._volumes = volumes
        self._proc = proc
        self._stats = Stats(cgroups, proc=proc)

    async def read(self) -> Json:
        pods: list[Json] = list((await self._runtime.pod_stats()).values())
        if self._volumes is not None:
            await asyncio.to_thread(self._add_volumes, pods, self._volumes)
        return {"node": await asyncio.to_thread(self._node), "pods": pods}

    def _add_volumes(self, pods: list[Json], stats: VolumeStats) -> None:
        for pod in pods:
            uid = pod["podRef"]["uid"]
            if listed := stats.volumes(uid):
                pod["volume"] = listed
            used, inodes = stats.ephemeral(uid)
            storage = pod.get("ephemeral-storage") or filesystem(self._root_dir) | {"usedBytes": 0, "inodesUsed": 0}
            pod["ephemeral-storage"] = storage | {
                "usedBytes": storage.get("usedBytes", 0) + used,
                "inodesUsed": storage.get("inodesUsed", 0) + inodes,
            }

    async def json(self) -> bytes:
        return msgspec.json.encode(await self.read())

    def _node(self) -> Json:
        usage = self.node_usage()
        node: Json = {
            "nodeName": self._node_name,
            "startTime": _boot_time(self._proc),
            "systemContainers": self._system_containers(),
            "cpu": {
                "time": now(),
                "usageNanoCores": self._stats.rate("/", usage.cpu_nanoseconds),
                "usageCoreNanoSeconds": usage.cpu_nanoseconds,
            },
            "memory": memory(usage),
            "fs": filesystem(self._root_dir),
            "runtime": {"imageFs": filesystem(self._image_dir), "containerFs": filesystem(self._image_dir)},
            "rlimit": {"time": now(), "maxpid": self._number("sys/kernel/pid_max"), "curproc": self._processes()},
        }
        if network := self._stats.network("self", "eth0"):
            node["network"] = network
        return node

    def _system_containers(self) -> list[Json]:
        usage = self._cgroups.usage("/kubepods")
        if usage is None:
            return []
        cpu = {
            "time": now(),
            "usageNanoCores": self._stats.rate("/kubepods", usage.cpu_nanoseconds),
            "usageCoreNanoSeconds": usage.cpu_nanoseconds,
        }
        return [{"name": "pods", "startTime": _boot_time(self._proc), "cpu": cpu, "memory": memory(usage)}]

    def node_usage(self) -> Usage:
        """Of the cgroup that this node is; on a machine's own root, which on v2 counts nothing, from /proc."""
        meminfo = _table(self._proc / "meminfo")
        total = meminfo.get("MemTotal", 0) * 1024
        usage = self._cgroups.usage("/")
        if usage is None or not usage.memory_bytes:
            used = total - meminfo.get("MemFree", 0) * 1024
            ticks = (self._proc / "stat").read_text().split("\n", 1)[0].split()[1:9]
            busy = sum(int(value) for index, value in enumerate(ticks) if index not in (3, 4))
            nanoseconds = busy * 1_000_000_000 // os.sysconf("SC_CLK_TCK")
            inactive = meminfo.get("Inactive(file)", 0) * 1024
            usage = Usage(nanoseconds, used, max(0, used - inactive), meminfo.get("AnonPages", 0) * 1024, 0, 0, None, 0)
        limit = min(total, usage.memory_limit or total)
        return Usage(
            cpu_nanoseconds=usage.cpu_nanoseconds,
            memory_bytes=usage.memory_bytes,
            working_set_bytes=usage.working_set_bytes,
            rss_bytes=usage.rss_bytes,
            page_faults=usage.page_faults,
            major_page_faults=usage.major_page_faults,
            memory_limit=limit,
            processes=usage.processes,
        )

    def _number(self, path: str) -> int:
        try:
            return int((self._proc / path).read_text())
        except (OSError, ValueError):
            return 0

    def _processes(self) -> int:
        return sum(1 for entry in self._proc.iterdir() if entry.name.isdigit())


def filesystem(path: Path) -> Json:
    """FsStats; bytes and inodes."""
    while not path.exists():
        path = path.parent
    stat = os.statvfs(path)
    return {
        "time": now(),
        "availableBytes": stat.f_bavail * stat.f_frsize,
        "capacityBytes": stat.f_blocks * stat.f_frsize,
        "usedBytes": (stat.f_blocks - stat.f_bfree) * stat.f_frsize,
        "inodesFree": stat.f_favail,
        "inodes": stat.f_files,
        "inodesUsed": stat.f_files - stat.f_ffree,
    }


def _table(file: Path) -> dict[str, int]:
    out: dict[str, int] = {}
    for line in file.read_text().splitlines():
        key, _, rest = line.partition(":")
        fields = rest.split()
        if fields and fields[0].isdigit():
            out[key] = int(fields[0])
    return out


def _boot_time(proc: Path) -> str:
    uptime = float((proc / "uptime").read_text().split()[0])
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - uptime))
