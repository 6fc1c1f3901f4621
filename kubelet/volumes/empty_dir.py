"""emptyDir: a directory that lives as long as the pod, on the node's disk, in memory, or in huge pages."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import ClassVar

from api import pod_resources
from api.quantity import Quantity
from api.types.core_v1 import Pod, Volume
from kubelet import mounts, resources
from kubelet.volumes.base import VolumeError, VolumeKind
from kubelet.volumes.ownership import apply_fs_group, fs_group


class EmptyDir(VolumeKind):
    plugin: ClassVar[str] = "kubernetes.io/empty-dir"

    def supports(self, volume: Volume) -> bool:
        return volume.empty_dir is not None

    async def set_up(self, pod: Pod, volume: Volume, path: Path) -> Path:
        assert volume.empty_dir is not None
        medium = volume.empty_dir.medium or ""
        # What is there belongs to the pod, which may have changed its mode or owner: it is made once, whole, and then
        # left alone, also by a kubelet that starts anew.
        if medium == "":
            if not path.exists():
                _make(pod, path)
        elif not mounts.is_mount_point(path):
            path.mkdir(mode=0o777, parents=True, exist_ok=True)
            if medium == "Memory":
                # A tmpfs has the sticky bit unless told otherwise, and upstream doesn't.
                options = ",".join(filter(None, (_ownership(pod, 0o1777), _size_option(pod, volume))))
                mounts.mount("tmpfs", path, "tmpfs", mounts.MS_NOSUID | mounts.MS_NODEV, options)
            else:
                options = f"{_ownership(pod, 0o777)},pagesize={_page_size(pod, medium)}"
                mounts.mount("nodev", path, "hugetlbfs", 0, options)
        return path


def _make(pod: Pod, path: Path) -> None:
    unfinished = path.with_name(f".{path.name}.new")
    if unfinished.exists():
        unfinished.rmdir()
    unfinished.mkdir(parents=True)
    unfinished.chmod(0o777)  # the umask must not weigh in
    apply_fs_group(pod, unfinished)
    unfinished.rename(path)


def _ownership(pod: Pod, mode: int) -> str:
    """Mount options that do what `apply_fs_group` does to a directory."""
    group = fs_group(pod)
    return f"mode={mode:o}" if group is None else f"mode={mode | stat.S_ISGID:o},gid={group}"


def _size_option(pod: Pod, volume: Volume) -> str:
    """A memory volume may grow to its limit or to the pod's memory limit, whichever is less."""
    bounds: list[int] = []
    if volume.empty_dir and volume.empty_dir.size_limit is not None:
        bounds.append(Quantity(volume.empty_dir.size_limit).value)
    limits = pod_resources.pod_limits(pod)
    if "memory" in limits and resources.pod_resources(pod).memory_limit:
        bounds.append(limits["memory"].value)
    bounds = [bound for bound in bounds if bound > 0]
    return f"size={min(bounds)}" if bounds else ""


def _page_size(pod: Pod, medium: str) -> str:
    _, _, size = medium.partition("-")
    if not size:
        names = [n for n in pod_resources.pod_limits(pod) if n.startswith("hugepages-")]
        if len(names) != 1:
            raise VolumeError("the pod must request exactly one page size for medium HugePages")
        size = names[0].removeprefix("hugepages-")
    return size.replace("i", "")
