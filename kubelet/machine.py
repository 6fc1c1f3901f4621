"""The machine under the node: processors, memory, disk, identity, as far as our own cgroup lets us use them."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from api.quantity import Quantity
from api.types.core_v1 import NodeSystemInfo
from api.version import GIT_VERSION

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386", "ppc64le": "ppc64le"}
_CGROUPS = Path("/sys/fs/cgroup")
_HUGEPAGES = Path("/sys/kernel/mm/hugepages")


@dataclass(frozen=True, slots=True)
class Machine:
    """Bytes and counts."""

    cpus: float
    memory: int
    storage: int
    hugepages: Mapping[str, int]  # page size as in resource names ("2Mi") -> bytes

    def capacity(self, max_pods: int) -> dict[str, str]:
        """Quantities of `status.capacity`."""
        milli = round(self.cpus * 1000)
        return {
            "cpu": str(Quantity.from_milli(milli)),
            "memory": f"{self.memory // 1024}Ki",
            "ephemeral-storage": f"{self.storage // 1024}Ki",
            "pods": str(max_pods),
            **{f"hugepages-{size}": str(Quantity.binary(amount)) for size, amount in self.hugepages.items()},
        }


def architecture() -> str:
    return _ARCHITECTURES.get(platform.machine(), platform.machine())


def inspect(storage_root: Path) -> Machine:
    return Machine(
        cpus=min(float(len(os.sched_getaffinity(0))), _cgroup_cpus() or float("inf")),
        memory=min(_memory(), _cgroup_memory() or _memory()),
        storage=shutil.disk_usage(_existing(storage_root)).total,
        hugepages=_hugepages(),
    )


def _existing(path: Path) -> Path:
    while not path.exists():
        path = path.parent
    return path


def meminfo() -> dict[str, int]:
    """/proc/meminfo in bytes."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    return {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines if line.endswith("kB")}


def _memory() -> int:
    return meminfo()["MemTotal"]


def _number(path: Path) -> int | None:
    try:
        text = path.read_text().split()[0]
    except (OSError, IndexError):
        return None
    return int(text) if text.lstrip("-").isdigit() else None


def _cgroup_memory() -> int | None:
    """The limit of this process's own cgroup, which inside a container is the root it sees."""
    for file in (_CGROUPS / "memory.max", _CGROUPS / "memory/memory.limit_in_bytes"):
        limit = _number(file)
        if limit is not None and 0 < limit < 1 << 60:
            return limit
    return None


def _cgroup_cpus() -> float | None:
    try:
        quota, period = (_CGROUPS / "cpu.max").read_text().split()
        return None if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError):
        pass
    quota_us = _number(_CGROUPS / "cpu/cpu.cfs_quota_us")
    period_us = _number(_CGROUPS / "cpu/cpu.cfs_period_us")
    return quota_us / period_us if quota_us and period_us and quota_us > 0 else None


def _hugepages() -> dict[str, int]:
    sizes: dict[str, int] = {}
    for entry in sorted(_HUGEPAGES.glob("hugepages-*kB")):
        kilobytes = int(entry.name.removeprefix("hugepages-").removesuffix("kB"))
        count = _number(entry / "nr_hugepages") or 0
        name = f"{kilobytes >> 20}Gi" if kilobytes >= 1 << 20 else f"{kilobytes >> 10}Mi"
        sizes[name] = count * kilobytes * 1024
    return sizes


def _read(*paths: str) -> str:
    for path in paths:
        try:
            return Path(path).read_text().strip()
        except OSError:
            continue
    return ""


def _os_image() -> str:
    for line in _read("/etc/os-release", "/usr/lib/os-release").splitlines():
        if line.startswith("PRETTY_NAME="):
            return line.partition("=")[2].strip('"')
    return "Linux"


def system_info(runtime: str) -> NodeSystemInfo:
    """`runtime` as in `docker://26.1.5`."""
    boot = _read("/proc/sys/kernel/random/boot_id")
    machine = _read("/etc/machine-id", "/var/lib/dbus/machine-id")
    return NodeSystemInfo(
        architecture=architecture(),
        boot_id=boot,
        container_runtime_version=runtime,
        kernel_version=platform.release(),
        kube_proxy_version="",
        kubelet_version=GIT_VERSION,
        machine_id=machine or boot.replace("-", ""),
        operating_system="linux",
        os_image=_os_image(),
        system_uuid=_read("/sys/class/dmi/id/product_uuid") or machine or boot,
    )
