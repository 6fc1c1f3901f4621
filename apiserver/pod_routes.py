"""Keeps routes from this machine to the pods, where no proxy does: proxied requests, webhooks, aggregated servers.

Needs CAP_NET_ADMIN. An address of the cluster that no node has is unreachable from here, rather than asked for outside.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from api.types.core_v1 import Node
from apiserver.registry import Registry

if TYPE_CHECKING:
    from component.routes import Routes

log = logging.getLogger(__name__)

_INTERVAL = 1.0  # seconds between looks at the nodes
_CHECK = 10  # looks at the nodes between looks at the kernel's routes: they go when an uplink does, or one was refused


class PodRoutes:
    def __init__(self, registry: Registry, cluster_cidr: str) -> None:
        self._registry = registry
        self._cluster_cidr = cluster_cidr
        self._routes: Routes | None = None

    async def run(self) -> None:
        """Until cancelled."""
        known: dict[str, str] | None = None
        looks = 0
        while True:
            wanted = self._wanted()
            looks += 1
            if wanted != known or looks >= _CHECK:
                try:
                    await asyncio.to_thread(self._sync, wanted)
                    known, looks = wanted, 0
                except Exception as error:  # netlink errors are no OSErrors
                    log.error("cannot write routes to pods, trying again: %s", error)
            await asyncio.sleep(_INTERVAL)

    def _sync(self, wanted: dict[str, str]) -> None:
        """Netlink needs asyncio's own event loop (see component.loops), and a quarter of a second to import."""
        from component.routes import Routes

        self._routes = self._routes or Routes(self._cluster_cidr)
        asyncio.run(self._routes.sync(wanted))

    def _wanted(self) -> dict[str, str]:
        """Pod CIDR of each node to the node's address."""
        found = {}
        for node in self._registry.cached_list(Node):
            addresses = [a.address for a in node.status.addresses or () if a.type == "InternalIP"]
            address = next((a for a in addresses if ":" not in a), "")
            if node.spec.pod_cidr and address:
                found[node.spec.pod_cidr] = address
        return found
