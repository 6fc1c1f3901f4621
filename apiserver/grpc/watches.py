"""Many watches on one stream: each has a task that drains its watcher; writes to the stream take turns."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from api import codec
from apiserver.endpoint import Endpoint
from apiserver.failures import status_error
from apiserver.grpc import audited
from apiserver.pipeline.selection import selection
from apiserver.pipeline.watch import WatchQuery, bookmark, watch
from apiserver.registry import Registry
from apiserver.watching import Item, Watcher
from proto import api_pb2

BOOKMARK_SECONDS = 60.0
_MESSAGE_EVENTS = 500
_MESSAGE_BYTES = 1 << 20
#: Seconds between two messages of one watch. A message costs ten times what an event in it does, on both sides; the
#: first event after a silence goes out at once.
_PACE = 0.01
_TYPES: Any = {name: api_pb2.WatchEvent.Type.Value(name) for name in ("ADDED", "MODIFIED", "DELETED", "BOOKMARK")}


class WatchSession:
    """`resolve` finds the endpoint of a WatchOpen and checks that the user may watch it (raises StatusError)."""

    def __init__(
        self, registry: Registry, write: Callable[[Any], Awaitable[None]], resolve: Callable[[Any], Endpoint]
    ) -> None:
        self._registry = registry
        self._write = write
        self._resolve = resolve
        self._turn = asyncio.Lock()
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._stopped = asyncio.Event()

    async def run(self, requests: AsyncIterator[Any]) -> None:
        """Until the client ends its side of the stream, or `stop`."""
        reading = asyncio.create_task(self._read(requests))
        stopped = asyncio.create_task(self._stopped.wait())
        try:
            await asyncio.wait((reading, stopped), return_when=asyncio.FIRST_COMPLETED)
        finally:
            reading.cancel()
            stopped.cancel()
            await asyncio.gather(reading, stopped, return_exceptions=True)
            for task in self._tasks.values():
                task.cancel()
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    def stop(self) -> None:
        """End the stream: the client goes elsewhere."""
        self._stopped.set()

    async def _read(self, requests: AsyncIterator[Any]) -> None:
        async for request in requests:
            if request.HasField("open"):
                opened = request.open
                previous = self._tasks.pop(opened.id, None)
                if previous is not None:
                    previous.cancel()
                self._tasks[opened.id] = asyncio.create_task(self._serve(opened))
            else:
                task = self._tasks.pop(request.close.id, None)
                if task is not None:
                    task.cancel()
                    await self._send(api_pb2.WatchResponse(id=request.close.id, closed=True))

    async def _send(self, response: Any) -> None:
        async with self._turn:
            await self._write(response)

    async def _serve(self, request: Any) -> None:
        try:
            endpoint = self._resolve(request)
            selected = selection(endpoint, request.namespace, request.label_selector, request.field_selector)
            query = WatchQuery(
                resource_version=request.resource_version,
                match="NotOlderThan" if request.send_initial_events else "",
                send_initial_events=True if request.send_initial_events else None,
                bookmarks=request.allow_bookmarks,
            )
            watcher = await watch(endpoint, self._registry.feed, selected, query)
            if (record := audited.current()) is not None:
                record.started(200)
            try:
                await self._drain(request, endpoint, watcher)
            finally:
                endpoint.cache.unwatch(watcher)
            audited.answered()
            await self._send(api_pb2.WatchResponse(id=request.id, closed=True))
        except asyncio.CancelledError:
            audited.answered()
            raise
        except Exception as error:
            audited.answered(error=error)
            status = codec.encode(status_error(error).status)
            await self._send(api_pb2.WatchResponse(id=request.id, error=status))

    async def _drain(self, request: Any, endpoint: Endpoint, watcher: Watcher) -> None:
        due = time.monotonic() + BOOKMARK_SECONDS
        while True:
            timeout = max(0.0, due - time.monotonic()) if request.allow_bookmarks else None
            items = await watcher.next(timeout)
            if items is None:
                return
            await self._send_items(request.id, endpoint, items)
            await asyncio.sleep(_PACE)  # what happens meanwhile waits in the watcher, and goes out together
            if request.allow_bookmarks and time.monotonic() >= due:
                due = time.monotonic() + BOOKMARK_SECONDS
                if watcher.idle:
                    progress = bookmark(endpoint, max(watcher.after, self._registry.feed.revision))
                    await self._send_items(request.id, endpoint, [progress])

    async def _send_items(self, identity: int, endpoint: Endpoint, items: list[Item]) -> None:
        await endpoint.prepare(item.json for item in items if item.entry is not None)
        events: list[Any] = []
        size = 0
        for item in items:
            if events and (len(events) >= _MESSAGE_EVENTS or size + len(item.json) > _MESSAGE_BYTES):
                await self._send(api_pb2.WatchResponse(id=identity, events=events))
                events, size = [], 0
            json = item.json if item.entry is None else endpoint.render(item.json)
            obj = api_pb2.Object(json=json, revision=item.revision)
            events.append(api_pb2.WatchEvent(type=_TYPES[item.type], object=obj))
            size += len(json)
        if events:
            await self._send(api_pb2.WatchResponse(id=identity, events=events))
