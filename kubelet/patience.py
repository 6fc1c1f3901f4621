"""How long a container of a pod has to wait before it is started (again): after a failed start, or after a crash."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from kubelet import cri, podutil
from kubelet.actions import container_hash
from kubelet.backoff import duration
from kubelet.podutil import AnyContainer
from kubelet.timestamps import epoch
from kubelet.view import runs

if TYPE_CHECKING:
    from kubelet.pod_worker import PodWorker

CRASH_LOOP = "CrashLoopBackOff"


class Patience:
    """The waiting part of a pod worker."""

    def __init__(self, worker: PodWorker) -> None:
        self._worker = worker
        self._retry_at: dict[str, float] = {}  # container -> loop time
        self._told: set[tuple[str, int]] = set()  # container and run that a BackOff event was about

    def left(self, container: AnyContainer) -> float:
        """Seconds to wait; 0: it may start now. Tells people when the container has crashed too often."""
        retry = self._retry_at.get(container.name, 0.0) - asyncio.get_running_loop().time()
        if retry > 0:
            return retry
        last = next(iter(runs(self._worker.snapshot, container.name)), None)
        if last is None or last.state is not cri.State.EXITED:
            return 0.0
        left = self._worker.services.crashes.remaining(self._key(container), since=epoch(last.finished_at))
        if left > 0:
            self._tell(container, last)
        return left

    def _tell(self, container: AnyContainer, last: cri.ContainerStatus) -> None:
        worker = self._worker
        pod = podutil.describe(worker.pod)
        if (container.name, last.attempt) not in self._told:
            self._told.add((container.name, last.attempt))
            worker.services.recorder.event(
                podutil.container_reference(worker.pod, container.name),
                "Warning",
                "BackOff",
                f"Back-off restarting failed container {container.name} in pod {pod}",
            )
        delay = duration(worker.services.crashes.delay(self._key(container)))
        waiting = CRASH_LOOP, f"back-off {delay} restarting failed container={container.name} pod={pod}"
        if worker.waiting.get(container.name) != waiting:
            worker.waiting[container.name] = waiting
            worker.publish()

    def failed(self, container: AnyContainer, seconds: float) -> None:
        """A start has failed; the next try is that far away."""
        self._retry_at[container.name] = asyncio.get_running_loop().time() + seconds

    def started(self, container: AnyContainer) -> None:
        self._retry_at.pop(container.name, None)

    def ran_before(self, container: AnyContainer) -> None:
        """A container that had ended was started again: the delay before the next time grows."""
        self._worker.services.crashes.next(self._key(container))

    def forget_failures(self) -> None:
        """What made starts fail may have changed."""
        self._retry_at.clear()

    def _key(self, container: AnyContainer) -> str:
        return f"{self._worker.uid}_{container.name}_{container_hash(container)}"
