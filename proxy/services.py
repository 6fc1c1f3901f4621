"""What a Service means on one node: its addresses, and the endpoints that traffic to each may go to.

Pure functions from Service and EndpointSlice objects; nothing here knows nftables. The rules are kube-proxy's:
ready endpoints first; where a policy leaves none, endpoints that are terminating but still serving (KEP-1669);
`internalTrafficPolicy`/`externalTrafficPolicy: Local` confine traffic to this node's endpoints (KEP-2086); elsewhere
endpoints that hints mean for this node or its zone are preferred (KEP-2433, KEP-3015).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from api.types.core_v1 import Service
from api.types.discovery_v1 import EndpointSlice

SERVICE_NAME_LABEL = "kubernetes.io/service-name"
SERVICE_PROXY_LABEL = "service.kubernetes.io/service-proxy-name"
HEADLESS_LABEL = "service.kubernetes.io/headless"
DEFAULT_AFFINITY_SECONDS = 10_800


@dataclass(frozen=True, order=True, slots=True)
class Endpoint:
    ip: str
    port: int
    local: bool


@dataclass(frozen=True, slots=True)
class ServicePort:
    """One port of one Service as this node must serve it."""

    namespace: str
    name: str
    port_name: str
    protocol: str  # "tcp", "udp" or "sctp"
    port: int
    cluster_ip: str
    external_ips: tuple[str, ...]  # spec.externalIPs
    load_balancer_ips: tuple[str, ...]
    source_ranges: tuple[str, ...]  # spec.loadBalancerSourceRanges; empty: everyone
    node_port: int  # 0: none
    affinity_seconds: int  # 0: no session affinity
    external_local: bool
    #: For traffic from inside the cluster to the cluster IP.
    internal: tuple[Endpoint, ...]
    #: For traffic to node ports, external and load balancer addresses: this node's alone if `external_local`.
    external: tuple[Endpoint, ...]
    #: Those of the whole cluster, which pods may reach through external addresses whatever the policy.
    cluster: tuple[Endpoint, ...]
    #: Addresses of all endpoints that still answer, also of those that new connections no longer go to.
    serving: frozenset[str] = frozenset()
    #: Addresses of this node's ready endpoints: what a load balancer's health check counts.
    local_ready: frozenset[str] = frozenset()

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.name}/{self.protocol}/{self.port_name}"

    @property
    def has_external(self) -> bool:
        return bool(self.node_port or self.external_ips or self.load_balancer_ips)


@dataclass(frozen=True, slots=True)
class _Candidate:
    endpoint: Endpoint
    ready: bool
    serving: bool
    terminating: bool
    nodes: frozenset[str]  # hints; empty: none
    zones: frozenset[str]


def is_proxied(service: Service) -> bool:
    """Whether this proxy serves it: it has a cluster IP, and no label hands it to another proxy or to none."""
    if {SERVICE_PROXY_LABEL, HEADLESS_LABEL} & (service.metadata.labels or {}).keys():
        return False
    ip = service.spec.cluster_ip
    return bool(ip) and ip != "None" and service.spec.type != "ExternalName"


def resolve(service: Service, slices: Iterable[EndpointSlice], node_name: str, zone: str = "") -> list[ServicePort]:
    """The Service's ports with their endpoints, as seen from the node `node_name` in `zone` ("": unknown)."""
    if not is_proxied(service):
        return []
    slices = [s for s in slices if s.address_type == "IPv4"]
    spec = service.spec
    affinity = 0
    if spec.session_affinity == "ClientIP":
        config = spec.session_affinity_config
        client_ip = config.client_ip if config else None
        affinity = (client_ip.timeout_seconds if client_ip else None) or DEFAULT_AFFINITY_SECONDS
    load_balancer_ips: tuple[str, ...] = ()
    if spec.type == "LoadBalancer" and service.status.load_balancer:
        ingress = service.status.load_balancer.ingress or []
        load_balancer_ips = _ipv4(i.ip for i in ingress if i.ip and (i.ip_mode or "VIP") == "VIP")
    external_local = spec.external_traffic_policy == "Local" and spec.type in ("NodePort", "LoadBalancer")
    ports = []
    for port in spec.ports or []:
        candidates = _candidates(slices, port.name or "", port.protocol or "TCP", node_name)
        cluster = _usable(candidates, _near(candidates, node_name, zone))
        local = _usable([c for c in candidates if c.endpoint.local])
        ports.append(
            ServicePort(
                namespace=service.metadata.namespace or "",
                name=service.metadata.name or "",
                port_name=port.name or "",
                protocol=(port.protocol or "TCP").lower(),
                port=port.port,
                cluster_ip=spec.cluster_ip or "",
                external_ips=_ipv4(spec.external_ips or ()),
                load_balancer_ips=load_balancer_ips,
                source_ranges=_ipv4(r.strip() for r in spec.load_balancer_source_ranges or ()),
                node_port=port.node_port or 0 if spec.type in ("NodePort", "LoadBalancer") else 0,
                affinity_seconds=affinity,
                external_local=external_local,
                internal=local if spec.internal_traffic_policy == "Local" else cluster,
                external=local if external_local else cluster,
                cluster=cluster,
                serving=frozenset(c.endpoint.ip for c in candidates if c.ready or c.serving),
                local_ready=frozenset(c.endpoint.ip for c in candidates if c.ready and c.endpoint.local),
            )
        )
    return ports


def _candidates(slices: Iterable[EndpointSlice], port_name: str, protocol: str, node_name: str) -> list[_Candidate]:
    found: dict[tuple[str, int], _Candidate] = {}
    for slice_ in slices:
        number = next(
            (
                p.port
                for p in slice_.ports or []
                if (p.name or "") == port_name and (p.protocol or "TCP") == protocol and p.port
            ),
            None,
        )
        if number is None:
            continue
        for e in slice_.endpoints or []:
            conditions = e.conditions
            ready = conditions is None or conditions.ready is not False
            terminating = bool(conditions and conditions.terminating)
            serving = ready if conditions is None or conditions.serving is None else conditions.serving
            for address in e.addresses[:1]:
                endpoint = Endpoint(address, number, e.node_name == node_name)
                hints = e.hints
                nodes = frozenset(n.name for n in (hints.for_nodes if hints else None) or ())
                zones = frozenset(z.name for z in (hints.for_zones if hints else None) or ())
                # One address may stand in two slices for a moment; a ready entry says more than one that is not.
                known = found.get((address, number))
                if known is None or (ready and not known.ready):
                    found[address, number] = _Candidate(endpoint, ready, serving, terminating, nodes, zones)
    return list(found.values())


def _ipv4(values: Iterable[str]) -> tuple[str, ...]:
    """Those of this proxy's family: one IPv6 address in the table, and nft would refuse all of it."""
    return tuple(v for v in values if ":" not in v)


def _near(candidates: list[_Candidate], node_name: str, zone: str) -> list[_Candidate]:
    """Endpoints that hints mean for this node, else for its zone, else all.

    Hints count only if every ready endpoint has them and one is for here: half a set would overload some or cut us off.
    """
    ready = [c for c in candidates if c.ready]
    for near, complete in (
        ([c for c in ready if node_name in c.nodes], all(c.nodes for c in ready)),
        ([c for c in ready if zone and zone in c.zones], all(c.zones for c in ready)),
    ):
        if near and complete:
            return near
    return ready


def _usable(candidates: list[_Candidate], preferred: list[_Candidate] | None = None) -> tuple[Endpoint, ...]:
    usable = [c.endpoint for c in (candidates if preferred is None else preferred) if c.ready]
    if not usable:
        usable = [c.endpoint for c in candidates if c.serving and c.terminating]
    return tuple(sorted(usable))
