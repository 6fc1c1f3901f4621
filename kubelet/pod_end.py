"""The end of a pod: its containers, sandbox and volumes go, then the API object, then what the runtime still keeps.

Two ways lead here. A pod that is being deleted disappears at the end. One that has ended by itself (or was evicted)
keeps its stopped containers, for their logs, until somebody deletes it.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from api import errors
from api.types.core_v1 import Pod
from kubelet import cri, podutil

if TYPE_CHECKING:
    from kubelet.pod_worker import PodWorker

log = logging.getLogger(__name__)

RETRY_INITIAL, RETRY_MAXIMUM = 0.2, 10.0  # seconds
KILL_TRIES_PAUSE = 1.0


class PodEnd:
    def __init__(self, worker: PodWorker) -> None:
        self._worker = worker
        self._services = worker.services

    async def run(self) -> None:
        """Returns when nothing of the pod is left anywhere. Cancelling leaves things as they are."""
        worker = self._worker
        # Tokens and the like stay fresh for as long as containers run.
        await worker.jobs.cancel(name for name in worker.jobs.names() if name != "follow")
        await self._stop()
        await worker.jobs.cancel(["follow"])
        worker.publish(finished=True)
        worker.ended.set()
        await self._unmount()
        await self._deleted()
        if not worker.removed:
            await self._services.statuses.flush(worker.uid)
            await self._delete()
        self._services.statuses.forget(worker.uid)
        self._services.tokens.forget(worker.uid)
        self._services.images.forget(worker.uid)
        self._services.prober.forget(worker.uid)
        await self._clean()
        await self._unmount()  # reading the logs of an ended pod may have left a directory

    # -- containers -----------------------------------------------------------------------------------------------

    def _grace(self) -> int:
        worker = self._worker
        if worker.pod.metadata.deletion_timestamp is not None:
            grace = podutil.deletion_grace(worker.pod)
            if worker.grace_override is not None:
                grace = min(grace, worker.grace_override)
            return grace
        if worker.grace_override is not None:
            return worker.grace_override
        return podutil.spec_grace(worker.pod)

    async def _stop(self) -> None:
        """End every container, in less time if the grace is shortened meanwhile; then the sandbox."""
        worker = self._worker
        quiet = False
        while True:
            worker.notify()
            worker.clear_wake()
            if not await worker.refresh():
                await worker.pause(KILL_TRIES_PAUSE)
                continue
            snapshot = worker.snapshot
            if snapshot is None:
                return
            worker.publish()
            if all(run.state is cri.State.EXITED for run in snapshot.containers):
                if await self._stop_sandboxes(snapshot):
                    worker.notify()
                    if await worker.refresh():
                        return
            elif not await self._kill(snapshot, quiet):
                await asyncio.sleep(KILL_TRIES_PAUSE)
            quiet = True

    async def _kill(self, snapshot: cri.PodSnapshot, quiet: bool) -> bool:
        """One attempt at ending everything; ended early when the grace becomes shorter. False if the runtime failed."""
        worker = self._worker
        created = [run for run in snapshot.containers if run.state is cri.State.CREATED]
        try:
            for run in created:
                await self._services.runtime.remove_container(run.id)
        except cri.RuntimeFailure as error:
            log.warning("pod %s: %s", worker.key, error)
            return False
        grace = self._grace()
        killing = asyncio.create_task(worker.killer().kill_all(snapshot, grace=grace, quiet=quiet))
        try:
            while not killing.done():
                woken = asyncio.create_task(worker.pause(None))
                await asyncio.wait({killing, woken}, return_when=asyncio.FIRST_COMPLETED)
                woken.cancel()
                worker.clear_wake()
                if not killing.done() and self._grace() < grace:
                    return True  # the caller starts over with what is left
                if not killing.done() and await worker.refresh():
                    worker.publish()
        finally:
            if not killing.done():
                killing.cancel()
            await asyncio.wait({killing})
        if not killing.cancelled() and (failure := killing.exception()):
            log.warning("pod %s: ending its containers: %s", worker.key, failure)
            return False
        return True

    async def _stop_sandboxes(self, snapshot: cri.PodSnapshot) -> bool:
        try:
            for sandbox in snapshot.sandboxes:
                await self._services.runtime.stop_sandbox(sandbox.id)
        except cri.RuntimeFailure as error:
            log.warning("pod %s: stopping its sandbox: %s", self._worker.key, error)
            await asyncio.sleep(KILL_TRIES_PAUSE)
            return False
        return True

    # -- volumes and the API object -------------------------------------------------------------------------------

    async def _unmount(self) -> None:
        delay = RETRY_INITIAL
        while True:
            try:
                await self._services.volumes.tear_down(self._worker.uid)
                return
            except OSError as error:
                log.warning("pod %s: taking down its volumes: %s", self._worker.key, error)
                await asyncio.sleep(delay)
                delay = min(delay * 2, RETRY_MAXIMUM)

    async def _deleted(self) -> None:
        """Wait until the pod is wanted gone."""
        worker = self._worker
        while not (worker.removed or worker.pod.metadata.deletion_timestamp):
            worker.clear_wake()
            if worker.removed or worker.pod.metadata.deletion_timestamp:
                return
            await worker.pause(None)

    async def _delete(self) -> None:
        """Take the object out of the API: this is the moment everybody else learns that the pod is over."""
        worker, delay = self._worker, RETRY_INITIAL
        while not worker.removed:
            try:
                await self._services.api.delete(
                    Pod,
                    podutil.name(worker.pod),
                    namespace=podutil.namespace(worker.pod),
                    grace_period_seconds=0,
                    uid=worker.uid,
                )
                return
            except errors.StatusError as error:
                if errors.is_not_found(error) or errors.is_conflict(error):
                    return  # gone, or another pod of this name by now
                log.info("deleting pod %s: %s", worker.key, error)
            await asyncio.sleep(delay)
            delay = min(delay * 2, RETRY_MAXIMUM)

    async def _clean(self) -> None:
        """Remove the stopped containers and sandboxes."""
        worker, delay = self._worker, RETRY_INITIAL
        while True:
            try:
                snapshot = await self._services.runtime.pod(worker.uid)
                for run in snapshot.containers if snapshot else ():
                    await self._services.runtime.remove_container(run.id)
                for sandbox in snapshot.sandboxes if snapshot else ():
                    await self._services.runtime.remove_sandbox(sandbox.id)
                return
            except cri.RuntimeFailure as error:
                log.warning("pod %s: removing its containers: %s", worker.key, error)
            await asyncio.sleep(delay)
            delay = min(delay * 2, RETRY_MAXIMUM)
