"""After `101 Switching Protocols` (WebSocket, SPDY, ...): bytes both ways, whatever they mean.

The connections are taken from aiohttp's HTTP machinery on both sides. Whichever side does not keep up makes the other
one stop sending; when one ends, so does the other once it has all that was on the way.
"""

from __future__ import annotations

import asyncio

import aiohttp
from aiohttp import web

from addons.ingress.headers import end_to_end


async def join(request: web.BaseRequest, answer: aiohttp.ClientResponse) -> web.StreamResponse:
    """Answers 101 as the backend did, and returns when the connection has ended. Raises ConnectionResetError."""
    connection = answer.connection
    client, backend = request.transport, connection.transport if connection is not None else None
    if client is None or backend is None or connection is None:
        raise ConnectionResetError("the connection is gone")
    headers = end_to_end(answer.headers)
    headers["Connection"], headers["Upgrade"] = "Upgrade", answer.headers.get("Upgrade", "")
    lines = [f"HTTP/1.1 101 {answer.reason}", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    client.write("\r\n".join(lines).encode())
    up, down = _End(backend), _End(client)
    # Both have HTTP's parsers, and perhaps bytes that came right behind the headers: those first.
    request.protocol.set_parser(up)  # type: ignore[arg-type]
    client.set_protocol(up)
    server = connection.protocol
    assert server is not None
    server.set_parser(down, aiohttp.EMPTY_PAYLOAD)
    backend.set_protocol(down)
    client.resume_reading()
    backend.resume_reading()
    try:
        await asyncio.gather(up.ended, down.ended)
    finally:
        client.close()
        backend.close()
        server.connection_lost(None)
    return _Switched(request)


class _End(asyncio.Protocol):
    """What comes out of one connection goes into the other."""

    def __init__(self, target: asyncio.Transport) -> None:
        self._target = target
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        """As a parser of aiohttp's, which is how it hands out what it has read already."""
        self._target.write(data)
        return False, b""

    def feed_eof(self) -> None:
        """The end comes by `connection_lost`."""

    def data_received(self, data: bytes) -> None:
        self._target.write(data)

    def pause_writing(self) -> None:
        self._target.pause_reading()

    def resume_writing(self) -> None:
        self._target.resume_reading()

    def connection_lost(self, error: Exception | None) -> None:
        self._target.close()
        if not self.ended.done():
            self.ended.set_result(None)


class _Switched(web.StreamResponse):
    """What the server is told about a request whose connection was taken and is over: there is nothing to send."""

    def __init__(self, request: web.BaseRequest) -> None:
        super().__init__(status=101)
        self._protocol = request.protocol

    @property
    def prepared(self) -> bool:
        return True

    async def prepare(self, request: web.BaseRequest) -> None:
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        self._protocol.connection_lost(None)
