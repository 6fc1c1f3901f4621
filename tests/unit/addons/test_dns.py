"""Cluster DNS as a pod sees it: real packets to a real server on loopback, over a cluster given in memory."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from dnslib import QTYPE, RCODE, RR, A, DNSRecord

from addons.dns.forward import Forwarder, _ask_tcp, _ask_udp
from addons.dns.records import Zone
from addons.dns.server import DNSServer
from api.codec import from_dict
from api.types.core_v1 import Namespace, Service
from api.types.discovery_v1 import EndpointSlice
from tests.support.ports import free_port


class Cluster:
    """`addons.dns.records.Source` from plain dictionaries."""

    def __init__(self) -> None:
        self.services: list[Service] = []
        self.endpoint_slices: list[EndpointSlice] = []

    def add_service(self, name: str, **spec: Any) -> None:
        metadata = {"name": name, "namespace": "shop"}
        self.services.append(from_dict(Service, {"metadata": metadata, "spec": spec}))

    def add_slice(self, service: str, ports: list[dict[str, Any]], *endpoints: dict[str, Any]) -> None:
        labels = {"kubernetes.io/service-name": service}
        metadata = {"name": f"{service}-{len(self.endpoint_slices)}", "namespace": "shop", "labels": labels}
        value = {"metadata": metadata, "addressType": "IPv4", "ports": ports, "endpoints": list(endpoints)}
        self.endpoint_slices.append(from_dict(EndpointSlice, value))

    def namespace(self, name: str) -> Namespace | None:
        return Namespace() if name == "shop" else None

    def service(self, namespace: str, name: str) -> Service | None:
        return next((s for s in self.services if (s.metadata.namespace, s.metadata.name) == (namespace, name)), None)

    def slices(self, namespace: str, service: str) -> list[EndpointSlice]:
        return [s for s in self.endpoint_slices if (s.metadata.labels or {})["kubernetes.io/service-name"] == service]

    def service_by_ip(self, ip: str) -> Service | None:
        return next((s for s in self.services if s.spec.cluster_ip == ip), None)

    def slices_by_ip(self, ip: str) -> list[EndpointSlice]:
        return [s for s in self.endpoint_slices if any(ip in e.addresses for e in s.endpoints or [])]


class Upstream(asyncio.DatagramProtocol):
    """A resolver outside of the cluster that knows every name as 203.0.113.7, and counts who asks."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        request = DNSRecord.parse(data)
        self.asked.append(str(request.q.qname))
        reply = request.reply()
        reply.add_answer(RR(request.q.qname, QTYPE.A, ttl=60, rdata=A("203.0.113.7")))
        self.transport.sendto(reply.pack(), addr)


class Client:
    def __init__(self, port: int, upstream: Upstream) -> None:
        self.port = port
        self.upstream = upstream

    async def ask(self, name: str, kind: str = "A", *, tcp: bool = False) -> DNSRecord:
        ask = _ask_tcp if tcp else _ask_udp
        async with asyncio.timeout(5):
            return DNSRecord.parse(await ask("127.0.0.1", self.port, DNSRecord.question(name, kind).pack()))

    async def values(self, name: str, kind: str = "A") -> list[str]:
        return sorted(str(r.rdata) for r in (await self.ask(name, kind)).rr)

    async def rcode(self, name: str, kind: str = "A") -> str:
        return str(RCODE.get((await self.ask(name, kind)).header.rcode))


@pytest.fixture
def cluster() -> Cluster:
    made = Cluster()
    made.add_service(
        "web", clusterIP="10.96.0.7", ports=[{"name": "http", "port": 80, "protocol": "TCP", "targetPort": 8080}]
    )
    made.add_service("db", clusterIP="None", ports=[{"name": "sql", "port": 5432, "protocol": "TCP"}])
    made.add_slice(
        "db",
        [{"name": "sql", "port": 5432, "protocol": "TCP"}],
        {"addresses": ["10.244.1.5"], "hostname": "db-0", "conditions": {"ready": True}},
        {"addresses": ["10.244.2.6"], "conditions": {"ready": True}},
        {"addresses": ["10.244.2.9"], "hostname": "db-9", "conditions": {"ready": False}},
    )
    made.add_service("outside", type="ExternalName", externalName="www.example.com")
    made.add_service("alias", type="ExternalName", externalName="web.shop.svc.cluster.local")
    made.add_service("nobody", clusterIP="None")
    return made


@pytest.fixture
async def client(cluster: Cluster) -> AsyncIterator[Client]:
    loop = asyncio.get_running_loop()
    upstream_port, port = free_port(), free_port()
    transport, upstream = await loop.create_datagram_endpoint(Upstream, local_addr=("127.0.0.1", upstream_port))
    server = DNSServer(Zone("cluster.local", cluster), Forwarder(["127.0.0.1"], port=upstream_port))
    task = asyncio.create_task(server.serve("127.0.0.1", port))
    await asyncio.sleep(0.05)
    yield Client(port, upstream)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    transport.close()


async def test_services(client: Client) -> None:
    assert await client.values("web.shop.svc.cluster.local") == ["10.96.0.7"]
    assert await client.values("WEB.Shop.svc.cluster.LOCAL.") == ["10.96.0.7"]
    assert (await client.ask("web.shop.svc.cluster.local")).header.aa == 1


async def test_headless_services_name_their_ready_pods(client: Client) -> None:
    assert await client.values("db.shop.svc.cluster.local") == ["10.244.1.5", "10.244.2.6"]
    assert await client.values("db-0.db.shop.svc.cluster.local") == ["10.244.1.5"]
    assert await client.values("10-244-2-6.db.shop.svc.cluster.local") == ["10.244.2.6"]
    assert await client.rcode("db-9.db.shop.svc.cluster.local") == "NXDOMAIN"
    assert await client.rcode("nobody.shop.svc.cluster.local") == "NXDOMAIN"


async def test_srv(client: Client) -> None:
    assert await client.values("_http._tcp.web.shop.svc.cluster.local", "SRV") == [
        "0 100 80 web.shop.svc.cluster.local."
    ]
    reply = await client.ask("_sql._tcp.db.shop.svc.cluster.local", "SRV")
    assert sorted(str(r.rdata) for r in reply.rr) == [
        "0 100 5432 10-244-2-6.db.shop.svc.cluster.local.",
        "0 100 5432 db-0.db.shop.svc.cluster.local.",
    ]
    assert sorted(str(r.rdata) for r in reply.ar) == ["10.244.1.5", "10.244.2.6"]
    assert await client.rcode("_none._tcp.web.shop.svc.cluster.local", "SRV") == "NXDOMAIN"


async def test_pods_by_address(client: Client) -> None:
    assert await client.values("10-244-3-4.shop.pod.cluster.local") == ["10.244.3.4"]
    assert await client.rcode("10-244-3-4.nowhere.pod.cluster.local") == "NXDOMAIN"
    assert await client.rcode("10-244-3-999.shop.pod.cluster.local") == "NXDOMAIN"


async def test_a_name_without_that_type_is_empty_and_an_unknown_one_does_not_exist(client: Client) -> None:
    reply = await client.ask("web.shop.svc.cluster.local", "AAAA")
    assert (RCODE.get(reply.header.rcode), reply.rr, reply.auth[0].rtype) == ("NOERROR", [], QTYPE.SOA)
    assert await client.rcode("shop.svc.cluster.local") == "NOERROR"
    for name in ("gone.shop.svc", "web.nowhere.svc", "x.web.shop.svc", "foo"):
        assert await client.rcode(f"{name}.cluster.local") == "NXDOMAIN", name


async def test_external_names_are_followed(client: Client) -> None:
    assert await client.values("outside.shop.svc.cluster.local") == ["203.0.113.7", "www.example.com."]
    assert await client.values("alias.shop.svc.cluster.local") == ["10.96.0.7", "web.shop.svc.cluster.local."]
    assert await client.values("outside.shop.svc.cluster.local", "CNAME") == ["www.example.com."]


async def test_reverse(client: Client) -> None:
    assert await client.values("7.0.96.10.in-addr.arpa", "PTR") == ["web.shop.svc.cluster.local."]
    assert await client.values("5.1.244.10.in-addr.arpa", "PTR") == ["db-0.db.shop.svc.cluster.local."]


async def test_everything_else_is_forwarded_and_remembered(client: Client) -> None:
    assert await client.values("www.example.org") == ["203.0.113.7"]
    assert await client.values("www.example.org") == ["203.0.113.7"]
    assert client.upstream.asked == ["www.example.org."]


async def test_silent_resolvers_give_servfail(cluster: Cluster) -> None:
    server = DNSServer(Zone("cluster.local", cluster), Forwarder(["127.0.0.1"], port=free_port()))
    reply = await server.answer(DNSRecord.question("www.example.org").pack(), "udp")
    assert reply is not None
    assert RCODE.get(DNSRecord.parse(reply).header.rcode) == "SERVFAIL"


async def test_long_answers_are_cut_over_udp_and_whole_over_tcp(client: Client, cluster: Cluster) -> None:
    cluster.add_service("many", clusterIP="None")
    cluster.add_slice("many", [], *({"addresses": [f"10.244.9.{n}"]} for n in range(1, 101)))
    cut = await client.ask("many.shop.svc.cluster.local")
    assert (cut.header.tc, cut.rr) == (1, [])
    assert len((await client.ask("many.shop.svc.cluster.local", tcp=True)).rr) == 100


async def test_version_and_garbage(client: Client) -> None:
    assert await client.values("dns-version.cluster.local", "TXT") == ['"1.1.0"']
    async with asyncio.timeout(5):
        reply = await _ask_udp("127.0.0.1", client.port, b"\x12\x34\x01\x00\x00\x01" + b"\xff" * 10)
    assert RCODE.get(reply[3] & 0xF) == "FORMERR"


async def test_an_answer_from_memory_is_spelled_as_the_question(client: Client) -> None:
    await client.ask("www.example.org")
    assert str((await client.ask("wWw.eXample.ORG")).q.qname) == "wWw.eXample.ORG."
