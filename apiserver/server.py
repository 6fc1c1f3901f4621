"""The server as a whole: registry, gate and both faces, started in order and stopped in the reverse one."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

import grpc
import grpc.aio
from aiohttp import web

import apiserver.subresources  # noqa: F401  (registers their handlers)
from api.resources import Resource
from apiserver.admission import AdmissionPlugin
from apiserver.admission.type_checks import TypeChecks
from apiserver.aggregation.aggregator import Aggregator
from apiserver.aggregation.remote import FrontProxy
from apiserver.audit.record import Auditor
from apiserver.extensions.controller import Extensions
from apiserver.gate import Gate
from apiserver.grpc.service import ApiService
from apiserver.hooks import Hooks
from apiserver.kubelets import Kubelets
from apiserver.outbound import Caller
from apiserver.registry import Registry
from apiserver.rest.app import App
from apiserver.rest.audited import Audit
from apiserver.rest.health import Health
from apiserver.security import Security, json_route
from apiserver.store import Store, Unavailable
from apiserver.strategy import Strategy
from proto import api_pb2_grpc

log = logging.getLogger(__name__)

_STORE_INTERVAL = 2.0  # seconds between questions to the store
_STORE_SILENCE = 15.0  # seconds without an answer after which the server counts as sick
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
    app: App
    grpc_port: int = 0
    rest_url: str = ""
    state: State = field(default_factory=lambda: State())
    auditor: Auditor | None = None
    feeding: asyncio.Task[None] | None = None  # ends only if the server is broken


@dataclass
class State:
    """What /readyz tells."""

    ready: bool = False
    stopping: bool = False
    hooks: Hooks = field(default_factory=Hooks)
    store_answered: float = 0.0  # time.monotonic() of the store's last answer


@dataclass(frozen=True)
class Faces:
    """Where to listen. Without TLS a face serves in the clear, for tests."""

    grpc_address: str = ""
    grpc_credentials: grpc.ServerCredentials | None = None
    rest_address: tuple[str, int] | None = None
    tls: ssl.SSLContext | None = None


Secure = Callable[[Registry], Security]
Prepare = Callable[[Registry], Awaitable[None]]


def _no_security(registry: Registry) -> Security:
    return Security(Gate(), {})


@contextlib.asynccontextmanager
async def serve(
    store: Store,
    faces: Faces,
    *,
    secure: Secure = _no_security,
    strategies: Mapping[Resource, Strategy] | None = None,
    admission: Callable[[Registry], Sequence[AdmissionPlugin]] = lambda registry: (),
    prepare: Sequence[Prepare] = (),
    kubelets: Kubelets | None = None,
    front_proxy: FrontProxy | None = None,
    auditor: Auditor | None = None,
) -> AsyncIterator[Server]:
    """Load the state, `prepare` the cluster, then open the faces; on the way out, end them before the registry."""
    registry = Registry(store, strategy_for=_chosen(strategies))
    registry.admission.extend(admission(registry))
    await registry.start()
    feeding = asyncio.create_task(registry.feed.run(), name="feed")
    asking: asyncio.Task[None] | None = None
    caller = registry.services.caller = Caller(registry)
    extensions = contextlib.AsyncExitStack()
    try:
        security = secure(registry)
        state = State(store_answered=time.monotonic())
        state.hooks.done("registry")
        await extensions.enter_async_context(Extensions(registry, caller).running())
        state.hooks.done("extensions")
        await extensions.enter_async_context(TypeChecks(registry).running())
        for step in prepare:
            await step(registry)
        state.hooks.done("bootstrap")
        state.store_answered = time.monotonic()
        asking = asyncio.create_task(_ask_store(store, state), name="store health")
        aggregator = Aggregator(registry, front_proxy or FrontProxy(), lambda: state.hooks.done("aggregation"))
        await extensions.enter_async_context(aggregator.running())
        app = App(registry, security.gate, _health(state), kubelets=kubelets, aggregator=aggregator)
        app.routes.update({path: json_route(document) for path, document in security.routes.items()})
        if auditor is not None:
            app.audit = Audit(auditor)
        server = Server(registry, security.gate, app, state=state, feeding=feeding, auditor=auditor)
        async with contextlib.AsyncExitStack() as stack:
            if faces.grpc_address:
                server.grpc_port = await stack.enter_async_context(_grpc(server, faces))
            if faces.rest_address is not None:
                server.rest_url = await stack.enter_async_context(_rest(app, faces.rest_address, faces.tls))
            state.ready = True
            try:
                yield server
            finally:
                state.ready, state.stopping = False, True
                registry.stop_watches()
    finally:
        await extensions.aclose()
        await caller.close()
        feeding.cancel()
        if asking is not None:
            asking.cancel()
        await asyncio.gather(*filter(None, (feeding, asking)), return_exceptions=True)


def _chosen(strategies: Mapping[Resource, Strategy] | None) -> Callable[[Resource], Strategy]:
    def strategy_for(resource: Resource) -> Strategy:
        return (strategies or {}).get(resource) or Strategy(resource)

    return strategy_for


def _health(state: State) -> Health:
    live = state.hooks.checks()
    live["etcd"] = lambda: "" if time.monotonic() - state.store_answered < _STORE_SILENCE else "etcd does not answer"
    ready = {
        "informer-sync": lambda: "" if state.ready or state.stopping else "caches are loading",
        "shutdown": lambda: "process is shutting down" if state.stopping else "",
    }
    return Health(live, ready)


async def _ask_store(store: Store, state: State) -> None:
    while True:
        try:
            await store.revision()
            state.store_answered = time.monotonic()
        except Unavailable as error:
            log.warning("health check: %s", error)
        await asyncio.sleep(_STORE_INTERVAL)


@contextlib.asynccontextmanager
async def _rest(app: App, address: tuple[str, int], tls: ssl.SSLContext | None) -> AsyncIterator[str]:
    runner = web.ServerRunner(app.server(), shutdown_timeout=5.0)
    await runner.setup()
    host, port = address
    await web.TCPSite(runner, host, port, ssl_context=tls, backlog=1024).start()
    scheme = "https" if tls else "http"
    try:
        yield f"{scheme}://{host}:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def _grpc(server: Server, faces: Faces) -> AsyncIterator[int]:
    listener = grpc.aio.server(options=_GRPC_OPTIONS)
    service = ApiService(server.registry, server.gate, server.auditor, server.app.aggregator)
    api_pb2_grpc.add_ApiServicer_to_server(service, listener)  # type: ignore[no-untyped-call]
    if faces.grpc_credentials is None:
        port = listener.add_insecure_port(faces.grpc_address)
    else:
        port = listener.add_secure_port(faces.grpc_address, faces.grpc_credentials)
    await listener.start()
    try:
        yield port
    finally:
        service.stop_watches()
        await listener.stop(5.0)
