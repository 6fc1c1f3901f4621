"""A load generator that costs little itself: HTTP/1.1 on raw asyncio streams, one request at a time per connection."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Target:
    """A server and how to be let in."""

    url: str
    token: str = ""
    tls: ssl.SSLContext | None = None

    @property
    def address(self) -> tuple[str, int]:
        parts = urlsplit(self.url)
        return parts.hostname or "127.0.0.1", parts.port or (443 if parts.scheme == "https" else 80)


@dataclass(frozen=True)
class Result:
    """What one run found. Times are in seconds."""

    requests: int
    seconds: float
    latencies: list[float]

    @property
    def rate(self) -> float:
        return self.requests / self.seconds

    def percentile(self, share: float) -> float:
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0


class Connection:
    """One keep-alive connection."""

    def __init__(self, target: Target) -> None:
        self._target = target
        host, port = target.address
        authorization = f"Authorization: Bearer {target.token}\r\n" if target.token else ""
        self._common = f"Host: {host}:{port}\r\nAccept: application/json\r\n{authorization}".encode()

    async def open(self) -> None:
        host, port = self._target.address
        self._reader, self._writer = await asyncio.open_connection(
            host, port, ssl=self._target.tls, limit=1 << 24, server_hostname=host if self._target.tls else None
        )

    async def request(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        """The code and the body of the answer."""
        head = b"%b %b HTTP/1.1\r\n%b" % (method.encode(), path.encode(), self._common)
        if body:
            head += b"Content-Type: application/json\r\nContent-Length: %d\r\n" % len(body)
        self._writer.write(head + b"\r\n" + body)
        raw = await self._reader.readuntil(b"\r\n\r\n")
        code = int(raw[9:12])
        lower = raw.lower()
        at = lower.find(b"content-length:")
        if at >= 0:
            length = int(lower[at + 15 : lower.index(b"\r\n", at)])
            return code, await self._reader.readexactly(length)
        return code, await self._chunked()

    async def _chunked(self) -> bytes:
        parts = []
        while size := int(await self._reader.readline(), 16):
            parts.append(await self._reader.readexactly(size))
            await self._reader.readexactly(2)
        await self._reader.readline()
        return b"".join(parts)

    def close(self) -> None:
        self._writer.close()


async def hammer(
    target: Target, connections: int, seconds: float, make: Callable[[], Iterator[tuple[str, str, bytes]]]
) -> Result:
    """As many requests as `connections` can make in that time. Raises RuntimeError for an answer that is no success."""
    requests = make()
    latencies: list[float] = []
    opened = [Connection(target) for _ in range(connections)]
    await asyncio.gather(*(connection.open() for connection in opened))
    start = time.perf_counter()
    end = start + seconds

    async def one(connection: Connection) -> None:
        while (before := time.perf_counter()) < end:
            method, path, body = next(requests)
            code, answer = await connection.request(method, path, body)
            if code >= 300:
                raise RuntimeError(f"{method} {path}: {code} {answer[:300]!r}")
            latencies.append(time.perf_counter() - before)

    await asyncio.gather(*map(one, opened))
    took = time.perf_counter() - start
    for connection in opened:
        connection.close()
    return Result(len(latencies), took, latencies)
