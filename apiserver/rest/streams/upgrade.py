"""Taking over a connection after `101 Switching Protocols`, for protocols that aiohttp does not know."""

from __future__ import annotations

import asyncio

from aiohttp import web

from apiserver.rest.audited import started


class RawConnection:
    """Bytes to and from the client. Make it with `take`."""

    def __init__(self, transport: asyncio.Transport, response: web.StreamResponse) -> None:
        self._transport = transport
        self.response = response
        self._incoming: asyncio.Queue[bytes] = asyncio.Queue()
        self._writable = asyncio.Event()
        self._writable.set()

    @classmethod
    async def take(cls, request: web.BaseRequest, headers: dict[str, str]) -> RawConnection:
        """Answer 101 and give the connection's bytes to nobody but us."""
        transport = request.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the connection is gone")
        response = _Switched(headers)
        connection = cls(transport, response)
        lines = ["HTTP/1.1 101 Switching Protocols", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
        transport.write("\r\n".join(lines).encode())
        started(request, 101)
        transport.set_protocol(_Protocol(connection, request.protocol))
        return connection

    async def read(self) -> bytes:
        """b"" at the end."""
        return await self._incoming.get()

    async def write(self, data: bytes) -> None:
        """Raises ConnectionResetError."""
        if self._transport.is_closing():
            raise ConnectionResetError("the client is gone")
        self._transport.write(data)
        await self._writable.wait()

    def close(self) -> None:
        self._transport.close()

    def feed(self, data: bytes) -> None:
        self._incoming.put_nowait(data)

    def pause(self, paused: bool) -> None:
        if paused:
            self._writable.clear()
        else:
            self._writable.set()


class _Switched(web.StreamResponse):
    """What the server is told about a request whose connection was taken: there is nothing left to send."""

    def __init__(self, headers: dict[str, str]) -> None:
        super().__init__(status=101, headers=headers)

    @property
    def prepared(self) -> bool:
        return True

    async def prepare(self, request: web.BaseRequest) -> None:
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        return None


class _Protocol(asyncio.Protocol):
    def __init__(self, connection: RawConnection, before: asyncio.BaseProtocol) -> None:
        self._connection = connection
        self._before = before

    def data_received(self, data: bytes) -> None:
        self._connection.feed(data)

    def eof_received(self) -> bool:
        self._connection.feed(b"")
        return False

    def connection_lost(self, error: Exception | None) -> None:
        self._connection.pause(False)
        self._connection.feed(b"")
        self._before.connection_lost(error)  # the HTTP server waits for it

    def pause_writing(self) -> None:
        self._connection.pause(True)

    def resume_writing(self) -> None:
        self._connection.pause(False)
