"""Passing a request on to another HTTP server and its answer back: a reverse proxy, for bodies and for upgrades.

The answer to an upgrade (`exec` through an aggregated server, a WebSocket of a pod) is whatever the other side says
after `101 Switching Protocols`: both directions are then bytes that nobody here looks at. Source: apimachinery's
UpgradeAwareHandler.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Iterable
from dataclasses import dataclass

import aiohttp
from aiohttp import web
from yarl import URL

from apiserver.rest.audited import started
from apiserver.rest.streams.links import Links
from apiserver.rest.streams.upgrade import RawConnection

_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "host",
        "authorization",
    }
)
#: What aiohttp would add by itself; a Content-Type that the client did not send changes what its request means.
_ADDED = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")
_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=30)
_CHUNK = 64 * 1024
_HEAD = 64 * 1024  # bytes of an answer's status line and headers
_CONNECT = 30.0  # seconds


@dataclass(frozen=True)
class Backend:
    """Where the other server is. `name` is what its certificate has to say and what it is called in `Host`."""

    address: str
    port: int
    name: str = ""
    tls: ssl.SSLContext | None = None


def headers_of(request: web.BaseRequest) -> list[tuple[str, str]]:
    """The request's headers without those that end here."""
    return [(name, value) for name, value in request.headers.items() if name.lower() not in _HOP]


def wants_upgrade(request: web.BaseRequest) -> bool:
    """Whether the client asks for another protocol on this connection."""
    return "Upgrade" in request.headers and "upgrade" in request.headers.get("Connection", "").lower()


async def relay(
    request: web.BaseRequest,
    session: aiohttp.ClientSession,
    url: URL,
    headers: Iterable[tuple[str, str]],
    links: Links | None = None,
) -> web.StreamResponse:
    """A request and its answer, `links` changed. Raises aiohttp.ClientError or TimeoutError if nobody answers."""
    body = request.content if request.can_read_body else None
    async with session.request(
        request.method,
        url,
        headers=list(headers),
        data=body,
        allow_redirects=False,
        timeout=_TIMEOUT,
        skip_auto_headers=_ADDED,
    ) as answer:
        response = web.StreamResponse(status=answer.status, reason=answer.reason)
        for name, value in answer.headers.items():
            if name.lower() not in _HOP:
                response.headers.add(name, value)
        if links is not None and "Location" in answer.headers:
            response.headers["Location"] = links.link(answer.headers["Location"])
        elif links is not None and answer.content_type == "text/html" and request.method != "HEAD":
            page = links.page(await answer.read(), answer.headers.get("Content-Encoding", ""))
            response.content_length = len(page)
            await response.prepare(request)
            started(request, answer.status)
            await response.write_eof(page)
            return response
        await response.prepare(request)
        started(request, answer.status)
        async for chunk in answer.content.iter_chunked(_CHUNK):
            await response.write(chunk)
        await response.write_eof()
        return response


async def relay_upgrade(
    request: web.BaseRequest, backend: Backend, path: str, headers: Iterable[tuple[str, str]]
) -> web.StreamResponse:
    """A request for an upgrade, and what follows. Raises OSError, TimeoutError or ValueError if there is no answer."""
    async with asyncio.timeout(_CONNECT):
        reader, writer = await asyncio.open_connection(
            backend.address,
            backend.port,
            ssl=backend.tls,
            server_hostname=backend.name if backend.tls is not None else None,
            limit=_HEAD,
        )
    try:
        host = f"{backend.name or backend.address}:{backend.port}"
        sent = [("Host", host), *headers, ("Connection", "Upgrade"), ("Upgrade", request.headers["Upgrade"])]
        lines = [f"{request.method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in sent), "", ""]
        writer.write("\r\n".join(lines).encode("latin-1", "replace"))
        status, reason, answered = await _head(reader)
        if status != 101:
            return await _refused(request, reader, status, reason, answered)
        shown = {name: value for name, value in answered if name.lower() not in _HOP}
        upgrade = next((value for name, value in answered if name.lower() == "upgrade"), request.headers["Upgrade"])
        connection = await RawConnection.take(request, {**shown, "Connection": "Upgrade", "Upgrade": upgrade})
        await _join(connection, reader, writer)
        return connection.response
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def _head(reader: asyncio.StreamReader) -> tuple[int, str, list[tuple[str, str]]]:
    """Status and headers of an answer."""
    try:
        first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").rstrip().split("\r\n")
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        raise ValueError("EOF") from None
    version, _, rest = first.partition(" ")
    code, _, reason = rest.partition(" ")
    if not version.startswith("HTTP/1.") or not code.isdigit():
        raise ValueError(f"malformed HTTP response {first[:80]!r}")
    pairs = (line.partition(":") for line in lines)
    return int(code), reason, [(name.strip(), value.strip()) for name, _, value in pairs]


async def _refused(
    request: web.BaseRequest, reader: asyncio.StreamReader, status: int, reason: str, headers: list[tuple[str, str]]
) -> web.StreamResponse:
    """An answer that is none of `101`: shown as it is."""
    given = {name.lower(): value for name, value in headers}
    if "chunked" in given.get("transfer-encoding", ""):
        body = await _chunked(reader)
    elif given.get("content-length", "").isdigit():
        body = await reader.readexactly(int(given["content-length"]))
    else:
        body = await reader.read()
    response = web.Response(status=status, reason=reason, body=body)
    response.headers.popall("Content-Type", None)
    for name, value in headers:
        if name.lower() not in _HOP and name.lower() != "content-length":
            response.headers.add(name, value)
    return response


async def _chunked(reader: asyncio.StreamReader) -> bytes:
    """A body in chunks (RFC 9112, section 7.1)."""
    body = bytearray()
    while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
        body += (await reader.readexactly(size + 2))[:-2]
    return bytes(body)


async def _join(connection: RawConnection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Bytes in both directions until one side has ended."""

    async def forth() -> None:
        while data := await connection.read():
            writer.write(data)
            await writer.drain()

    async def back() -> None:
        while data := await reader.read(_CHUNK):
            await connection.write(data)

    tasks = [asyncio.create_task(forth()), asyncio.create_task(back())]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        connection.close()
