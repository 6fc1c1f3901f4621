"""What a kind of volume is."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from api.types.core_v1 import Pod, Volume


class VolumeError(Exception):
    """A volume can't be set up now; str() is upstream's message after `MountVolume.SetUp failed for volume "x" : `."""


class VolumeKind:
    """Sets up one kind of volume. What is made lives at `path` alone, so that taking down needs no knowledge of kinds:
    whatever is mounted below a pod's directory is unmounted, then the directory is removed."""

    #: upstream's plugin name, part of the path
    plugin: ClassVar[str]
    #: Do the contents follow the API? Then `set_up` is called again when they may have changed.
    live: ClassVar[bool] = False

    def supports(self, volume: Volume) -> bool:
        raise NotImplementedError

    async def set_up(self, pod: Pod, volume: Volume, path: Path) -> Path:
        """Make or update it; returns what containers mount. Idempotent. Raises VolumeError or OSError."""
        raise NotImplementedError

    def refresh_after(self, pod: Pod, volume: Volume) -> float | None:
        """Seconds until `set_up` should run again although nothing has changed (a token is to be rotated)."""
        return None
