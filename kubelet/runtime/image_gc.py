"""Removes images that nothing uses when the image file system fills up, least recently used first.

Upstream's rules (image_gc_manager): nothing happens below the high threshold; then images go until the low one is
reached. An image is in use as long as any container of it exists, ended ones included, or a
pod mounts it. An image is spared for its first
two minutes, because the pod that it was pulled for may not have started yet; the sandbox's image always.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from kubelet.cri import ImageStatus, Runtime, RuntimeFailure
from kubelet.runtime import image_mount, image_name

log = logging.getLogger(__name__)

MIN_AGE = 120.0  # seconds


class FreeDiskSpaceFailed(Exception):
    """The reason of an event on the node; str() is upstream's message."""


@dataclass(slots=True)
class _Record:
    first_detected: float
    last_used: float
    size: int


def disk_usage(path: Path) -> tuple[int, int]:
    """(capacity, available) in bytes."""
    stat = os.statvfs(path)
    return stat.f_blocks * stat.f_frsize, stat.f_bavail * stat.f_frsize


class ImageGC:
    def __init__(
        self,
        runtime: Runtime,
        *,
        image_dir: Path,
        sandbox_image: str,
        high: int = 85,
        low: int = 80,
        clock: Callable[[], float] = time.time,
        usage: Callable[[Path], tuple[int, int]] = disk_usage,
        mounted: Callable[[], set[str]] = image_mount.mounted,
    ) -> None:
        """`high` and `low` in percent of the file system of `image_dir`; `mounted`: ids of images that are volumes."""
        self._mounted = mounted
        self._runtime = runtime
        self._image_dir = image_dir
        self._sandbox_image = image_name.normalize_known(sandbox_image)
        self._high, self._low = high, low
        self._clock = clock
        self._usage = usage
        self._records: dict[str, _Record] = {}

    async def collect(self) -> int:
        """One round, upstream's is every five minutes; the bytes freed. Raises FreeDiskSpaceFailed if too little could
        be, RuntimeFailure if the runtime is away."""
        started = self._clock()
        await self._detect(started)
        capacity, available = self._usage(self._image_dir)
        if not capacity or 100 - available * 100 // capacity < self._high:
            return 0
        wanted = capacity * (100 - self._low) // 100 - available
        log.info("image file system above %d %%: trying to free %d bytes", self._high, wanted)
        freed = await self._free(wanted, started)
        if freed < wanted:
            raise FreeDiskSpaceFailed(
                "Failed to garbage collect required amount of images. "
                f"Attempted to free {wanted} bytes, but only found {freed} bytes eligible to free."
            )
        return freed

    async def remove_unused(self) -> int:
        """Under disk pressure: every image that is not in use, whatever the thresholds; the bytes freed."""
        started = self._clock()
        await self._detect(started)
        return await self._free(None, started)

    async def _detect(self, now: float) -> set[str]:
        """Bring the records up to date; the ids in use."""
        images = await self._runtime.list_images()
        used = {
            image_id
            for snapshot in (await self._runtime.list_pods()).values()
            for image_id in (_id_of(item.image_id, item.image, images) for item in snapshot.containers)
        }
        used |= {image.id for image in images if self._is_sandbox(image)}
        used |= self._mounted()
        for image in images:
            record = self._records.setdefault(image.id, _Record(now, 0.0, image.size))
            record.size = image.size
            if image.id in used:
                record.last_used = now
        present = {image.id for image in images}
        self._records = {key: record for key, record in self._records.items() if key in present}
        return used

    def _is_sandbox(self, image: ImageStatus) -> bool:
        return image.id == self._sandbox_image or self._sandbox_image in image.repo_tags

    async def _free(self, wanted: int | None, now: float) -> int:
        freed = 0
        candidates = [
            (record.last_used, record.first_detected, image_id)
            for image_id, record in self._records.items()
            if record.last_used < now and now - record.first_detected >= MIN_AGE
        ]
        for _, _, image_id in sorted(candidates):
            if wanted is not None and freed >= wanted:
                break
            try:
                await self._runtime.remove_image(image_id)
            except RuntimeFailure as error:
                log.info("image %s stays: %s", image_id, error)
                continue
            freed += self._records.pop(image_id).size
        return freed


def _id_of(image_id: str, name: str, images: list[ImageStatus]) -> str:
    """A status shows a digest where there is one; the records go by id."""
    for image in images:
        if image_id == image.id or image_id in image.repo_digests or (name and name in image.repo_tags):
            return image.id
    return image_id
