"""Named background work of one pod: at most one job of a name at a time, all ended together."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

log = logging.getLogger(__name__)


class Jobs:
    def __init__(self, owner: str, on_end: Callable[[str], None]) -> None:
        """`on_end` is told the name of every job that has ended, whatever came of it."""
        self._owner = owner
        self._on_end = on_end
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._tasks

    def names(self, prefix: str = "") -> list[str]:
        return [name for name in self._tasks if name.startswith(prefix)]

    def task(self, name: str) -> asyncio.Task[None] | None:
        return self._tasks.get(name)

    def start(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """The name must be free."""
        if name in self._tasks:
            work.close()
            raise RuntimeError(f"{self._owner}: {name} is already under way")
        task = asyncio.create_task(work, name=f"{self._owner} {name}")
        self._tasks[name] = task
        task.add_done_callback(lambda done: self._ended(name, done))

    def _ended(self, name: str, task: asyncio.Task[None]) -> None:
        if self._tasks.get(name) is task:
            del self._tasks[name]
        if not task.cancelled() and (error := task.exception()) is not None:
            # One pod's trouble must not end the others; the worker looks again and tries again.
            log.error("%s: %s failed", self._owner, name, exc_info=error)
        self._on_end(name)

    async def cancel(self, names: Iterable[str]) -> None:
        """Returns when they have ended."""
        tasks = [self._tasks[name] for name in names if name in self._tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
