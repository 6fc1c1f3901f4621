"""All ranges that cluster IPs come from: the configured one, and those of ServiceCIDR objects (KEP-1880).

The configured range is in an object, too (`kubernetes`), which only shows it: a cluster whose object was lost or is
being deleted still gives its services addresses. Other objects count as long as the controller manager says they are
ready.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from api import errors
from api import time as api_time
from api.types import core_v1, meta_v1, networking_v1
from apiserver.allocators import Full, OutOfRange
from apiserver.allocators.addresses import AddressAllocator

if TYPE_CHECKING:
    from apiserver.registry import Registry

DEFAULT = "kubernetes"
READY = "Ready"


class Ranges:
    """What `AddressAllocator` is for one range, for all of them; the configured one comes first."""

    def __init__(self, configured: str) -> None:
        self._configured = AddressAllocator(configured)
        self.family = self._configured.family
        self._made: dict[str, AddressAllocator] = {}

    async def take(self, registry: Registry, address: str, service: core_v1.Service, *, dry_run: bool = False) -> None:
        """Take one certain address. Raises Taken or OutOfRange."""
        ranges = self._ranges(registry)
        holder = next((one for one in ranges if address in one), None)
        if holder is None:
            known = ", ".join(str(one.network) for one in ranges)
            raise OutOfRange(
                f"the provided IP ({address}) is not in the valid range. The range of valid IPs is {known}"
            )
        await holder.take(registry, address, service, dry_run=dry_run)

    async def take_any(self, registry: Registry, service: core_v1.Service, *, dry_run: bool = False) -> str:
        """Take a free address of the first range that has one. Raises Full."""
        for one in self._ranges(registry):
            try:
                return await one.take_any(registry, service, dry_run=dry_run)
            except Full:
                continue
        raise Full("range is full")

    async def give_back(self, registry: Registry, address: str, service: core_v1.Service) -> None:
        """Free an address that this service has, in whatever range."""
        await self._configured.give_back(registry, address, service)

    def _ranges(self, registry: Registry) -> list[AddressAllocator]:
        found = [self._configured]
        for one in registry.cached_list(networking_v1.ServiceCIDR):
            if one.metadata.deletion_timestamp or not _ready(one):
                continue
            for cidr in one.spec.cidrs or ():
                if ipaddress.ip_network(cidr) != self._configured.network:
                    found.append(self._made.setdefault(cidr, AddressAllocator(cidr)))
        return [one for one in found if one.family == self.family]


async def show_configured(registry: Registry, cidr: str) -> None:
    """Make the object of the configured range, as upstream does at start."""
    condition = meta_v1.Condition(
        type=READY,
        status="True",
        message="Kubernetes default Service CIDR is ready",
        last_transition_time=api_time.now(),
    )
    made = networking_v1.ServiceCIDR(
        metadata=meta_v1.ObjectMeta(name=DEFAULT), spec=networking_v1.ServiceCIDRSpec(cidrs=[cidr])
    )
    try:
        made = await registry.create(made)
        made.status.conditions = [condition]
        await registry.update(made, subresource="status")
    except errors.StatusError as error:
        # of an earlier start, or another server's
        if not errors.is_already_exists(error) and not errors.is_conflict(error):
            raise


def _ready(cidr: networking_v1.ServiceCIDR) -> bool:
    return any(c.type == READY and c.status == "True" for c in cidr.status.conditions or ())
