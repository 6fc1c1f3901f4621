"""Sets up the volumes of pods, keeps the live ones current, and takes everything down for certain.

What is mounted is known from the directory layout, not from memory: a kubelet that was killed half way sets up again
(every kind is idempotent) or takes down what it finds.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from api import errors
from api.types.core_v1 import Pod, Volume
from client.events import EventRecorder
from kubelet import mounts, podutil
from kubelet.layout import Layout
from kubelet.volumes.base import VolumeError, VolumeKind

log = logging.getLogger(__name__)

RETRY_INITIAL, RETRY_MAXIMUM = 0.5, 122.0  # seconds, upstream's exponential backoff of volume operations
WAIT_WARNING = 123.0  # seconds after which a pod that still waits is told so


def used_volumes(pod: Pod) -> list[Volume]:
    """The volumes that some container mounts or maps; others are never set up. Images are mounted when a container
    is started (`kubelet.volumes.image`)."""
    names = {
        use.name for c in podutil.all_containers(pod) for use in (*(c.volume_mounts or ()), *(c.volume_devices or ()))
    }
    return [volume for volume in pod.spec.volumes or () if volume.name in names and volume.image is None]


class VolumeManager:
    def __init__(self, layout: Layout, kinds: Sequence[VolumeKind], recorder: EventRecorder) -> None:
        self._layout = layout
        self._kinds = kinds
        self._recorder = recorder
        self._paths: dict[str, dict[str, Path]] = {}

    def paths(self, uid: str) -> dict[str, Path]:
        """What containers mount, by volume name; only what has been set up."""
        return self._paths.get(uid, {})

    async def mount(self, get_pod: Callable[[], Pod], changed: asyncio.Event) -> None:
        """Returns when every used volume is set up; tries again when `changed` is set, or later and later."""
        pod = get_pod()
        waiting = {volume.name: RETRY_INITIAL for volume in used_volumes(pod)}
        started = asyncio.get_running_loop().time()
        while waiting:
            pod = get_pod()
            changed.clear()
            for volume in used_volumes(pod):
                if volume.name in waiting and await self._try(pod, volume):
                    del waiting[volume.name]
            if not waiting:
                break
            pause = min(waiting.values())
            waiting = {name: min(delay * 2, RETRY_MAXIMUM) for name, delay in waiting.items()}
            try:
                async with asyncio.timeout(pause):
                    await changed.wait()
            except TimeoutError:
                pass
            now = asyncio.get_running_loop().time()
            if now - started > WAIT_WARNING:
                started = now
                self._recorder.event(pod, "Warning", "FailedMount", _timed_out(sorted(waiting)))

    async def _try(self, pod: Pod, volume: Volume) -> bool:
        try:
            await self._set_up(pod, volume)
        except (VolumeError, errors.StatusError, OSError, ValueError) as error:
            message = f'MountVolume.SetUp failed for volume "{volume.name}" : {error}'
            log.info("pod %s: %s", podutil.key(pod), message)
            self._recorder.event(pod, "Warning", "FailedMount", message)
            return False
        return True

    async def _set_up(self, pod: Pod, volume: Volume) -> VolumeKind:
        kind = next((kind for kind in self._kinds if kind.supports(volume)), None)
        if kind is None:
            raise VolumeError("no volume plugin matched")
        uid = podutil.uid(pod)
        path = self._layout.volume(uid, kind.plugin, volume.name)
        used = await kind.set_up(pod, volume, path)
        self._paths.setdefault(uid, {})[volume.name] = used
        return kind

    async def follow(self, get_pod: Callable[[], Pod], changed: asyncio.Event) -> None:
        """Keep the live volumes of a pod current until cancelled: on every `changed`, and when a kind asks for it."""
        failed = False
        while True:
            pod = get_pod()
            live = [(v, k) for v in used_volumes(pod) for k in self._kinds if k.live and k.supports(v)]
            if not live:
                return
            waits = [wait for volume, kind in live if (wait := kind.refresh_after(pod, volume)) is not None]
            pause = min([*waits, *([60.0] if failed else [])], default=None)
            try:
                async with asyncio.timeout(pause):
                    await changed.wait()
            except TimeoutError:
                pass
            changed.clear()
            failed = False
            pod = get_pod()
            for volume, _ in live:
                failed = not await self._try(pod, volume) or failed

    async def tear_down(self, uid: str) -> None:
        """Unmount and remove all that the pod had on this node. Idempotent. Raises OSError if something is in use."""
        self._paths.pop(uid, None)
        directory = self._layout.pod(uid)
        if directory.exists():
            await asyncio.to_thread(mounts.clear, directory)

    def leftovers(self, known: set[str]) -> list[str]:
        """UIDs of pods that have a directory although nobody knows them."""
        return [uid for uid in self._layout.known_pods() if uid not in known]


def _timed_out(names: Sequence[str]) -> str:
    return (
        f"Unable to attach or mount volumes: unmounted volumes=[{' '.join(names)}], unattached volumes=[], "
        "failed to process volumes=[]: context deadline exceeded"
    )
