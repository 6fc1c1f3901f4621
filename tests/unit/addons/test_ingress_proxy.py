"""The ingress controller over real connections: forwarding, retries, streams, upgrades, TLS, status and events."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from cryptography import x509

from addons.ingress.certificates import Certificates, self_signed
from addons.ingress.classes import CONTROLLER, DEFAULT
from addons.ingress.forward import Forwarder
from addons.ingress.server import IngressServer
from addons.ingress.state import State
from addons.ingress.status import StatusController
from api import codec
from api.types.core_v1 import Event, Secret, Service
from api.types.discovery_v1 import EndpointSlice
from api.types.networking_v1 import Ingress, IngressClass
from client.events import EventRecorder
from client.fake import FakeApi
from tests.support.ports import free_port

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


async def until(condition: Callable[[], Any]) -> Any:
    while not (found := condition()):
        await asyncio.sleep(0.01)
    return found


class World:
    """A controller in front of backends that a test starts; `ask` goes through it."""

    def __init__(self, *, read_timeout: float = 30.0) -> None:
        self.api = FakeApi()
        self.make(IngressClass, "pykube", {"controller": CONTROLLER}, namespace=None, annotations={DEFAULT: "true"})
        recorder = EventRecorder(self.api, "ingress")
        self.certificates = Certificates()
        self.state = State(self.api, self.certificates, lambda i, r, m: recorder.event(i, "Warning", r, m))
        self.status = StatusController(self.api, self.state, recorder, ("kube-system", "ingress"))
        self.forwarder = Forwarder(self.state.endpoints, read_timeout=read_timeout)
        self.server = IngressServer(lambda: self.state.routes, self.certificates, self.forwarder)
        self.http, self.https = free_port(), free_port()
        self._stack = contextlib.AsyncExitStack()

    async def __aenter__(self) -> World:
        await self._stack.enter_async_context(self.forwarder)
        self.session = await self._stack.enter_async_context(aiohttp.ClientSession(auto_decompress=False))
        for work in (self.state.run(), self.status.run(), self.server.serve("127.0.0.1", self.http, self.https)):
            task = asyncio.create_task(work)
            self._stack.push_async_callback(_ended, task)
        await until(self.state.has_synced)
        await until(lambda: self._listens(self.http) and self._listens(self.https))
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self._stack.aclose()

    def make(self, kind: Any, name: str, spec: Any, *, namespace: str | None = "default", **metadata: Any) -> Any:
        named = {"name": name, **({"namespace": namespace} if namespace else {}), **metadata}
        return self.api.add(codec.from_dict(kind, {"metadata": named, "spec": spec}))

    async def backend(self, handler: Handler) -> int:
        """A pod that answers; its port on 127.0.0.1."""
        runner = web.ServerRunner(web.Server(handler), shutdown_timeout=0.1)
        await runner.setup()
        self._stack.push_async_callback(runner.cleanup)
        port = free_port()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        return port

    async def raw_backend(self, handle: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any]) -> int:
        port = free_port()
        server = await asyncio.start_server(handle, "127.0.0.1", port)
        self._stack.callback(server.close)
        return port

    async def route(self, *ports: int, host: str = "web.test", name: str = "web", **spec: Any) -> None:
        """An ingress of this host over a Service with endpoints at these ports."""
        self.make(Service, name, {"ports": [{"port": 80}]})
        for number, port in enumerate(ports):
            piece = {
                "metadata": {
                    "name": f"{name}-{number}",
                    "namespace": "default",
                    "labels": {"kubernetes.io/service-name": name},
                },
                "addressType": "IPv4",
                "ports": [{"name": "", "port": port}],
                "endpoints": [{"addresses": ["127.0.0.1"], "conditions": {"ready": True}}],
            }
            self.api.add(codec.from_dict(EndpointSlice, piece))
        path = {"path": "/", "pathType": "Prefix", "backend": {"service": {"name": name, "port": {"number": 80}}}}
        self.make(Ingress, name, {"rules": [{"host": host, "http": {"paths": [path]}}], **spec})
        await until(lambda: self.state.routes.find(host, "/"))
        await until(lambda: len(self.state._slices.list()) >= len(ports) and self.state.services.get("default", name))

    def url(self, path: str = "/", scheme: str = "http") -> str:
        return f"{scheme}://127.0.0.1:{self.https if scheme == 'https' else self.http}{path}"

    def ask(self, path: str = "/", *, method: str = "GET", host: str = "web.test", **more: Any) -> Any:
        headers = {"Host": host, **more.pop("headers", {})}
        return self.session.request(method, self.url(path), headers=headers, allow_redirects=False, **more)

    def _listens(self, port: int) -> bool:
        import socket

        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    async def presented(self, name: str) -> str:
        """The host of the certificate that a TLS client is shown."""
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        _, writer = await asyncio.open_connection("127.0.0.1", self.https, ssl=context, server_hostname=name)
        shown = x509.load_der_x509_certificate(writer.get_extra_info("ssl_object").getpeercert(True))
        writer.close()
        names = shown.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return names.get_values_for_type(x509.DNSName)[0]


async def _ended(task: asyncio.Task[Any]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with World() as made:
        yield made


def secret(name: str, host: str) -> Secret:
    certificate, key = self_signed(host)
    data = {"tls.crt": base64.b64encode(certificate).decode(), "tls.key": base64.b64encode(key).decode(), "x": "eA=="}
    return codec.from_dict(Secret, {"metadata": {"name": name, "namespace": "default"}, "data": data})


async def echo(request: web.BaseRequest) -> web.StreamResponse:
    body = await request.read()
    said = {
        "method": request.method,
        "target": request.raw_path,
        "headers": [[k, v] for k, v in request.headers.items()],
        "body": body.decode(),
    }
    return web.json_response(said, headers={"Set-Cookie": "a=1"})


async def test_what_the_backend_sees_and_the_client_gets(world: World) -> None:
    await world.route(await world.backend(echo))
    sent = {"X-Forwarded-For": "1.2.3.4", "Connection": "X-Private", "X-Private": "no", "X-Own": "yes"}
    async with world.ask("/a%2Fb/../c?x=%20&y=1", headers=sent) as answer:
        said = await answer.json()
        assert answer.headers["Set-Cookie"] == "a=1"
    headers = {name.lower(): value for name, value in said["headers"]}
    assert said["target"] == "/c?x=%20&y=1"  # this client resolves the dots itself
    assert headers["host"] == "web.test"
    assert headers["x-forwarded-for"] == headers["x-real-ip"] == "127.0.0.1"
    assert (headers["x-forwarded-proto"], headers["x-forwarded-port"]) == ("http", "80")
    assert headers["x-forwarded-host"] == "web.test"
    assert headers["x-own"] == "yes"
    assert "x-private" not in headers
    async with world.ask(method="POST", data=b"body") as answer:
        assert (await answer.json())["body"] == "body"
    async with world.ask("/nothing", host="unknown.test") as answer:
        assert (answer.status, await answer.text()) == (404, "default backend - 404\n")
    for path in ("/healthz", "/metrics"):
        async with world.ask(path) as answer:
            assert (await answer.json())["target"] == path, "a host's paths are all its own"


async def test_an_answer_has_the_backends_headers_and_no_others(world: World) -> None:
    async def bare(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = b"Content-Length: 5\r\nX-A: 1\r\nX-A: 2\r\nContent-Encoding: gzip\r\n\r\n"
        writer.write(b"HTTP/1.1 200 Fine\r\n" + length + (b"" if head.startswith(b"HEAD") else b"12345"))
        writer.close()

    await world.route(await world.raw_backend(bare))
    async with world.ask() as answer:
        assert (answer.reason, await answer.read()) == ("Fine", b"12345")
        assert answer.headers.getall("X-A") == ["1", "2"]
        assert not {"Server", "Content-Type"} & set(answer.headers)
    async with world.ask(method="HEAD") as answer:
        assert answer.headers["Content-Length"] == "5"


async def test_bodies_are_streams_both_ways(world: World) -> None:
    arrived: asyncio.Queue[bytes] = asyncio.Queue()

    async def mirror(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        async for chunk in request.content.iter_any():
            arrived.put_nowait(chunk)
            await response.write(chunk)
        await response.write_eof()
        return response

    await world.route(await world.backend(mirror))
    more = asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        yield b"first"
        await more.wait()
        for _ in range(256):
            yield bytes(64 * 1024)

    async with world.ask(method="POST", data=body()) as answer:
        assert await arrived.get() == b"first"
        assert await answer.content.readexactly(5) == b"first"
        more.set()
        assert len(await answer.read()) == 256 * 64 * 1024


async def test_a_dead_endpoint_costs_no_request(world: World) -> None:
    async def name(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(text=await request.text() or "alive")

    await world.route(free_port(), await world.backend(name), free_port())
    for _ in range(6):
        async with world.ask() as answer:
            assert (answer.status, await answer.text()) == (200, "alive")
        # nobody has seen it: a POST and its body, too
        async with world.ask(method="POST", data=b"once") as answer:
            assert (answer.status, await answer.text()) == (200, "once")


async def test_what_a_backend_may_have_done_is_not_asked_twice(world: World) -> None:
    seen: list[bytes] = []

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append((await reader.readline()).split()[0])
        writer.close()

    await world.route(await world.raw_backend(hang_up), await world.raw_backend(hang_up))
    async with world.ask(method="POST", data=b"x") as answer:
        assert answer.status == 502
    assert seen == [b"POST"]
    async with world.ask() as answer:
        assert answer.status == 502
    assert seen.count(b"GET") >= 2


async def test_a_connection_that_a_backend_closes_meanwhile_costs_no_request(world: World) -> None:
    served: list[asyncio.StreamWriter] = []

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        served.append(writer)
        if b"POST" in head:
            await reader.readexactly(4)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        # promises to stay, and hangs up as soon as it is asked again
        with contextlib.suppress(asyncio.IncompleteReadError):
            await reader.readexactly(1)
        writer.close()

    await world.route(await world.raw_backend(once))
    for method, body in (("GET", None), ("GET", None), ("POST", b"data"), ("GET", None), ("POST", b"data")):
        async with world.ask(method=method, data=body) as answer:
            assert (answer.status, await answer.text()) == (200, "ok")
    assert len(served) == 5


async def test_nobody_there_and_nobody_answering() -> None:
    async def silent(request: web.BaseRequest) -> web.StreamResponse:
        await asyncio.sleep(60)
        raise AssertionError

    async with World(read_timeout=0.2) as world:
        await world.route(await world.backend(silent))
        await world.route(host="empty.test", name="empty")
        async with world.ask() as answer:
            assert answer.status == 504
        async with world.ask(host="empty.test") as answer:
            assert answer.status == 503


async def test_an_answer_that_breaks_off_breaks_off_for_the_client(world: World) -> None:
    async def half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n")
        await writer.drain()
        writer.close()

    await world.route(await world.raw_backend(half))
    async with world.ask() as answer:
        with pytest.raises(aiohttp.ClientError):
            await answer.read()


async def test_a_client_that_leaves_keeps_no_backend_busy(world: World) -> None:
    asked, left = asyncio.Event(), asyncio.Event()

    async def wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        asked.set()
        assert await reader.read() == b""
        left.set()
        writer.close()

    await world.route(await world.raw_backend(wait))
    _, client = await asyncio.open_connection("127.0.0.1", world.http)
    client.write(b"GET / HTTP/1.1\r\nHost: web.test\r\n\r\n")
    await asked.wait()
    client.close()
    await left.wait()


async def test_expectations_are_answered_once_a_backend_is_there(world: World) -> None:
    await world.route(await world.backend(echo))
    async with world.ask(method="PUT", data=b"big", expect100=True) as answer:
        assert (await answer.json())["body"] == "big"


async def test_websockets(world: World) -> None:
    async def talk(request: web.BaseRequest) -> web.StreamResponse:
        socket = web.WebSocketResponse(protocols=["chat"])
        await socket.prepare(request)
        await socket.send_str("welcome")
        async for message in socket:
            await socket.send_str(message.data * 2)
        return socket

    await world.route(await world.backend(talk))
    for _ in range(2):
        headers = {"Host": "web.test"}
        async with world.session.ws_connect(world.url("/chat"), headers=headers, protocols=["chat"]) as socket:
            assert socket.protocol == "chat"
            assert await socket.receive_str() == "welcome"
            big = "x" * 300_000
            for text in ("a", "b", big):
                await socket.send_str(text)
            assert [await socket.receive_str() for _ in range(3)] == ["aa", "bb", big * 2]
            await socket.close()
            assert socket.close_code == 1000


async def test_an_upgrade_that_the_backend_refuses_is_an_ordinary_answer(world: World) -> None:
    await world.route(await world.backend(echo))
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket"}
    async with world.ask(headers=upgrade) as answer:
        said = await answer.json()
    assert ["Upgrade", "websocket"] in said["headers"]
    h2c = {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c", "HTTP2-Settings": "AAMAAABkAAQAAP__"}
    async with world.ask(headers=h2c) as answer:
        names = {name.lower() for name, _ in (await answer.json())["headers"]}
    assert not {"upgrade", "http2-settings"} & names


async def test_tls_by_name_and_live(world: World) -> None:
    stored = world.api.add(secret("one", "web.test"))
    world.api.add(secret("wild", "*.wild.test"))
    await world.route(
        await world.backend(echo),
        tls=[{"hosts": ["web.test"], "secretName": "one"}, {"secretName": "wild"}],
    )
    assert await world.presented("web.test") == "web.test"
    assert await world.presented("a.wild.test") == "*.wild.test"
    assert await world.presented("other.test") == "ingress.local"
    async with world.ask("/x?y=1") as answer:
        assert (answer.status, answer.headers["Location"]) == (308, "https://web.test/x?y=1")
    async with world.ask("/.well-known/acme-challenge/token") as answer:
        assert answer.status == 200
    headers = {"Host": "web.test"}
    async with world.session.get(world.url("/x", "https"), headers=headers, ssl=False) as answer:
        said = dict((await answer.json())["headers"])
    assert (said["X-Forwarded-Proto"], said["X-Forwarded-Port"]) == ("https", "443")
    stored.data = secret("one", "renewed.test").data
    await world.api.update(stored)
    while await world.presented("web.test") != "renewed.test":
        await asyncio.sleep(0.01)
    # what is not shown is not kept
    kept = world.state._secrets.get("default", "one")
    assert kept is not None and set(kept.data or {}) == {"tls.crt", "tls.key"}


async def test_what_cannot_be_had_is_told(world: World) -> None:
    bucket = {"resource": {"apiGroup": "example.org", "kind": "Bucket", "name": "icons"}}
    path = {"path": "/icons", "pathType": "Prefix", "backend": bucket}
    tls = [{"hosts": ["bucket.test"], "secretName": "missing"}]
    world.make(Ingress, "bucket", {"tls": tls, "rules": [{"host": "bucket.test", "http": {"paths": [path]}}]})

    def told() -> set[str]:
        return {event.reason or "" for event in world.api.objects(Event)}

    await until(lambda: {"UnsupportedBackend", "BadCertificate", "Sync"} <= told())
    headers = {"Host": "bucket.test"}
    async with world.session.get(world.url("/icons/x", "https"), headers=headers, ssl=False) as answer:
        assert answer.status == 503


async def test_ours_get_the_address_of_the_service_and_others_do_not(world: World) -> None:
    await world.route()
    world.make(Ingress, "foreign", {"ingressClassName": "other", "defaultBackend": {"service": {"name": "x"}}})
    balanced = {"type": "LoadBalancer", "ports": [{"port": 80}]}
    service = world.make(Service, "ingress", balanced, namespace="kube-system")
    service.status = codec.from_dict(Service, {"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.7"}]}}}).status
    await world.api.update_status(service)

    def address(name: str) -> list[str | None]:
        found = world.api.one(Ingress, name, "default")
        assert found is not None
        return [given.ip for given in found.status.load_balancer.ingress or ()]

    await until(lambda: address("web") == ["192.0.2.7"])
    assert address("foreign") == []
    service = await world.api.get(Service, "ingress", namespace="kube-system")
    service.status.load_balancer = None
    await world.api.update_status(service)
    await until(lambda: address("web") == [])
