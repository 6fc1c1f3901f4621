"""The gRPC `Node` service on port 10250. Thin: each method hands over to the file that does the work."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import grpc

from component import tls
from kubelet import cri
from kubelet.server import logs, sessions
from kubelet.server.failures import answered
from kubelet.server.identity import OnlyApiserver
from kubelet.server.lookup import PodLookup, find_pod, pod_list, running_pod_list
from kubelet.server.metrics import Metrics
from kubelet.server.summary import Summary
from proto import node_pb2, node_pb2_grpc

log = logging.getLogger(__name__)

# A caller that vanished without a word is noticed within a minute and its stream given up.
_OPTIONS = (
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 5_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.max_receive_message_length", 16 * 1024 * 1024),
)


class NodeService(node_pb2_grpc.NodeServicer):
    def __init__(self, runtime: cri.Runtime, lookup: PodLookup, summary: Summary) -> None:
        self._runtime = runtime
        self._lookup = lookup
        self._summary = summary
        self._metrics = Metrics(summary)

    async def Logs(self, request: node_pb2.LogsRequest, context: Any) -> AsyncIterator[node_pb2.LogsChunk]:
        async with answered(context):
            async for data in logs.stream(self._runtime, find_pod(self._lookup, request.pod), request):
                yield node_pb2.LogsChunk(data=data)

    async def Exec(
        self, requests: AsyncIterator[node_pb2.ExecInput], context: Any
    ) -> AsyncIterator[node_pb2.ExecOutput]:
        async with answered(context):
            async for frame in sessions.run_command(self._runtime, self._lookup, requests, attach=False):
                yield frame

    async def Attach(
        self, requests: AsyncIterator[node_pb2.ExecInput], context: Any
    ) -> AsyncIterator[node_pb2.ExecOutput]:
        async with answered(context):
            async for frame in sessions.run_command(self._runtime, self._lookup, requests, attach=True):
                yield frame

    async def PortForward(
        self, requests: AsyncIterator[node_pb2.PortForwardInput], context: Any
    ) -> AsyncIterator[node_pb2.PortForwardOutput]:
        async with answered(context):
            async for frame in sessions.forward_port(self._runtime, self._lookup, requests):
                yield frame

    async def Stats(self, request: node_pb2.StatsRequest, context: Any) -> node_pb2.StatsResponse:
        async with answered(context):
            return node_pb2.StatsResponse(json=await self._summary.json())
        raise AssertionError("answered() aborts the call")

    async def Metrics(self, request: node_pb2.MetricsRequest, context: Any) -> node_pb2.MetricsResponse:
        async with answered(context):
            match request.path.rstrip("/"):
                case "/pods":
                    text = pod_list(self._lookup)
                case "/runningpods":
                    text = await running_pod_list(self._runtime)
                case path:
                    text = await self._metrics.text(path)
            return node_pb2.MetricsResponse(text=text)
        raise AssertionError("answered() aborts the call")


async def serve(service: NodeService, *, address: str, files: tls.Files) -> None:
    """Until cancelled; streams under way get a second to end. Raises RuntimeError if the port is taken."""
    server = grpc.aio.server(interceptors=[OnlyApiserver()], options=_OPTIONS)
    node_pb2_grpc.add_NodeServicer_to_server(service, server)  # type: ignore[no-untyped-call]
    server.add_secure_port(address, tls.grpc_server_credentials(files))
    await server.start()
    log.info("serving the Node service on %s", address)
    try:
        await server.wait_for_termination()
    finally:
        await asyncio.shield(server.stop(1.0))
