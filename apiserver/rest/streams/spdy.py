"""SPDY/3.1, the server's half, as far as Kubernetes streams use it.

kubectl speaks it for port-forward (tunnelled through a WebSocket since 1.31, KEP-4006) and older clients for exec as
well. Frames: SYN_STREAM, SYN_REPLY, RST_STREAM, PING, GOAWAY, WINDOW_UPDATE, SETTINGS and data, with header blocks
compressed by one zlib stream per direction. Source: the SPDY protocol, draft 3.1.
"""

from __future__ import annotations

import asyncio
import struct
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable

_NAMES = [
    "options",
    "head",
    "post",
    "put",
    "delete",
    "trace",
    "accept",
    "accept-charset",
    "accept-encoding",
    "accept-language",
    "accept-ranges",
    "age",
    "allow",
    "authorization",
    "cache-control",
    "connection",
    "content-base",
    "content-encoding",
    "content-language",
    "content-length",
    "content-location",
    "content-md5",
    "content-range",
    "content-type",
    "date",
    "etag",
    "expect",
    "expires",
    "from",
    "host",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "last-modified",
    "location",
    "max-forwards",
    "pragma",
    "proxy-authenticate",
    "proxy-authorization",
    "range",
    "referer",
    "retry-after",
    "server",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "vary",
    "via",
    "warning",
    "www-authenticate",
    "method",
    "get",
    "status",
]
_TAIL = (
    "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505"
    "203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized"
    "403 Forbidden404 Not Found500 Internal Server Error501 Not Implemented503 Service Unavailable"
    "Jan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMT"
    "chunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,text/javascript,"
    "publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0."
)
_DICTIONARY = (
    b"".join(
        struct.pack(">I", len(word)) + word.encode()
        for word in (*_NAMES, "200 OK", "version", "HTTP/1.1", "url", "public", "set-cookie", "keep-alive", "origin")
    )
    + _TAIL.encode()
)

_VERSION = 3
_SYN_STREAM, _SYN_REPLY, _RST_STREAM, _SETTINGS, _PING, _GOAWAY, _HEADERS, _WINDOW_UPDATE = 1, 2, 3, 4, 6, 7, 8, 9
_FIN = 1
_WINDOW = 64 * 1024
_MAX_DATA = 16 * 1024
_CANCEL = 5

Write = Callable[[bytes], Awaitable[None]]
Read = Callable[[], Awaitable[bytes]]


class Stream:
    """One stream that the client opened. `read` answers b"" at its end."""

    def __init__(self, session: Session, identity: int, headers: dict[str, str]) -> None:
        self.id = identity
        self.headers = headers
        self._session = session
        self._incoming: asyncio.Queue[bytes] = asyncio.Queue()
        self._ended = False
        self.closed_here = False

    async def read(self) -> bytes:
        """The next data, b"" when the client has closed its half."""
        if self._ended and self._incoming.empty():
            return b""
        data = await self._incoming.get()
        if data:
            await self._session.consumed(self.id, len(data))
        return data

    async def write(self, data: bytes) -> None:
        """Raises ConnectionResetError if the connection is gone."""
        for start in range(0, len(data), _MAX_DATA):
            await self._session.send_data(self.id, data[start : start + _MAX_DATA])

    async def close(self) -> None:
        """No more data from this side."""
        if not self.closed_here:
            self.closed_here = True
            await self._session.send_data(self.id, b"", fin=True)

    async def reset(self) -> None:
        """Give the stream up in both directions."""
        self.closed_here = True
        await self._session.send_control(_RST_STREAM, 0, struct.pack(">II", self.id, _CANCEL))

    def feed(self, data: bytes, fin: bool) -> None:
        if data:
            self._incoming.put_nowait(data)
        if fin and not self._ended:
            self._ended = True
            self._incoming.put_nowait(b"")


class Session:
    """`read` answers bytes as they come (b"" at the end), `write` sends them."""

    def __init__(self, read: Read, write: Write) -> None:
        self._read = read
        self._write = write
        self._turn = asyncio.Lock()
        self._streams: dict[int, Stream] = {}
        self._opened: asyncio.Queue[Stream | None] = asyncio.Queue()
        self._inflate = zlib.decompressobj(zdict=_DICTIONARY)
        self._deflate = zlib.compressobj(zlib.Z_BEST_SPEED, zlib.DEFLATED, 15, 8, zlib.Z_DEFAULT_STRATEGY, _DICTIONARY)
        self._buffer = bytearray()

    async def run(self) -> None:
        """Read frames until the connection ends; every stream ends with it."""
        try:
            while data := await self._read():
                self._buffer += data
                await self._frames()
        finally:
            for stream in self._streams.values():
                stream.feed(b"", True)
            self._opened.put_nowait(None)

    async def opened(self) -> AsyncIterator[Stream]:
        """Streams as the client opens them."""
        while (stream := await self._opened.get()) is not None:
            yield stream

    async def _frames(self) -> None:
        buffer = self._buffer
        while len(buffer) >= 8:
            first, second = struct.unpack_from(">II", buffer)
            flags, length = second >> 24, second & 0xFFFFFF
            if len(buffer) < 8 + length:
                return
            payload = bytes(buffer[8 : 8 + length])
            del buffer[: 8 + length]
            if first & 0x80000000:
                await self._control(first & 0xFFFF, flags, payload)
            elif (stream := self._streams.get(first & 0x7FFFFFFF)) is not None:
                stream.feed(payload, bool(flags & _FIN))

    async def _control(self, kind: int, flags: int, payload: bytes) -> None:
        if kind == _SYN_STREAM:
            identity = struct.unpack_from(">I", payload)[0] & 0x7FFFFFFF
            stream = Stream(self, identity, self._headers(payload[10:]))
            self._streams[identity] = stream
            await self.send_control(_SYN_REPLY, 0, struct.pack(">I", identity) + self._block({}))
            if flags & _FIN:
                stream.feed(b"", True)
            self._opened.put_nowait(stream)
        elif kind == _HEADERS:
            self._headers(payload[4:])  # the compression state has to follow
        elif kind == _RST_STREAM:
            identity = struct.unpack_from(">I", payload)[0] & 0x7FFFFFFF
            if (reset := self._streams.pop(identity, None)) is not None:
                reset.feed(b"", True)
        elif kind == _PING:
            await self.send_control(_PING, 0, payload[:4])

    def _headers(self, block: bytes) -> dict[str, str]:
        plain = self._inflate.decompress(block)
        (count,) = struct.unpack_from(">I", plain)
        offset = 4
        texts = []
        for _ in range(count * 2):
            (size,) = struct.unpack_from(">I", plain, offset)
            texts.append(plain[offset + 4 : offset + 4 + size].decode())
            offset += 4 + size
        return dict(zip(texts[::2], texts[1::2], strict=True))

    def _block(self, headers: dict[str, str]) -> bytes:
        plain = struct.pack(">I", len(headers))
        for name, value in headers.items():
            plain += struct.pack(">I", len(name)) + name.encode() + struct.pack(">I", len(value)) + value.encode()
        return self._deflate.compress(plain) + self._deflate.flush(zlib.Z_SYNC_FLUSH)

    async def send_control(self, kind: int, flags: int, payload: bytes) -> None:
        head = struct.pack(">HHI", 0x8000 | _VERSION, kind, flags << 24 | len(payload))
        async with self._turn:
            await self._write(head + payload)

    async def send_data(self, identity: int, data: bytes, *, fin: bool = False) -> None:
        head = struct.pack(">II", identity, (_FIN if fin else 0) << 24 | len(data))
        async with self._turn:
            await self._write(head + data)

    async def consumed(self, identity: int, size: int) -> None:
        """Let the client send that much more."""
        await self.send_control(_WINDOW_UPDATE, 0, struct.pack(">II", identity, size))
        await self.send_control(_WINDOW_UPDATE, 0, struct.pack(">II", 0, size))

    async def goaway(self) -> None:
        last = max(self._streams, default=0)
        await self.send_control(_GOAWAY, 0, struct.pack(">II", last, 0))
