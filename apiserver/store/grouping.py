"""Creates that come while another one is under way share the next transaction: one question to etcd, one fsync.

Invariants:
- a create that comes alone is sent at once, by itself: nobody waits for company, only for the transaction under way;
- each has its own outcome. A transaction is all or nothing, so if it does not go through for whatever reason, each of
  its creates is tried by itself, knowing whether the common attempt may have been applied after all;
- whoever stops waiting before the transaction is sent takes its create along; afterwards it happens.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from apiserver.store import Rejected
from apiserver.store.revisions import MOST

_BYTES = 512 * 1024  # of values in one transaction; etcd's --max-request-bytes is 1.5 MiB


@dataclass(slots=True, eq=False)
class Create:
    """One that waits for its turn; `done` is to be its revision."""

    key: str
    value: bytes
    done: asyncio.Future[int]


#: Creates one key and answers its revision. True: an earlier attempt may have been applied. Raises Exists and others.
Alone = Callable[[str, bytes, bool], Awaitable[int]]
#: Creates all or none. Answers their revisions (none if a key is taken), and whether it was tried more than once.
Together = Callable[[Sequence[Create]], Awaitable[tuple[Sequence[int], bool]]]


class Creates:
    """The queue of one store."""

    def __init__(self, alone: Alone, together: Together) -> None:
        self._alone = alone
        self._together = together
        self._busy = False
        self._waiting: list[Create] = []
        self._task: asyncio.Task[None] | None = None

    async def create(self, key: str, value: bytes) -> int:
        """The revision of the new key. Raises what `alone` raises."""
        if self._busy:
            done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
            self._waiting.append(Create(key, value, done))
            return await done
        self._busy = True
        try:
            return await self._alone(key, value, False)
        finally:
            self._next()

    def _next(self) -> None:
        group = self._take()
        self._busy = bool(group)
        if group:
            self._task = asyncio.create_task(self._send(group))

    def _take(self) -> list[Create]:
        """Those that fit into one transaction, in order; it may write a key only once."""
        group: list[Create] = []
        keys: set[str] = set()
        size = 0
        rest: list[Create] = []
        for create in self._waiting:
            if create.done.done():
                continue  # whoever asked has gone
            fits = len(group) < MOST and (not group or size + len(create.value) <= _BYTES)
            if fits and create.key not in keys:
                group.append(create)
                keys.add(create.key)
                size += len(create.value)
            else:
                rest.append(create)
        self._waiting = rest
        return group

    async def _send(self, group: list[Create]) -> None:
        try:
            revisions: Sequence[int] = ()
            retried = False
            if len(group) > 1:
                try:
                    revisions, retried = await self._together(group)
                except Rejected:  # before anything was applied; by itself, each finds out whether it was the one
                    pass
            if not revisions:
                await asyncio.gather(*(self._settle(create, retried) for create in group))
            for create, revision in zip(group, revisions, strict=False):
                if not create.done.done():
                    create.done.set_result(revision)
        except BaseException as error:
            for create in group:
                if not create.done.done():
                    create.done.set_exception(error)
            if isinstance(error, asyncio.CancelledError):
                raise
        finally:
            self._next()

    async def _settle(self, create: Create, retried: bool) -> None:
        try:
            revision = await self._alone(create.key, create.value, retried)
        except Exception as error:
            if not create.done.done():
                create.done.set_exception(error)
        else:
            if not create.done.done():
                create.done.set_result(revision)
