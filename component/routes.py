"""Routes to the pods of the (other) nodes, for every machine that speaks to pods: nodes and the control plane.

Invariants: every other node with a pod CIDR and an internal address has exactly one route here, marked with our
protocol number; a pod address of no node is unreachable, so that no packet to one leaves through the uplink. Routes
of anybody else are left alone.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from pyroute2 import AsyncIPRoute
from pyroute2.netlink.exceptions import NetlinkError

log = logging.getLogger(__name__)

PROTOCOL = 98  # rtnetlink protocol number of routes that are ours; unassigned in rt_protos
_UNREACHABLE = 7  # RTN_UNREACHABLE
_UNREACHABLE_METRIC = 4096  # behind any real route


class Routes:
    """Keeps the kernel's routes equal to the last `sync`."""

    def __init__(self, cluster_cidr: str) -> None:
        self._cluster_cidr = cluster_cidr
        self._failing: dict[str, str] = {}

    async def sync(self, wanted: Mapping[str, str]) -> None:
        """Make our routes exactly `wanted` (pod CIDR -> the node's address).

        One bad route does not stop the others; it is logged, and tried again by the next `sync`. Raises OSError or
        NetlinkError if the kernel's routes cannot be read.
        """
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
                barrier = {"type": "unreachable", "priority": _UNREACHABLE_METRIC}
                await self._change(ipr, "replace", self._cluster_cidr, **barrier)
            for cidr in have.keys() - wanted.keys():
                log.info("removing the route to %s", cidr)
                await self._change(ipr, "del", cidr)
            for cidr, gateway in wanted.items():
                if have.get(cidr) != gateway and await self._change(ipr, "replace", cidr, gateway=gateway):
                    log.info("routing %s through %s", cidr, gateway)

    async def _change(self, ipr: AsyncIPRoute, command: str, cidr: str, **more: Any) -> bool:
        try:
            await ipr.route(command, dst=cidr, proto=PROTOCOL, **more)
        except NetlinkError as error:
            why = str(error)
            if self._failing.get(cidr) != why:  # said once, however often it is tried
                log.warning("cannot %s the route to %s %s: %s", command, cidr, more.get("gateway", ""), why)
            self._failing[cidr] = why
            return False
        self._failing.pop(cidr, None)
        return True
