"""Exec and attach: a client's stdin, stdout, stderr and window size to a container and back, and how it ended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Protocol

import grpc.aio
import msgspec
from aiohttp import web

from api import codec, errors
from api.types.meta_v1 import Status, StatusCause, StatusDetails
from apiserver.rest.streams import spdy_terminal
from apiserver.rest.streams.channels import ERROR, RESIZE, STDERR, STDIN, STDOUT, Channels, is_websocket
from apiserver.rest.streams.pods import END, container_of, flag, kubelet_error, node_of, pod_of, reference
from apiserver.rest.streams.spdy_terminal import is_spdy
from apiserver.rest.streams.table import Request
from proto import node_pb2


class ClientStreams(Protocol):
    """The client's side, over whatever transport."""

    async def send(self, channel: int, data: bytes) -> None: ...

    def receive(self) -> AsyncIterator[tuple[int, bytes | None]]: ...

    async def close(self) -> None: ...


class _Size(msgspec.Struct):
    width: int = msgspec.field(default=0, name="Width")
    height: int = msgspec.field(default=0, name="Height")


async def serve(request: Request, method: str, command: list[str]) -> web.StreamResponse:
    """`method` is the kubelet's: Exec or Attach. Raises StatusError before the connection is upgraded."""
    start = _start(request, command)
    pod = await pod_of(request)
    container = container_of(pod, request.http.query.get("container", ""))
    start.pod.CopyFrom(reference(pod, container))
    if pod.status.phase in ("Succeeded", "Failed"):
        raise errors.bad_request(
            f"cannot exec into a container in a completed pod; current phase is {pod.status.phase}"
        )
    stub: Any = request.kubelet(node_of(pod))
    if is_websocket(request.http):
        channels = await Channels.accept(request.http)
        # Tells the client that the connection stands, before the container has said anything.
        await channels.send(STDOUT if start.stdout else STDERR if start.stderr else ERROR, b"")
        await bridge(getattr(stub, method)(), start, channels, status_json=channels.status_json)
        return channels.response
    if is_spdy(request.http):
        return await spdy_terminal.serve(request, start, getattr(stub, method))
    raise errors.bad_request("Upgrade request required")


def _start(request: Request, command: list[str]) -> Any:
    start = node_pb2.ExecStart(
        command=command,
        stdin=flag(request, "stdin"),
        stdout=flag(request, "stdout"),
        stderr=flag(request, "stderr"),
        tty=flag(request, "tty"),
    )
    if start.tty and start.stderr:
        start.stderr = False  # a terminal has one output
    if not (start.stdin or start.stdout or start.stderr):
        raise errors.bad_request("you must specify at least 1 of stdin, stdout, stderr")
    return start


async def bridge(call: Any, start: Any, client: ClientStreams, *, status_json: bool) -> None:
    """Copy both ways until the container ends or the client leaves; then tell the client how it ended."""
    try:
        await call.write(node_pb2.ExecInput(start=start))
    except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
        pass  # the reader below learns why
    upstream = asyncio.create_task(_upstream(call, client))
    try:
        outcome = await _downstream(call, client)
        if status_json:
            await client.send(ERROR, codec.encode(outcome))
        elif outcome.status != "Success":
            await client.send(ERROR, (outcome.message or "").encode())
    except (ConnectionError, asyncio.IncompleteReadError):
        pass  # the client left
    finally:
        upstream.cancel()
        call.cancel()
        await asyncio.gather(upstream, return_exceptions=True)
        await client.close()


async def _upstream(call: Any, client: ClientStreams) -> None:
    try:
        async for channel, data in client.receive():
            if channel == STDIN:
                frame = node_pb2.ExecInput(close_stdin=True) if data is None else node_pb2.ExecInput(stdin=data)
                await call.write(frame)
            elif channel == RESIZE and data:
                try:
                    size = msgspec.json.decode(data, type=_Size)
                except msgspec.MsgspecError:
                    continue
                resize = node_pb2.Resize(width=max(0, size.width), height=max(0, size.height))
                await call.write(node_pb2.ExecInput(resize=resize))
    except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
        return  # the container ended first
    # The client closed the connection: the process is told by the end of its streams.
    call.cancel()


async def _downstream(call: Any, client: ClientStreams) -> Status:
    try:
        while (output := await call.read()) is not END:
            kind = output.WhichOneof("output")
            if kind == "stdout":
                await client.send(STDOUT, output.stdout)
            elif kind == "stderr":
                await client.send(STDERR, output.stderr)
            elif kind == "exit":
                return _outcome(output.exit)
    except grpc.aio.AioRpcError as error:
        return kubelet_error(error, "pods", "").status
    except asyncio.CancelledError:
        if asyncio.current_task().cancelling():  # type: ignore[union-attr]
            raise
        raise ConnectionResetError("the client left") from None
    return errors.internal("the kubelet ended the stream without a result").status


def _outcome(ended: Any) -> Status:
    if ended.error:
        return errors.internal(ended.error).status
    if ended.code == 0:
        return Status(status="Success")
    why = f"command terminated with exit code {ended.code}"
    return Status(
        status="Failure",
        reason="NonZeroExitCode",
        message=f"command terminated with non-zero exit code: {why}",
        details=StatusDetails(causes=[StatusCause(reason="ExitCode", message=str(ended.code))]),
    )
