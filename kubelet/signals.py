"""What is left on the node of what can run out: memory, disk, inodes, process ids. The eviction signals of upstream."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from api.quantity import Quantity
from kubelet import machine

_CGROUPS = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class Observation:
    """Bytes, or numbers of inodes and processes."""

    available: int
    capacity: int


@dataclass(frozen=True, slots=True)
class Threshold:
    """`memory.available` with `100Mi` or `5%`."""

    signal: str
    value: str

    def amount(self, capacity: int) -> int:
        if self.value.endswith("%"):
            return int(capacity * float(self.value[:-1]) / 100)
        return Quantity(self.value).value

    def met(self, observed: Observation) -> bool:
        """Is there less than there must be?"""
        return observed.available < self.amount(observed.capacity)


def observe(root: Path, images: Path, memory_capacity: int) -> dict[str, Observation]:
    """All signals; `root` and `images` are where pods' files and images are. A few system calls."""
    nodefs, nodefs_inodes = _disk(root)
    imagefs, imagefs_inodes = _disk(images)
    return {
        "memory.available": Observation(_memory_available(memory_capacity), memory_capacity),
        "nodefs.available": nodefs,
        "nodefs.inodesFree": nodefs_inodes,
        "imagefs.available": imagefs,
        "imagefs.inodesFree": imagefs_inodes,
        "pid.available": _pids(),
    }


def _disk(path: Path) -> tuple[Observation, Observation]:
    while not path.exists():
        path = path.parent
    stat = os.statvfs(path)
    space = Observation(stat.f_bavail * stat.f_frsize, stat.f_blocks * stat.f_frsize)
    # Some file systems count no inodes; there they can't run out.
    return space, Observation(stat.f_favail or 1, stat.f_files or 1)


def _memory_available(capacity: int) -> int:
    available = machine.meminfo()["MemAvailable"]
    used = _cgroup_working_set()
    return available if used is None else max(0, min(available, capacity - used))


def _cgroup_working_set() -> int | None:
    """Of this node, if it is a container with a limit of its own."""
    for limit, usage, stat, key in (
        ("memory.max", "memory.current", "memory.stat", "inactive_file"),
        (
            "memory/memory.limit_in_bytes",
            "memory/memory.usage_in_bytes",
            "memory/memory.stat",
            "total_inactive_file",
        ),
    ):
        try:
            bound = (_CGROUPS / limit).read_text().strip()
            used = int((_CGROUPS / usage).read_text())
            lines = (_CGROUPS / stat).read_text().splitlines()
        except (OSError, ValueError):
            continue
        if not bound.isdigit() or int(bound) >= 1 << 60:
            return None
        return max(0, used - next((int(line.split()[1]) for line in lines if line.split()[0] == key), 0))
    return None


def _pids() -> Observation:
    try:
        maximum = int(Path("/proc/sys/kernel/pid_max").read_text())
        running = int(Path("/proc/loadavg").read_text().split()[3].partition("/")[2])
    except (OSError, ValueError, IndexError):
        return Observation(1, 1)
    return Observation(max(0, maximum - running), maximum)
