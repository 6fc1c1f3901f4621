"""The server as a whole: registry, gate and both faces, started in order and stopped in the reverse one."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc
import grpc.aio

import apiserver.subresources  # noqa: F401  (registers their handlers)
from api.resources import Resource
from apiserver.admission import AdmissionPlugin
from apiserver.gate import Gate
from apiserver.grpc.service import ApiService
from apiserver.registry import Registry
from apiserver.store import Store
from apiserver.strategy import Strategy
from proto import api_pb2_grpc

log = logging.getLogger(__name__)

_GRPC_OPTIONS = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 5_000),
    ("grpc.http2.max_ping_strikes", 0),
    ("grpc.so_reuseport", 0),
]


@dataclass
class Server:
    """What `serve` yields: the running parts, and where they listen."""

    registry: Registry
    gate: Gate
    grpc_port: int = 0
    rest_url: str = ""
    ready: bool = False
    stopping: bool = False
    checks: dict[str, Callable[[], str]] = field(default_factory=dict)


@contextlib.asynccontextmanager
async def serve(
    store: Store,
    *,
    gate: Gate | None = None,
    strategy_for: Callable[[Resource], Strategy] = Strategy,
    admission: Callable[[Registry], Sequence[AdmissionPlugin]] = lambda registry: (),
    grpc_address: str = "",
    grpc_credentials: grpc.ServerCredentials | None = None,
) -> AsyncIterator[Server]:
    """Run the registry and the faces that have an address."""
    registry = Registry(store, strategy_for=strategy_for)
    registry.admission.extend(admission(registry))
    await registry.start()
    server = Server(registry, gate or Gate())
    feeding = asyncio.create_task(registry.feed.run(), name="feed")
    try:
        async with contextlib.AsyncExitStack() as stack:
            if grpc_address:
                server.grpc_port = await stack.enter_async_context(_grpc(server, grpc_address, grpc_credentials))
            server.ready = True
            try:
                yield server
            finally:
                server.ready, server.stopping = False, True
                registry.stop_watches()
    finally:
        feeding.cancel()
        await asyncio.gather(feeding, return_exceptions=True)


@contextlib.asynccontextmanager
async def _grpc(server: Server, address: str, credentials: grpc.ServerCredentials | None) -> AsyncIterator[int]:
    listener = grpc.aio.server(options=_GRPC_OPTIONS)
    api_pb2_grpc.add_ApiServicer_to_server(ApiService(server.registry, server.gate), listener)  # type: ignore[no-untyped-call]
    if credentials is None:
        port = listener.add_insecure_port(address)
    else:
        port = listener.add_secure_port(address, credentials)
    await listener.start()
    try:
        yield port
    finally:
        await listener.stop(5.0)
