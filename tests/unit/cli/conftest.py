"""A small API server for exact wire behaviour, and `pykubectl` run as its users run it."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from cli.framework import main
from cli.main import root

Object = dict[str, Any]
Handler = Callable[["Seen"], Any]


def resource(name: str, kind: str, *short: str, namespaced: bool = True, singular: str = "") -> Object:
    verbs = ["create", "delete", "get", "list", "patch", "update", "watch"]
    categories = ["all"] if name in ("pods", "services", "deployments") else []
    return {
        "name": name,
        "singularName": singular or kind.lower(),
        "namespaced": namespaced,
        "kind": kind,
        "verbs": verbs,
        "shortNames": list(short),
        "categories": categories,
    }


CORE = [
    resource("pods", "Pod", "po"),
    resource("services", "Service", "svc"),
    resource("configmaps", "ConfigMap", "cm"),
    resource("namespaces", "Namespace", "ns", namespaced=False),
    resource("nodes", "Node", "no", namespaced=False),
]
APPS = [resource("deployments", "Deployment", "deploy"), {**resource("deployments/scale", "Scale"), "verbs": ["get"]}]
EXAMPLE = [resource("widgets", "Widget", "wd")]


@dataclass
class Seen:
    """One request as the server got it."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class FakeServer:
    """Answers from a table of `METHOD path`; anything else is a 404 `Status`. Legacy discovery is built in."""

    url: str = ""
    answers: dict[str, Any] = field(default_factory=dict)
    seen: list[Seen] = field(default_factory=list)

    def on(self, route: str, answer: Any, status: int = 200) -> None:
        self.answers[route] = (status, answer)

    def requests(self, method: str = "") -> list[Seen]:
        """Requests other than discovery."""
        hidden = ("/api", "/apis", "/api/v1", "/apis/apps/v1", "/apis/example.com/v1")
        return [one for one in self.seen if one.path not in hidden and (not method or one.method == method)]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        one = Seen(request.method, request.path, dict(request.query), dict(request.headers), body)
        self.seen.append(one)
        key = f"{one.method} {one.path}"
        if key in self.answers:
            status, answer = self.answers[key]
            if callable(answer):
                answer = answer(one)
            if isinstance(answer, tuple):
                status, answer = answer
            if isinstance(answer, bytes):
                return web.Response(status=status, body=answer)
            return web.json_response(answer, status=status)
        found = self._discovery(one.path)
        if found is not None:
            return web.json_response(found)
        return web.json_response(not_found(one.path), status=404)

    def _discovery(self, path: str) -> Object | None:
        def listed(group_version: str, rows: list[Object]) -> Object:
            return {"kind": "APIResourceList", "groupVersion": group_version, "resources": rows}

        def group(name: str) -> Object:
            version = {"groupVersion": f"{name}/v1", "version": "v1"}
            return {"name": name, "versions": [version], "preferredVersion": version}

        return {
            "/api": {"kind": "APIVersions", "versions": ["v1"]},
            "/apis": {"kind": "APIGroupList", "groups": [group("apps"), group("example.com")]},
            "/api/v1": listed("v1", CORE),
            "/apis/apps/v1": listed("apps/v1", APPS),
            "/apis/example.com/v1": listed("example.com/v1", EXAMPLE),
        }.get(path)


def not_found(path: str) -> Object:
    plural, _, name = path.strip("/").split("/")[-2:][0], None, path.rsplit("/", 1)[-1]
    return status(404, "NotFound", f'{plural} "{name}" not found')


def status(code: int, reason: str, message: str, **details: Any) -> Object:
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "reason": reason,
        "message": message,
        "code": code,
        "details": details,
    }


@pytest.fixture
def server() -> Iterator[FakeServer]:
    """The server runs on its own loop and thread, because each command runs a loop of its own."""
    fake = FakeServer()
    loop = asyncio.new_event_loop()
    started = threading.Event()
    stop = asyncio.Event()

    async def serve() -> None:
        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", fake.handle)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        fake.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        started.set()
        await stop.wait()
        await runner.cleanup()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),), daemon=True)
    thread.start()
    assert started.wait(10)
    yield fake
    loop.call_soon_threadsafe(stop.set)
    thread.join(10)
    loop.close()


@dataclass
class Result:
    code: int
    out: str
    err: str


Run = Callable[..., Result]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(server: FakeServer, home: Path, capfd: pytest.CaptureFixture[str]) -> Run:
    """`run("get", "pods")`: exit code, standard output and standard error of pykubectl against the fake server."""

    def call(*words: str) -> Result:
        code = main(root, ["--server", server.url, *words])
        out, err = capfd.readouterr()
        return Result(code, out, err)

    return call
