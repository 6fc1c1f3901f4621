"""What a name in the cluster's domain means: Kubernetes' DNS-Based Service Discovery specification, version 1.1.0.

Invariants: answers come from the informers' caches alone, so that a query never waits for the apiserver; a name that
exists but has no record of the asked type is an empty answer, one that does not exist is NXDOMAIN.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

from api.types.core_v1 import Namespace, Service
from api.types.discovery_v1 import EndpointSlice

SPECIFICATION = "1.1.0"
SERVICE_NAME_LABEL = "kubernetes.io/service-name"


@dataclass(frozen=True, slots=True)
class Record:
    """`type` is A, CNAME, SRV, PTR or TXT. For SRV `value` is the target and `port` its port."""

    name: str
    type: str
    value: str
    port: int = 0


@dataclass(slots=True)
class Answer:
    exists: bool  # False: NXDOMAIN
    records: list[Record] = field(default_factory=list)
    additional: list[Record] = field(default_factory=list)


class Source(Protocol):
    """What is known of the cluster, answered from memory."""

    def namespace(self, name: str) -> Namespace | None: ...
    def service(self, namespace: str, name: str) -> Service | None: ...
    def slices(self, namespace: str, service: str) -> list[EndpointSlice]: ...
    def service_by_ip(self, ip: str) -> Service | None: ...
    def slices_by_ip(self, ip: str) -> list[EndpointSlice]: ...


@dataclass(frozen=True, slots=True)
class _Peer:
    hostname: str
    ip: str
    ports: tuple[tuple[str, str, int], ...]  # name, protocol in lower case, number


class Zone:
    """The cluster's domain (such as `cluster.local`) and the reverse zones of its addresses."""

    def __init__(self, domain: str, source: Source) -> None:
        self.domain = domain.strip(".").lower()
        self._labels = self.domain.split(".")
        self._source = source

    def covers(self, name: str) -> bool:
        """Whether this zone has authority over `name` (without its final dot, lower case)."""
        return name == self.domain or name.endswith("." + self.domain)

    def lookup(self, name: str, kind: str) -> Answer:
        """What `name` means for a query of type `kind`. Only for names that the zone covers."""
        labels = name.split(".")[: -len(self._labels)]
        match labels:
            case []:
                return Answer(True)
            case ["dns-version"]:
                return Answer(True, [Record(name, "TXT", SPECIFICATION)] if kind == "TXT" else [])
            case ["svc"] | ["pod"]:
                return Answer(True)
            case [*rest, namespace, "svc"] if self._source.namespace(namespace):
                return self._services(name, rest, namespace, kind) if rest else Answer(True)
            case [namespace, "pod"] if self._source.namespace(namespace):
                return Answer(True)
            case [dashed, namespace, "pod"] if self._source.namespace(namespace):
                return self._pod(name, dashed, kind)
        return Answer(False)

    def reverse(self, ip: str) -> Answer | None:
        """The PTR records of an address of the cluster; None if the address is none of ours."""
        name = ipaddress.ip_address(ip).reverse_pointer
        service = self._source.service_by_ip(ip)
        if service is not None:
            return Answer(True, [Record(name, "PTR", self._service_name(service))])
        targets = []
        for slice_ in self._source.slices_by_ip(ip):
            namespace = slice_.metadata.namespace or ""
            service = self._source.service(namespace, _service_of(slice_))
            if service is not None and _headless(service):
                base = self._service_name(service)
                targets += [f"{p.hostname}.{base}" for p in _peers([slice_]) if p.ip == ip]
        return Answer(True, [Record(name, "PTR", t) for t in sorted(set(targets))]) if targets else None

    def _service_name(self, service: Service) -> str:
        return f"{service.metadata.name}.{service.metadata.namespace}.svc.{self.domain}"

    def _services(self, name: str, labels: list[str], namespace: str, kind: str) -> Answer:
        service = self._source.service(namespace, labels[-1])
        if service is None:
            return Answer(False)
        if service.spec.type == "ExternalName":
            return self._external_name(name, labels, service)
        match labels:
            case [_]:
                return self._service(name, service, kind)
            case [port, protocol, _] if port.startswith("_") and protocol.startswith("_"):
                return self._port(name, service, port[1:], protocol[1:], kind)
            case [hostname, _] if _headless(service):
                found = [p for p in self._endpoints(service) if p.hostname == hostname]
                return Answer(bool(found), _addresses(name, found) if kind in ("A", "ANY") else [])
        return Answer(False)

    def _external_name(self, name: str, labels: list[str], service: Service) -> Answer:
        if len(labels) != 1:
            return Answer(False)
        return Answer(True, [Record(name, "CNAME", (service.spec.external_name or "").strip("."))])

    def _service(self, name: str, service: Service, kind: str) -> Answer:
        if not _headless(service):
            ip = service.spec.cluster_ip or ""
            wanted = kind in ("A", "ANY") and ip and ":" not in ip
            return Answer(True, [Record(name, "A", ip)] if wanted else [])
        peers = self._endpoints(service)
        if not peers:
            # Upstream's DNS says so too: a headless service with nobody behind it has no name yet.
            return Answer(False)
        return Answer(True, _addresses(name, peers) if kind in ("A", "ANY") else [])

    def _port(self, name: str, service: Service, port: str, protocol: str, kind: str) -> Answer:
        base = self._service_name(service)
        if not _headless(service):
            numbers = [
                p.port
                for p in service.spec.ports or []
                if (p.name or "").lower() == port and (p.protocol or "TCP").lower() == protocol
            ]
            if not numbers:
                return Answer(False)
            if kind not in ("SRV", "ANY"):
                return Answer(True)
            extra = [Record(base, "A", service.spec.cluster_ip or "")]
            return Answer(True, [Record(name, "SRV", base, n) for n in numbers], extra)
        records, extra = [], []
        for peer in self._endpoints(service):
            for port_name, port_protocol, number in peer.ports:
                if (port_name, port_protocol) == (port, protocol):
                    target = f"{peer.hostname}.{base}"
                    records.append(Record(name, "SRV", target, number))
                    extra.append(Record(target, "A", peer.ip))
        if not records:
            return Answer(False)
        return Answer(True, records, extra) if kind in ("SRV", "ANY") else Answer(True)

    def _pod(self, name: str, dashed: str, kind: str) -> Answer:
        """`1-2-3-4.namespace.pod`: the address that the name spells, as CoreDNS' default configuration has it."""
        try:
            ip = str(ipaddress.IPv4Address(dashed.replace("-", ".")))
        except ValueError:
            return Answer(False)
        return Answer(True, [Record(name, "A", ip)] if kind in ("A", "ANY") else [])

    def _endpoints(self, service: Service) -> list[_Peer]:
        slices = self._source.slices(service.metadata.namespace or "", service.metadata.name or "")
        return list({(p.hostname, p.ip, p.ports): p for p in _peers(slices)}.values())


def _peers(slices: list[EndpointSlice]) -> Iterator[_Peer]:
    for slice_ in slices:
        if slice_.address_type != "IPv4":
            continue
        ports = tuple(((p.name or "").lower(), (p.protocol or "TCP").lower(), p.port or 0) for p in slice_.ports or [])
        for endpoint in slice_.endpoints or []:
            # For publishNotReadyAddresses the endpoint slice controller already says ready.
            if endpoint.conditions is not None and endpoint.conditions.ready is False:
                continue
            for ip in endpoint.addresses:
                yield _Peer((endpoint.hostname or ip.replace(".", "-")).lower(), ip, ports)


def _addresses(name: str, peers: list[_Peer]) -> list[Record]:
    return [Record(name, "A", ip) for ip in sorted({p.ip for p in peers})]


def _headless(service: Service) -> bool:
    return service.spec.cluster_ip == "None"


def _service_of(slice_: EndpointSlice) -> str:
    return (slice_.metadata.labels or {}).get(SERVICE_NAME_LABEL, "")
