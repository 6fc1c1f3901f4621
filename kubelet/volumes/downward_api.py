"""downwardAPI: fields of the pod as files that follow it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import ClassVar

from api.quantity import Quantity
from api.types.core_v1 import DownwardAPIVolumeFile, Pod, Volume
from kubelet import downward
from kubelet.volumes import contents
from kubelet.volumes.atomic_writer import Projected
from kubelet.volumes.base import VolumeError, VolumeKind
from kubelet.volumes.payload import DEFAULT_MODE

Allocatable = Callable[[], Mapping[str, Quantity]]


def downward_files(
    pod: Pod, items: Iterable[DownwardAPIVolumeFile], mode: int, allocatable: Mapping[str, Quantity]
) -> dict[str, Projected]:
    """Raises VolumeError."""
    files: dict[str, Projected] = {}
    for item in items:
        try:
            if item.field_ref:
                value = downward.field_value(pod, item.field_ref.field_path, downward.Addresses())
            elif item.resource_field_ref:
                value = downward.resource_value(pod, item.resource_field_ref, None, allocatable)
            else:
                continue
        except downward.UnsupportedField as error:
            raise VolumeError(str(error)) from None
        files[item.path] = Projected(value.encode(), mode if item.mode is None else item.mode)
    return files


class DownwardAPI(VolumeKind):
    plugin: ClassVar[str] = "kubernetes.io/downward-api"
    live: ClassVar[bool] = True

    def __init__(self, allocatable: Allocatable) -> None:
        self._allocatable = allocatable

    def supports(self, volume: Volume) -> bool:
        return volume.downward_api is not None

    async def set_up(self, pod: Pod, volume: Volume, path: Path) -> Path:
        source = volume.downward_api
        assert source is not None
        mode = DEFAULT_MODE if source.default_mode is None else source.default_mode
        files = downward_files(pod, source.items or (), mode, self._allocatable())
        contents.show(pod, path, files, in_memory=True)
        return path
