"""Creates, consistent reads, and a LIST of many pods; one table."""

from __future__ import annotations

import asyncio
import itertools
import json
import ssl
import time
import uuid
from collections.abc import Iterator

import click
from rich.console import Console
from rich.table import Table

from bench.apiserver.load import Connection, Result, Target, hammer

_CONNECTIONS = (1, 16, 64)
# Real Kubernetes 1.20 on the same two cores, and what pykube is to reach (docs/architecture.md).
_FIGURES = {
    "create 1": ("888/s", "1,000/s"),
    "create 16": ("1,940/s", "3,000/s"),
    "create 64": ("2,174/s", "4,000/s"),
    "get 16": ("6,484/s", "8,000/s"),
    "list": ("1.9 to 3.6 s", "0.5 s"),
}


def pod(name: str) -> bytes:
    """A pod like those of a Deployment: about 3 kB when it is stored."""
    environment = [{"name": f"VARIABLE_{n}", "value": f"some value of a usual length, number {n}"} for n in range(12)]
    container = {
        "name": "main",
        "image": "registry.example.com/team/application:1.2.3",
        "env": environment,
        "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "256Mi"}},
        "ports": [{"containerPort": 8080, "name": "http"}],
        "readinessProbe": {"httpGet": {"path": "/healthz", "port": 8080}},
    }
    metadata = {"name": name, "labels": {"app": "bench", "tier": "web"}, "annotations": {"note": "x" * 200}}
    spec = {
        "containers": [container],
        "terminationGracePeriodSeconds": 0,
        "automountServiceAccountToken": False,
        "schedulerName": "nobody",
    }
    return json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}).encode()


async def measure(target: Target, seconds: float, pods: int) -> list[tuple[str, str, str]]:
    """Rows: what, key of the figures, result."""
    namespace = f"bench-{uuid.uuid4().hex[:6]}"
    connection = Connection(target)
    await connection.open()
    body = json.dumps({"metadata": {"name": namespace}}).encode()
    code, answer = await connection.request("POST", "/api/v1/namespaces", body)
    if code != 201:
        raise RuntimeError(answer.decode())
    account = f"/api/v1/namespaces/{namespace}/serviceaccounts"
    await connection.request("POST", account, json.dumps({"metadata": {"name": "default"}}).encode())
    base = f"/api/v1/namespaces/{namespace}/pods"
    numbers = itertools.count()
    rows = []

    def creates() -> Iterator[tuple[str, str, bytes]]:
        for number in numbers:
            yield "POST", base, pod(f"p{number:07}")

    for connections in _CONNECTIONS:
        result = await hammer(target, connections, seconds, creates)
        rows.append((f"pod creates, {connections} connections", f"create {connections}", _shown(result)))

    def gets() -> Iterator[tuple[str, str, bytes]]:
        while True:
            yield "GET", f"{base}/p0000000", b""

    for connections in _CONNECTIONS:
        result = await hammer(target, connections, seconds, gets)
        rows.append((f"GET one pod, {connections} connections", f"get {connections}", _shown(result)))
    if pods:
        missing = pods - next(numbers)
        if missing > 0:
            limited = itertools.islice(creates(), missing)
            await _fill(target, list(limited))
        for _ in range(3):
            start = time.perf_counter()
            _, listing = await connection.request("GET", base)
            took = time.perf_counter() - start
        count = listing.count(b'"uid"')
        rows.append((f"LIST {count:,} pods ({len(listing) / 1e6:.0f} MB)", "list", f"{took:.2f} s"))
    await connection.request("DELETE", f"{base}?gracePeriodSeconds=0")
    await connection.request("DELETE", f"/api/v1/namespaces/{namespace}")
    connection.close()
    return rows


async def _fill(target: Target, requests: list[tuple[str, str, bytes]]) -> None:
    waiting = iter(requests)

    async def one() -> None:
        connection = Connection(target)
        await connection.open()
        for method, path, body in waiting:
            await connection.request(method, path, body)
        connection.close()

    await asyncio.gather(*(one() for _ in range(64)))


def _shown(result: Result) -> str:
    return (
        f"{result.rate:,.0f}/s (p50 {result.percentile(0.5) * 1e3:.1f} ms, p99 {result.percentile(0.99) * 1e3:.1f} ms)"
    )


@click.command(help=__doc__)
@click.option("--url", default="https://127.0.0.1:6443", show_default=True, help="the server")
@click.option("--token", default="", help="bearer token")
@click.option("--cert", default="", help="client certificate (PEM)")
@click.option("--key", default="", help="key of the client certificate (PEM)")
@click.option("--ca", default="", help="CA of the server's certificate; not checked without")
@click.option("--seconds", default=5.0, show_default=True, help="time for each measurement")
@click.option("--pods", default=40_000, show_default=True, help="pods for the LIST; 0: leave it out")
def main(url: str, token: str, cert: str, key: str, ca: str, seconds: float, pods: int) -> None:
    context = None
    if url.startswith("https"):
        context = ssl.create_default_context(cafile=ca or None)
        if not ca:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if cert:
            context.load_cert_chain(cert, key)
    rows = asyncio.run(measure(Target(url, token, context), seconds, pods))
    table = Table("measured", "Kubernetes 1.20", "to reach", "here", title=f"API server at {url}")
    for what, figure, here in rows:
        table.add_row(what, *_FIGURES.get(figure, ("", "")), here)
    Console().print(table)


if __name__ == "__main__":
    main()
