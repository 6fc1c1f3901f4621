"""Endpoints and EndpointSlices: who is behind a Service, and how few writes it takes to say so."""

from __future__ import annotations

import asyncio
from typing import Any

from api.types.core_v1 import (
    ContainerPort,
    EndpointAddress,
    EndpointPort,
    Endpoints,
    EndpointSubset,
    Node,
    Pod,
    PodIP,
    Service,
    ServicePort,
    ServiceSpec,
)
from api.types.discovery_v1 import EndpointSlice
from api.types.meta_v1 import ObjectMeta
from client.fake import FakeApi
from controller_manager.network.endpoints import EndpointsController
from controller_manager.network.endpointslice import EndpointSliceController
from controller_manager.network.endpointslice_mirroring import EndpointSliceMirroringController
from tests.support.controllers import running
from tests.unit.controller_manager.builders import LABELS, pod, ready_condition


def service(**spec: Any) -> Service:
    spec = {
        "selector": dict(LABELS),
        "cluster_ip": "10.96.0.9",
        "ip_families": ["IPv4"],
        "ports": [ServicePort(port=80, target_port=8080, protocol="TCP")],
    } | spec
    return Service(metadata=ObjectMeta(name="web", namespace="default"), spec=ServiceSpec(**spec))


def web_pod(name: str, ip: str, **kwargs: Any) -> Pod:
    made = pod(name, **kwargs)
    made.status.pod_ip, made.status.pod_ips = ip, [PodIP(ip=ip)]
    return made


def addresses(api: FakeApi) -> tuple[list[str], list[str]]:
    found = api.one(Endpoints, "web", "default")
    assert found is not None
    ready = [a.ip for s in found.subsets or () for a in s.addresses or ()]
    return ready, [a.ip for s in found.subsets or () for a in s.not_ready_addresses or ()]


def conditions(api: FakeApi) -> dict[str, tuple[bool | None, ...]]:
    return {
        e.addresses[0]: (e.conditions.ready, e.conditions.serving, e.conditions.terminating)
        for s in api.objects(EndpointSlice)
        for e in s.endpoints or ()
        if e.conditions
    }


async def test_ready_pods_are_behind_the_service() -> None:
    api = FakeApi(
        service(),
        web_pod("a", "10.244.0.1"),
        web_pod("b", "10.244.0.2", ready=False),
        web_pod("done", "10.244.0.3", phase="Succeeded"),
        web_pod("other", "10.244.0.4", labels={"app": "other"}),
        pod("no-address"),
        Node(metadata=ObjectMeta(name="n1", labels={"topology.kubernetes.io/zone": "z"})),
    )
    async with running(api, EndpointsController, EndpointSliceController):
        assert addresses(api) == (["10.244.0.1"], ["10.244.0.2"])
        [found] = api.objects(EndpointSlice)
        assert conditions(api) == {"10.244.0.1": (True, True, False), "10.244.0.2": (False, False, False)}
        assert found.metadata.generate_name == "web-" and found.address_type == "IPv4"
        assert found.metadata.labels == {
            "kubernetes.io/service-name": "web",
            "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
        }
        first = (found.endpoints or [])[0]
        assert (first.node_name, first.zone) == ("n1", "z")
        assert first.target_ref is not None and (first.target_ref.kind, first.target_ref.name) == ("Pod", "a")
        [port] = found.ports or []
        assert (port.name, port.port, port.protocol) == ("", 8080, "TCP")
        assert (found.metadata.owner_references or [])[0].kind == "Service"


async def test_a_pod_that_terminates_leaves_endpoints_and_shows_in_the_slice() -> None:
    api = FakeApi(service(), web_pod("a", "10.244.0.1"), web_pod("b", "10.244.0.2"))
    async with running(api, EndpointsController, EndpointSliceController) as harness:
        await api.delete(Pod, "a", namespace="default")
        await harness.settle()
        assert addresses(api) == (["10.244.0.2"], [])
        assert conditions(api)["10.244.0.1"] == (False, True, True)
        await api.delete(Pod, "a", namespace="default", grace_period_seconds=0)
        await harness.settle()
        assert list(conditions(api)) == ["10.244.0.2"]


async def test_not_ready_addresses_can_be_published() -> None:
    api = FakeApi(service(publish_not_ready_addresses=True), web_pod("a", "10.244.0.1", ready=False))
    async with running(api, EndpointsController, EndpointSliceController):
        assert addresses(api) == (["10.244.0.1"], [])
        assert conditions(api) == {"10.244.0.1": (True, False, False)}


async def test_named_ports_may_differ_from_pod_to_pod() -> None:
    one, two = web_pod("a", "10.244.0.1"), web_pod("b", "10.244.0.2")
    one.spec.containers[0].ports = [ContainerPort(name="http", container_port=8080)]
    two.spec.containers[0].ports = [ContainerPort(name="http", container_port=9090)]
    api = FakeApi(service(ports=[ServicePort(name="http", port=80, target_port="http")]), one, two)
    async with running(api, EndpointsController, EndpointSliceController):
        found = {
            (s.ports or [])[0].port: [e.addresses[0] for e in s.endpoints or ()] for s in api.objects(EndpointSlice)
        }
        assert found == {8080: ["10.244.0.1"], 9090: ["10.244.0.2"]}
        endpoints = api.one(Endpoints, "web", "default")
        assert endpoints is not None
        assert {(s.ports or [])[0].port for s in endpoints.subsets or ()} == {8080, 9090}


async def test_headless_services_know_hostnames_and_need_no_ports() -> None:
    one = web_pod("a", "10.244.0.1")
    one.spec.hostname, one.spec.subdomain = "web-0", "web"
    api = FakeApi(service(cluster_ip="None", ports=None), one)
    async with running(api, EndpointsController, EndpointSliceController):
        [found] = api.objects(EndpointSlice)
        assert (found.endpoints or [])[0].hostname == "web-0" and not found.ports
        assert (found.metadata.labels or {})["service.kubernetes.io/headless"] == ""
        endpoints = api.one(Endpoints, "web", "default")
        assert endpoints is not None and (endpoints.subsets or [])[0].ports is None


async def test_a_service_without_pods_has_a_placeholder() -> None:
    api = FakeApi(service())
    async with running(api, EndpointsController, EndpointSliceController) as harness:
        [found] = api.objects(EndpointSlice)
        assert found.endpoints == []
        assert addresses(api) == ([], [])
        api.add(web_pod("a", "10.244.0.1"))
        await harness.settle()
        assert [len(s.endpoints or ()) for s in api.objects(EndpointSlice)] == [1]


async def test_slices_hold_a_hundred_and_change_one_at_a_time() -> None:
    api = FakeApi(service(), *(web_pod(f"p{i}", f"10.244.{i // 250}.{i % 250}") for i in range(230)))
    async with running(api, EndpointSliceController) as harness:
        assert sorted(len(s.endpoints or ()) for s in api.objects(EndpointSlice)) == [30, 100, 100]
        before = len(api.writes("endpointslices"))
        broken = api.one(Pod, "p5", "default")
        assert broken is not None
        broken.status.conditions = [ready_condition(False)]
        await api.update_status(broken)
        async with asyncio.timeout(20):  # the news of so many pods are gathered for a while
            while len(api.writes("endpointslices")) == before:
                await asyncio.sleep(0.02)
        await harness.settle()
        assert len(api.writes("endpointslices")) == before + 1


async def test_nothing_is_written_when_nothing_changed() -> None:
    api = FakeApi(service(), web_pod("a", "10.244.0.1"))
    async with running(api, EndpointsController, EndpointSliceController) as harness:
        before = len(api.writes())
        one = api.one(Pod, "a", "default")
        assert one is not None
        one.metadata.annotations = {"note": "irrelevant"}
        await api.update(one)
        for controller in harness.controllers:
            controller.controller.enqueue(("default", "web"))
        await harness.settle()
        assert len(api.writes()) == before + 1


async def test_services_without_selector_are_left_to_others_and_mirrored() -> None:
    theirs = Endpoints(
        metadata=ObjectMeta(name="web", namespace="default", labels={"from": "me"}),
        subsets=[
            EndpointSubset(
                addresses=[EndpointAddress(ip="192.0.2.1")],
                not_ready_addresses=[EndpointAddress(ip="192.0.2.2")],
                ports=[EndpointPort(port=5432)],
            )
        ],
    )
    api = FakeApi(service(selector=None), theirs)
    controllers = (EndpointsController, EndpointSliceController, EndpointSliceMirroringController)
    async with running(api, *controllers) as harness:
        assert addresses(api) == (["192.0.2.1"], ["192.0.2.2"])
        [found] = api.objects(EndpointSlice)
        labels = found.metadata.labels or {}
        assert labels["endpointslice.kubernetes.io/managed-by"] == "endpointslicemirroring-controller.k8s.io"
        assert labels["from"] == "me"
        assert {e.addresses[0]: e.conditions and e.conditions.ready for e in found.endpoints or ()} == {
            "192.0.2.1": True,
            "192.0.2.2": False,
        }
        change = {"metadata": {"labels": {"endpointslice.kubernetes.io/skip-mirror": "true"}}}
        await api.patch(Endpoints, "web", change, namespace="default")
        await harness.settle()
        assert api.objects(EndpointSlice) == []


async def test_endpoints_go_with_their_service() -> None:
    api = FakeApi(service(), web_pod("a", "10.244.0.1"))
    async with running(api, EndpointsController) as harness:
        await api.delete(Service, "web", namespace="default")
        await harness.settle()
        assert api.objects(Endpoints) == []


async def test_preferences_become_hints() -> None:
    node = Node(metadata=ObjectMeta(name="n1", labels={"topology.kubernetes.io/zone": "z"}))
    api = FakeApi(service(traffic_distribution="PreferSameNode"), web_pod("a", "10.244.0.1"), node)
    async with running(api, EndpointSliceController):
        [found] = api.objects(EndpointSlice)
        hints = (found.endpoints or [])[0].hints
        assert hints is not None
        assert [n.name for n in hints.for_nodes or ()] == ["n1"] and [z.name for z in hints.for_zones or ()] == ["z"]


async def shown(api: FakeApi, count: int) -> None:
    while sum(len(s.endpoints or ()) for s in api.objects(EndpointSlice)) != count:
        await asyncio.sleep(0.001)


async def test_the_news_of_a_large_services_pods_are_gathered() -> None:
    names = [f"p{number}" for number in range(60)]
    pods = [web_pod(name, f"10.244.0.{number}") for number, name in enumerate(names)]
    api = FakeApi(service(), *pods)
    async with running(api, EndpointSliceController) as harness:
        queue = harness.controllers[0].controller
        waits: list[float] = []
        after = queue.enqueue_after

        def enqueue_after(key: Any, seconds: float) -> None:
            waits.append(round(seconds, 4))
            after(key, seconds)

        queue.enqueue_after = enqueue_after
        await api.delete(Pod, "p0", namespace="default", grace_period_seconds=0)
        await shown(api, 59)
        assert waits == [0.006]
        # A small one is looked at as soon as something happens.
        for name in names[1:20]:
            await api.delete(Pod, name, namespace="default", grace_period_seconds=0)
        await shown(api, 40)
        waits.clear()
        await api.delete(Pod, "p20", namespace="default", grace_period_seconds=0)
        await shown(api, 39)
        assert waits == [0.0]
