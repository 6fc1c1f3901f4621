"""Node ports, and the health-check node ports of load balancers: one key in the store for every port in use."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import msgspec

from api.types import core_v1
from apiserver.allocators import Full, OutOfRange, Taken
from apiserver.store import Conflict, Exists, Record

if TYPE_CHECKING:
    from apiserver.registry import Registry

PREFIX = "/registry/ranges/servicenodeports/"

_SMALLEST_BAND, _LARGEST_BAND, _BAND_SHARE = 16, 128, 32


class Owner(msgspec.Struct):
    """Who has a port."""

    namespace: str
    name: str
    uid: str


_owner = msgspec.json.Decoder(Owner)


def static_band(size: int) -> int:
    """How many ports at the start of the range are kept for users who ask for one (KEP-3668)."""
    if size < _SMALLEST_BAND:
        return 0
    return min(max(size // _BAND_SHARE, _SMALLEST_BAND), _LARGEST_BAND)


class PortAllocator:
    """The ports from `first` to `last`, both inclusive."""

    def __init__(self, first: int, last: int) -> None:
        self.first, self.last = first, last
        self._band = static_band(last - first + 1)

    async def take(self, registry: Registry, port: int, service: core_v1.Service, *, dry_run: bool = False) -> None:
        """Take one certain port. Raises Taken or OutOfRange."""
        if not self.first <= port <= self.last:
            raise OutOfRange(
                f"provided port is not in the valid range. The range of valid ports is {self.first}-{self.last}"
            )
        if dry_run:
            record, _ = await registry.store.get(f"{PREFIX}{port}")
            if record is not None:
                raise Taken("provided port is already allocated")
            return
        try:
            await registry.store.create(f"{PREFIX}{port}", msgspec.json.encode(_owner_of(service)))
        except Exists:
            raise Taken("provided port is already allocated") from None

    async def take_any(self, registry: Registry, service: core_v1.Service, *, dry_run: bool = False) -> int:
        """Take a free port, from the dynamic band as long as that has one. Raises Full."""
        found = await self._take_unused(registry, service, ports_in_use(registry), dry_run)
        if found is None:
            # The cache may not have seen yet what was given back just now.
            page = await registry.store.list(PREFIX)
            used = {int(record.key.removeprefix(PREFIX)) for record in page.records}
            found = await self._take_unused(registry, service, used, dry_run)
        if found is None:
            raise Full("range is full")
        return found

    async def _take_unused(
        self, registry: Registry, service: core_v1.Service, used: set[int], dry_run: bool
    ) -> int | None:
        for low, high in ((self.first + self._band, self.last), (self.first, self.first + self._band - 1)):
            size = high - low + 1
            start = secrets.randbelow(size) if size > 0 else 0
            for step in range(size):
                port = low + (start + step) % size
                if port in used:
                    continue
                try:
                    await self.take(registry, port, service, dry_run=dry_run)
                except Taken:
                    continue
                return port
        return None

    async def give_back(self, registry: Registry, port: int, service: core_v1.Service) -> None:
        """Free a port that this service has."""
        record, _ = await registry.store.get(f"{PREFIX}{port}")
        if record is not None and owner(record).uid == service.metadata.uid:
            try:
                await registry.store.delete(record.key, revision=record.revision)
            except Conflict:
                return


def owner(record: Record) -> Owner:
    return _owner.decode(record.value)


def _owner_of(service: core_v1.Service) -> Owner:
    meta = service.metadata
    return Owner(namespace=meta.namespace or "", name=meta.name or "", uid=meta.uid or "")


def ports_of(service: core_v1.Service) -> set[int]:
    """All node ports of a service, its health-check port among them."""
    ports = {port.node_port for port in service.spec.ports or () if port.node_port}
    if service.spec.health_check_node_port:
        ports.add(service.spec.health_check_node_port)
    return ports


def ports_in_use(registry: Registry) -> set[int]:
    """As the cache has it, which is enough to choose from."""
    used: set[int] = set()
    for service in registry.cached_list(core_v1.Service):
        used |= ports_of(service)
    return used
