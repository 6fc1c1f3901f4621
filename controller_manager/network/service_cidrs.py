"""Says which ServiceCIDRs may be used, and holds those back whose addresses are in use (KEP-1880).

Invariants:
- every one that is not being deleted has our finalizer and is Ready;
- one that is being deleted goes only when each address of a Service in it is also in another one that stays, and not
  before servers have had time to notice that it is no longer to be used.
"""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime

from api import codec, errors
from api import time as api_time
from api.types.meta_v1 import Condition
from api.types.networking_v1 import IPAddress, ServiceCIDR
from client.controller import Controller
from controller_manager import conditions
from controller_manager.context import Context

FINALIZER = "networking.k8s.io/service-cidr-finalizer"
READY = "Ready"
MANAGED_BY, MANAGER = "ipaddress.kubernetes.io/managed-by", "ipallocator.k8s.io"
GRACE_SECONDS = 10.0
_READY_MESSAGE = "Kubernetes Service CIDR is ready"
_IN_USE = "There are still IPAddresses referencing the ServiceCIDR, please remove them or create a new ServiceCIDR"


class ServiceCIDRController:
    def __init__(self, context: Context) -> None:
        self._api = context.api
        self._cidrs = context.informers.informer(ServiceCIDR)
        self._addresses = context.informers.informer(IPAddress)
        self.controller: Controller[str] = Controller("service-cidrs", self.reconcile, workers=1)
        # One that comes or goes changes what its neighbours may do.
        self._cidrs.add_handler(
            on_add=lambda _: self._all(), on_update=lambda _, __: self._all(), on_delete=lambda _: self._all()
        )
        self._addresses.add_handler(on_delete=self._freed)

    async def run(self) -> None:
        await self.controller.run()

    def _all(self) -> None:
        for cidr in self._cidrs.list():
            self.controller.enqueue(cidr.metadata.name or "")

    def _freed(self, _: IPAddress) -> None:
        for cidr in self._cidrs.list():
            if cidr.metadata.deletion_timestamp:
                self.controller.enqueue(cidr.metadata.name or "")

    async def reconcile(self, name: str) -> float | None:
        cidr = self._cidrs.get("", name)
        if cidr is None:
            return None
        try:
            if cidr.metadata.deletion_timestamp:
                return await self._end(cidr)
            await self._admit(cidr)
        except errors.StatusError as error:
            if not errors.is_not_found(error):
                raise
        return None

    async def _admit(self, cidr: ServiceCIDR) -> None:
        if FINALIZER not in (cidr.metadata.finalizers or ()):
            changed = codec.deepcopy(cidr)
            changed.metadata.finalizers = [*(changed.metadata.finalizers or ()), FINALIZER]
            cidr = await self._api.update(changed)
        if not conditions.is_true(cidr.status.conditions, READY):
            await self._say(cidr, Condition(type=READY, status="True", message=_READY_MESSAGE))

    async def _end(self, cidr: ServiceCIDR) -> float | None:
        if FINALIZER not in (cidr.metadata.finalizers or ()):
            return None
        if self._needed(cidr):
            known = conditions.find(cidr.status.conditions, READY)
            if known is None or known.reason != "Terminating":
                condition = Condition(type=READY, status="False", reason="Terminating", message=_IN_USE)
                await self._say(cidr, condition)
            return None
        since = datetime.now(UTC) - api_time.parse(cidr.metadata.deletion_timestamp or "")
        remaining = GRACE_SECONDS - since.total_seconds()
        if remaining > 0:
            return remaining
        changed = codec.deepcopy(cidr)
        changed.metadata.finalizers = [f for f in changed.metadata.finalizers or () if f != FINALIZER] or None
        await self._api.update(changed)
        return None

    async def _say(self, cidr: ServiceCIDR, condition: Condition) -> None:
        changed = codec.deepcopy(cidr)
        changed.status.conditions = conditions.replaced(changed.status.conditions, condition)
        await self._api.update_status(changed)

    def _needed(self, cidr: ServiceCIDR) -> bool:
        """Whether an address in use is in this one and in no other that stays."""
        mine = _networks(cidr)
        others = [
            network
            for other in self._cidrs.list()
            if other.metadata.name != cidr.metadata.name and not other.metadata.deletion_timestamp
            for network in _networks(other)
        ]
        for address in self._addresses.list():
            if (address.metadata.labels or {}).get(MANAGED_BY) != MANAGER:
                continue
            ip = ipaddress.ip_address(address.metadata.name or "")
            if any(ip in network for network in mine) and not any(ip in network for network in others):
                return True
        return False


def _networks(cidr: ServiceCIDR) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    return [ipaddress.ip_network(text) for text in cidr.spec.cidrs or ()]
