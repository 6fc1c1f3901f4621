"""`pods/portforward`: TCP connections to a pod's ports, over each of the three transports clients use.

- SPDY/3.1: a pair of streams (data, error) for every connection;
- the same tunnelled through a WebSocket (kubectl since 1.31, KEP-4006);
- WebSocket channels: ports named in the query, two channels each (official Python client).
"""

from __future__ import annotations

import asyncio
import struct
from typing import Any

import grpc.aio
from aiohttp import WSMsgType, web

from api import errors
from apiserver.rest.streams.channels import Channels, is_websocket
from apiserver.rest.streams.pods import END, kubelet_error, node_of, pod_of, reference
from apiserver.rest.streams.spdy import Session, Stream
from apiserver.rest.streams.spdy_terminal import accept, is_spdy
from apiserver.rest.streams.table import Request, streams
from proto import node_pb2

_TUNNEL = "SPDY/3.1+portforward.k8s.io"
_SPDY_VERSIONS = ("portforward.k8s.io",)
_CHANNELS = ("v4.channel.k8s.io", "portforward.k8s.io", "v4.base64.channel.k8s.io")


@streams("pods", "portforward")
async def forward(request: Request) -> web.StreamResponse:
    """Raises StatusError before the connection is upgraded."""
    pod = await pod_of(request)
    node = node_of(pod)
    if pod.status.phase != "Running":
        raise errors.bad_request(
            f"unable to forward port because pod is not running. Current status={pod.status.phase}"
        )
    stub: Any = request.kubelet(node)
    pod_reference = reference(pod)

    def connect(port: int) -> Any:
        return _Connection(stub.PortForward(), pod_reference, port)

    if is_websocket(request.http):
        offered = request.http.headers.get("Sec-WebSocket-Protocol", "")
        if _TUNNEL in offered:
            return await _tunnelled(request, connect)
        return await _channels(request, connect, _ports(request))
    if is_spdy(request.http):
        connection, _ = await accept(request.http, _SPDY_VERSIONS)
        try:
            await _spdy(Session(connection.read, connection.write), connect)
        finally:
            connection.close()
        return connection.response
    raise errors.bad_request("Upgrade request required")


def _ports(request: Request) -> list[int]:
    found = []
    for text in request.http.query.getall("ports", []):
        for part in text.split(","):
            if not part.isdigit() or not 0 < int(part) < 65536:
                raise errors.bad_request(f'unable to parse "{part}" as a port')
            found.append(int(part))
    if not found:
        raise errors.bad_request("you must specify at least 1 port")
    return found


class _Connection:
    """One TCP connection to a port of the pod, at the kubelet."""

    def __init__(self, call: Any, pod: Any, port: int) -> None:
        self._call = call
        self._start = node_pb2.PortForwardInput(start=node_pb2.PortForwardStart(pod=pod, port=port))

    async def open(self) -> None:
        await self._call.write(self._start)

    async def write(self, data: bytes) -> None:
        """b"" is a half-close."""
        message = node_pb2.PortForwardInput(data=data) if data else node_pb2.PortForwardInput(close=True)
        await self._call.write(message)

    async def read(self) -> bytes:
        """b"" at the end. Raises StatusError if the port refuses."""
        try:
            output = await self._call.read()
        except grpc.aio.AioRpcError as error:
            raise kubelet_error(error, "pods", "") from None
        return b"" if output is END else bytes(output.data)

    def cancel(self) -> None:
        self._call.cancel()


async def _spdy(session: Session, connect: Any) -> None:
    running = asyncio.create_task(session.run())
    waiting: dict[str, dict[str, Stream]] = {}
    tasks: set[asyncio.Task[None]] = set()
    try:
        async for stream in session.opened():
            kind = stream.headers.get("streamtype", "")
            # Clients of before request ids opened the error stream right before its data stream.
            identity = stream.headers.get("requestid") or str(stream.id - (2 if kind == "data" else 0))
            pair = waiting.setdefault(identity, {})
            pair[kind] = stream
            if "data" in pair and "error" in pair:
                del waiting[identity]
                task = asyncio.create_task(_pair(pair["data"], pair["error"], connect))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
    finally:
        running.cancel()
        for task in tasks:
            task.cancel()
        await asyncio.gather(running, *tasks, return_exceptions=True)


async def _pair(data: Stream, error: Stream, connect: Any) -> None:
    port = int(data.headers.get("port", "0"))
    connection = connect(port)

    async def up() -> None:
        try:
            while chunk := await data.read():
                await connection.write(chunk)
            await connection.write(b"")
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            pass

    uploading = None
    try:
        await connection.open()
        uploading = asyncio.create_task(up())
        while chunk := await connection.read():
            await data.write(chunk)
    except errors.StatusError as refused:
        await error.write(f"error forwarding port {port} to pod: {refused.message}".encode())
    except (ConnectionError, grpc.aio.AioRpcError, asyncio.InvalidStateError):
        pass
    finally:
        connection.cancel()
        if uploading is not None:
            uploading.cancel()
        try:
            await data.close()
            await error.close()
        except ConnectionError:
            pass


async def _tunnelled(request: Request, connect: Any) -> web.StreamResponse:
    socket = web.WebSocketResponse(protocols=(_TUNNEL,), max_msg_size=0, compress=False)
    await socket.prepare(request.http)

    async def read() -> bytes:
        while True:
            message = await socket.receive()
            if message.type is WSMsgType.BINARY:
                if message.data:
                    return bytes(message.data)
            elif message.type is not WSMsgType.TEXT:
                return b""

    await _spdy(Session(read, socket.send_bytes), connect)
    await socket.close()
    return socket


async def _channels(request: Request, connect: Any, ports: list[int]) -> web.StreamResponse:
    channels = await Channels.accept(request.http, _CHANNELS)
    connections = [connect(port) for port in ports]
    opened = [asyncio.Event() for _ in ports]

    async def down(index: int, port: int) -> None:
        connection = connections[index]
        number = struct.pack("<H", port)
        try:
            await connection.open()  # before the client hears of the channel: its data has to come second
            opened[index].set()
            await channels.send(2 * index, number)
            await channels.send(2 * index + 1, number)
            while data := await connection.read():
                await channels.send(2 * index, data)
        except errors.StatusError as refused:
            await channels.send(2 * index + 1, f"error forwarding port {port} to pod: {refused.message}".encode())

    async def up() -> None:
        async for channel, data in channels.receive():
            if channel % 2 == 0 and channel // 2 < len(connections) and data:
                # Nothing keeps a client from sending before it has heard of the channel.
                await opened[channel // 2].wait()
                await connections[channel // 2].write(data)

    uploading = asyncio.create_task(up())
    downloads = asyncio.gather(*(down(i, port) for i, port in enumerate(ports)), return_exceptions=True)
    try:
        await asyncio.wait((uploading, downloads), return_when=asyncio.FIRST_COMPLETED)
    finally:
        uploading.cancel()
        downloads.cancel()
        for connection in connections:
            connection.cancel()
        await asyncio.gather(uploading, downloads, return_exceptions=True)
        await channels.close()
    return channels.response
