"""An image's files as a read-only mount: the layers that dockerd keeps, put on top of each other by overlayfs.

The mount's source is the image's id, so that the mount table alone tells which images are in use this way; nothing has
to be remembered over a restart.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kubelet import mounts
from kubelet.cri import RuntimeFailure

_FLAGS = mounts.MS_RDONLY | mounts.MS_NOSUID | mounts.MS_NODEV


def layers(inspected: Mapping[str, Any]) -> list[str]:
    """Directories of an image's layers, uppermost first. Raises RuntimeFailure for drivers that have none."""
    driver = inspected.get("GraphDriver") or {}
    data = driver.get("Data") or {}
    if not data.get("UpperDir"):
        raise RuntimeFailure(f"images cannot be mounted with the storage driver {driver.get('Name', 'unknown')!r}")
    return [data["UpperDir"], *filter(None, str(data.get("LowerDir", "")).split(":"))]


def mount(inspected: Mapping[str, Any], target: Path, state_dir: Path) -> None:
    """Idempotent. Raises OSError."""
    if mounts.is_mount_point(target):
        return
    lower = layers(inspected)
    if len(lower) == 1:
        empty = state_dir / "empty"  # overlayfs wants two at least
        empty.mkdir(parents=True, exist_ok=True)
        lower.append(str(empty))
    target.mkdir(mode=0o755, parents=True, exist_ok=True)
    mounts.mount(str(inspected["Id"]), target, "overlay", _FLAGS, f"lowerdir={':'.join(lower)}")


def mounted(mountinfo: Path = Path("/proc/self/mountinfo")) -> set[str]:
    """Ids of the images that are mounted somewhere."""
    found: set[str] = set()
    for line in mountinfo.read_text().splitlines():
        kind, source, *_ = line.partition(" - ")[2].split(" ")
        if kind == "overlay" and source.startswith("sha256:"):
            found.add(source)
    return found
