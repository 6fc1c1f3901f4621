"""Autoscaling by custom and external metrics, asked of a server behind a real API server's aggregator."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web

from bench.hollow.cluster import Cluster, cluster
from bench.hollow.nodes import HollowNodes
from tests.support.webhook import hooks

ALONE = ("--leader-elect=false",)
QUICK = "--horizontal-pod-autoscaler-sync-period=1s"
GROUPS = ("v1beta2.custom.metrics.k8s.io", "v1beta1.external.metrics.k8s.io")
FOUR = {"type": "AverageValue", "averageValue": "1"}
"""A target for each of so many replicas as the metric's value says."""


class Adapter:
    """A server of metrics: answers `values` by path, and remembers what it was asked for."""

    def __init__(self) -> None:
        self.values: dict[str, list[dict[str, Any]]] = {}
        self.asked: dict[str, dict[str, str]] = {}

    async def answer(self, request: web.BaseRequest) -> web.Response:
        group, version = request.path.split("/")[2:4]
        if request.path.count("/") == 3:
            found = [{"name": "x", "namespaced": True, "kind": "MetricValueList", "verbs": ["get"]}]
            return web.json_response({"kind": "APIResourceList", "apiVersion": "v1", "resources": found})
        path = request.path.partition("/namespaces/default/")[2]
        self.asked[path] = {**request.query, "as": request.headers.get("X-Remote-User", "")}
        if path not in self.values:
            message = "the server could not find the metric"
            status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 404, "reason": "NotFound"}
            return web.json_response({**status, "message": message}, status=404)
        body = {"kind": "MetricValueList", "apiVersion": f"{group}/{version}", "items": self.values[path]}
        return web.json_response(body)


def value(amount: str, name: str = "x") -> dict[str, Any]:
    described = {"kind": "Pod", "name": name, "namespace": "default"}
    return {"describedObject": described, "timestamp": "2026-01-01T00:00:00Z", "value": amount, "metricName": "m"}


@asynccontextmanager
async def served(adapter: Adapter, folder: Path) -> AsyncIterator[int]:
    """The port on which it listens with TLS."""
    async with hooks(folder):
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(folder / "hook.crt", folder / "hook.key")
    runner = web.ServerRunner(web.Server(adapter.answer))
    await runner.setup()
    await web.TCPSite(runner, "0.0.0.0", 0, ssl_context=context).start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


@pytest_asyncio.fixture
async def made(tmp_path: Path) -> AsyncIterator[tuple[Cluster, Adapter, int]]:
    for needed in ("etcd", "kubectl"):
        if shutil.which(needed) is None:
            pytest.skip(f"{needed} is not installed")
    adapter = Adapter()
    processes = {"controller-manager": (*ALONE, QUICK), "scheduler": ALONE}
    async with served(adapter, tmp_path) as port, cluster(processes) as started, started.client() as api:
        hollow = HollowNodes(api, 2)
        task = asyncio.create_task(hollow.run())
        try:
            await hollow.ready.wait()
            yield started, adapter, port
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def kubectl(made: Cluster, *words: str, objects: list[Any] | None = None) -> str:
    text = None if objects is None else json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    done = await asyncio.to_thread(
        subprocess.run, [*made.kubectl(), *words], input=text, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


async def get(made: Cluster, *words: str) -> Any:
    return json.loads(await kubectl(made, "get", *words, "-o", "json"))


async def until(probe: Callable[[], Any], wanted: Callable[[Any], Any]) -> Any:
    while not wanted(found := await probe()):
        await asyncio.sleep(0.2)
    return found


def own_address() -> str:
    """One that endpoints may have: not of the loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))
        return str(probe.getsockname()[0])


def registration(port: int) -> list[dict[str, Any]]:
    labels = {"kubernetes.io/service-name": "adapter"}
    found: list[dict[str, Any]] = [
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "adapter"}, "spec": {"ports": [{"port": 443}]}},
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {"name": "adapter", "labels": labels},
            "addressType": "IPv4",
            "endpoints": [{"addresses": [own_address()]}],
            "ports": [{"port": port}],
        },
    ]
    for name in GROUPS:
        version, _, group = name.partition(".")
        spec = {"group": group, "version": version, "groupPriorityMinimum": 100, "versionPriority": 100}
        spec |= {"insecureSkipTLSVerify": True, "service": {"name": "adapter", "namespace": "default"}}
        kind = {"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService"}
        found.append({**kind, "metadata": {"name": name}, "spec": spec})
    return found


def deployment(name: str) -> dict[str, Any]:
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "web:1"}]}}
    spec = {"replicas": 1, "selector": {"matchLabels": labels}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec}


def autoscaler(name: str, metric: dict[str, Any]) -> dict[str, Any]:
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": name}
    fast = {"policies": [{"type": "Pods", "value": 10, "periodSeconds": 1}]}
    spec = {"scaleTargetRef": target, "maxReplicas": 4, "metrics": [metric], "behavior": {"scaleUp": fast}}
    kind = {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler"}
    return {**kind, "metadata": {"name": name}, "spec": spec}


@pytest.mark.timeout(180)
async def test_each_kind_of_metric_is_asked_for_with_its_selectors(made: tuple[Cluster, Adapter, int]) -> None:
    started, adapter, port = made
    await kubectl(started, "apply", "-f", "-", objects=registration(port))
    await kubectl(started, "wait", "--for=condition=Available", "--timeout=60s", *(f"apiservice/{n}" for n in GROUPS))
    hot, get_only = {"matchLabels": {"verb": "GET"}}, {"matchExpressions": [{"key": "verb", "operator": "Exists"}]}
    front = {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "name": "front"}
    metrics: dict[str, dict[str, Any]] = {
        "pods": {"type": "Pods", "pods": {"metric": {"name": "requests", "selector": hot}, "target": FOUR}},
        "object": {
            "type": "Object",
            "object": {"metric": {"name": "hits", "selector": get_only}, "describedObject": front, "target": FOUR},
        },
        "external": {"type": "External", "external": {"metric": {"name": "depth", "selector": hot}, "target": FOUR}},
    }
    adapter.values["ingresses.networking.k8s.io/front/hits"] = [value("4")]
    adapter.values["depth"] = [value("1500m"), value("2500m")]
    await kubectl(started, "apply", "-f", "-", objects=[deployment(name) for name in metrics])
    for name in metrics:
        await kubectl(started, "rollout", "status", f"deployment/{name}", "--timeout=60s")
    pod = (await get(started, "pods", "-l", "app=pods"))["items"][0]["metadata"]["name"]
    adapter.values["pods/*/requests"] = [value("4", pod)]
    await kubectl(started, "apply", "-f", "-", objects=[autoscaler(name, metric) for name, metric in metrics.items()])
    for name in metrics:
        await until(lambda name=name: get(started, "deployment", name), lambda found: found["spec"]["replicas"] == 4)
    who = "system:kube-controller-manager"
    assert adapter.asked["pods/*/requests"] == {
        "labelSelector": "app=pods",
        "metricLabelSelector": "verb=GET",
        "as": who,
    }
    assert adapter.asked["ingresses.networking.k8s.io/front/hits"] == {"metricLabelSelector": "verb", "as": who}
    assert adapter.asked["depth"] == {"labelSelector": "verb=GET", "as": who}
    shown = await kubectl(started, "get", "hpa", "--no-headers")
    assert "4/1 (avg)" in shown or "1/1 (avg)" in shown
    # What the server refuses is told in its words.
    del adapter.values["depth"]

    def inactive(found: Any) -> Any:
        return [c for c in found["status"]["conditions"] if c["type"] == "ScalingActive" and c["status"] == "False"]

    said = inactive(await until(lambda: get(started, "hpa", "external"), inactive))[0]
    assert said["reason"] == "FailedGetExternalMetric"
    assert said["message"].endswith(
        "unable to fetch metrics from external metrics API: the server could not find the metric"
    )
