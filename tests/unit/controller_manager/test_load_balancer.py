"""Services of type LoadBalancer: an address of their own, given back when they go."""

from __future__ import annotations

from typing import Any

from api.types.core_v1 import Service, ServiceSpec
from api.types.meta_v1 import ObjectMeta
from client.fake import FakeApi
from controller_manager.network.load_balancer import FINALIZER, LoadBalancerController
from tests.support.controllers import running

POOL = {"load_balancer_pool": "172.30.0.240/30"}  # two addresses for hosts


def service(name: str, **spec: Any) -> Service:
    spec = {"type": "LoadBalancer"} | spec
    return Service(metadata=ObjectMeta(name=name, namespace="default"), spec=ServiceSpec(**spec))


def address(api: FakeApi, name: str) -> str | None:
    found = api.one(Service, name, "default")
    assert found is not None
    ingress = found.status.load_balancer.ingress if found.status.load_balancer else None
    return ingress[0].ip if ingress else None


async def test_each_service_has_an_address_of_its_own_until_it_goes() -> None:
    api = FakeApi(service("a"), service("b"), service("c"), service("inside", type="ClusterIP"))
    async with running(api, LoadBalancerController, **POOL) as harness:
        assert {address(api, "a"), address(api, "b")} == {"172.30.0.241", "172.30.0.242"}
        assert address(api, "c") is None and address(api, "inside") is None
        assert len(harness.events("SyncLoadBalancerFailed")) == 1
        freed = address(api, "a")
        await api.delete(Service, "a", namespace="default")
        await harness.settle()
        assert api.one(Service, "a", "default") is None
        assert address(api, "c") == freed


async def test_a_service_that_changes_its_type_gives_the_address_back() -> None:
    api = FakeApi(service("a"))
    async with running(api, LoadBalancerController, **POOL) as harness:
        found = api.one(Service, "a", "default")
        assert found is not None and found.metadata.finalizers == [FINALIZER]
        await api.patch(Service, "a", {"spec": {"type": "ClusterIP"}}, namespace="default")
        await harness.settle()
        found = api.one(Service, "a", "default")
        assert found is not None and not found.metadata.finalizers and address(api, "a") is None


async def test_wishes_are_granted_if_they_can_be() -> None:
    api = FakeApi(service("a", load_balancer_ip="172.30.0.242"), service("b", load_balancer_ip="10.0.0.1"))
    async with running(api, LoadBalancerController, **POOL) as harness:
        assert (address(api, "a"), address(api, "b")) == ("172.30.0.242", None)
        [event] = harness.events("SyncLoadBalancerFailed")
        assert "address 10.0.0.1 is not available" in event


async def test_without_a_pool_or_with_a_class_it_is_nobody_of_ours() -> None:
    api = FakeApi(service("a"))
    async with running(api, LoadBalancerController):
        assert address(api, "a") is None and api.writes() == []
    api = FakeApi(service("a", load_balancer_class="example.com/lb"))
    async with running(api, LoadBalancerController, **POOL):
        assert address(api, "a") is None
