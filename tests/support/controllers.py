"""Runs controllers against an API in memory, without timers: everything that is queued is worked off, then compared."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from client.fake import FakeApi
from controller_manager.context import Context


class Harness:
    """`await settle()` returns when the informers have told everything and every queue is empty."""

    def __init__(self, api: FakeApi, context: Context, controllers: list[Any]) -> None:
        self.api, self.context, self.controllers = api, context, controllers

    async def settle(self) -> None:
        quiet = 0
        async with asyncio.timeout(20):
            while quiet < 8:
                before = self.api.fake.revision
                await asyncio.sleep(0.002)
                busy = any(queue.busy or queue._failures for queue in self._queues())
                quiet = 0 if busy or self.api.fake.revision != before else quiet + 1
        for recorder in self.context._recorders.values():
            await recorder.flush()

    def _queues(self) -> list[Any]:
        return [c.queue for controller in self.controllers for c in vars(controller).values() if hasattr(c, "queue")]

    def events(self, reason: str = "") -> list[str]:
        """`Reason: message` of each event, in order; a repeated one once."""
        from api.types.core_v1 import Event

        found = self.api.objects(Event)
        return [f"{e.reason}: {e.message}" for e in found if reason in ("", e.reason)]


@contextlib.asynccontextmanager
async def running(api: FakeApi, *kinds: Any, **settings: Any) -> AsyncIterator[Harness]:
    """The controllers of these classes, started and settled."""
    context = Context.of(api, **settings)
    controllers = [kind(context) for kind in kinds]
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(context.informers.run())]
        await context.informers.synced()
        tasks += [group.create_task(controller.run()) for controller in controllers]
        harness = Harness(api, context, controllers)
        try:
            await harness.settle()
            yield harness
        finally:
            for task in tasks:
                task.cancel()
