"""Exec and attach over SPDY/3.1, for clients from before WebSockets (kubectl up to 1.30, client-go, crictl)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from aiohttp import web

from api import errors
from apiserver.rest.streams.channels import ERROR, RESIZE, STDERR, STDIN, STDOUT
from apiserver.rest.streams.spdy import Session, Stream
from apiserver.rest.streams.table import Request
from apiserver.rest.streams.upgrade import RawConnection

PROTOCOL = "SPDY/3.1"
VERSION_HEADER = "X-Stream-Protocol-Version"
_VERSIONS = ("v5.channel.k8s.io", "v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io", "channel.k8s.io")
_TYPES = {"stdin": STDIN, "stdout": STDOUT, "stderr": STDERR, "error": ERROR, "resize": RESIZE}
_STREAMS_SECONDS = 30.0  # for the client to open its streams, as upstream


def is_spdy(request: web.BaseRequest) -> bool:
    return request.headers.get("Upgrade", "").lower() == "spdy/3.1"


async def accept(request: web.BaseRequest, versions: tuple[str, ...]) -> tuple[RawConnection, str]:
    """Upgrade; answers the connection and the agreed version. Raises StatusError 403 if there is none."""
    headers = {"Connection": "Upgrade", "Upgrade": PROTOCOL}
    offered = [v.strip() for line in request.headers.getall(VERSION_HEADER, []) for v in line.split(",")]
    version = next((v for v in versions if v in offered), "")
    if offered and not version:
        why = f"unable to upgrade: unable to negotiate protocol: client supports {offered}, server accepts {versions}"
        raise errors.forbidden("", "", why)
    if version:
        headers[VERSION_HEADER] = version
    return await RawConnection.take(request, headers), version


class _SpdyStreams:
    """The client's streams by channel."""

    def __init__(self, session: Session, streams: dict[int, Stream]) -> None:
        self._session = session
        self._streams = streams

    async def send(self, channel: int, data: bytes) -> None:
        stream = self._streams.get(channel)
        if stream is not None and data:
            await stream.write(data)

    async def receive(self) -> AsyncIterator[tuple[int, bytes | None]]:
        """stdin and sizes, until the connection ends."""
        merged: asyncio.Queue[tuple[int, bytes | None]] = asyncio.Queue(16)

        async def read(channel: int, stream: Stream) -> None:
            while data := await stream.read():
                await merged.put((channel, data))
            await merged.put((channel, None))

        readers = [asyncio.create_task(read(c, s)) for c, s in self._streams.items() if c in (STDIN, RESIZE, ERROR)]
        try:
            while True:
                channel, data = await merged.get()
                if channel == ERROR:
                    if data is None:
                        return  # the connection is gone: clients never write here
                    continue
                yield channel, data
        finally:
            for task in readers:
                task.cancel()

    async def close(self) -> None:
        for stream in self._streams.values():
            await stream.close()
        await self._session.goaway()


async def serve(request: Request, start: Any, method: Any) -> web.StreamResponse:
    """Upgrade, wait for the client's streams, and bridge them to the kubelet."""
    from apiserver.rest.streams.terminal import bridge

    connection, version = await accept(request.http, _VERSIONS)
    session = Session(connection.read, connection.write)
    running = asyncio.create_task(session.run())
    try:
        async with asyncio.timeout(_STREAMS_SECONDS):
            streams = await _collect(session, _expected(start, version))
        client = _SpdyStreams(session, streams)
        try:
            await bridge(method(), start, client, status_json=version[:2] in ("v4", "v5"))
        except ConnectionError:
            pass
    except TimeoutError:
        pass
    finally:
        connection.close()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    return connection.response


def _expected(start: Any, version: str) -> int:
    resizes = start.tty and version[:2] in ("v3", "v4", "v5")
    return 1 + sum(map(bool, (start.stdin, start.stdout, start.stderr, resizes)))


async def _collect(session: Session, count: int) -> dict[int, Stream]:
    found: dict[int, Stream] = {}
    async for stream in session.opened():
        channel = _TYPES.get(stream.headers.get("streamtype", ""))
        if channel is not None:
            found[channel] = stream
        if len(found) == count:
            break
    return found
