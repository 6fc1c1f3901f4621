"""Where a stream of bytes that only goes out is written: the body of an answer, or the messages of a WebSocket.

The WebSocket is what upstream's `wsstream.Reader` speaks: `binary.k8s.io`, which is also what a client gets that names
no protocol, and `base64.binary.k8s.io` for those who can only read text.
"""

from __future__ import annotations

import asyncio
import base64
from typing import Protocol

from aiohttp import web

from apiserver.rest.audited import started
from apiserver.rest.streams.channels import is_websocket

PROTOCOLS = ("binary.k8s.io", "base64.binary.k8s.io")


class Sink(Protocol):
    response: web.StreamResponse

    async def begin(self) -> None:
        """The answer is a success from here on."""
        ...

    async def write(self, data: bytes) -> None:
        """Raises ConnectionResetError if the client is gone."""
        ...

    async def end(self) -> None: ...


def sink_for(request: web.BaseRequest) -> Sink:
    return _Messages(request) if is_websocket(request) else _Body(request)


class _Body:
    def __init__(self, request: web.BaseRequest) -> None:
        self._request = request
        self.response = web.StreamResponse(headers={"Content-Type": "text/plain", "Cache-Control": "no-cache, private"})

    async def begin(self) -> None:
        self.response.enable_chunked_encoding()
        await self.response.prepare(self._request)
        started(self._request)

    async def write(self, data: bytes) -> None:
        await self.response.write(data)

    async def end(self) -> None:
        await self.response.write_eof()


class _Messages:
    def __init__(self, request: web.BaseRequest) -> None:
        self._request = request
        self._socket = web.WebSocketResponse(protocols=PROTOCOLS, compress=False)
        self.response: web.StreamResponse = self._socket
        self._listening: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        await self._socket.prepare(self._request)
        started(self._request, 101)
        self._listening = asyncio.create_task(self._listen())

    async def _listen(self) -> None:
        """Nothing is expected, but who reads nothing does not hear a client say goodbye either."""
        async for _ in self._socket:
            pass

    async def write(self, data: bytes) -> None:
        if self._socket.ws_protocol == "base64.binary.k8s.io":
            await self._socket.send_str(base64.b64encode(data).decode())
        else:
            await self._socket.send_bytes(data)

    async def end(self) -> None:
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.wait({self._listening})
        await self._socket.close()
