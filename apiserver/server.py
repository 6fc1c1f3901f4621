"""The server as a whole: registry, gate and both faces, started in order and stopped in the reverse one."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field

import grpc
import grpc.aio
from aiohttp import web

import apiserver.subresources  # noqa: F401  (registers their handlers)
from api.resources import Resource
from apiserver.admission import AdmissionPlugin
from apiserver.gate import Gate
from apiserver.grpc.service import ApiService
from apiserver.registry import Registry
from apiserver.rest.app import App
from apiserver.rest.health import Health
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
    app: App | None = None
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
    rest_address: tuple[str, int] | None = None,
    tls: ssl.SSLContext | None = None,
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
            if rest_address is not None:
                server.rest_url = await stack.enter_async_context(_rest(server, rest_address, tls))
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
async def _rest(server: Server, address: tuple[str, int], tls: ssl.SSLContext | None) -> AsyncIterator[str]:
    live = {"etcd": lambda: "", **server.checks}
    ready = {
        "informer-sync": lambda: "" if server.ready else "caches are loading",
        "shutdown": lambda: "process is shutting down" if server.stopping else "",
    }
    app = App(server.registry, server.gate, Health(live, ready))
    server.app = app
    runner = web.ServerRunner(app.server(), shutdown_timeout=5.0)
    await runner.setup()
    host, port = address
    site = web.TCPSite(runner, host, port, ssl_context=tls, backlog=1024)
    await site.start()
    bound = runner.addresses[0][1]
    scheme = "https" if tls else "http"
    try:
        yield f"{scheme}://{host}:{bound}"
    finally:
        await runner.cleanup()


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
