"""WATCH: events over chunked HTTP or as WebSocket messages, until the client leaves or its time is up."""

from __future__ import annotations

import random
import time
from collections.abc import Awaitable, Callable

from aiohttp import WSMsgType, web

from api import errors
from apiserver.endpoint import Endpoint
from apiserver.feed import Feed
from apiserver.pipeline.selection import Selection
from apiserver.pipeline.watch import WatchQuery, bookmark, check, watch
from apiserver.rest.audited import started
from apiserver.rest.frames import Frames, frames
from apiserver.rest.negotiate import Media
from apiserver.watching import Watcher

BOOKMARK_SECONDS = 60.0
_MIN_TIMEOUT = 1800.0  # seconds; upstream picks between this and twice this if the client does not say

Send = Callable[[list[bytes]], Awaitable[None]]


async def respond(
    request: web.BaseRequest,
    endpoint: Endpoint,
    feed: Feed,
    selected: Selection,
    query: WatchQuery,
    media: Media,
    headers: dict[str, str],
) -> web.StreamResponse:
    """Serve one watch. Raises StatusError for options that are no good.

    What else keeps it from starting (a version too old, or of the future) is an event of the stream, as upstream.
    """
    timeout = _timeout(request.query.get("timeoutSeconds", ""))
    form = frames(endpoint, media, request.query.get("includeObject", ""))
    check(query)
    try:
        watcher = await watch(endpoint, feed, selected, query)
    except errors.StatusError as error:
        watcher = Watcher(None)
        watcher.end(error)
    try:
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await _over_websocket(request, endpoint, feed, watcher, query, form, timeout)
        response = web.StreamResponse(headers=headers)
        response.headers["Content-Type"] = form.content_type
        response.enable_chunked_encoding()
        await response.prepare(request)
        started(request)

        async def send(messages: list[bytes]) -> None:
            await response.write(b"".join(map(form.framed, messages)))

        await _pump(endpoint, feed, watcher, query, form, timeout, send)
        await response.write_eof()
        return response
    finally:
        endpoint.cache.unwatch(watcher)


async def _over_websocket(
    request: web.BaseRequest,
    endpoint: Endpoint,
    feed: Feed,
    watcher: Watcher,
    query: WatchQuery,
    form: Frames,
    timeout: float,
) -> web.StreamResponse:
    socket = web.WebSocketResponse(protocols=("binary.k8s.io",))
    await socket.prepare(request)
    started(request, 101)

    async def send(messages: list[bytes]) -> None:
        for message in messages:
            if form.binary:
                await socket.send_bytes(message)
            else:
                await socket.send_str(message.decode())

    import asyncio

    pump = asyncio.create_task(_pump(endpoint, feed, watcher, query, form, timeout, send))
    pump.add_done_callback(lambda _: None)
    listen = asyncio.create_task(_until_closed(socket))
    await asyncio.wait((pump, listen), return_when=asyncio.FIRST_COMPLETED)
    for task in (pump, listen):
        task.cancel()
    await asyncio.gather(pump, listen, return_exceptions=True)
    await socket.close()
    return socket


async def _until_closed(socket: web.WebSocketResponse) -> None:
    async for message in socket:
        if message.type in (WSMsgType.CLOSE, WSMsgType.ERROR):
            return


async def _pump(
    endpoint: Endpoint, feed: Feed, watcher: Watcher, query: WatchQuery, form: Frames, timeout: float, send: Send
) -> None:
    end = time.monotonic() + timeout
    due = time.monotonic() + BOOKMARK_SECONDS if query.bookmarks else end
    try:
        while True:
            now = time.monotonic()
            items = await watcher.next(max(0.0, min(due, end) - now))
            if items is None:
                return
            if items:
                await endpoint.prepare(item.json for item in items if item.entry is not None)
                await send([form.event(item) for item in items])
            now = time.monotonic()
            if now >= end or (now >= due and query.bookmarks):
                if query.bookmarks and watcher.idle:
                    await send([form.event(bookmark(endpoint, max(watcher.after, feed.revision)))])
                due = now + BOOKMARK_SECONDS if query.bookmarks else end
            if now >= end and watcher.idle:
                return
    except errors.StatusError as error:
        await send([form.error(error)])


def _timeout(text: str) -> float:
    if not text:
        return _MIN_TIMEOUT * random.uniform(1.0, 2.0)
    try:
        seconds = int(text)
    except ValueError:
        raise errors.bad_request(
            f'invalid timeoutSeconds: strconv.ParseInt: parsing "{text}": invalid syntax'
        ) from None
    return float(seconds) if seconds > 0 else _MIN_TIMEOUT * random.uniform(1.0, 2.0)
