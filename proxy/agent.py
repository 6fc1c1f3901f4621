"""Keeps this node's rules, routes and health ports equal to what the API says.

Invariants:
- Informer events only mark Services as dirty; one loop turns all that is dirty into one transaction. So a burst of
  changes costs one `nft` run, and the order of events does not matter.
- What was applied is remembered only once nft has taken it. After a refusal the whole table is written anew.
- At start nothing is written before the first complete view is there: a restarted proxy leaves traffic undisturbed.
"""

from __future__ import annotations

import asyncio
import logging
import time
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
from proxy.health_ports import HealthPorts
from proxy.rules import TABLE, Fragment, Network, base, merge, render, transaction
from proxy.services import SERVICE_NAME_LABEL, ServicePort, resolve

log = logging.getLogger(__name__)

SYNC_SECONDS = Histogram("pykube_proxy_sync_seconds", "Seconds from the first unapplied change to its application.")
SYNC_FAILURES = Counter("pykube_proxy_sync_failures_total", "Transactions that nft refused.")

_RETRY_SECONDS = 1.0
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
        self._health_ports = HealthPorts()
        self._announcer = Announcer()
        self._balanced: dict[Key, frozenset[str]] = {}  # load balancer addresses that this node serves
        self._applied: dict[Key, Fragment] = {}
        self._ports: dict[Key, list[ServicePort]] = {}
        self._applied_nodes: frozenset[str] = frozenset()
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
        keys = dirty | self._applied.keys() if self._rewrite else dirty
        ports = {key: self._resolve(key) for key in keys}
        fragments = {key: merge(render(p, self._network) for p in ports[key]) for key in keys}
        nodes = self._node_addresses()
        if self._rewrite:
            script = base(self._network) + transaction(Fragment(), merge(fragments.values()))
            script += _node_elements(frozenset(), nodes)
        else:
            old = merge(self._applied[key] for key in keys if key in self._applied)
            script = transaction(old, merge(fragments.values()))
            script += _node_elements(self._applied_nodes, nodes)
        if script:
            await nft.apply(script)
        self._rewrite = False
        self._written = True
        self._applied_nodes = nodes
        stale = _stale_udp(self._ports, ports)
        for key, fragment in fragments.items():
            if ports[key]:
                self._applied[key], self._ports[key] = fragment, ports[key]
            else:
                self._applied.pop(key, None)
                self._ports.pop(key, None)
        for flows, endpoints in stale:
            await conntrack.forget_udp(flows, endpoints)
        for key in keys:
            service = self._services.get(*key)
            number = service.spec.health_check_node_port or 0 if service else 0
            local = sum(e.local for e in {e for p in ports[key] for e in p.cluster})
            await self._health_ports.set(key, number, local)
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

    def _resolve(self, key: Key) -> list[ServicePort]:
        service = self._services.get(*key)
        if service is None:
            return []
        return resolve(service, self._slices.by_index("service", f"{key[0]}/{key[1]}"), self._node_name)

    # -- nodes ----------------------------------------------------------------------------------------------------

    def _node_updated(self, old: Node, new: Node) -> None:
        if (old.spec.pod_cidr, _internal_ip(old)) != (new.spec.pod_cidr, _internal_ip(new)):
            self._nodes_changed.set()

    def _node_addresses(self) -> frozenset[str]:
        return frozenset(ip for n in self._nodes.list() if (ip := _internal_ip(n)))

    async def _sync_nodes(self) -> None:
        self._nodes_changed.set()
        while True:
            await self._nodes_changed.wait()
            self._nodes_changed.clear()
            wanted = {
                n.spec.pod_cidr: ip
                for n in self._nodes.list()
                if n.metadata.name != self._node_name and n.spec.pod_cidr and (ip := _internal_ip(n))
            }
            self._wake.set()
            try:
                await self._routes.sync(wanted)
            except OSError as error:
                log.error("cannot write routes, trying again: %s", error)
                await asyncio.sleep(_RETRY_SECONDS)
                self._nodes_changed.set()


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


def _stale_udp(
    old: dict[Key, list[ServicePort]], new: dict[Key, list[ServicePort]]
) -> list[tuple[list[tuple[str, int]], set[str]]]:
    """For each changed Service its UDP flows (address, port) and the endpoints it has lost."""
    stale = []
    for key, ports in new.items():
        now = {p.key: p for p in ports}
        for before in old.get(key, ()):
            if before.protocol != "udp":
                continue
            after = now.get(before.key)
            lost = {e.ip for e in before.cluster} - {e.ip for e in (after.cluster if after else ())}
            if lost:
                addresses = (before.cluster_ip, *before.external_ips, *before.load_balancer_ips)
                flows = [(ip, before.port) for ip in addresses]
                if before.node_port:
                    flows.append(("", before.node_port))
                stale.append((flows, lost))
    return stale
