"""A queue of keys to work on.

Invariants (those of client-go's workqueue):
- a key that is added many times before it is taken is taken once;
- a key is never given to two workers at the same time: added while it is worked on, it comes back after `done`;
- delayed and rate-limited keys become ready by themselves, at the earliest time anybody asked for.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Hashable
from typing import Generic, TypeVar

from client import metrics

K = TypeVar("K", bound=Hashable)


class ShutDown(Exception):
    """The queue was shut down."""


class WorkQueue(Generic[K]):
    """Backoff per key: `base` seconds, doubled with each `add_rate_limited` since the last `forget`, up to `cap`."""

    def __init__(self, name: str = "", *, base: float = 0.005, cap: float = 1000.0) -> None:
        self.name = name
        self._base, self._cap = base, cap
        self._ready: deque[K] = deque()
        self._dirty: set[K] = set()
        self._processing: set[K] = set()
        self._failures: dict[K, int] = {}
        self._timers: dict[K, asyncio.TimerHandle] = {}
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._added: dict[K, float] = {}
        self._stopped = False
        self._metrics = metrics.QueueMetrics(name) if name else None

    def __len__(self) -> int:
        """Keys ready to be taken."""
        return len(self._ready)

    @property
    def busy(self) -> bool:
        """Whether a key is ready or being worked on (delayed ones do not count)."""
        return bool(self._ready or self._processing)

    def add(self, key: K) -> None:
        if self._stopped or key in self._dirty:
            return
        self._dirty.add(key)
        if self._metrics is not None:
            self._metrics.adds.inc()
            self._added.setdefault(key, time.monotonic())
        if key not in self._processing:
            self._ready.append(key)
            self._wake()

    def add_after(self, key: K, seconds: float) -> None:
        """Add when `seconds` have passed."""
        if seconds <= 0:
            self.add(key)
            return
        if self._stopped:
            return
        loop = asyncio.get_running_loop()
        pending = self._timers.get(key)
        if pending is not None:
            if pending.when() <= loop.time() + seconds:
                return
            pending.cancel()
        self._timers[key] = loop.call_later(seconds, self._due, key)

    def add_rate_limited(self, key: K) -> None:
        """Add after this key's backoff."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        if self._metrics is not None:
            self._metrics.retries.inc()
        self.add_after(key, min(self._base * 2 ** min(failures, 60), self._cap))

    def forget(self, key: K) -> None:
        """The key's work succeeded: its next failure starts the backoff anew."""
        self._failures.pop(key, None)

    def num_requeues(self, key: K) -> int:
        return self._failures.get(key, 0)

    async def get(self) -> K:
        """The next key; `done` must follow. Raises ShutDown."""
        while not self._ready:
            if self._stopped:
                raise ShutDown
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            try:
                await waiter
            except asyncio.CancelledError:
                if waiter.done() and not waiter.cancelled():
                    self._wake()  # this wake-up was ours to use; hand it on
                raise
        key = self._ready.popleft()
        self._dirty.discard(key)
        self._processing.add(key)
        if self._metrics is not None:
            self._metrics.took(len(self._ready), time.monotonic() - self._added.pop(key, time.monotonic()))
        return key

    def done(self, key: K) -> None:
        self._processing.discard(key)
        if key in self._dirty:
            self._ready.append(key)
            self._wake()

    def worked(self, seconds: float) -> None:
        """How long the work on a key took, for the metrics."""
        if self._metrics is not None:
            self._metrics.worked.observe(seconds)

    def shut_down(self) -> None:
        self._stopped = True
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        while self._waiters:
            self._wake()

    def _due(self, key: K) -> None:
        self._timers.pop(key, None)
        self.add(key)

    def _wake(self) -> None:
        if self._metrics is not None:
            self._metrics.depth.set(len(self._ready))
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
