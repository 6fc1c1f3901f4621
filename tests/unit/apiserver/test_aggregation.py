"""Aggregated API servers: requests that are passed on, connections that are upgraded, documents that are merged."""

from __future__ import annotations

import asyncio
import datetime
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import WSMsgType, web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from yarl import URL

from apiserver.aggregation import openapi, remote
from tests.support.rest import Rest

GROUP = "wardle.example.com"
BASE = f"/apis/{GROUP}/v1alpha1"
FLUNDER = {"$ref": "#/definitions/Flunder"}
META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"


def certificate(directory: Path) -> ssl.SSLContext:
    """A server's context with a certificate that it has signed itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "api.default.svc")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem = directory / "server.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    pem.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pem)
    return context


class Wardle:
    """Another API server."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str, dict[str, str]]] = []
        self.v2: dict[str, Any] = {
            "swagger": "2.0",
            "paths": {
                f"{BASE}/flunders": {
                    "post": {
                        "consumes": ["*/*"],
                        "parameters": [
                            {
                                "in": "body",
                                "name": "body",
                                "required": True,
                                "schema": FLUNDER,
                            },
                            {"in": "query", "name": "dryRun", "type": "string", "uniqueItems": True},
                        ],
                        "responses": {"200": {"description": "OK", "schema": FLUNDER}},
                    }
                },
                "/version/": {"get": {"responses": {"200": {"description": "not the group's"}}}},
            },
            "definitions": {
                "Flunder": {"properties": {"metadata": {"$ref": f"#/definitions/{META}"}}},
                META: {"description": "an older one"},
                "Unneeded": {},
            },
        }
        self.v3: dict[str, Any] | None = None

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        self.seen.append((request.method, request.rel_url.raw_path_qs, dict(request.headers)))
        if request.headers.get("Upgrade") == "websocket":
            return await self._echo(request)
        if request.path == "/openapi/v2":
            return web.json_response(self.v2)
        if request.path == "/openapi/v3" and self.v3 is not None:
            link = {"serverRelativeURL": f"/openapi/v3{BASE}?hash=1"}
            return web.json_response({"paths": {BASE.removeprefix("/"): link}})
        if request.path == f"/openapi/v3{BASE}" and self.v3 is not None:
            return web.json_response(self.v3)
        if request.path == BASE:
            flunders = {"name": "flunders", "kind": "Flunder", "namespaced": False, "verbs": ["list"]}
            listed = {"kind": "APIResourceList", "groupVersion": f"{GROUP}/v1alpha1", "resources": [flunders]}
            return web.json_response(listed)
        if request.path.endswith("/denied"):
            return web.json_response({"kind": "Status", "message": "no"}, status=403)
        body = await request.read()
        return web.json_response({"kind": "Flunder", "got": body.decode()}, status=201 if body else 404)

    @staticmethod
    async def _echo(request: web.BaseRequest) -> web.StreamResponse:
        if request.path.endswith("/denied"):
            return web.json_response({"kind": "Status", "message": "no"}, status=403)
        socket = web.WebSocketResponse(protocols=("v5.channel.k8s.io",))
        await socket.prepare(request)
        async for message in socket:
            if message.type == WSMsgType.TEXT:
                await socket.send_str(message.data[::-1])
        return socket


@pytest_asyncio.fixture
async def wardle(rest: Rest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Wardle]:
    server = Wardle()
    runner = web.ServerRunner(web.Server(server))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=certificate(tmp_path)).start()
    monkeypatch.setattr(remote, "endpoint_of", lambda *_: ("127.0.0.1", runner.addresses[0][1]))
    try:
        yield server
    finally:
        await runner.cleanup()


async def registered(rest: Rest) -> None:
    """Register it, and wait until it is known to answer."""
    service = {
        "apiVersion": "apiregistration.k8s.io/v1",
        "kind": "APIService",
        "metadata": {"name": f"v1alpha1.{GROUP}"},
        "spec": {
            "group": GROUP,
            "version": "v1alpha1",
            "service": {"name": "api", "namespace": "default"},
            "insecureSkipTLSVerify": True,
            "groupPriorityMinimum": 100,
            "versionPriority": 10,
        },
    }
    await rest.call("POST", "/apis/apiregistration.k8s.io/v1/apiservices", service, code=201)
    path = f"/apis/apiregistration.k8s.io/v1/apiservices/v1alpha1.{GROUP}"
    while True:
        found = await rest.call("GET", path, code=200)
        if any(c["type"] == "Available" and c["status"] == "True" for c in found["status"].get("conditions", ())):
            return
        await asyncio.sleep(0.02)


async def test_a_request_arrives_as_it_was_sent(rest: Rest, wardle: Wardle) -> None:
    await registered(rest)
    session = rest.session
    bare = {"skip_auto_headers": ("Content-Type", "Accept", "User-Agent", "Accept-Encoding")}
    async with session.post(URL(f"{rest.url}{BASE}/flunders?a=%2F", encoded=True), data=b"{}", **bare) as answer:  # type: ignore[arg-type]
        assert (answer.status, await answer.json()) == (201, {"kind": "Flunder", "got": "{}"})
    method, path, headers = wardle.seen[-1]
    assert (method, path) == ("POST", f"{BASE}/flunders?a=%2F")
    # Without a type a body is JSON to a Kubernetes server: nobody on the way may say that it is something else.
    assert not {"Content-Type", "Accept", "User-Agent", "Accept-Encoding"} & headers.keys()
    assert headers["X-Remote-User"]


async def test_upgrades_pass_through_in_both_directions(rest: Rest, wardle: Wardle) -> None:
    await registered(rest)
    path = f"{rest.url}{BASE}/flunders/a/exec?command=ls"
    async with asyncio.timeout(20), rest.session.ws_connect(path, protocols=("v5.channel.k8s.io",)) as socket:
        assert socket.protocol == "v5.channel.k8s.io"
        for text in ("abc", "x" * 100_000 + "y"):
            await socket.send_str(text)
            assert await socket.receive_str() == text[::-1]
    assert wardle.seen[-1][1] == f"{BASE}/flunders/a/exec?command=ls"
    assert wardle.seen[-1][2]["X-Remote-User"]


async def test_a_refused_upgrade_is_the_other_servers_answer(rest: Rest, wardle: Wardle) -> None:
    await registered(rest)
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        async with asyncio.timeout(20), rest.session.ws_connect(f"{rest.url}{BASE}/flunders/denied"):
            pass
    assert caught.value.status == 403


async def test_documents_of_a_server_that_knows_only_version_2(rest: Rest, wardle: Wardle) -> None:
    await registered(rest)
    async with asyncio.timeout(30):
        while f"{BASE}/flunders" not in (document := await rest.call("GET", "/openapi/v2", code=200))["paths"]:
            await asyncio.sleep(0.05)
    definitions = document["definitions"]
    assert definitions["Flunder"]["properties"]["metadata"] == {"$ref": f"#/definitions/{META}_v2"}
    assert definitions[f"{META}_v2"] == {"description": "an older one"}
    assert definitions[META]["description"] != "an older one"
    assert "Unneeded" not in definitions
    assert "not the group's" not in json.dumps(document["paths"].get("/version/", {}))

    links = (await rest.call("GET", "/openapi/v3", code=200))["paths"]
    shown = await rest.call("GET", links[BASE.removeprefix("/")]["serverRelativeURL"], code=200)
    assert shown["openapi"] == "3.0.0"
    operation = shown["paths"][f"{BASE}/flunders"]["post"]
    reference = {"schema": {"$ref": "#/components/schemas/Flunder"}}
    assert operation["requestBody"] == {"content": {"*/*": reference}, "required": True}
    assert operation["responses"]["200"]["content"] == {"application/json": reference}
    dry_run = {"in": "query", "name": "dryRun", "schema": {"type": "string", "uniqueItems": True}}
    assert operation["parameters"] == [dry_run]
    assert shown["components"]["schemas"][META] == {"description": "an older one"}


async def test_documents_of_version_3_are_shown_as_they_are_and_go_with_the_service(rest: Rest, wardle: Wardle) -> None:
    wardle.v3 = {"openapi": "3.0.0", "paths": {}, "x-own": True}
    await registered(rest)
    shown = await rest.call("GET", f"/openapi/v3{BASE}", code=200)
    assert shown == wardle.v3
    await rest.call("DELETE", f"/apis/apiregistration.k8s.io/v1/apiservices/v1alpha1.{GROUP}", code=200)
    async with asyncio.timeout(30):
        while BASE.removeprefix("/") in (await rest.call("GET", "/openapi/v3", code=200))["paths"]:
            await asyncio.sleep(0.05)


async def test_a_server_is_asked_for_documents_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    documents = openapi.Documents()
    asked: list[str] = []

    def answering(paths: dict[str, Any]) -> Callable[[str], Awaitable[bytes | None]]:
        async def get(path: str) -> bytes | None:
            asked.append(path)
            return json.dumps({"paths": paths}).encode() if path == "/openapi/v2" else None

        return get

    assert await documents.refresh("v1.g", "g", "v1", answering({"/apis/g/v1/a": {}}))
    assert not await documents.refresh("v1.g", "g", "v1", answering({}))
    assert len(asked) == 3
    monkeypatch.setattr(openapi, "_AGE", 0.0)
    assert not await documents.refresh("v1.g", "g", "v1", answering({"/apis/g/v1/a": {}}))
    assert await documents.refresh("v1.g", "g", "v1", answering({}))
    assert documents.v3("g", "v1") == b""
