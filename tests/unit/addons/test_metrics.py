"""The metrics API: rates from kubelets' counters, and what is shown of them to whom."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from addons.metrics.identity import FrontProxy
from addons.metrics.samples import Samples, Used, read
from addons.metrics.server import MetricsServer
from addons.metrics.view import View, labelled
from api.types.core_v1 import Node, Pod
from api.types.meta_v1 import ObjectMeta
from client.fake import FakeApi
from client.informer import Informer

BASE = "/apis/metrics.k8s.io/v1beta1"


def page(cpu: float, *, node: float = 5.0, started: float = 50.0, container: str = "main") -> str:
    labels = f'container="{container}",namespace="default",pod="web"'
    return f"""# HELP container_cpu_usage_seconds_total Cumulative cpu time consumed by the container in core-seconds
# TYPE container_cpu_usage_seconds_total counter
container_cpu_usage_seconds_total{{{labels}}} {cpu}
container_memory_working_set_bytes{{{labels}}} 1048577
container_start_time_seconds{{{labels}}} {started}
node_cpu_usage_seconds_total {node}
node_memory_working_set_bytes 2.097152e+06
pod_cpu_usage_seconds_total{{namespace="default",pod="web"}} {cpu}
resource_scrape_error 0
"""


def used(samples: Samples) -> dict[str, Used]:
    return next((containers for _, _, containers, _, _ in samples.pods()), {})


def test_a_rate_needs_two_looks() -> None:
    samples = Samples()
    samples.add("a", read(page(1.0), 100.0))
    assert used(samples) == {}
    assert samples.node("a") is None
    samples.add("a", read(page(2.5, node=8.0), 110.0))
    assert used(samples) == {"main": Used(150_000_000, 1048577)}
    assert used(samples)["main"].usage() == {"cpu": "150000000n", "memory": "1025Ki"}
    assert samples.node("a") == (Used(300_000_000, 2097152), 110.0, 10.0)


def test_a_container_that_was_started_anew_counts_from_its_start_once_it_is_old_enough() -> None:
    samples = Samples()
    samples.add("a", read(page(90.0), 100.0))
    samples.add("a", read(page(0.5, started=109.0), 115.0))
    assert used(samples) == {}
    samples.add("a", read(page(3.0, started=109.0), 130.0))
    assert used(samples) == {"main": Used(166666666, 1048577)}
    samples.add("a", read(page(6.0, started=131.0), 151.0))
    assert used(samples) == {"main": Used(300_000_000, 1048577)}


def test_half_a_pod_is_not_shown_and_nodes_that_fall_silent_are_forgotten() -> None:
    samples = Samples()
    samples.add("a", read(page(1.0), 100.0))
    samples.add("a", read(page(2.0) + page(1.0, container="new", started=114.0), 115.0))
    assert used(samples) == {}
    samples.keep({"a"}, newer_than=120.0)
    assert samples.node("a") is None


@pytest.fixture
async def view() -> AsyncIterator[View]:
    api = FakeApi(
        Node(metadata=ObjectMeta(name="a", labels={"zone": "x"})),
        Pod(metadata=ObjectMeta(name="web", namespace="default", labels={"app": "web"})),
    )
    nodes, pods = Informer(api, Node), Informer(api, labelled("Pod"))
    running = [asyncio.create_task(i.run()) for i in (nodes, pods)]
    await nodes.synced()
    await pods.synced()
    samples = Samples()
    samples.add("a", read(page(1.0), 1_000_000_000.0))
    samples.add("a", read(page(2.5, node=8.0), 1_000_000_010.0))
    yield View(samples, nodes, pods)
    for task in running:
        task.cancel()


async def answers(view: View, *paths: str, accepted: bool = True) -> list[Any]:
    server = MetricsServer(view, lambda certificate: accepted)
    async with TestClient(TestServer(server.app)) as client:
        return [await (await client.get(path)).json() for path in paths]


async def test_what_kubectl_top_reads(view: View) -> None:
    nodes, pods, pod, none = await answers(
        view,
        f"{BASE}/nodes?labelSelector=zone%3Dx",
        f"{BASE}/pods?labelSelector=app%3Dweb",
        f"{BASE}/namespaces/default/pods/web",
        f"{BASE}/namespaces/other/pods",
    )
    assert nodes["items"][0]["usage"] == {"cpu": "300000000n", "memory": "2048Ki"}
    assert pods["kind"] == "PodMetricsList"
    assert pods["items"][0]["containers"] == [{"name": "main", "usage": {"cpu": "150000000n", "memory": "1025Ki"}}]
    assert pod["window"] == "10s"
    assert pod["timestamp"] == "2001-09-09T01:46:50Z"
    assert pod["metadata"]["labels"] == {"app": "web"}
    assert none["items"] == []


async def test_what_is_not_there_and_who_may_not_ask(view: View) -> None:
    missing, filtered, unknown = await answers(
        view, f"{BASE}/namespaces/default/pods/x", f"{BASE}/nodes?labelSelector=zone%3Dy", f"{BASE}/deployments"
    )
    assert (missing["reason"], missing["message"]) == ("NotFound", 'pods.metrics.k8s.io "default/x" not found')
    assert filtered["items"] == []
    assert unknown["code"] == 404
    (refused,) = await answers(view, f"{BASE}/nodes", accepted=False)
    assert refused["code"] == 401


def test_only_the_front_proxy_is_accepted() -> None:
    proxy = FrontProxy(FakeApi(), host="metrics-server.kube-system.svc")
    named = {"subject": ((("commonName", "front-proxy-client"),),)}
    assert not proxy.accepts(named)
    proxy._authorities = "a CA"
    proxy.trust({"requestheader-allowed-names": '["front-proxy-client"]'})
    assert proxy.accepts(named)
    assert not proxy.accepts({"subject": ((("commonName", "somebody"),),)})
    assert not proxy.accepts(None)
