"""Runs a reconciler: workers that take keys from a queue and call `reconcile(key)` until it succeeds.

A reconciler is idempotent and level-triggered: it compares what should be with what is and acts on the difference.
It may answer a number of seconds after which it wants to see the key again. When it raises, the key comes back with
exponential backoff; a conflict or an object that vanished in between is ordinary and only logged at debug level.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, Generic, TypeVar

from api import errors
from client.workqueue import ShutDown, WorkQueue

log = logging.getLogger(__name__)
K = TypeVar("K", bound=Hashable)


class Controller(Generic[K]):
    """`workers` reconciles at most run at the same time, never two for one key."""

    def __init__(
        self,
        name: str,
        reconcile: Callable[[K], Awaitable[float | None]],
        *,
        workers: int = 5,
        base_delay: float = 0.005,
        max_delay: float = 1000.0,
    ) -> None:
        self.name = name
        self.queue: WorkQueue[K] = WorkQueue(name, base=base_delay, cap=max_delay)
        self._reconcile = reconcile
        self._workers = workers

    def enqueue(self, key: K) -> None:
        self.queue.add(key)

    def enqueue_after(self, key: K, seconds: float) -> None:
        self.queue.add_after(key, seconds)

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as group:
            for number in range(self._workers):
                group.create_task(self._work(), name=f"{self.name}-{number}")

    async def _work(self) -> None:
        try:
            while True:
                key = await self.queue.get()
                try:
                    await self.process(key)
                finally:
                    self.queue.done(key)
        except ShutDown:
            return

    async def process(self, key: K) -> None:
        """One reconcile with its consequences for the queue."""
        started = time.monotonic()
        try:
            again = await self._reconcile(key)
        except errors.StatusError as error:
            ordinary = any(f(error) for f in (errors.is_conflict, errors.is_not_found, errors.is_service_unavailable))
            log.log(logging.DEBUG if ordinary else logging.WARNING, "%s: %s: %s", self.name, _text(key), error)
            self.queue.add_rate_limited(key)
        except Exception:
            log.exception("%s: %s: reconcile failed", self.name, _text(key))
            self.queue.add_rate_limited(key)
        else:
            self.queue.forget(key)
            if again is not None:
                self.queue.add_after(key, again)
        finally:
            self.queue.worked(time.monotonic() - started)


def _text(key: Any) -> str:
    return "/".join(str(part) for part in key if part) if isinstance(key, tuple) else str(key)
