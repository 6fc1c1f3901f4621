"""exec, attach and port-forward: frames of a gRPC stream on one side, a process or a connection on the other.

Both directions run at once. The output decides when a session ends; a caller that goes away ends it too, and takes the
connection to the process with it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from kubelet import cri
from kubelet.server.lookup import PodLookup, failure, find_pod, running_container, running_sandbox
from proto import node_pb2

READ = 64 * 1024  # bytes


async def run_command(
    runtime: cri.Runtime, lookup: PodLookup, frames: AsyncIterator[node_pb2.ExecInput], *, attach: bool
) -> AsyncIterator[node_pb2.ExecOutput]:
    start = await _first(frames)
    if start.WhichOneof("input") != "start":
        raise failure("the first frame must be `start`", 400)
    wanted = start.start
    pod = find_pod(lookup, wanted.pod)
    container, _ = await running_container(runtime, pod, wanted.pod)
    stream: cri.ExecStream
    if attach:
        stream = await runtime.attach(
            container.id, stdin=wanted.stdin, stdout=wanted.stdout, stderr=wanted.stderr, tty=wanted.tty
        )
    else:
        stream = await runtime.exec(
            container.id,
            list(wanted.command),
            stdin=wanted.stdin,
            stdout=wanted.stdout,
            stderr=wanted.stderr,
            tty=wanted.tty,
        )
    feeding = asyncio.create_task(_feed(stream, frames))
    try:
        async for name, data in stream.output():
            if name == "stderr":
                yield node_pb2.ExecOutput(stderr=data)
            elif wanted.stdout:
                yield node_pb2.ExecOutput(stdout=data)
        code = await stream.exit_code()
        yield node_pb2.ExecOutput(exit=node_pb2.ExecExit(code=code, error=stream.error))
    finally:
        feeding.cancel()
        await stream.close()
        with contextlib.suppress(asyncio.CancelledError):
            await feeding


async def _feed(stream: cri.ExecStream, frames: AsyncIterator[node_pb2.ExecInput]) -> None:
    async for frame in frames:
        match frame.WhichOneof("input"):
            case "stdin":
                await stream.write(frame.stdin)
            case "resize":
                await stream.resize(frame.resize.width, frame.resize.height)
            case "close_stdin":
                await stream.close_stdin()
            case _:
                pass
    await stream.close_stdin()


async def forward_port(
    runtime: cri.Runtime, lookup: PodLookup, frames: AsyncIterator[node_pb2.PortForwardInput]
) -> AsyncIterator[node_pb2.PortForwardOutput]:
    start = await _first(frames)
    if start.WhichOneof("input") != "start":
        raise failure("the first frame must be `start`", 400)
    pod = find_pod(lookup, start.start.pod)
    sandbox = await running_sandbox(runtime, pod)
    port = start.start.port
    if not 0 < port < 65536:
        raise failure(f"invalid port {port}", 400)
    reader, writer = await runtime.dial(sandbox.id, port)
    sending = asyncio.create_task(_send(writer, frames))
    try:
        while data := await _read(reader):
            yield node_pb2.PortForwardOutput(data=data)
    finally:
        sending.cancel()
        writer.close()
        with contextlib.suppress(asyncio.CancelledError):
            await sending


async def _read(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read(READ)
    except ConnectionError:
        return b""


async def _send(writer: asyncio.StreamWriter, frames: AsyncIterator[node_pb2.PortForwardInput]) -> None:
    with contextlib.suppress(ConnectionError):
        async for frame in frames:
            if frame.WhichOneof("input") == "data":
                writer.write(frame.data)
                await writer.drain()
            elif frame.close and writer.can_write_eof():
                writer.write_eof()


async def _first(frames: AsyncIterator[node_pb2.ExecInput] | AsyncIterator[node_pb2.PortForwardInput]):  # type: ignore[no-untyped-def]
    async for frame in frames:
        return frame
    raise failure("the stream ended before its first frame", 400)
