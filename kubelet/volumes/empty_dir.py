"""emptyDir: a directory that lives as long as the pod, on the node's disk, in memory, or in huge pages."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from api.quantity import Quantity
from api.types.core_v1 import Pod, Volume
from kubelet import mounts, resources
from kubelet.volumes.base import VolumeError, VolumeKind
from kubelet.volumes.ownership import apply_fs_group


class EmptyDir(VolumeKind):
    plugin: ClassVar[str] = "kubernetes.io/empty-dir"

    def supports(self, volume: Volume) -> bool:
        return volume.empty_dir is not None

    async def set_up(self, pod: Pod, volume: Volume, path: Path) -> Path:
        assert volume.empty_dir is not None
        medium = volume.empty_dir.medium or ""
        path.mkdir(mode=0o777, parents=True, exist_ok=True)
        if medium == "Memory" and not mounts.is_mount_point(path):
            mounts.mount("tmpfs", path, "tmpfs", mounts.MS_NOSUID | mounts.MS_NODEV, _size_option(pod, volume))
        elif medium.startswith("HugePages") and not mounts.is_mount_point(path):
            size = _page_size(pod, medium)
            mounts.mount("nodev", path, "hugetlbfs", 0, f"pagesize={size}")
        path.chmod(0o777)  # the umask must not weigh in
        apply_fs_group(pod, path)
        return path


def _size_option(pod: Pod, volume: Volume) -> str:
    """A memory volume may grow to its limit or to the pod's memory limit, whichever is less."""
    bounds: list[int] = []
    if volume.empty_dir and volume.empty_dir.size_limit is not None:
        bounds.append(Quantity(volume.empty_dir.size_limit).value)
    limits = resources.pod_limits(pod)
    if "memory" in limits and resources.pod_resources(pod).memory_limit:
        bounds.append(limits["memory"].value)
    bounds = [bound for bound in bounds if bound > 0]
    return f"size={min(bounds)}" if bounds else ""


def _page_size(pod: Pod, medium: str) -> str:
    _, _, size = medium.partition("-")
    if not size:
        names = [n for n in resources.pod_limits(pod) if n.startswith("hugepages-")]
        if len(names) != 1:
            raise VolumeError("the pod must request exactly one page size for medium HugePages")
        size = names[0].removeprefix("hugepages-")
    return size.replace("i", "")
