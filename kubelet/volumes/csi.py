"""csi: a volume of a driver's own. The place where drivers come in; none is registered on a node today.

A driver is asked once the pod is on the node (NodePublishVolume), makes the volume at the path it is given, and is
asked again after a restart: like every kind, it must be idempotent. Unmounting needs no driver.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Protocol

from api.types.core_v1 import CSIVolumeSource, Pod, Volume
from kubelet.volumes.base import VolumeError, VolumeKind


class Driver(Protocol):
    async def publish(self, pod: Pod, source: CSIVolumeSource, path: Path) -> None:
        """Make the volume at `path`. Raises VolumeError."""
        ...


def not_registered(driver: str) -> VolumeError:
    return VolumeError(f"driver name {driver} not found in the list of registered CSI drivers")


class CSIVolume(VolumeKind):
    plugin: ClassVar[str] = "kubernetes.io/csi"

    def __init__(self, drivers: Mapping[str, Driver] | None = None) -> None:
        self._drivers = dict(drivers or {})

    def supports(self, volume: Volume) -> bool:
        return volume.csi is not None

    async def set_up(self, pod: Pod, volume: Volume, path: Path) -> Path:
        assert volume.csi is not None
        driver = self._drivers.get(volume.csi.driver)
        if driver is None:
            raise not_registered(volume.csi.driver)
        target = path / "mount"
        target.mkdir(mode=0o750, parents=True, exist_ok=True)
        await driver.publish(pod, volume.csi, target)
        return target
