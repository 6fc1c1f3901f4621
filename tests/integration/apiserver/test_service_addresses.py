"""Addresses and node ports of Services on a real etcd: unique across servers, whatever happens to one of them."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator

from api import errors
from api.types.core_v1 import Service, ServicePort, ServiceSpec
from api.types.meta_v1 import ObjectMeta
from api.types.networking_v1 import IPAddress
from apiserver.allocators.addresses import AddressAllocator
from apiserver.allocators.ports import PREFIX, PortAllocator, ports_of
from apiserver.allocators.repair import Repair
from apiserver.registry import Registry
from apiserver.resources import strategies
from apiserver.store import Unavailable
from apiserver.store.etcd import EtcdStore
from tests.support.etcd import running_etcd

CIDR, PORTS = "10.96.0.0/24", (30000, 30199)


@contextlib.asynccontextmanager
async def registry_on(endpoint: str) -> AsyncIterator[Registry]:
    store = EtcdStore([endpoint])
    table = strategies(service_cidr=CIDR, node_ports=PORTS)
    made = Registry(store, strategy_for=table.__getitem__)
    await made.start()
    feeding = asyncio.create_task(made.feed.run())
    try:
        yield made
    finally:
        feeding.cancel()
        await asyncio.gather(feeding, return_exceptions=True)
        await store.close()


def service(name: str) -> Service:
    spec = ServiceSpec(type="NodePort", ports=[ServicePort(port=80)])
    return Service(metadata=ObjectMeta(name=name, namespace="default"), spec=spec)


async def held(registry: Registry) -> tuple[list[str], list[int]]:
    services = await registry.list(Service)
    ips = [ip for s in services for ip in s.spec.cluster_ips or ()]
    return ips, [port for s in services for port in ports_of(s)]


async def taken(registry: Registry) -> tuple[set[str], set[int]]:
    page = await registry.store.list(PREFIX)
    ips = {a.metadata.name or "" for a in await registry.list(IPAddress)}
    return ips, {int(record.key.removeprefix(PREFIX)) for record in page.records}


async def test_two_servers_creating_and_deleting_at_once() -> None:
    async with running_etcd() as etcd, registry_on(etcd.endpoint) as one, registry_on(etcd.endpoint) as two:
        servers = (one, two)

        async def live(name: str, chance: random.Random) -> None:
            for _ in range(3):
                await chance.choice(servers).create(service(name))
                await chance.choice(servers).delete(Service, name, namespace="default")
            await chance.choice(servers).create(service(name))

        await asyncio.gather(*(live(f"s{n}", random.Random(n)) for n in range(40)))
        ips, ports = await held(one)
        assert len(ips) == len(set(ips)) == 40
        assert len(ports) == len(set(ports)) == 40
        assert await taken(two) == (set(ips), set(ports))


async def test_an_etcd_that_dies_in_between_leaves_nothing_twice_and_repair_nothing_over() -> None:
    async with running_etcd() as etcd, registry_on(etcd.endpoint) as one, registry_on(etcd.endpoint) as two:

        async def make(registry: Registry, name: str) -> None:
            for _ in range(50):
                try:
                    await registry.create(service(name))
                    return
                except Unavailable:
                    await asyncio.sleep(0.05)
                except errors.StatusError as error:
                    if errors.is_already_exists(error):
                        return
                    await asyncio.sleep(0.05)

        work = [asyncio.create_task(make(one if n % 2 else two, f"s{n}")) for n in range(60)]
        await asyncio.sleep(0.1)
        etcd.kill()
        await etcd.start()
        await asyncio.gather(*work)
        ips, ports = await held(one)
        assert len(ips) == len(set(ips)) == 60
        assert len(ports) == len(set(ports)) == 60
        repair = Repair(one, AddressAllocator(CIDR), PortAllocator(*PORTS))
        for _ in range(2):
            await repair.round()
        assert await taken(two) == (set(ips), set(ports))
