"""Keeps this node's rules, routes and health ports equal to what the API says.

Invariants:
- Informer events only mark Services as dirty; one loop turns all that is dirty into one transaction. So a burst of
  changes costs one `nft` run, and the order of events does not matter.
- What was applied is remembered only once nft has taken it. After a refusal the whole table is written anew.
- At start nothing is written before the first complete view is there: a restarted proxy leaves traffic undisturbed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Iterable, Mapping
from ipaddress import ip_address, ip_network
from typing import Any

from prometheus_client import Counter, Histogram
from pyroute2.netlink.exceptions import NetlinkError

from api.types.core_v1 import Node, Service
from api.types.discovery_v1 import EndpointSlice
from client.api import Api
from client.informer import Informer
from component.routes import Routes
from proxy import conntrack, nft
from proxy.announce import Announcer
from proxy.claims import Claims
from proxy.health_ports import HealthPorts
from proxy.rules import TABLE, Fragment, Network, base, merge, render, transaction
from proxy.services import SERVICE_NAME_LABEL, ServicePort, resolve

log = logging.getLogger(__name__)

SYNC_SECONDS = Histogram("pykube_proxy_sync_seconds", "Seconds from the first unapplied change to its application.")
SYNC_FAILURES = Counter("pykube_proxy_sync_failures_total", "Transactions that nft refused.")

_RETRY_SECONDS = 1.0
#: Between looks at the kernel's routes: an uplink that was away for a moment has lost those through it.
_ROUTES_SECONDS = 10.0
ZONE_LABEL = "topology.kubernetes.io/zone"
_UNHEALTHY_AFTER_SECONDS = 120.0  # kube-proxy's: two minutes behind is not healthy

Key = tuple[str, str]  # namespace, name


class Agent:
    """The proxy of the node `node_name`."""

    def __init__(self, api: Api, *, node_name: str, network: Network) -> None:
        self._node_name = node_name
        self._network = network
        self._services = Informer(api, Service)
        self._slices = Informer(api, EndpointSlice)
        self._nodes = Informer(api, Node)
        self._slices.add_index("service", lambda s: ["/".join(_service_key(s))])
        self._routes = Routes(network.cluster_cidr)
        self._health_ports = HealthPorts(self.healthy)
        self._announcer = Announcer()
        self._balanced: dict[Key, frozenset[str]] = {}  # load balancer addresses that this node serves
        self._applied: dict[Key, Fragment] = {}
        self._claims = Claims()
        self._pods = ip_network(network.cluster_cidr)
        self._ports: dict[Key, list[ServicePort]] = {}
        self._applied_nodes: frozenset[str] = frozenset()
        self._applied_zone = ""
        self._dirty: set[Key] = set()
        self._dirty_since: float | None = None  # monotonic seconds
        self._rewrite = True
        self._written = False
        self._wake = asyncio.Event()
        self._nodes_changed = asyncio.Event()
        self._services.add_handler(
            on_add=lambda s: self._mark(_key(s)),
            on_update=lambda old, new: self._mark(_key(new)),
            on_delete=lambda s: self._mark(_key(s)),
        )
        self._slices.add_handler(
            on_add=lambda s: self._mark(_service_key(s)),
            on_update=lambda old, new: self._mark(_service_key(new)),
            on_delete=lambda s: self._mark(_service_key(s)),
        )
        self._nodes.add_handler(
            on_add=lambda n: self._nodes_changed.set(),
            on_update=lambda old, new: self._node_updated(old, new),
            on_delete=lambda n: self._nodes_changed.set(),
        )

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            for informer in (self._services, self._slices, self._nodes):
                tasks.create_task(informer.run())
            for informer in (self._services, self._slices, self._nodes):
                await informer.synced()
            tasks.create_task(self._sync_services())
            tasks.create_task(self._sync_nodes())

    def healthy(self) -> str:
        """ "" or why this proxy is not healthy."""
        if self._dirty_since is not None:
            behind = time.monotonic() - self._dirty_since
            if behind > _UNHEALTHY_AFTER_SECONDS:
                return f"rules are {behind:.0f} s behind"
        return ""

    def ready(self) -> str:
        """ "" or why this proxy is not ready: until the first rules are in place."""
        return "" if self._written else "rules have not been written yet"

    # -- services -------------------------------------------------------------------------------------------------

    def _mark(self, key: Key) -> None:
        self._dirty.add(key)
        if self._dirty_since is None:
            self._dirty_since = time.monotonic()
        self._wake.set()

    async def _sync_services(self) -> None:
        for service in self._services.list():
            self._mark(_key(service))
        while True:
            await self._wake.wait()
            self._wake.clear()
            dirty, self._dirty = self._dirty, set()
            since, self._dirty_since = self._dirty_since, None
            try:
                await self._apply(dirty)
            except nft.NftError as error:
                SYNC_FAILURES.inc()
                log.error("nft refused a transaction, rewriting the table: %s", error)
                self._rewrite = True
                self._dirty |= dirty
                self._dirty_since = since
                await asyncio.sleep(_RETRY_SECONDS)
                self._wake.set()
                continue
            if since is not None:
                SYNC_SECONDS.observe(time.monotonic() - since)

    async def _apply(self, dirty: set[Key]) -> None:
        zone = self._zone()
        if self._rewrite or zone != self._applied_zone:
            dirty = dirty | self._applied.keys()
        ports, fragments = self._render(dirty, zone)
        if not self._rewrite and (contested := self._claims.contested(self._old(dirty), fragments.values())):
            log.warning("several Services claim %s: the oldest gets it", ", ".join(contested))
            self._rewrite = True
            ports, fragments = self._render(dirty | self._applied.keys(), zone)
        keys = fragments.keys()
        nodes = self._node_addresses()
        if self._rewrite:
            script = base(self._network) + transaction(Fragment(), merge(fragments.values()))
            script += _node_elements(frozenset(), nodes)
        else:
            old = merge(self._old(keys))
            script = transaction(old, merge(fragments.values()))
            script += _node_elements(self._applied_nodes, nodes)
        if script:
            await nft.apply(script)
        self._rewrite = False
        self._written = True
        self._applied_nodes, self._applied_zone = nodes, zone
        served = _served_udp(self._ports, ports)
        for key, fragment in fragments.items():
            self._claims.replace(self._applied.get(key, Fragment()), fragment)
            if ports[key]:
                self._applied[key], self._ports[key] = fragment, ports[key]
            else:
                self._applied.pop(key, None)
                self._ports.pop(key, None)
        if served:
            await conntrack.forget_udp(served, self._is_ours)
        for key in keys:
            service = self._services.get(*key)
            number = service.spec.health_check_node_port or 0 if service else 0
            local = {ip for p in ports[key] for ip in p.local_ready}
            await self._health_ports.set(key, number, len(local))
        await self._announce(ports)

    async def _announce(self, changed: dict[Key, list[ServicePort]]) -> None:
        for key, ports in changed.items():
            addresses = {ip for p in ports if p.external or not p.external_local for ip in p.load_balancer_ips}
            if addresses:
                self._balanced[key] = frozenset(addresses)
            else:
                self._balanced.pop(key, None)
        wanted = {ip for addresses in self._balanced.values() for ip in addresses}
        again = {ip for key in changed for ip in self._balanced.get(key, ())}
        try:
            await self._announcer.sync(wanted, refresh=again)
        except (OSError, NetlinkError) as error:
            log.error("cannot answer for load balancer addresses: %s", error)

    def _old(self, keys: Iterable[Key]) -> list[Fragment]:
        return [self._applied[key] for key in keys if key in self._applied]

    def _is_ours(self, flow: conntrack.Flow) -> bool:
        """Whether a UDP flow to some node port is to this node's, and not to a stranger's port of that number."""
        node = self._nodes.get("", self._node_name)
        return (node is not None and flow.address == _internal_ip(node)) or ip_address(flow.endpoint) in self._pods

    def _render(self, keys: Iterable[Key], zone: str) -> tuple[dict[Key, list[ServicePort]], dict[Key, Fragment]]:
        """Younger Services first: where two claim one address, the last that is written has it."""
        ordered = sorted(keys, key=self._age, reverse=True)
        ports = {key: self._resolve(key, zone) for key in ordered}
        return ports, {key: merge(render(p, self._network) for p in ports[key]) for key in ordered}

    def _age(self, key: Key) -> tuple[str, Key]:
        service = self._services.get(*key)
        return (service.metadata.creation_timestamp or "") if service else "", key

    def _resolve(self, key: Key, zone: str) -> list[ServicePort]:
        service = self._services.get(*key)
        if service is None:
            return []
        return resolve(service, self._slices.by_index("service", f"{key[0]}/{key[1]}"), self._node_name, zone)

    # -- nodes ----------------------------------------------------------------------------------------------------

    def _node_updated(self, old: Node, new: Node) -> None:
        if (old.spec.pod_cidr, _internal_ip(old), _zone(old)) != (new.spec.pod_cidr, _internal_ip(new), _zone(new)):
            self._nodes_changed.set()

    def _zone(self) -> str:
        node = self._nodes.get("", self._node_name)
        return _zone(node) if node is not None else ""

    def _node_addresses(self) -> frozenset[str]:
        return frozenset(ip for n in self._nodes.list() if (ip := _internal_ip(n)))

    async def _sync_nodes(self) -> None:
        while True:
            self._nodes_changed.clear()
            wanted = {
                n.spec.pod_cidr: ip
                for n in self._nodes.list()
                if n.metadata.name != self._node_name and n.spec.pod_cidr and (ip := _internal_ip(n))
            }
            self._wake.set()
            try:
                await self._routes.sync(wanted)
            except (OSError, NetlinkError) as error:
                log.error("cannot write routes, trying again: %s", error)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_ROUTES_SECONDS):
                    await self._nodes_changed.wait()


def _key(obj: Any) -> Key:
    return obj.metadata.namespace, obj.metadata.name


def _service_key(slice_: EndpointSlice) -> Key:
    return slice_.metadata.namespace or "", (slice_.metadata.labels or {}).get(SERVICE_NAME_LABEL, "")


def _internal_ip(node: Node) -> str:
    return next((a.address for a in node.status.addresses or [] if a.type == "InternalIP" and ":" not in a.address), "")


def _node_elements(old: frozenset[str], new: frozenset[str]) -> str:
    lines = [f"delete element {TABLE} nodes {{ {ip} }}" for ip in sorted(old - new)]
    lines += [f"add element {TABLE} nodes {{ {ip} }}" for ip in sorted(new - old)]
    return "\n".join(lines) + "\n" if lines else ""


def _zone(node: Node) -> str:
    return (node.metadata.labels or {}).get(ZONE_LABEL, "")


def _served_udp(old: Mapping[Key, list[ServicePort]], new: Mapping[Key, list[ServicePort]]) -> conntrack.Served:
    """Who may answer from now on at the UDP addresses that changed Services have, or have had."""
    served = conntrack.Served()
    for key, ports in new.items():
        before, now = _udp(old.get(key, ())), _udp(ports)
        if before == now:
            continue
        for port in (*before, *now):
            endpoints = port.serving if port in now else frozenset[str]()
            for address in (port.cluster_ip, *port.external_ips, *port.load_balancer_ips):
                served.addresses.setdefault((address, port.port), set()).update(endpoints)
            if port.node_port:
                served.node_ports.setdefault(port.node_port, set()).update(endpoints)
    return served


def _udp(ports: Iterable[ServicePort]) -> list[ServicePort]:
    return [p for p in ports if p.protocol == "udp"]
