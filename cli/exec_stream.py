"""Streams of a running container over a WebSocket: `v5.channel.k8s.io`, or v4 at older servers (KEP-4006).

Every frame begins with a channel number: 0 stdin, 1 stdout, 2 stderr, 3 the final `Status`, 4 terminal size; v5 adds
255 to say that a channel ends, which is how stdin reaches its end while output goes on.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from cli.errors import CliError, Object, status_error
from cli.rest import Client, Query, translated

STDIN, STDOUT, STDERR, ERROR, RESIZE, CLOSE = 0, 1, 2, 3, 4, 255
EXEC_PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io")
PORT_PROTOCOLS = ("v4.channel.k8s.io",)
CHUNK = 32 * 1024


@asynccontextmanager
async def websocket(
    client: Client, path: str, query: Query, protocols: tuple[str, ...]
) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    """An upgraded connection. A refusal is raised as the `ApiError` in the answer's body."""
    url = URL(client.url(path, query), encoded=True)
    headers: CIMultiDict[str] = CIMultiDict(
        (name, value) for name, values in client.config.impersonate.items() for value in values
    )
    try:
        with translated(client.config.server, None):
            socket = await _connect(client, url, headers, protocols)
    except _Refused as refused:
        await _explain(client, url, headers, protocols, refused.status)
        raise CliError(f"unable to upgrade connection: the server answered {refused.status}") from refused
    try:
        yield socket
    finally:
        await socket.close()


class _Refused(CliError):
    def __init__(self, status: int) -> None:
        super().__init__(f"unable to upgrade connection: {status}")
        self.status = status


async def _connect(
    client: Client, url: URL, headers: CIMultiDict[str], protocols: tuple[str, ...]
) -> aiohttp.ClientWebSocketResponse:
    try:
        socket: aiohttp.ClientWebSocketResponse = await client.session.ws_connect(
            url, protocols=protocols, headers=headers, max_msg_size=0, autoping=True, **client.options()
        )
        return socket
    except aiohttp.WSServerHandshakeError as problem:
        raise _Refused(problem.status) from problem


async def _explain(
    client: Client, url: URL, headers: CIMultiDict[str], protocols: tuple[str, ...], status: int
) -> None:
    """Repeats a refused upgrade as a plain request, because aiohttp drops the body that says why."""
    asked = headers.copy()
    asked["Connection"] = "Upgrade"
    asked["Upgrade"] = "websocket"
    asked["Sec-WebSocket-Version"] = "13"
    asked["Sec-WebSocket-Key"] = base64.b64encode(os.urandom(16)).decode()
    asked["Sec-WebSocket-Protocol"] = ",".join(protocols)
    with translated(client.config.server, None):
        async with client.session.get(url, headers=asked, **client.options()) as answer:
            if answer.status >= 400:
                raise status_error(answer.status, await answer.read(), method="GET", path=url.path)


async def run(
    client: Client,
    path: str,
    query: Query,
    *,
    stdin: AsyncIterator[bytes] | None = None,
    stdout: Callable[[bytes], None] | None = None,
    stderr: Callable[[bytes], None] | None = None,
    sizes: AsyncIterator[tuple[int, int]] | None = None,
) -> int:
    """Attaches the streams until the remote side ends; returns the command's exit code.

    Raises `CliError` when the container could not run the command.
    """
    status: Object | None = None
    async with websocket(client, path, query, EXEC_PROTOCOLS) as socket:
        helpers: list[asyncio.Task[None]] = []
        if sizes is not None:
            helpers.append(asyncio.create_task(_send_sizes(socket, sizes)))
        if stdin is not None:
            helpers.append(asyncio.create_task(_send_input(socket, stdin)))
        try:
            async for message in socket:
                if message.type not in (aiohttp.WSMsgType.BINARY, aiohttp.WSMsgType.TEXT):
                    continue
                data = message.data if isinstance(message.data, bytes) else message.data.encode()
                if not data:
                    continue
                channel, payload = data[0], data[1:]
                if channel == STDOUT and stdout and payload:
                    stdout(payload)
                elif channel == STDERR and stderr and payload:
                    stderr(payload)
                elif channel == ERROR and payload:
                    status = json.loads(payload)
                    break
        finally:
            for task in helpers:
                task.cancel()
            await asyncio.gather(*helpers, return_exceptions=True)
    return exit_code(status)


def exit_code(status: Object | None) -> int:
    """The exit code in the final `Status` of an exec. Raises `CliError` for failures that are not an exit code."""
    if status is None or status.get("status") == "Success":
        return 0
    if status.get("reason") == "NonZeroExitCode":
        for cause in (status.get("details") or {}).get("causes") or []:
            if cause.get("reason") == "ExitCode":
                return int(cause["message"])
    raise CliError(str(status.get("message") or "the command failed"))


async def _send_input(socket: aiohttp.ClientWebSocketResponse, source: AsyncIterator[bytes]) -> None:
    async for chunk in source:
        await socket.send_bytes(bytes([STDIN]) + chunk)
    if socket.protocol == EXEC_PROTOCOLS[0]:
        await socket.send_bytes(bytes([CLOSE, STDIN]))


async def _send_sizes(socket: aiohttp.ClientWebSocketResponse, sizes: AsyncIterator[tuple[int, int]]) -> None:
    async for width, height in sizes:
        body = json.dumps({"Width": width, "Height": height}).encode()
        await socket.send_bytes(bytes([RESIZE]) + body)


def writer_to(fd: int) -> Callable[[bytes], None]:
    def write(data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]

    return write


def stream_query(container: str, *, stdin: bool, stdout: bool, stderr: bool, tty: bool, **more: Any) -> dict[str, Any]:
    return {"container": container, "stdin": stdin, "stdout": stdout, "stderr": stderr, "tty": tty, **more}
