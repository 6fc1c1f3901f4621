"""Usage of pods and their containers, read from cgroups and /proc, in the shape of upstream's Summary (PodStats).

Reading a pod takes some 20 small kernel files. `usageNanoCores` is the rate since the last reading of the same cgroup
that is at least a second old, or since its start.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from api.time import now
from kubelet.cri import ContainerStatus, PodSnapshot, State
from kubelet.runtime import disk
from kubelet.runtime.cgroups import Cgroups, Usage
from kubelet.runtime.disk import DiskUsage, Paths

Json = dict[str, Any]
MIN_INTERVAL = 1.0  # seconds
_INTERFACE_FIELDS = ("rxBytes", "rxErrors", "txBytes", "txErrors")


class Stats:
    def __init__(self, cgroups: Cgroups, *, proc: Path = Path("/proc")) -> None:
        self._cgroups = cgroups
        self._proc = proc
        self._disk = DiskUsage()
        self._samples: dict[str, tuple[float, int, int]] = {}  # cgroup -> (time, cpu ns, rate)

    def pods(self, pods: Iterable[tuple[PodSnapshot, str]], paths: Mapping[str, Paths]) -> dict[str, Json]:
        """(snapshot, cgroup parent) of each running pod -> its stats by UID. Blocking: kernel files, and now and then a
        walk over the writable layers, whose `paths` are by container id."""
        out: dict[str, Json] = {}
        seen: set[str] = set()
        for snapshot, parent in pods:
            out[snapshot.uid] = self._pod(snapshot, parent, seen)
            self._add_storage(out[snapshot.uid], snapshot, paths)
        self._disk.keep(paths.keys())
        for gone in self._samples.keys() - seen:
            del self._samples[gone]
        return out

    def _pod(self, snapshot: PodSnapshot, parent: str, seen: set[str]) -> Json:
        running = [item for item in snapshot.containers if item.state is State.RUNNING]
        sandbox = next((item for item in snapshot.sandboxes if item.state is State.RUNNING), None)
        stats: Json = {
            "podRef": {"name": snapshot.name, "namespace": snapshot.namespace, "uid": snapshot.uid},
            "startTime": _whole(sandbox.created_at) if sandbox else None,
            "containers": [item for item in (self._container(c, parent, seen) for c in running) if item],
        }
        usage = self._cgroups.usage(parent)
        if usage is not None:
            stats["cpu"], stats["memory"] = self._cpu(parent, usage, seen), memory(usage)
            stats["process_stats"] = {"process_count": usage.processes}
        if sandbox is not None and not sandbox.host_network:
            processes = self._cgroups.processes(f"{parent}/{sandbox.id}")
            if processes and (network := self.network(processes[0], "eth0")):
                stats["network"] = network
        return {key: value for key, value in stats.items() if value is not None}

    def _add_storage(self, stats: Json, snapshot: PodSnapshot, paths: Mapping[str, Paths]) -> None:
        """Ended containers take space too; the pod's sum has them, its list of containers has not. The volumes' part of
        `ephemeral-storage` is the kubelet's to add."""
        shown = {item["name"]: item for item in stats["containers"]}
        total: Json = {}
        for container in snapshot.containers:
            where = paths.get(container.id)
            if where is None or not (where.layer or where.log):
                continue
            taken = self._disk.of(container.id, where)
            figures = disk.statistics(taken, where.layer or where.log, now())
            if container.state is State.RUNNING and container.name in shown:
                shown[container.name].update(figures)
            if figures:
                used = total.get("usedBytes", 0) + taken.layer_bytes + taken.log_bytes
                inodes = total.get("inodesUsed", 0) + taken.layer_inodes + 1
                total = {**figures["rootfs"], "usedBytes": used, "inodesUsed": inodes}
        if total:
            stats["ephemeral-storage"] = total

    def _container(self, container: ContainerStatus, parent: str, seen: set[str]) -> Json | None:
        path = f"{parent}/{container.id}"
        usage = self._cgroups.usage(path)
        if usage is None:
            return None
        return {
            "name": container.name,
            "startTime": _whole(container.started_at),
            "cpu": self._cpu(path, usage, seen),
            "memory": memory(usage),
        }

    def _cpu(self, path: str, usage: Usage, seen: set[str]) -> Json:
        seen.add(path)
        return {
            "time": now(),
            "usageNanoCores": self.rate(path, usage.cpu_nanoseconds),
            "usageCoreNanoSeconds": usage.cpu_nanoseconds,
        }

    def rate(self, path: str, cpu_nanoseconds: int) -> int:
        """Nanoseconds of CPU per second."""
        at = time.monotonic()
        last = self._samples.get(path)
        if last is None:
            self._samples[path] = (at, cpu_nanoseconds, 0)
            return 0
        elapsed = at - last[0]
        if elapsed < MIN_INTERVAL:
            return last[2]
        rate = max(0, round((cpu_nanoseconds - last[1]) / elapsed))
        self._samples[path] = (at, cpu_nanoseconds, rate)
        return rate

    def network(self, pid: int | str, default: str) -> Json | None:
        """Interface counters of the namespace in which `pid` is; `default` is shown at the top level too."""
        try:
            lines = (self._proc / str(pid) / "net/dev").read_text().splitlines()[2:]
        except OSError:
            return None
        interfaces: list[Json] = []
        for line in lines:
            name, _, rest = line.partition(":")
            if name.strip() == "lo":
                continue
            fields = rest.split()
            values = (int(fields[0]), int(fields[2]), int(fields[8]), int(fields[10]))
            interfaces.append({"name": name.strip(), **dict(zip(_INTERFACE_FIELDS, values, strict=True))})
        main = next((item for item in interfaces if item["name"] == default), {})
        return {"time": now(), **main, "interfaces": interfaces}


def memory(usage: Usage) -> Json:
    out: Json = {
        "time": now(),
        "usageBytes": usage.memory_bytes,
        "workingSetBytes": usage.working_set_bytes,
        "rssBytes": usage.rss_bytes,
        "pageFaults": usage.page_faults,
        "majorPageFaults": usage.major_page_faults,
    }
    if usage.memory_limit is not None:
        out["availableBytes"] = max(0, usage.memory_limit - usage.working_set_bytes)
    return out


def _whole(timestamp: str) -> str:
    """Summary has whole seconds."""
    return f"{timestamp.partition('.')[0].rstrip('Z')}Z"
