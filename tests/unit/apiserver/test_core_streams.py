"""Logs, exec, attach and port-forward, through to a kubelet's `Node` service."""

from __future__ import annotations

import asyncio
import base64
import json
import struct
from collections.abc import AsyncIterator

import aiohttp
import pytest
import pytest_asyncio

from api.types.core_v1 import (
    Container,
    DaemonEndpoint,
    Node,
    NodeAddress,
    NodeDaemonEndpoints,
    NodeStatus,
    Pod,
    PodSpec,
)
from api.types.meta_v1 import ObjectMeta
from apiserver.rest.streams.spdy import Session, Stream
from apiserver.server import Server
from client.api import Api
from tests.support.node import fake_node

BASE = "/api/v1/namespaces/default/pods/web"


@pytest_asyncio.fixture
async def url(api_server: Server, api: Api) -> AsyncIterator[str]:
    """Of a server with one node and a running pod on it."""
    async with fake_node() as port:
        node = await api.create(Node(metadata=ObjectMeta(name="n1")))
        node.status = NodeStatus(
            addresses=[NodeAddress(type="InternalIP", address="127.0.0.1")],
            daemon_endpoints=NodeDaemonEndpoints(kubelet_endpoint=DaemonEndpoint(port=port)),
        )
        await api.update_status(node)
        containers = [Container(name="main", image="x"), Container(name="waiting", image="x")]
        pod = Pod(metadata=ObjectMeta(name="web", namespace="default"), spec=PodSpec(containers=containers))
        pod = await api.create(pod)
        await api.bind(pod, "n1")
        await api.patch(Pod, "web", {"status": {"phase": "Running"}}, namespace="default", subresource="status")
        yield api_server.rest_url


@pytest_asyncio.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def test_logs_are_the_kubelets_text(url: str, http: aiohttp.ClientSession) -> None:
    async with http.get(f"{url}{BASE}/log?container=main&tailLines=2") as answer:
        assert (answer.status, answer.content_type) == (200, "text/plain")
        assert await answer.text() == "two\nthree\n"


@pytest.mark.parametrize(
    ("protocols", "text"), [((), False), (("binary.k8s.io",), False), (("base64.binary.k8s.io",), True)]
)
async def test_logs_come_over_a_websocket_too(
    url: str, http: aiohttp.ClientSession, protocols: tuple[str, ...], text: bool
) -> None:
    async with http.ws_connect(f"{url}{BASE}/log?container=main&tailLines=2", protocols=protocols) as socket:
        kind = aiohttp.WSMsgType.TEXT if text else aiohttp.WSMsgType.BINARY
        messages = [message async for message in socket]
        assert {message.type for message in messages} == {kind}
        assert b"".join(base64.b64decode(m.data) if text else m.data for m in messages) == b"two\nthree\n"
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await http.ws_connect(f"{url}{BASE}/log?container=waiting", protocols=protocols)
    assert refused.value.status == 400


async def test_what_the_kubelet_refuses_is_a_status(url: str, http: aiohttp.ClientSession) -> None:
    async with http.get(f"{url}{BASE}/log?container=waiting") as answer:
        assert answer.status == 400
        message = 'container "waiting" in pod "web" is waiting to start: ContainerCreating'
        assert (await answer.json())["message"] == message
    async with http.get(f"{url}{BASE}/log") as answer:
        message = "a container name must be specified for pod web, choose one of: [main waiting]"
        assert (await answer.json())["message"] == message
    async with http.get(f"{url}{BASE}/log?container=main&tailLines=-1") as answer:
        assert answer.status == 422


async def test_exec_over_websocket_carries_streams_and_the_exit_code(url: str, http: aiohttp.ClientSession) -> None:
    query = "container=main&command=cat&stdin=1&stdout=1"
    async with http.ws_connect(f"{url}{BASE}/exec?{query}", protocols=("v5.channel.k8s.io",)) as socket:
        assert await socket.receive_bytes() == b"\x01"
        await socket.send_bytes(b"\x00hello")
        assert await socket.receive_bytes() == b"\x01hello"
        await socket.send_bytes(bytes((255, 0)))  # v5: close stdin
        ended = await socket.receive_bytes()
        assert ended[0] == 3 and json.loads(ended[1:])["status"] == "Success"
    query = "container=main&command=fail&command=7&stderr=1"
    async with http.ws_connect(f"{url}{BASE}/exec?{query}", protocols=("v4.channel.k8s.io",)) as socket:
        frames = [await socket.receive_bytes() for _ in range(3)]
        assert frames[1] == b"\x02failing\n"
        status = json.loads(frames[2][1:])
        assert status["reason"] == "NonZeroExitCode"
        assert status["details"]["causes"] == [{"reason": "ExitCode", "message": "7"}]


async def test_the_old_base64_channels(url: str, http: aiohttp.ClientSession) -> None:
    query = "container=main&command=size&stdin=1&stdout=1&tty=1"
    protocols = ("v4.base64.channel.k8s.io",)
    async with http.ws_connect(f"{url}{BASE}/exec?{query}", protocols=protocols) as socket:
        assert await socket.receive_str() == "1"
        await socket.send_str("4eyJXaWR0aCI6ODAsIkhlaWdodCI6MjR9")
        assert await socket.receive_str() == "1ODB4MjQK"


async def test_exec_needs_an_upgrade_and_a_command(url: str, http: aiohttp.ClientSession) -> None:
    async with http.post(f"{url}{BASE}/exec?container=main&command=cat&stdout=1") as answer:
        assert (answer.status, (await answer.json())["message"]) == (400, "Upgrade request required")
    async with http.post(f"{url}{BASE}/exec?container=main&stdout=1") as answer:
        assert answer.status == 400


async def test_ports_over_websocket_channels(url: str, http: aiohttp.ClientSession) -> None:
    protocols = ("v4.channel.k8s.io",)
    async with http.ws_connect(f"{url}{BASE}/portforward?ports=80", protocols=protocols) as socket:
        first = {await socket.receive_bytes(), await socket.receive_bytes()}
        assert first == {b"\x00" + struct.pack("<H", 80), b"\x01" + struct.pack("<H", 80)}
        await socket.send_bytes(b"\x00ping")
        assert await socket.receive_bytes() == b"\x0080:ping"


class SpdyClient(Session):
    """The client's half, made of the server's: enough to open streams."""

    async def open(self, identity: int, headers: dict[str, str]) -> Stream:
        stream = Stream(self, identity, headers)
        self._streams[identity] = stream
        await self.send_control(1, 0, struct.pack(">IIH", identity, 0, 0) + self._block(headers))
        return stream


async def test_exec_over_spdy(url: str) -> None:
    host, _, port = url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(
        f"POST {BASE}/exec?container=main&command=cat&stdin=1&stdout=1 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n"
        "Upgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: v4.channel.k8s.io\r\n\r\n".encode()
    )
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101 ") and b"X-Stream-Protocol-Version: v4.channel.k8s.io" in head

    async def write(data: bytes) -> None:
        writer.write(data)
        await writer.drain()

    async def read() -> bytes:
        return await reader.read(65536)

    session = SpdyClient(read, write)
    running = asyncio.create_task(session.run())
    async with asyncio.timeout(10):
        error = await session.open(1, {"streamtype": "error"})
        stdin = await session.open(3, {"streamtype": "stdin"})
        stdout = await session.open(5, {"streamtype": "stdout"})
        await stdin.write(b"hello")
        assert await stdout.read() == b"hello"
        await stdin.close()
        assert json.loads(await error.read())["status"] == "Success"
    running.cancel()
    writer.close()


async def test_ports_over_spdy_in_a_websocket(url: str, http: aiohttp.ClientSession) -> None:
    protocols = ("SPDY/3.1+portforward.k8s.io",)
    async with http.ws_connect(f"{url}{BASE}/portforward", protocols=protocols) as socket:

        async def read() -> bytes:
            message = await socket.receive()
            return message.data if message.type is aiohttp.WSMsgType.BINARY else b""

        session = SpdyClient(read, socket.send_bytes)
        running = asyncio.create_task(session.run())
        async with asyncio.timeout(10):
            error = await session.open(1, {"streamtype": "error", "port": "1", "requestid": "0"})
            await session.open(3, {"streamtype": "data", "port": "1", "requestid": "0"})
            assert b"connection refused" in await error.read()
            await session.open(5, {"streamtype": "error", "port": "80", "requestid": "1"})
            data = await session.open(7, {"streamtype": "data", "port": "80", "requestid": "1"})
            await data.write(b"ping")
            assert await data.read() == b"80:ping"
        running.cancel()


async def test_a_nodes_statistics_come_through_its_proxy(url: str, http: aiohttp.ClientSession) -> None:
    async with http.get(f"{url}/api/v1/nodes/n1/proxy/stats/summary") as answer:
        assert (await answer.json())["node"] == {"nodeName": "n1"}
