"""Coalesces concurrent small writes into Batch calls.

For a caller that makes many writes from many tasks (pod creations, status updates, bindings): each task awaits its own
write as if it were alone. Everything that is asked for while a call is under way goes out in the next one, so that an
idle client pays no delay and a busy one sends few, large calls.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from api import errors
from client.api import BATCH_SIZE, Api
from client.writes import Write

log = logging.getLogger(__name__)


class Batcher:
    """`await batcher.write(Create(pod))` is `await api.write(Create(pod))`, sharing calls with its neighbours."""

    def __init__(self, api: Api, *, concurrency: int = 4) -> None:
        self._api = api
        self._concurrency = concurrency
        self._waiting: list[tuple[Write, asyncio.Future[Any]]] = []
        self._senders: set[asyncio.Task[None]] = set()

    async def write(self, write: Write) -> Any:
        """The outcome of this write; raises its StatusError. A cancelled caller does not cancel the write."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append((write, future))
        if len(self._senders) < self._concurrency:
            sender = asyncio.create_task(self._send(), name="batch-writes")
            self._senders.add(sender)
            sender.add_done_callback(self._senders.discard)
        return await future

    async def _send(self) -> None:
        while self._waiting:
            part, self._waiting = self._waiting[:BATCH_SIZE], self._waiting[BATCH_SIZE:]
            try:
                if len(part) == 1:
                    outcomes = [await self._single(part[0][0])]
                else:
                    outcomes = await self._api.batch([write for write, _ in part])
            except BaseException as error:
                for _, future in part:
                    if not future.done():
                        future.set_exception(errors.internal(repr(error)))
                if not isinstance(error, Exception):
                    raise
                # Who waits behind these is still ours to serve.
                log.exception("a batch of %d writes failed", len(part))
                continue
            for (_, future), outcome in zip(part, outcomes, strict=True):
                if future.done():
                    continue
                if isinstance(outcome, errors.StatusError):
                    future.set_exception(outcome)
                else:
                    future.set_result(outcome)

    async def _single(self, write: Write) -> Any:
        try:
            return await self._api.write(write)
        except errors.StatusError as error:
            return error
