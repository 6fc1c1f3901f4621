"""Routes to the pods of the (other) nodes, for every machine that speaks to pods: nodes and the control plane.

Invariants: every other node with a pod CIDR and an internal address has exactly one route here, marked with our
protocol number; a pod address of no node is unreachable, so that no packet to one leaves through the uplink. Routes
of anybody else are left alone.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

from pyroute2 import AsyncIPRoute

log = logging.getLogger(__name__)

PROTOCOL = 98  # rtnetlink protocol number of routes that are ours; unassigned in rt_protos
_UNREACHABLE = 7  # RTN_UNREACHABLE
_UNREACHABLE_METRIC = 4096  # behind any real route


class Routes:
    """Keeps the kernel's routes equal to the last `sync`."""

    def __init__(self, cluster_cidr: str) -> None:
        self._cluster_cidr = cluster_cidr

    async def sync(self, wanted: Mapping[str, str]) -> None:
        """Make our routes exactly `wanted` (pod CIDR -> the node's address). One bad route does not stop the others."""
        async with AsyncIPRoute() as ipr:
            have: dict[str, str] = {}
            closed = False
            async for route in await ipr.route("dump", family=2, proto=PROTOCOL):
                if route.get("proto") != PROTOCOL:
                    continue
                destination = f"{route.get('dst')}/{route['dst_len']}"
                if route["type"] == _UNREACHABLE:
                    closed = closed or destination == self._cluster_cidr
                else:
                    have[destination] = route.get("gateway") or ""
            if not closed:
                await ipr.route(
                    "replace",
                    dst=self._cluster_cidr,
                    type="unreachable",
                    proto=PROTOCOL,
                    priority=_UNREACHABLE_METRIC,
                )
            for cidr in have.keys() - wanted.keys():
                log.info("removing the route to %s", cidr)
                await ipr.route("del", dst=cidr, proto=PROTOCOL)
            for cidr, gateway in wanted.items():
                if have.get(cidr) == gateway:
                    continue
                log.info("routing %s through %s", cidr, gateway)
                try:
                    await ipr.route("replace", dst=cidr, gateway=gateway, proto=PROTOCOL)
                except Exception as error:
                    log.warning("cannot route %s through %s: %s", cidr, gateway, error)
