"""Graceful node shutdown (KEP-2000): when the machine goes down, pods end in order, each with its own grace.

The machine tells by SIGPWR, init's classic signal for "the power is going". The node says that it isn't ready, takes no
more pods, ends the ordinary ones, then the critical ones, and the kubelet ends when nothing is left or the time is
over. A plain SIGTERM means that only the kubelet is to go: it leaves every container alone.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Callable

from kubelet import podutil
from kubelet.config import Config
from kubelet.node import NodeState
from kubelet.pod_worker import PodWorker
from kubelet.pods import Pods
from kubelet.status_manager import StatusManager
from kubelet.view import Verdict

log = logging.getLogger(__name__)

MESSAGE = "Pod was terminated in response to imminent node shutdown."
TELL = 2.0  # seconds that the last statuses get on their way


class Shutdown:
    def __init__(
        self, config: Config, pods: Pods, state: NodeState, statuses: StatusManager, changed: Callable[[], None]
    ) -> None:
        """`changed` has the node's status looked at."""
        self._total = config.shutdown_grace_period
        self._critical = min(config.shutdown_grace_period_critical_pods, self._total)
        self._pods = pods
        self._state = state
        self._statuses = statuses
        self._changed = changed
        self.requested = asyncio.Event()

    async def run(self) -> None:
        """Waits for the signal; ends the process at last."""
        await self.requested.wait()
        if self._total > 0:
            log.warning("the node is shutting down")
            self._state.shutting_down = True
            self._pods.stop_admitting()
            self._changed()
            workers = [w for w in self._pods.workers() if not w.ended.is_set()]
            await self._end([w for w in workers if not podutil.is_critical(w.pod)], self._total - self._critical)
            await self._end([w for w in workers if podutil.is_critical(w.pod)], self._critical)
        os.kill(os.getpid(), signal.SIGTERM)

    async def _end(self, workers: list[PodWorker], seconds: float) -> None:
        for worker in workers:
            grace = min(podutil.deletion_grace(worker.pod), int(seconds))
            worker.end(Verdict("Failed", "Terminated", MESSAGE, "TerminationByKubelet"), grace)
        ends = [asyncio.create_task(worker.ended.wait()) for worker in workers]
        if ends:
            _, late = await asyncio.wait(ends, timeout=seconds)
            for task in late:
                task.cancel()
            if late:
                log.warning("%d pods did not end within %.0f s", len(late), seconds)
        try:
            async with asyncio.timeout(TELL):
                await asyncio.gather(*(self._statuses.flush(worker.uid) for worker in workers))
        except TimeoutError:
            log.warning("the API server was not told of the end of every pod")
