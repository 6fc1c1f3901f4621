"""The one watch on the store, from which every cache is fed, and the proof that the caches are up to date.

The store's watch covers all keys, so its position is the position of every cache at once: when the change of revision
N has been delivered, every cache shows the world as of N. A consistent read therefore asks the store for its revision
and waits until the feed has come that far; all reads that arrive while one such question is under way share the next.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from heapq import heappop, heappush

from apiserver.store import Change, Compacted, Store, Unavailable

log = logging.getLogger(__name__)

Sink = Callable[[Sequence[Change]], None]


class Behind(Exception):
    """The revision asked for was not reached in time; `revision` is where the feed stands."""

    def __init__(self, revision: int) -> None:
        super().__init__(f"at revision {revision}")
        self.revision = revision


class Feed:
    """Distributes changes by key prefix. Sinks are called in order and must not block."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.revision = 0
        self._sinks: dict[str, Sink] = {}
        self._waiters: list[tuple[int, int, asyncio.Future[None]]] = []
        self._sequence = 0
        self._asking: asyncio.Task[int] | None = None
        self._next: asyncio.Future[int] | None = None
        self.on_reset: list[Callable[[int], None]] = []

    def start_at(self, revision: int) -> None:
        """Where `run` begins; caches list the state as of this revision."""
        self.revision = revision

    def attach(self, prefix: str, sink: Sink) -> None:
        """Send changes of keys with this prefix (`/registry/<group>/<resource>/`) to the sink."""
        self._sinks[prefix] = sink

    def detach(self, prefix: str) -> None:
        self._sinks.pop(prefix, None)

    async def run(self) -> None:
        """Follow the store until cancelled. After a gap that cannot be closed, `on_reset` rebuilds the caches."""
        while True:
            try:
                async for batch in self._store.watch(self.revision):
                    self._deliver(batch)
            except Compacted as error:
                log.warning("the watch fell behind the compaction at %d; the caches start afresh", error.revision)
                await self._start_afresh()

    async def _start_afresh(self) -> None:
        while True:
            try:
                revision = await self._store.revision()
                break
            except Unavailable as error:
                log.warning("cannot start afresh yet: %s", error)
                await asyncio.sleep(0.5)
        self.revision = revision
        for callback in self.on_reset:
            callback(revision)
        self._wake()

    def _deliver(self, batch: Sequence[Change]) -> None:
        by_sink: dict[str, list[Change]] = {}
        for change in batch:
            key = change.key
            prefix = key[: key.find("/", key.find("/", 10) + 1) + 1]  # 10 == len("/registry/")
            by_sink.setdefault(prefix, []).append(change)
        # All caches first, then the position: whoever waits for it may read any of them.
        for prefix, changes in by_sink.items():
            if sink := self._sinks.get(prefix):
                sink(changes)
        self.revision = batch[-1].revision
        self._wake()

    def _wake(self) -> None:
        while self._waiters and self._waiters[0][0] <= self.revision:
            waiter = heappop(self._waiters)[2]
            if not waiter.done():
                waiter.set_result(None)

    async def reach(self, revision: int, *, timeout: float = 3.0) -> None:
        """Wait until every cache shows at least this revision. Raises Behind after `timeout` seconds."""
        if self.revision >= revision:
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sequence += 1
        heappush(self._waiters, (revision, self._sequence, waiter))
        try:
            async with asyncio.timeout(timeout):
                await waiter
        except TimeoutError:
            raise Behind(self.revision) from None

    async def fresh(self) -> int:
        """Wait until every cache shows all that was written before this call; answers that revision."""
        revision = await self._newest()
        if self.revision < revision:
            await self.reach(revision, timeout=10.0)
        return self.revision

    async def _newest(self) -> int:
        # A question that was sent before we came may be answered with a revision from before we came: join the next.
        answer = self._next
        if answer is None:
            answer = self._next = asyncio.get_running_loop().create_future()
            if self._asking is None:
                self._ask()
        return await asyncio.shield(answer)

    def _ask(self) -> None:
        answer, self._next = self._next, None
        assert answer is not None
        self._asking = asyncio.create_task(self._store.revision())
        self._asking.add_done_callback(lambda task: self._answered(task, answer))

    def _answered(self, task: asyncio.Task[int], answer: asyncio.Future[int]) -> None:
        self._asking = None
        if not answer.done():
            if task.cancelled():
                answer.cancel()
            elif error := task.exception():
                answer.set_exception(error)
                answer.exception()  # whoever waited may have gone; that is not worth a log line
            else:
                answer.set_result(task.result())
        if self._next is not None:
            self._ask()
