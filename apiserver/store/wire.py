"""Small unary gRPC calls on one HTTP/2 connection of our own: the path that every write and every fresh read takes.

Why not `grpc.aio` for these: a call there costs 60 us of our CPU, passes through a second thread and is a system call
of its own, which was a third of what creating a pod costs. Here it costs 15 us, and all calls that are made in one turn
of the event loop leave in one write.

This knows only how things go right. Whatever else happens (no connection yet, no room in the peer's window, any
status but OK, a frame that etcd does not send) is left to `grpc.aio`, which the store asks next, and which has the
words for it. So nothing here decodes errors, waits for windows, or retries.

Headers (RFC 7541) are written as literals, and asked for as such (SETTINGS_HEADER_TABLE_SIZE 0): no state to keep.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import struct
import time

log = logging.getLogger(__name__)

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _PING, _GOAWAY, _WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
_END_STREAM, _ACK, _END_HEADERS, _PADDED, _PRIORITY = 0x1, 0x1, 0x4, 0x8, 0x20
_TABLE_SIZE, _ENABLE_PUSH, _MAX_STREAMS, _INITIAL_WINDOW, _MAX_FRAME = 1, 2, 3, 4, 5
_LARGEST = 2**31 - 1
_FRAME = 16_384  # bytes of a frame that every peer takes
_RECONNECT_SECONDS = 1.0
_CHECK_SECONDS = 1.0
_STATUS_OK = (
    # "grpc-status: 0" as a literal with a new name: the name Huffman-coded, as Go does it, or plain.
    b"\x88\x9a\xca\xc8\xb2\x12\x34\xda\x8f\x010",
    b"\x0bgrpc-status\x010",
)


class Lost(Exception):
    """The call was sent, and whether it was carried out is not known."""


class Refused(Exception):
    """The call was answered with a status that is not OK."""


class _Call:
    __slots__ = ("answer", "pieces", "started")

    def __init__(self, answer: asyncio.Future[bytes]) -> None:
        self.answer = answer
        self.pieces: list[bytes] = []
        self.started = time.monotonic()


class Wire:
    """Connects by itself when it is used, and again after a failure."""

    def __init__(self, address: str, tls: ssl.SSLContext | None = None) -> None:
        self._host, _, port = address.rpartition(":")
        self._port = int(port)
        self._address = address
        self._tls = tls
        self._connection: _Connection | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._not_before = 0.0

    async def call(self, path: str, message: bytes, *, timeout: float) -> bytes | None:
        """The answer's message, or None if the call could not be sent. Raises Lost or Refused."""
        connection = self._connection
        if connection is None or not connection.usable(len(message) + 5):
            if connection is None or connection.closed:
                self._connect()
            return None
        return await connection.call(path, message, timeout)

    def _connect(self) -> None:
        if self._connecting is None and time.monotonic() >= self._not_before:
            self._not_before = time.monotonic() + _RECONNECT_SECONDS
            self._connecting = asyncio.create_task(self._open())

    async def _open(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(5.0):
                _, made = await loop.create_connection(
                    lambda: _Connection(self._address, secure=self._tls is not None),
                    self._host.strip("[]"),
                    self._port,
                    ssl=self._tls,
                )
            self._connection = made
        except (OSError, TimeoutError) as error:
            log.debug("no direct connection to etcd at %s: %s", self._address, error)
        finally:
            self._connecting = None

    def close(self) -> None:
        if self._connecting is not None:
            self._connecting.cancel()
        if self._connection is not None:
            self._connection.abort()


class _Connection(asyncio.Protocol):
    def __init__(self, authority: str, *, secure: bool) -> None:
        self._authority = authority
        self._secure = secure
        self._transport: asyncio.Transport | None = None
        self._loop = asyncio.get_running_loop()
        self._blocks: dict[str, bytes] = {}
        self._calls: dict[int, _Call] = {}
        self._next = 1
        self._out: list[bytes] = []
        self._rest = b""
        self._settled = False  # the peer's settings have come
        self._window = 65_535  # bytes that may be sent on the connection
        self._stream_window = 65_535  # and on each new stream
        self._max_streams = 100
        self._received = 0
        self._timer: asyncio.TimerHandle | None = None
        self._timeout = 5.0
        self.closed = False

    # -- calls ----------------------------------------------------------------------------------------------------

    def usable(self, size: int) -> bool:
        """Whether a message of so many bytes can be sent at once."""
        return (
            self._settled
            and not self.closed
            and size <= self._window
            and size <= self._stream_window
            and len(self._calls) < self._max_streams
        )

    async def call(self, path: str, message: bytes, timeout: float) -> bytes:
        number = self._next
        self._next += 2
        if self._next > _LARGEST - 2:
            self.closed = True  # no numbers left: calls under way end as usual, the next one connects anew
        block = self._blocks.get(path)
        if block is None:
            block = self._blocks[path] = self._block(path)
        self._window -= len(message) + 5
        self._send(_frame(_HEADERS, _END_HEADERS, number, block))
        body = b"\0" + len(message).to_bytes(4, "big") + message
        if len(body) <= _FRAME:
            self._send(_frame(_DATA, _END_STREAM, number, body))
        else:
            for at in range(0, len(body), _FRAME):
                flags = _END_STREAM if at + _FRAME >= len(body) else 0
                self._send(_frame(_DATA, flags, number, body[at : at + _FRAME]))
        call = self._calls[number] = _Call(self._loop.create_future())
        self._timeout = timeout
        if self._timer is None:
            self._timer = self._loop.call_later(_CHECK_SECONDS, self._check)
        return await call.answer

    def _block(self, path: str) -> bytes:
        def text(value: str) -> bytes:
            return len(value).to_bytes(1, "big") + value.encode()

        return b"".join(
            (
                b"\x83",  # :method POST
                b"\x87" if self._secure else b"\x86",  # :scheme
                b"\x04" + text(path),
                b"\x01" + text(self._authority),
                b"\x0f\x10" + text("application/grpc"),  # content-type
                b"\x00" + text("te") + text("trailers"),
            )
        )

    def _send(self, data: bytes) -> None:
        if not self._out:
            self._loop.call_soon(self._flush)
        self._out.append(data)

    def _flush(self) -> None:
        data, self._out = b"".join(self._out), []
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def _check(self) -> None:
        """An answer that does not come says that the connection, or the peer, is gone."""
        self._timer = None
        oldest = next(iter(self._calls.values()), None)
        if oldest is None:
            return
        if time.monotonic() - oldest.started > self._timeout:
            self.abort()
        else:
            self._timer = self._loop.call_later(_CHECK_SECONDS, self._check)

    # -- the connection -------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        settings = struct.pack(">HIHIHI", _TABLE_SIZE, 0, _ENABLE_PUSH, 0, _INITIAL_WINDOW, _LARGEST)
        grow = _frame(_WINDOW_UPDATE, 0, 0, (_LARGEST - 65_535).to_bytes(4, "big"))
        transport.write(_PREFACE + _frame(_SETTINGS, 0, 0, settings) + grow)

    def connection_lost(self, error: Exception | None) -> None:
        self.closed = True
        if self._timer is not None:
            self._timer.cancel()
        calls, self._calls = self._calls, {}
        for call in calls.values():
            if not call.answer.done():
                call.answer.set_exception(Lost("the connection to etcd was lost"))

    def abort(self) -> None:
        self.closed = True
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        if self._rest:
            data = self._rest + data
        at, end = 0, len(data)
        while end - at >= 9:
            size = int.from_bytes(data[at : at + 3], "big")
            if end - at - 9 < size:
                break
            kind, flags = data[at + 3], data[at + 4]
            number = int.from_bytes(data[at + 5 : at + 9], "big") & _LARGEST
            if not self._frame(kind, flags, number, data[at + 9 : at + 9 + size]):
                log.warning("etcd at %s: unexpected HTTP/2 frame of type %d", self._authority, kind)
                self.abort()
                return
            at += 9 + size
        self._rest = data[at:]

    def _frame(self, kind: int, flags: int, number: int, payload: bytes) -> bool:
        """Take one frame; False for one that this connection cannot go on after."""
        if kind == _DATA:
            if flags & _PADDED:
                return False
            self._count(len(payload))
            if (call := self._calls.get(number)) is not None:
                call.pieces.append(payload)
                if flags & _END_STREAM:
                    self._end(number, ok=False)
            return True
        if kind == _HEADERS:
            if flags & (_PADDED | _PRIORITY) or not flags & _END_HEADERS:
                return False
            if flags & _END_STREAM:
                self._end(number, ok=_says_ok(payload))
            return True
        if kind == _RST_STREAM:
            if (call := self._calls.pop(number, None)) is not None and not call.answer.done():
                call.answer.set_exception(Lost("etcd gave up the call"))
            return True
        if kind == _SETTINGS:
            if not flags & _ACK:
                self._settings(payload)
            return True
        if kind == _PING:
            if not flags & _ACK:
                self._send(_frame(_PING, _ACK, 0, payload))
            return True
        if kind == _WINDOW_UPDATE:
            if number == 0:
                self._window += int.from_bytes(payload, "big") & _LARGEST
            return True
        if kind == _GOAWAY:
            self.closed = True  # what is under way may still be answered
            return True
        return kind > 9  # extensions are to be ignored; PRIORITY, PUSH_PROMISE and CONTINUATION do not occur

    def _count(self, size: int) -> None:
        self._received += size
        if self._received > 2**30:
            self._send(_frame(_WINDOW_UPDATE, 0, 0, self._received.to_bytes(4, "big")))
            self._received = 0

    def _settings(self, payload: bytes) -> None:
        for name, value in struct.iter_unpack(">HI", payload):
            if name == _INITIAL_WINDOW:
                self._stream_window = value
            elif name == _MAX_STREAMS:
                self._max_streams = value
        if not self._settled and _MAX_STREAMS not in {name for name, _ in struct.iter_unpack(">HI", payload)}:
            self._max_streams = _LARGEST
        self._settled = True
        self._send(_frame(_SETTINGS, _ACK, 0, b""))

    def _end(self, number: int, *, ok: bool) -> None:
        call = self._calls.pop(number, None)
        if call is None or call.answer.done():
            return
        body = call.pieces[0] if len(call.pieces) == 1 else b"".join(call.pieces)
        if ok and len(body) >= 5 and not body[0] and int.from_bytes(body[1:5], "big") == len(body) - 5:
            call.answer.set_result(body[5:])
        else:
            call.answer.set_exception(Refused("a status that is not OK"))


def _frame(kind: int, flags: int, number: int, payload: bytes) -> bytes:
    return struct.pack(">HBBBI", len(payload) >> 8, len(payload) & 0xFF, kind, flags, number) + payload


def _says_ok(block: bytes) -> bool:
    """Whether trailers begin with `grpc-status: 0`, after updates of the table size."""
    at = 0
    while at < len(block) and block[at] & 0xE0 == 0x20:
        at += 1
    return block[at + 1 :].startswith(_STATUS_OK)
