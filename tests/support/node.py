"""A kubelet's `Node` service that runs nothing: what it is sent comes back in ways a test can check."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio

from proto import node_pb2, node_pb2_grpc


class FakeNode(node_pb2_grpc.NodeServicer):  # type: ignore[misc,unused-ignore]
    """Exec: `cat` echoes stdin, `fail N` exits with N, `size` prints the window sizes; ports echo what they get."""

    async def Logs(self, request: Any, context: Any) -> AsyncIterator[Any]:
        if request.pod.container == "waiting":
            await context.abort(
                grpc.StatusCode.INVALID_ARGUMENT,
                'container "waiting" in pod "web" is waiting to start: ContainerCreating',
            )
        lines = [b"one\n", b"two\n", b"three\n"]
        if request.HasField("tail_lines"):
            lines = lines[len(lines) - request.tail_lines :]
        for line in lines:
            yield node_pb2.LogsChunk(data=line)

    async def Exec(self, frames: Any, context: Any) -> AsyncIterator[Any]:
        start = (await anext(frames)).start
        command = list(start.command)
        if command[0] == "fail":
            yield node_pb2.ExecOutput(stderr=b"failing\n")
            yield node_pb2.ExecOutput(exit=node_pb2.ExecExit(code=int(command[1])))
            return
        async for frame in frames:
            kind = frame.WhichOneof("input")
            if kind == "stdin" and command[0] == "cat":
                yield node_pb2.ExecOutput(stdout=frame.stdin)
            elif kind == "resize":
                yield node_pb2.ExecOutput(stdout=f"{frame.resize.width}x{frame.resize.height}\n".encode())
                if command[0] == "size":
                    break
            elif kind == "close_stdin":
                break
        yield node_pb2.ExecOutput(exit=node_pb2.ExecExit(code=0))

    async def Attach(self, frames: Any, context: Any) -> AsyncIterator[Any]:
        await anext(frames)
        yield node_pb2.ExecOutput(stdout=b"attached\n")
        yield node_pb2.ExecOutput(exit=node_pb2.ExecExit(code=0))

    async def PortForward(self, frames: Any, context: Any) -> AsyncIterator[Any]:
        start = (await anext(frames)).start
        if start.port == 1:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "connection refused")
        async for frame in frames:
            if frame.WhichOneof("input") == "close":
                return
            yield node_pb2.PortForwardOutput(data=f"{start.port}:".encode() + frame.data)

    async def Stats(self, request: Any, context: Any) -> Any:
        return node_pb2.StatsResponse(json=b'{"node":{"nodeName":"n1"}}')


@contextlib.asynccontextmanager
async def fake_node() -> AsyncIterator[int]:
    """The port it listens on, in the clear."""
    server = grpc.aio.server()
    node_pb2_grpc.add_NodeServicer_to_server(FakeNode(), server)  # type: ignore[no-untyped-call]
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield port
    finally:
        await server.stop(0)
