"""Ingresses from outside the cluster: hosts, TLS, rolling updates, WebSockets."""

from __future__ import annotations

import asyncio
import subprocess
import threading
from pathlib import Path
from typing import Any

import aiohttp

from deploy.images import addons_image
from tests.cluster.harness import Cluster, Space, run, until

# Says who it is and what it was asked; on SIGTERM it ends at once what nobody asks any more.
SERVER = """
import os
from aiohttp import web

async def page(request):
    body = await request.read()
    answer = {"version": os.environ["VERSION"], "host": request.host, "path": request.path, "size": len(body)}
    return web.json_response(answer | {"proto": request.headers.get("X-Forwarded-Proto")})

async def talk(request):
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    async for message in socket:
        await socket.send_str(message.data + ", " + os.environ["VERSION"])
    return socket

app = web.Application(client_max_size=1 << 30)
app.add_routes([web.get("/talk", talk), web.route("*", "/{path:.*}", page)])
web.run_app(app, port=8080, access_log=None)
"""
IMAGE = addons_image()  # has aiohttp


def backend(name: str, version: str, replicas: int = 1) -> dict[str, Any]:
    container = {
        "name": "web",
        "image": IMAGE,
        "command": ["python3", "-c", SERVER],
        "env": [{"name": "VERSION", "value": version}],
        "ports": [{"name": "http", "containerPort": 8080}],
        "readinessProbe": {"tcpSocket": {"port": "http"}, "periodSeconds": 1},
    }
    labels = {"app": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "strategy": {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }


def service(name: str) -> dict[str, Any]:
    ports = [{"name": "web", "port": 80, "targetPort": "http"}]
    spec = {"selector": {"app": name}, "ports": ports}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}


def ingress(name: str, host: str, paths: dict[str, str], **spec: Any) -> dict[str, Any]:
    """Of no class: the default one is meant to serve it."""
    listed = [
        {"path": path, "pathType": "Prefix", "backend": {"service": {"name": to, "port": {"name": "web"}}}}
        for path, to in paths.items()
    ]
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {"name": name},
        "spec": {"rules": [{"host": host, "http": {"paths": listed}}], **spec},
    }


def address(space: Space, name: str) -> str:
    return str(space.get("ingress", name)["status"]["loadBalancer"]["ingress"][0]["ip"])


async def asked(ip: str, host: str, path: str = "/", **more: Any) -> dict[str, Any]:
    async with aiohttp.ClientSession() as session:
        method = "POST" if "data" in more else "GET"
        async with session.request(method, f"http://{ip}{path}", headers={"Host": host}, **more) as answer:
            answer.raise_for_status()
            found: dict[str, Any] = await answer.json()
            return found


def ask(ip: str, host: str, path: str = "/", **more: Any) -> dict[str, Any]:
    try:
        return asyncio.run(asked(ip, host, path, **more))
    except aiohttp.ClientError as error:
        raise OSError(str(error)) from error


def certificate(folder: Path, host: str) -> tuple[Path, Path]:
    key, made = folder / "tls.key", folder / "tls.crt"
    subject = ["-subj", f"/CN={host}", "-addext", f"subjectAltName=DNS:{host}"]
    run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", str(key), "-out", str(made), *subject])
    return made, key


class Traffic(threading.Thread):
    """GETs on a kept connection and POSTs on new ones, in turn, until stopped."""

    def __init__(self, ip: str, host: str) -> None:
        super().__init__(daemon=True)
        self.versions: list[str] = []
        self.failures: list[str] = []
        self._ip, self._host = ip, host
        self._enough = threading.Event()

    def run(self) -> None:
        asyncio.run(self._ask())

    async def _ask(self) -> None:
        async with aiohttp.ClientSession(headers={"Host": self._host}) as session:
            while not self._enough.is_set():
                for method, body in (("GET", None), ("POST", b"x" * 1000)):
                    try:
                        async with session.request(method, f"http://{self._ip}/", data=body) as answer:
                            answer.raise_for_status()
                            self.versions.append((await answer.json())["version"])
                    except aiohttp.ClientError as error:
                        self.failures.append(f"{method} after {len(self.versions)} answers: {error!r}")
                    await asyncio.sleep(0.005)

    def stop(self) -> None:
        self._enough.set()
        self.join()


def test_hosts_paths_uploads_websockets_and_a_rolling_update(cluster: Cluster, space: Space) -> None:
    host = f"{space.name}.test"
    space.apply(
        *(backend("web", "one", replicas=2), service("web"), backend("api", "api"), service("api")),
        ingress("web", host, {"/": "web", "/api": "api"}),
        ingress("wild", f"*.{host}", {"/": "api"}),
    )
    space.rolled_out("deployment/web")
    space.rolled_out("deployment/api")
    ip = until(lambda: address(space, "web"), "an address", timeout=120)
    assert ip.startswith(f"{cluster.subnet}.")
    assert space.get("ingress", "web")["spec"]["ingressClassName"] == "pykube"
    answer = until(lambda: ask(ip, host, "/x"), "the host reaches it")
    assert answer == {"version": "one", "host": host, "path": "/x", "size": 0, "proto": "http"}
    assert ask(ip, host, "/api/x")["version"] == "api"
    assert ask(ip, host, "/apix")["version"] == "one"
    assert until(lambda: ask(ip, f"a.{host}"), "the wildcard")["version"] == "api"
    assert ask(ip, host, "/upload", data=bytes(20_000_000))["size"] == 20_000_000
    assert asyncio.run(talk(ip, host)) == "hello, one"
    reasons = {event["reason"] for event in space.events("web") if event["involvedObject"]["kind"] == "Ingress"}
    assert "Sync" in reasons

    traffic = Traffic(ip, host)
    traffic.start()
    space.kubectl("set", "env", "deployment/web", "VERSION=two")
    space.rolled_out("deployment/web")
    until(lambda: set(traffic.versions[-20:]) == {"two"}, "only the new version answers")
    traffic.stop()
    assert traffic.failures == []
    assert set(traffic.versions) == {"one", "two"}

    space.kubectl("delete", "ingress", "web")
    code = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "-H", f"Host: {host}", f"http://{ip}/"]
    until(lambda: run(code) == "404", "nobody serves the host any more")


async def talk(ip: str, host: str) -> str:
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"http://{ip}/talk", headers={"Host": host}) as socket,
    ):
        await socket.send_str("hello")
        return str(await socket.receive_str())


def test_tls_with_the_certificate_of_a_secret(space: Space, tmp_path: Path) -> None:
    host = f"{space.name}.test"
    made, key = certificate(tmp_path, host)
    space.kubectl("create", "secret", "tls", "certificate", f"--cert={made}", f"--key={key}")
    tls = [{"hosts": [host], "secretName": "certificate"}]
    space.apply(backend("web", "one"), service("web"), ingress("web", host, {"/": "web"}, tls=tls))
    space.rolled_out("deployment/web")
    ip = until(lambda: address(space, "web"), "an address", timeout=120)
    curl = ["curl", "-s", "-S", "--resolve", f"{host}:443:{ip}", "--resolve", f"{host}:80:{ip}", "--cacert", str(made)]

    def served(*arguments: str) -> str:
        done = subprocess.run([*curl, *arguments], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert '"proto": "https"' in until(lambda: served("-f", f"https://{host}/"), "HTTPS, as the certificate says")
    location = served("-o", "/dev/null", "-w", "%{http_code} %{redirect_url}", f"http://{host}/page")
    assert location == f"308 https://{host}/page"
    assert '"path": "/page"' in served("-f", "-L", f"http://{host}/page")
