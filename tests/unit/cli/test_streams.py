"""Exec over a WebSocket against a server that speaks `v5.channel.k8s.io`, or only v4."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import WSMsgType, web

from cli.errors import CliError
from cli.exec_stream import run
from cli.kubeconfig import RestConfig
from cli.rest import Client


class ExecServer:
    """Echoes stdin to stdout, then ends with a status. At v4, which can't say that stdin ends, it ends at `quit`."""

    def __init__(self, protocols: tuple[str, ...], status: dict[str, Any]) -> None:
        self.protocols = protocols
        self.status = status
        self.sizes: list[Any] = []
        self.query: dict[str, list[str]] = {}
        self.protocol: str | None = None

    async def handle(self, request: web.Request) -> web.WebSocketResponse:
        self.query = {key: request.query.getall(key) for key in request.query}
        socket = web.WebSocketResponse(protocols=self.protocols)
        await socket.prepare(request)
        self.protocol = socket.ws_protocol
        await socket.send_bytes(b"\x01")
        await socket.send_bytes(b"\x02oops\n")
        async for message in socket:
            if message.type != WSMsgType.BINARY:
                break
            channel, data = message.data[0], message.data[1:]
            if channel == 4:
                self.sizes.append(json.loads(data))
            elif channel == 0:
                await socket.send_bytes(b"\x01" + data)
                if data == b"quit":
                    break
            elif channel == 255 and data == b"\x00":
                break
        await socket.send_bytes(b"\x03" + json.dumps(self.status).encode())
        await socket.close()
        return socket


async def serve(server: ExecServer) -> tuple[web.AppRunner, Client]:
    app = web.Application()
    app.router.add_get("/exec", server.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return runner, Client(RestConfig(server=f"http://127.0.0.1:{runner.addresses[0][1]}"))


async def words(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


async def sizes() -> AsyncIterator[tuple[int, int]]:
    yield 80, 24


def failure(code: int) -> dict[str, Any]:
    causes = [{"reason": "ExitCode", "message": str(code)}]
    return {"status": "Failure", "reason": "NonZeroExitCode", "details": {"causes": causes}, "message": f"exit {code}"}


@pytest.mark.parametrize(
    ("protocols", "chunks"),
    [
        (("v5.channel.k8s.io", "v4.channel.k8s.io"), (b"hello ", b"world")),
        (("v4.channel.k8s.io",), (b"hello ", b"quit")),
    ],
)
async def test_streams_and_exit_code(protocols: tuple[str, ...], chunks: tuple[bytes, ...]) -> None:
    server = ExecServer(protocols, failure(42))
    runner, client = await serve(server)
    out, err = bytearray(), bytearray()
    try:
        query = {"command": ["sh", "-c", "a b"], "stdin": True, "tty": False}
        code = await run(
            client, "/exec", query, stdin=words(*chunks), stdout=out.extend, stderr=err.extend, sizes=sizes()
        )
    finally:
        await client.close()
        await runner.cleanup()
    assert code == 42
    assert (bytes(out), bytes(err)) == (b"".join(chunks), b"oops\n")
    assert server.protocol == protocols[0]
    assert server.query["command"] == ["sh", "-c", "a b"] and server.query["stdin"] == ["true"]
    assert server.sizes == [{"Width": 80, "Height": 24}]


async def test_a_failure_that_is_no_exit_code() -> None:
    problem = {"status": "Failure", "reason": "InternalError", "message": "container not running"}
    runner, client = await serve(ExecServer(("v5.channel.k8s.io",), problem))
    try:
        with pytest.raises(CliError, match="container not running"):
            await run(client, "/exec", {}, stdin=words())
    finally:
        await client.close()
        await runner.cleanup()
