"""Cluster IPs. Every address in use is an IPAddress object, whose name is the address (KEP-1880)."""

from __future__ import annotations

import ipaddress
import secrets
from typing import TYPE_CHECKING

from api import errors
from api.types import core_v1, meta_v1, networking_v1
from apiserver.allocators import Full, OutOfRange, Taken

if TYPE_CHECKING:
    from apiserver.registry import Registry

MANAGED_BY = "ipaddress.kubernetes.io/managed-by"
MANAGER = "ipallocator.k8s.io"
FAMILY = "ipaddress.kubernetes.io/ip-family"

_SMALLEST_BAND, _LARGEST_BAND, _BAND_SHARE = 16, 256, 16


def static_band(size: int) -> int:
    """How many addresses at the start of a range are kept for users who ask for one (KEP-3070)."""
    if size <= _SMALLEST_BAND:
        return 0
    return min(max(size // _BAND_SHARE, _SMALLEST_BAND), _LARGEST_BAND)


class AddressAllocator:
    """The range of one address family, such as `10.96.0.0/16`."""

    def __init__(self, cidr: str) -> None:
        self.network = ipaddress.ip_network(cidr)
        self.family = f"IPv{self.network.version}"
        size = self.network.num_addresses
        # Neither the network's own address nor, for IPv4, the broadcast address is given out.
        self._first = 1
        self._count = max(0, size - (2 if self.network.version == 4 else 1))
        self._band = static_band(size)

    def __contains__(self, address: str) -> bool:
        ip = ipaddress.ip_address(address)
        if ip.version != self.network.version or ip not in self.network:
            return False
        return self._first <= int(ip) - int(self.network.network_address) < self._first + self._count

    async def take(self, registry: Registry, address: str, service: core_v1.Service, *, dry_run: bool = False) -> None:
        """Take one certain address. Raises Taken or OutOfRange."""
        if address not in self:
            raise OutOfRange(
                f"the provided IP ({address}) is not in the valid range. The range of valid IPs is {self.network}"
            )
        if dry_run:
            if await registry.exists(networking_v1.IPAddress, address):
                raise Taken("provided IP is already allocated")
            return
        try:
            await registry.create(self._object(address, service))
        except errors.StatusError as error:
            if errors.is_already_exists(error):
                raise Taken("provided IP is already allocated") from None
            raise

    async def take_any(self, registry: Registry, service: core_v1.Service, *, dry_run: bool = False) -> str:
        """Take a free address, from the dynamic band as long as that has one. Raises Full."""
        used = {address.metadata.name for address in registry.cached_list(networking_v1.IPAddress)}
        found = await self._take_unused(registry, service, used, dry_run)
        if found is None:
            # The cache may not have seen yet what was given back just now.
            used = {address.metadata.name for address in await registry.list(networking_v1.IPAddress)}
            found = await self._take_unused(registry, service, used, dry_run)
        if found is None:
            raise Full("range is full")
        return found

    async def _take_unused(
        self, registry: Registry, service: core_v1.Service, used: set[str | None], dry_run: bool
    ) -> str | None:
        for low, high in ((self._first + self._band, self._count), (self._first, self._first + self._band - 1)):
            size = high - low + 1
            # A random start and a walk round: finds any free address there is, and rarely meets another server's.
            start = secrets.randbelow(size) if size > 0 else 0
            for step in range(size):
                address = str(self.network[low + (start + step) % size])
                if address in used:
                    continue
                try:
                    await self.take(registry, address, service, dry_run=dry_run)
                except Taken:
                    continue
                return address
        return None

    async def give_back(self, registry: Registry, address: str, service: core_v1.Service) -> None:
        """Free an address that this service has; one that another has meanwhile stays."""
        try:
            current = await registry.get(networking_v1.IPAddress, address)
            if holds(current, service):
                await registry.delete(networking_v1.IPAddress, address, uid=current.metadata.uid)
        except errors.StatusError as error:
            if not errors.is_not_found(error) and not errors.is_conflict(error):
                raise

    def _object(self, address: str, service: core_v1.Service) -> networking_v1.IPAddress:
        return networking_v1.IPAddress(
            metadata=meta_v1.ObjectMeta(name=address, labels={FAMILY: self.family, MANAGED_BY: MANAGER}),
            spec=networking_v1.IPAddressSpec(
                parent_ref=networking_v1.ParentReference(
                    group="",
                    resource="services",
                    namespace=service.metadata.namespace,
                    name=service.metadata.name or "",
                )
            ),
        )


def holds(address: networking_v1.IPAddress, service: core_v1.Service) -> bool:
    """Whether the address belongs to a service of this name."""
    parent = address.spec.parent_ref
    return (parent.namespace, parent.name) == (service.metadata.namespace, service.metadata.name)
