"""port-forward over WebSocket channels: nothing is sent before the pod's port is connected, and errors are told."""

from __future__ import annotations

import asyncio
import struct

import pytest
from aiohttp import WSMsgType, web

from cli.commands.port_forward import Forward, _listen, _parse
from cli.env import Env
from cli.errors import CliError

POD = {"metadata": {"name": "p"}, "spec": {"containers": [{"ports": [{"name": "http", "containerPort": 8080}]}]}}
SERVICE = {
    "metadata": {"name": "s"},
    "spec": {"clusterIP": "10.0.0.1", "ports": [{"name": "web", "port": 80, "targetPort": "http"}]},
}


@pytest.mark.parametrize(
    ("text", "service", "forward"),
    [
        ("8080", None, Forward(8080, 8080)),
        ("9000:8080", None, Forward(9000, 8080)),
        (":8080", None, Forward(0, 8080)),
        ("9000:http", None, Forward(9000, 8080)),
        ("9000:80", SERVICE, Forward(9000, 8080)),
        ("9000:web", SERVICE, Forward(9000, 8080)),
    ],
)
def test_ports(text: str, service: dict[str, object] | None, forward: Forward) -> None:
    assert _parse(text, POD, service) == forward


def test_unknown_ports() -> None:
    with pytest.raises(CliError, match="Pod 'p' does not have a named port 'nope'"):
        _parse("nope", POD, None)
    with pytest.raises(CliError, match="Service s does not have a service port 81"):
        _parse("81", POD, SERVICE)


async def test_data_waits_for_the_connection_to_the_pod(capfd: pytest.CaptureFixture[str]) -> None:
    announced = asyncio.Event()
    early: list[bytes] = []

    async def handle(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(protocols=("v4.channel.k8s.io",))
        await socket.prepare(request)
        number = struct.pack("<H", int(request.query["ports"]))
        try:
            early.append((await asyncio.wait_for(socket.receive(), 0.05)).data)
        except TimeoutError:
            announced.set()
        await socket.send_bytes(b"\x00" + number)
        await socket.send_bytes(b"\x01" + number)
        async for message in socket:
            if message.type == WSMsgType.BINARY:
                await socket.send_bytes(b"\x00" + message.data[1:].upper())
                if message.data[1:] == b"fail":
                    await socket.send_bytes(b"\x01refused by the pod")
        return socket

    app = web.Application()
    app.router.add_get("/forward", handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    env = Env({"server": f"http://127.0.0.1:{runner.addresses[0][1]}"})
    forward = Forward(0, 8080)
    servers = await _listen(env, "/forward", forward, ["127.0.0.1"])
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", forward.local)
        writer.write(b"hello")
        assert await reader.readexactly(5) == b"HELLO"
        assert announced.is_set() and early == []
        writer.write(b"fail")
        assert await reader.read() == b"FAIL"
        writer.close()
    finally:
        for server in servers:
            server.close()
        await env.close()
        await runner.cleanup()
    out, err = capfd.readouterr()
    assert out == (f"Forwarding from 127.0.0.1:{forward.local} -> 8080\nHandling connection for {forward.local}\n")
    assert err == f"error: an error occurred forwarding {forward.local} -> 8080: refused by the pod\n"
