"""Brings what is taken in line with the Services there are: after crashes, and when a write's outcome was unknown.

Runs at start and then every few minutes on every API server; each step is a compare-and-swap, so several may run. What
nobody holds is given back only if it was so in two rounds: a Service that is just being created has its address first.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import msgspec

from api import errors
from api.types import core_v1, networking_v1
from apiserver.allocators import OutOfRange, Taken
from apiserver.allocators.addresses import MANAGED_BY, MANAGER, AddressAllocator
from apiserver.allocators.ports import PREFIX, PortAllocator, owner, ports_of
from apiserver.allocators.ranges import Ranges
from apiserver.store import Conflict, Record

if TYPE_CHECKING:
    from apiserver.registry import Registry

INTERVAL_SECONDS = 180.0
_log = logging.getLogger(__name__)


class Repair:
    """`await round()` once before serving, then `run()` in a task."""

    def __init__(self, registry: Registry, addresses: AddressAllocator | Ranges, ports: PortAllocator) -> None:
        self._registry = registry
        self._addresses = addresses
        self._ports = ports
        self._suspects: set[str] = set()  # uids of IPAddresses and revisions of port keys that nobody held last time

    async def run(self) -> None:
        while True:
            await asyncio.sleep(INTERVAL_SECONDS)
            await self.round()

    async def round(self) -> None:
        """Take what Services have and nobody took, give back what was taken and nobody has."""
        services = await self._registry.list(core_v1.Service)
        suspects = await self._repair_addresses(services) | await self._repair_ports(services)
        self._suspects = suspects

    async def _repair_addresses(self, services: list[core_v1.Service]) -> set[str]:
        taken = {a.metadata.name: a for a in await self._registry.list(networking_v1.IPAddress)}
        held: set[tuple[str | None, str | None, str]] = set()
        for service in services:
            for address in service.spec.cluster_ips or ():
                if address == "None":
                    continue
                held.add((service.metadata.namespace, service.metadata.name, address))
                if address not in taken:
                    await self._take_address(address, service)
        suspects: set[str] = set()
        for name, found in taken.items():
            address = name or ""
            parent = found.spec.parent_ref
            managed = (found.metadata.labels or {}).get(MANAGED_BY) == MANAGER
            if not managed or (parent.namespace, parent.name, address) in held:
                continue
            uid = found.metadata.uid or ""
            if uid not in self._suspects:
                suspects.add(uid)
                continue
            _log.info("address %s belongs to no service, giving it back", address)
            try:
                await self._registry.delete(networking_v1.IPAddress, address, uid=uid)
            except errors.StatusError as error:
                if not errors.is_not_found(error) and not errors.is_conflict(error):
                    raise
        return suspects

    async def _take_address(self, address: str, service: core_v1.Service) -> None:
        try:
            await self._addresses.take(self._registry, address, service)
        except (Taken, OutOfRange) as problem:
            _log.warning("service %s/%s: %s", service.metadata.namespace, service.metadata.name, problem)

    async def _repair_ports(self, services: list[core_v1.Service]) -> set[str]:
        page = await self._registry.store.list(PREFIX)
        taken = {int(record.key.removeprefix(PREFIX)): record for record in page.records}
        held = {port: service for service in services for port in ports_of(service)}
        suspects: set[str] = set()
        for port, service in held.items():
            record = taken.get(port)
            if record is None:
                await self._take_port(port, service)
            elif owner(record).uid != service.metadata.uid and self._is_suspect(record, suspects):
                await self._hand_over(record, service)
        for port, record in taken.items():
            if port not in held and self._is_suspect(record, suspects):
                _log.info("node port %d belongs to no service, giving it back", port)
                try:
                    await self._registry.store.delete(record.key, revision=record.revision)
                except Conflict:
                    continue
        return suspects

    def _is_suspect(self, record: Record, suspects: set[str]) -> bool:
        """Whether it was already in doubt last time; else it is from now on."""
        name = f"{record.key}@{record.revision}"
        if name in self._suspects:
            return True
        suspects.add(name)
        return False

    async def _take_port(self, port: int, service: core_v1.Service) -> None:
        try:
            await self._ports.take(self._registry, port, service)
        except (Taken, OutOfRange) as problem:
            _log.warning("service %s/%s: %s", service.metadata.namespace, service.metadata.name, problem)

    async def _hand_over(self, record: Record, service: core_v1.Service) -> None:
        rightful = owner(record)
        rightful.namespace, rightful.name = service.metadata.namespace or "", service.metadata.name or ""
        rightful.uid = service.metadata.uid or ""
        try:
            await self._registry.store.update(record.key, msgspec.json.encode(rightful), revision=record.revision)
        except Conflict:
            return
