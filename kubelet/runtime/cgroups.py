"""The cgroup tree of pods, on cgroup v1 and v2: `/kubepods[/burstable|/besteffort]/pod<uid>`, written as plain files.

Docker makes the containers' own cgroups below the pod's (`CgroupParent`); this file makes what is above, with the
pod's limits, reads what happened in them (usage, OOM kills), and takes a pod's cgroup away when the pod is gone. Paths
are those below the cgroup mount that this process sees, which is also how dockerd on the same node sees them.

Values follow upstream's cgroup manager: cpu.shares become cpu.weight by runc's formula, quota and period become
cpu.max. A limit of None is written as "no limit", so that a resize can lift one.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from kubelet.cri import Resources

log = logging.getLogger(__name__)

ROOT = Path("/sys/fs/cgroup")
KUBEPODS = "/kubepods"
QOS = (f"{KUBEPODS}/burstable", f"{KUBEPODS}/besteffort")
BEST_EFFORT_SHARES = 2
V2_CONTROLLERS = ("cpuset", "cpu", "io", "memory", "hugetlb", "pids")
ALL_DEVICES = "a *:* rwm"
UNLIMITED_V1 = 1 << 62  # bytes; from here on the kernel means "no limit"


@dataclass(frozen=True, slots=True)
class Usage:
    """Counters of one cgroup, all below it included."""

    cpu_nanoseconds: int
    memory_bytes: int
    working_set_bytes: int
    rss_bytes: int
    page_faults: int
    major_page_faults: int
    memory_limit: int | None  # bytes
    processes: int
    cpu_periods: int = 0
    cpu_throttled_periods: int = 0
    cpu_throttled_nanoseconds: int = 0


class Cgroups(Protocol):
    """One implementation per cgroup version. Blocking, but only on kernel files: microseconds."""

    version: int

    def ensure(self, path: str, resources: Resources) -> None:
        """Make the cgroup with its ancestors and write its limits. Raises OSError."""
        ...

    def update(self, path: str, resources: Resources) -> None: ...
    def remove(self, path: str) -> bool:
        """Take it away with all below it, killing what still runs there; False if something would not go."""
        ...

    def exists(self, path: str) -> bool: ...
    def children(self, path: str) -> list[str]: ...
    def processes(self, path: str) -> list[int]: ...
    def age(self, path: str) -> float:
        """Seconds since it was made or emptied; 0 if it is not there or has processes."""
        ...

    def oom_kills(self, path: str) -> int:
        """Processes the kernel has killed for memory in this cgroup and below it."""
        ...

    def usage(self, path: str) -> Usage | None:
        """None if there is no such cgroup."""
        ...

    def set_hugepages(self, path: str, limits: dict[str, int]) -> None: ...
    def device_rules(self) -> list[str]:
        """What this node may give of devices, as rules of the kind `a *:* rwm`."""
        ...

    def kill_as_one(self, path: str) -> None:
        """On a memory kill, end the whole container rather than one process of it (cgroup v2 only)."""
        ...


def detect(root: Path = ROOT) -> Cgroups:
    """The driver for what is mounted at `root`: v2 if the unified hierarchy is there itself."""
    return CgroupV2(root) if (root / "cgroup.controllers").exists() else CgroupV1(root)


def shares_to_weight(shares: int) -> int:
    """runc's mapping of cpu.shares [2, 262144] to cpu.weight [1, 10000]."""
    if shares == 0:
        return 0
    return 1 + ((max(2, min(shares, 262144)) - 2) * 9999) // 262142


class _Files:
    """Reading and writing the small files of one cgroup directory."""

    @staticmethod
    def write(directory: Path, name: str, value: str) -> None:
        (directory / name).write_text(value)

    @classmethod
    def try_write(cls, directory: Path, name: str, value: str) -> None:
        """For files that not every kernel has."""
        try:
            cls.write(directory, name, value)
        except FileNotFoundError:
            log.debug("no %s in %s", name, directory)

    @staticmethod
    def number(file: Path) -> int | None:
        """None for "max" and for a file that is not there."""
        try:
            text = file.read_text().strip()
        except OSError:
            return None
        return int(text) if text.lstrip("-").isdigit() else None

    @staticmethod
    def table(file: Path) -> dict[str, int]:
        """Files of `key value` lines, such as memory.stat."""
        try:
            lines = file.read_text().splitlines()
        except OSError:
            return {}
        return {key: int(value) for key, _, value in (line.partition(" ") for line in lines) if value.isdigit()}


class CgroupV1(_Files):
    version = 1

    def __init__(self, root: Path = ROOT) -> None:
        self._root = root
        # One directory per hierarchy; `cpu,cpuacct` and its links `cpu` and `cpuacct` are the same one. A hybrid node
        # has an empty v2 hierarchy `unified` too, in which runc makes its directories as well.
        self._hierarchies: dict[str, Path] = {}
        for entry in sorted(root.iterdir()) if root.exists() else ():
            if entry.is_dir():
                for controller in entry.name.split(","):
                    self._hierarchies.setdefault(controller, entry.resolve())

    def _path(self, controller: str, path: str) -> Path | None:
        hierarchy = self._hierarchies.get(controller)
        return None if hierarchy is None else hierarchy / path.lstrip("/")

    def _all(self, path: str) -> list[Path]:
        return [hierarchy / path.lstrip("/") for hierarchy in dict.fromkeys(self._hierarchies.values())]

    def ensure(self, path: str, resources: Resources) -> None:
        for controller in ("cpu", "memory", "pids", "hugetlb"):
            if directory := self._path(controller, path):
                directory.mkdir(parents=True, exist_ok=True)
        if path == QOS[1]:
            resources = Resources(cpu_shares=BEST_EFFORT_SHARES)
        self.update(path, resources)

    def update(self, path: str, resources: Resources) -> None:
        if (cpu := self._path("cpu", path)) and cpu.exists():
            if resources.cpu_shares is not None:
                self.write(cpu, "cpu.shares", str(resources.cpu_shares))
            quota = -1 if resources.cpu_quota is None else resources.cpu_quota
            if quota != -1 or self.number(cpu / "cpu.cfs_quota_us") not in (-1, None):
                self.try_write(cpu, "cpu.cfs_period_us", str(resources.cpu_period))
                self.try_write(cpu, "cpu.cfs_quota_us", str(quota))
        if (memory := self._path("memory", path)) and memory.exists():
            limit = -1 if resources.memory_limit is None else resources.memory_limit
            current = self.number(memory / "memory.limit_in_bytes") or 0
            if limit != -1 or current < UNLIMITED_V1:
                # Memory plus swap may never be less than memory: out of the way first, then equal again (no swap).
                self.try_write(memory, "memory.memsw.limit_in_bytes", "-1")
                self.write(memory, "memory.limit_in_bytes", str(limit))
                self.try_write(memory, "memory.memsw.limit_in_bytes", str(limit))
        if (pids := self._path("pids", path)) and pids.exists() and resources.pids_limit is not None:
            self.write(pids, "pids.max", str(resources.pids_limit) if resources.pids_limit > 0 else "max")
        if resources.hugepages:
            self.set_hugepages(path, dict(resources.hugepages))

    def set_hugepages(self, path: str, limits: dict[str, int]) -> None:
        if directory := self._path("hugetlb", path):
            for size, limit in limits.items():
                self.try_write(directory, f"hugetlb.{size}.limit_in_bytes", str(limit))

    def device_rules(self) -> list[str]:
        """A child can't be allowed more than its parent, nor ask for it: a node in a container has a short list."""
        directory = self._path("devices", "/")
        try:
            return (directory / "devices.list").read_text().splitlines() if directory else [ALL_DEVICES]
        except OSError:
            return [ALL_DEVICES]

    def kill_as_one(self, path: str) -> None:
        """cgroup v1 has no such switch; as upstream, only the chosen process dies."""

    def remove(self, path: str) -> bool:
        self._kill(path)
        gone = [_remove_tree(directory) for directory in self._all(path)]
        return all(gone)

    def _kill(self, path: str) -> None:
        for directory in self._all(path):
            _kill_all(directory)

    def exists(self, path: str) -> bool:
        return any(directory.exists() for directory in self._all(path))

    def children(self, path: str) -> list[str]:
        names: set[str] = set()
        for directory in self._all(path):
            with contextlib.suppress(OSError):
                names |= {entry.name for entry in directory.iterdir() if entry.is_dir()}
        return sorted(names)

    def processes(self, path: str) -> list[int]:
        for controller in ("pids", "memory", "cpu"):
            if directory := self._path(controller, path):
                return _pids(directory)
        return []

    def age(self, path: str) -> float:
        return min((_age(directory) for directory in self._all(path) if directory.exists()), default=0.0)

    def oom_kills(self, path: str) -> int:
        directory = self._path("memory", path)
        if directory is None:
            return 0
        # The kernel counts in the cgroup of the killed process only; containers may make cgroups of their own.
        return sum(self.table(file).get("oom_kill", 0) for file in _walk(directory, "memory.oom_control"))

    def usage(self, path: str) -> Usage | None:
        cpuacct, memory, pids = (self._path(name, path) for name in ("cpuacct", "memory", "pids"))
        if memory is None or not memory.exists():
            return None
        stat = self.table(memory / "memory.stat")
        used = self.number(memory / "memory.usage_in_bytes") or 0
        limit = self.number(memory / "memory.limit_in_bytes")
        throttling = self.table(cpu / "cpu.stat") if (cpu := self._path("cpu", path)) else {}
        return Usage(
            cpu_nanoseconds=(self.number(cpuacct / "cpuacct.usage") or 0) if cpuacct else 0,
            memory_bytes=used,
            working_set_bytes=max(0, used - stat.get("total_inactive_file", 0)),
            rss_bytes=stat.get("total_rss", 0),
            page_faults=stat.get("total_pgfault", 0),
            major_page_faults=stat.get("total_pgmajfault", 0),
            memory_limit=None if limit is None or limit >= UNLIMITED_V1 else limit,
            processes=_count_processes(pids) if pids else 0,
            cpu_periods=throttling.get("nr_periods", 0),
            cpu_throttled_periods=throttling.get("nr_throttled", 0),
            cpu_throttled_nanoseconds=throttling.get("throttled_time", 0),
        )


class CgroupV2(_Files):
    version = 2

    def __init__(self, root: Path = ROOT) -> None:
        self._root = root

    def _path(self, path: str) -> Path:
        return self._root / path.lstrip("/")

    def ensure(self, path: str, resources: Resources) -> None:
        directory = self._root
        for part in path.strip("/").split("/"):
            self._delegate(directory)
            directory /= part
            directory.mkdir(exist_ok=True)
        self._delegate(directory)
        if path == QOS[1]:
            resources = Resources(cpu_shares=BEST_EFFORT_SHARES)
        self.update(path, resources)

    def _delegate(self, directory: Path) -> None:
        """Give the controllers on to the children. A controller that is not there, or already given on, is skipped."""
        available = (directory / "cgroup.controllers").read_text().split()
        given = (directory / "cgroup.subtree_control").read_text().split()
        missing = [name for name in V2_CONTROLLERS if name in available and name not in given]
        if missing:
            self.write(directory, "cgroup.subtree_control", " ".join(f"+{name}" for name in missing))

    def update(self, path: str, resources: Resources) -> None:
        directory = self._path(path)
        if resources.cpu_shares is not None:
            self.try_write(directory, "cpu.weight", str(shares_to_weight(resources.cpu_shares)))
        quota = "max" if resources.cpu_quota is None or resources.cpu_quota < 0 else str(resources.cpu_quota)
        self.try_write(directory, "cpu.max", f"{quota} {resources.cpu_period}")
        limit = resources.memory_limit
        self.try_write(directory, "memory.max", "max" if limit is None or limit < 0 else str(limit))
        if resources.pids_limit is not None:
            self.try_write(directory, "pids.max", str(resources.pids_limit) if resources.pids_limit > 0 else "max")
        if resources.hugepages:
            self.set_hugepages(path, dict(resources.hugepages))

    def set_hugepages(self, path: str, limits: dict[str, int]) -> None:
        for size, limit in limits.items():
            self.try_write(self._path(path), f"hugetlb.{size}.max", str(limit))

    def device_rules(self) -> list[str]:
        """Here a rule of the child may say anything; the kernel asks the ancestors' programs as well."""
        return [ALL_DEVICES]

    def kill_as_one(self, path: str) -> None:
        self.try_write(self._path(path), "memory.oom.group", "1")

    def remove(self, path: str) -> bool:
        directory = self._path(path)
        if not directory.exists():
            return True
        with contextlib.suppress(OSError):
            self.write(directory, "cgroup.kill", "1")  # Linux 5.14; older ones get signals
        _kill_all(directory)
        return _remove_tree(directory)

    def exists(self, path: str) -> bool:
        return self._path(path).exists()

    def children(self, path: str) -> list[str]:
        with contextlib.suppress(OSError):
            return sorted(entry.name for entry in self._path(path).iterdir() if entry.is_dir())
        return []

    def processes(self, path: str) -> list[int]:
        return _pids(self._path(path))

    def age(self, path: str) -> float:
        return _age(self._path(path))

    def oom_kills(self, path: str) -> int:
        return self.table(self._path(path) / "memory.events").get("oom_kill", 0)

    def usage(self, path: str) -> Usage | None:
        directory = self._path(path)
        if not directory.exists():
            return None
        cpu, stat = self.table(directory / "cpu.stat"), self.table(directory / "memory.stat")
        used = self.number(directory / "memory.current") or 0
        return Usage(
            cpu_nanoseconds=cpu.get("usage_usec", 0) * 1000,
            memory_bytes=used,
            working_set_bytes=max(0, used - stat.get("inactive_file", 0)),
            rss_bytes=stat.get("anon", 0),
            page_faults=stat.get("pgfault", 0),
            major_page_faults=stat.get("pgmajfault", 0),
            memory_limit=self.number(directory / "memory.max"),
            processes=self.number(directory / "pids.current") or 0,
            cpu_periods=cpu.get("nr_periods", 0),
            cpu_throttled_periods=cpu.get("nr_throttled", 0),
            cpu_throttled_nanoseconds=cpu.get("throttled_usec", 0) * 1000,
        )


def _walk(directory: Path, name: str) -> list[Path]:
    return [Path(root) / name for root, _, files in os.walk(directory) if name in files]


def _pids(directory: Path) -> list[int]:
    try:
        return [int(line) for line in (directory / "cgroup.procs").read_text().split()]
    except OSError:
        return []


def _age(directory: Path) -> float:
    if any(_pids(file.parent) for file in _walk(directory, "cgroup.procs")):
        return 0.0
    try:
        return max(0.0, time.time() - directory.stat().st_mtime)
    except OSError:
        return 0.0


def _count_processes(directory: Path) -> int:
    return sum(len(_pids(file.parent)) for file in _walk(directory, "cgroup.procs"))


def _kill_all(directory: Path) -> None:
    for file in _walk(directory, "cgroup.procs"):
        for pid in _pids(file.parent):
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)


def _remove_tree(directory: Path) -> bool:
    """rmdir from the leaves up: the files in cgroup directories can't be, and need not be, removed."""
    for root, _, _ in os.walk(directory, topdown=False):
        try:
            os.rmdir(root)  # noqa: PTH106
        except FileNotFoundError:
            pass
        except OSError as error:
            log.debug("cannot remove cgroup %s: %s", root, error)
            return False
    return True
