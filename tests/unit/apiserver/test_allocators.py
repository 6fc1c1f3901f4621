"""Addresses and ports of Services: never handed out twice, and given back when they are free."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from api import errors
from api.types.core_v1 import Namespace, Service, ServicePort, ServiceSpec
from api.types.meta_v1 import Condition, ObjectMeta
from api.types.networking_v1 import IPAddress, ServiceCIDR, ServiceCIDRSpec
from apiserver.allocators import Full, OutOfRange, Taken, ports
from apiserver.allocators.addresses import AddressAllocator, static_band
from apiserver.allocators.ports import PREFIX, PortAllocator
from apiserver.allocators.ranges import show_configured
from apiserver.allocators.repair import Repair
from apiserver.registry import Registry
from apiserver.resources import strategies
from apiserver.store.memory import MemoryStore

CIDR, PORTS = "10.96.0.0/24", (30000, 30099)


@contextlib.asynccontextmanager
async def registry_on(store: MemoryStore, **options: Any) -> AsyncIterator[Registry]:
    """One API server's registry; several may share a store."""
    table = strategies(**{"service_cidr": CIDR, "node_ports": PORTS, **options})
    made = Registry(store, strategy_for=table.__getitem__)
    await made.start()
    feeding = asyncio.create_task(made.feed.run())
    try:
        yield made
    finally:
        feeding.cancel()
        await asyncio.gather(feeding, return_exceptions=True)


def service(name: str = "web", **spec: Any) -> Service:
    fields = {"ports": [ServicePort(port=80)], **spec}
    return Service(metadata=ObjectMeta(name=name, namespace="default"), spec=ServiceSpec(**fields))


async def addresses(registry: Registry) -> set[str]:
    return {a.metadata.name or "" for a in await registry.list(IPAddress)}


async def taken_ports(registry: Registry) -> set[int]:
    page = await registry.store.list(PREFIX)
    return {int(record.key.removeprefix(PREFIX)) for record in page.records}


@pytest.mark.parametrize(("size", "band"), [(16, 0), (256, 16), (65536, 256), (4096, 256), (1024, 64)])
def test_the_static_band_of_addresses(size: int, band: int) -> None:
    assert static_band(size) == band


@pytest.mark.parametrize(("size", "band"), [(8, 0), (16, 16), (2768, 86), (10000, 128)])
def test_the_static_band_of_ports(size: int, band: int) -> None:
    assert ports.static_band(size) == band


def test_what_a_range_holds() -> None:
    allocator = AddressAllocator("10.96.0.0/24")
    assert "10.96.0.1" in allocator
    assert "10.96.0.254" in allocator
    assert not any(a in allocator for a in ("10.96.0.0", "10.96.0.255", "10.96.1.1", "fd00::1"))


async def test_a_service_gets_an_address_from_the_dynamic_band_and_says_so() -> None:
    async with registry_on(MemoryStore()) as registry:
        stored = await registry.create(service())
        spec = stored.spec
        assert spec.cluster_ip is not None
        assert int(spec.cluster_ip.rpartition(".")[2]) > 16
        assert spec.cluster_ips == [spec.cluster_ip]
        assert (spec.ip_families, spec.ip_family_policy) == (["IPv4"], "SingleStack")
        address = await registry.get(IPAddress, spec.cluster_ip)
        assert address.spec.parent_ref.name == "web"
        assert address.metadata.labels == {
            "ipaddress.kubernetes.io/ip-family": "IPv4",
            "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io",
        }
        await registry.delete(Service, "web", namespace="default")
        assert await addresses(registry) == set()


async def test_an_address_of_ones_own_choice() -> None:
    async with registry_on(MemoryStore()) as registry:
        await registry.create(service(cluster_ip="10.96.0.10"))
        with pytest.raises(errors.StatusError) as refused:
            await registry.create(service("other", cluster_ip="10.96.0.10"))
        assert refused.value.code == 422
        assert refused.value.message == (
            'Service "other" is invalid: spec.clusterIPs: Invalid value: ["10.96.0.10"]: '
            "failed to allocate IP 10.96.0.10: provided IP is already allocated"
        )
        with pytest.raises(errors.StatusError, match="The range of valid IPs is"):
            await registry.create(service("other", cluster_ip="10.97.0.1"))
        assert await addresses(registry) == {"10.96.0.10"}


async def test_headless_and_external_services_take_nothing() -> None:
    async with registry_on(MemoryStore()) as registry:
        headless = await registry.create(service(cluster_ip="None", selector={"a": "b"}))
        assert headless.spec.cluster_ips == ["None"]
        assert headless.spec.ip_families == ["IPv4"]
        selectorless = await registry.create(service("free", cluster_ip="None"))
        assert (selectorless.spec.ip_families, selectorless.spec.ip_family_policy) == (
            ["IPv4", "IPv6"],
            "RequireDualStack",
        )
        external = await registry.create(service("out", type="ExternalName", external_name="a.b"))
        assert external.spec.cluster_ip is None
        assert await addresses(registry) == set()


async def test_families_that_the_cluster_does_not_have() -> None:
    async with registry_on(MemoryStore()) as registry:
        with pytest.raises(errors.StatusError, match="this cluster is not configured for dual-stack services"):
            await registry.create(service(ip_family_policy="RequireDualStack"))
        with pytest.raises(errors.StatusError, match=r"spec.ipFamilies\[0\].*not configured on this cluster"):
            await registry.create(service(ip_families=["IPv6"]))


async def test_node_ports() -> None:
    async with registry_on(MemoryStore()) as registry:
        stored = await registry.create(service(type="NodePort"))
        (port,) = stored.spec.ports or []
        assert port.node_port is not None
        assert 30016 <= port.node_port <= 30099
        chosen = service("two", type="NodePort", ports=[ServicePort(port=80, node_port=port.node_port)])
        with pytest.raises(errors.StatusError) as refused:
            await registry.create(chosen)
        assert refused.value.message == (
            f'Service "two" is invalid: spec.ports[0].nodePort: Invalid value: {port.node_port}: '
            "provided port is already allocated"
        )
        far = service("far", type="NodePort", ports=[ServicePort(port=80, node_port=80)])
        with pytest.raises(errors.StatusError, match="The range of valid ports is 30000-30099"):
            await registry.create(far)
        assert await taken_ports(registry) == {port.node_port}
        assert len(await addresses(registry)) == 1


async def test_one_port_for_both_protocols_shares_its_node_port() -> None:
    async with registry_on(MemoryStore()) as registry:
        both = [ServicePort(name="a", port=53, protocol="UDP"), ServicePort(name="b", port=53, protocol="TCP")]
        stored = await registry.create(service(type="NodePort", ports=both))
        assert len({p.node_port for p in stored.spec.ports or ()}) == 1
        assert len(await taken_ports(registry)) == 1


async def test_a_load_balancer_with_local_traffic_gets_a_health_check_port() -> None:
    async with registry_on(MemoryStore()) as registry:
        stored = await registry.create(service(type="LoadBalancer", external_traffic_policy="Local"))
        assert stored.spec.health_check_node_port in await taken_ports(registry)
        await registry.delete(Service, "web", namespace="default")
        assert await taken_ports(registry) == set()


async def test_updates_take_and_give_back() -> None:
    async with registry_on(MemoryStore()) as registry:
        first = await registry.create(service(type="NodePort"))

        async def change(**fields: object) -> Service:
            current = await registry.get(Service, "web", namespace="default")
            for name, value in fields.items():
                setattr(current.spec, name, value)
            return await registry.update(current)

        changed = await change(type="ClusterIP", external_traffic_policy=None)
        assert changed.spec.cluster_ip == first.spec.cluster_ip
        assert (changed.spec.ports or [])[0].node_port is None
        assert await taken_ports(registry) == set()
        gone = await change(type="ExternalName", external_name="a.b")
        assert gone.spec.cluster_ip is None
        assert await addresses(registry) == set()
        again = await change(type="NodePort", external_name=None)
        assert again.spec.cluster_ip in await addresses(registry)
        assert len(await taken_ports(registry)) == 1


async def test_what_could_not_be_stored_gives_everything_back() -> None:
    async with registry_on(MemoryStore()) as registry:
        await registry.create(service(type="NodePort"))
        before = await addresses(registry), await taken_ports(registry)
        with pytest.raises(errors.StatusError) as refused:
            await registry.create(service(type="NodePort"))
        assert errors.is_already_exists(refused.value)
        assert (await addresses(registry), await taken_ports(registry)) == before


async def test_a_dry_run_takes_nothing() -> None:
    async with registry_on(MemoryStore()) as registry:
        ctx = registry.context(registry.endpoint(Service), "default")
        ctx.dry_run = True
        stored = await registry.create(service(type="NodePort"), ctx=ctx)
        assert stored.spec.cluster_ip
        assert (await addresses(registry), await taken_ports(registry)) == (set(), set())


async def test_several_servers_never_hand_out_the_same_twice() -> None:
    store = MemoryStore()
    async with registry_on(store) as one, registry_on(store) as two:
        made = await asyncio.gather(
            *((one if n % 2 else two).create(service(f"s{n}", type="NodePort")) for n in range(60))
        )
        assert len({s.spec.cluster_ip for s in made}) == 60
        assert len({(s.spec.ports or [])[0].node_port for s in made}) == 60


async def test_a_full_range_says_so() -> None:
    async with registry_on(MemoryStore(), service_cidr="10.96.0.0/29", node_ports=(30000, 30001)) as registry:
        for n in range(6):
            await registry.create(service(f"s{n}"))
        with pytest.raises(errors.StatusError, match="failed to allocate a serviceIP: range is full") as refused:
            await registry.create(service("more"))
        assert refused.value.code == 500
        await registry.delete(Service, "s3", namespace="default")
        await registry.create(service("more"))


async def test_allocators_raise_what_they_mean() -> None:
    async with registry_on(MemoryStore()) as registry:
        owner = service()
        owner.metadata.uid = "u"
        allocator = PortAllocator(30000, 30000)
        await allocator.take_any(registry, owner)
        with pytest.raises(Taken):
            await allocator.take(registry, 30000, owner)
        with pytest.raises(OutOfRange):
            await allocator.take(registry, 30001, owner)
        with pytest.raises(Full):
            await allocator.take_any(registry, owner)


async def test_repair_takes_what_services_have_and_frees_what_nobody_has() -> None:
    store = MemoryStore()
    async with registry_on(store) as registry:
        stored = await registry.create(service(type="NodePort"))
        await registry.create(Namespace(metadata=ObjectMeta(name="default")))
        port = (stored.spec.ports or [])[0].node_port
        ip = stored.spec.cluster_ip or ""
        # As if a server had died between the two writes of a creation, or of a deletion.
        allocator = AddressAllocator(CIDR)
        lost = service("lost")
        lost.metadata.uid = "gone"
        await allocator.take(registry, "10.96.0.77", lost)
        await PortAllocator(*PORTS).take(registry, 30077, lost)
        await registry.delete(IPAddress, ip)
        record, _ = await store.get(f"{PREFIX}{port}")
        assert record is not None
        await store.delete(record.key, revision=record.revision)
        repair = Repair(registry, allocator, PortAllocator(*PORTS))
        await repair.round()
        assert await addresses(registry) == {ip, "10.96.0.77"}
        assert await taken_ports(registry) == {port, 30077}
        await repair.round()
        assert await addresses(registry) == {ip}
        assert await taken_ports(registry) == {port}


def cidr(name: str, *cidrs: str) -> ServiceCIDR:
    return ServiceCIDR(metadata=ObjectMeta(name=name), spec=ServiceCIDRSpec(cidrs=list(cidrs)))


async def test_ranges_of_objects_count_while_they_are_ready() -> None:
    async with registry_on(MemoryStore(), service_cidr="10.96.0.0/30") as registry:
        made = await registry.create(cidr("more", "10.88.0.0/29"))
        asked = service("asked")
        asked.spec.cluster_ip = "10.88.0.5"
        with pytest.raises(errors.StatusError, match=r"10\.88\.0\.5.* is not in the valid range"):
            await registry.create(asked)
        made.status.conditions = [
            Condition(type="Ready", status="True", last_transition_time="2026-01-01T00:00:00Z", message="yes")
        ]
        await registry.update(made, subresource="status")
        while not any(one.status.conditions for one in registry.cached_list(ServiceCIDR)):
            await asyncio.sleep(0.01)
        stored = await registry.create(asked)
        assert stored.spec.cluster_ips == ["10.88.0.5"]
        # the configured range first, then whatever has room
        got = [(await registry.create(service(f"s{n}"))).spec.cluster_ip or "" for n in range(4)]
        assert [address.rpartition(".")[0] for address in got] == ["10.96.0", "10.96.0", "10.88.0", "10.88.0"]
        await registry.delete(Service, "asked", namespace="default")
        assert "10.88.0.5" not in await addresses(registry)


async def test_the_configured_range_is_shown_once() -> None:
    async with registry_on(MemoryStore()) as registry:
        for _ in range(2):
            await show_configured(registry, "10.96.0.0/16")
        (shown,) = await registry.list(ServiceCIDR)
        assert (shown.metadata.name, shown.spec.cidrs) == ("kubernetes", ["10.96.0.0/16"])
        assert [(c.type, c.status) for c in shown.status.conditions or ()] == [("Ready", "True")]
