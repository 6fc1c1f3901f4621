"""Docker's streams on asyncio: event streams and hijacked connections (exec, attach), straight on its socket.

The SDK would need a blocked thread per stream; a node has hundreds of them (probes, terminals), so these few requests
are spoken here: HTTP/1.1, one request per connection, chunked or hijacked answers, per Docker's Engine API.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from kubelet.cri import ContainerNotFound, RuntimeFailure

API = "v1.41"
HEADER_LIMIT = 64 * 1024  # bytes
CONNECT_TIMEOUT = 10.0  # seconds

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def connect(host: str) -> Connection:
    """To `unix:///path` or `tcp://host:port`; raises RuntimeFailure."""
    parts = urlsplit(host)
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT):
            if parts.scheme in ("unix", "http+unix"):
                return await asyncio.open_unix_connection(parts.path, limit=HEADER_LIMIT)
            return await asyncio.open_connection(parts.hostname, parts.port or 2375, limit=HEADER_LIMIT)
    except (OSError, TimeoutError) as error:
        raise RuntimeFailure(f"Cannot connect to the Docker daemon at {host}: {error}") from error


def target(*path: str, query: Mapping[str, Any] | None = None) -> str:
    """`target("exec", id, "start")` -> `/v1.41/exec/<id>/start`."""
    out = "/".join(("", API, *(quote(part, safe="") for part in path)))
    return f"{out}?{urlencode(query)}" if query else out


async def _request(
    connection: Connection, method: str, url: str, body: object, headers: Mapping[str, str]
) -> tuple[int, dict[str, str]]:
    reader, writer = connection
    payload = b"" if body is None else json.dumps(body).encode()
    lines = [f"{method} {url} HTTP/1.1", "Host: docker", f"Content-Length: {len(payload)}"]
    if payload:
        lines.append("Content-Type: application/json")
    lines += [f"{name}: {value}" for name, value in headers.items()]
    writer.write("\r\n".join((*lines, "", "")).encode() + payload)
    try:
        await writer.drain()
        head = await reader.readuntil(b"\r\n\r\n")
    except (OSError, asyncio.IncompleteReadError) as error:
        raise RuntimeFailure(f"the Docker daemon closed the connection: {error}") from error
    status_line, *rest = head.decode("latin-1").split("\r\n")
    fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in rest if line)}
    return int(status_line.split(" ", 2)[1]), fields


async def _failure(reader: asyncio.StreamReader, status: int, fields: Mapping[str, str]) -> RuntimeFailure:
    if fields.get("transfer-encoding") == "chunked":
        body = b"".join([chunk async for chunk in _chunks(reader)])
    else:
        body = await reader.readexactly(int(fields.get("content-length", 0)))
    try:
        message = str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        message = body.decode(errors="replace").strip() or f"HTTP status {status}"
    return ContainerNotFound(message) if status == 404 else RuntimeFailure(message)


async def _chunks(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while True:
        size = int((await reader.readline()).split(b";")[0] or b"0", 16)
        data = await reader.readexactly(size)
        await reader.readexactly(2)
        if not size:
            return
        yield data


async def hijack(host: str, url: str, body: object = None) -> Connection:
    """POST and take the connection over; what the process writes comes on it. Raises RuntimeFailure."""
    connection = await connect(host)
    reader, writer = connection
    try:
        status, fields = await _request(connection, "POST", url, body, {"Connection": "Upgrade", "Upgrade": "tcp"})
        if status not in (101, 200):
            raise await _failure(reader, status, fields)
    except BaseException:
        writer.close()
        raise
    return connection


async def stream_json(host: str, url: str) -> AsyncIterator[dict[str, Any]]:
    """GET an endless stream of JSON objects (events); ends when dockerd does. Raises RuntimeFailure."""
    connection = await connect(host)
    reader, writer = connection
    try:
        status, fields = await _request(connection, "GET", url, None, {})
        if status != 200:
            raise await _failure(reader, status, fields)
        yield {}  # connected: whoever listens may now look at the state and miss nothing after it
        pending = b""
        try:
            async for chunk in _chunks(reader):
                *lines, pending = (pending + chunk).split(b"\n")
                for line in lines:
                    if line.strip():
                        yield json.loads(line)
        except (OSError, ValueError, asyncio.IncompleteReadError):
            return
    finally:
        writer.close()
