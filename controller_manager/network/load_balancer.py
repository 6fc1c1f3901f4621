"""Gives Services of type LoadBalancer an address out of `--load-balancer-pool`; proxies answer on it.

Invariants:
- no two services have the same address, and a service keeps its own as long as it is of that type;
- `spec.loadBalancerIP` is honoured if it is in the pool and free;
- services of a loadBalancerClass belong to somebody else, and without a pool all do;
- a finalizer keeps the service until its address is given back.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from api import codec, errors
from api.types.core_v1 import LoadBalancerIngress, LoadBalancerStatus, Service
from client.controller import Controller
from client.store import Key, key_of
from controller_manager.context import Context

FINALIZER = "service.kubernetes.io/load-balancer-cleanup"


class LoadBalancerController:
    def __init__(self, context: Context) -> None:
        self._api = context.api
        self._recorder = context.recorder("service-controller")
        pools = [p.strip() for p in context.settings.load_balancer_pool.split(",") if p.strip()]
        self._pools = [ipaddress.ip_network(p) for p in pools]
        self._services = context.informers.informer(Service)
        self._taken: dict[str, Key] = {}
        self.controller: Controller[Key] = Controller("service", self.reconcile, workers=1)
        if self._pools:
            self._services.add_handler(on_add=self._seen, on_update=lambda _, s: self._seen(s), on_delete=self._gone)

    async def run(self) -> None:
        if self._pools:
            await self.controller.run()

    def _seen(self, service: Service) -> None:
        for address in _addresses(service):
            self._taken.setdefault(address, key_of(service))
        if _wants(service) or FINALIZER in (service.metadata.finalizers or ()):
            self.controller.enqueue(key_of(service))

    def _gone(self, service: Service) -> None:
        self._release(key_of(service))

    def _release(self, key: Key) -> None:
        freed = [address for address, owner in self._taken.items() if owner == key]
        for address in freed:
            del self._taken[address]
        if freed:
            for other in self._services.list():
                if _wants(other) and not _addresses(other):
                    self.controller.enqueue(key_of(other))

    async def reconcile(self, key: Key) -> float | None:
        service = self._services.get(*key)
        if service is None:
            return None
        try:
            if _wants(service) and not service.metadata.deletion_timestamp:
                await self._ensure(service)
            elif FINALIZER in (service.metadata.finalizers or ()):
                await self._give_up(service)
        except errors.StatusError as error:
            if not errors.is_not_found(error):
                raise
        return None

    async def _ensure(self, service: Service) -> None:
        if _addresses(service):
            return
        key = key_of(service)
        self._recorder.event(service, "Normal", "EnsuringLoadBalancer", "Ensuring load balancer")
        address = self._choose(key, service.spec.load_balancer_ip or "")
        if address is None:
            wanted = service.spec.load_balancer_ip
            why = f"address {wanted} is not available" if wanted else "the pool is exhausted"
            message = f"Error syncing load balancer: failed to ensure load balancer: {why}"
            self._recorder.event(service, "Warning", "SyncLoadBalancerFailed", message)
            return
        self._taken[address] = key
        changed = codec.deepcopy(service)
        if FINALIZER not in (changed.metadata.finalizers or ()):
            changed.metadata.finalizers = [*(changed.metadata.finalizers or ()), FINALIZER]
            changed = await self._api.update(changed)
        ingress = LoadBalancerIngress(ip=address, ip_mode="VIP")
        changed.status.load_balancer = LoadBalancerStatus(ingress=[ingress])
        await self._api.update_status(changed)
        self._recorder.event(service, "Normal", "EnsuredLoadBalancer", "Ensured load balancer")

    def _choose(self, key: Key, wanted: str) -> str | None:
        if wanted:
            inside = any(ipaddress.ip_address(wanted) in pool for pool in self._pools)
            return wanted if inside and self._taken.get(wanted, key) == key else None
        mine = next((address for address, owner in self._taken.items() if owner == key), None)
        return mine or next((address for address in self._all() if address not in self._taken), None)

    def _all(self) -> Iterator[str]:
        for pool in self._pools:
            yield from map(str, pool.hosts())

    async def _give_up(self, service: Service) -> None:
        changed = codec.deepcopy(service)
        if _addresses(service):
            changed.status.load_balancer = LoadBalancerStatus()
            changed = await self._api.update_status(changed)
        changed.metadata.finalizers = [f for f in changed.metadata.finalizers or () if f != FINALIZER] or None
        await self._api.update(changed)
        self._release(key_of(service))
        self._recorder.event(service, "Normal", "DeletedLoadBalancer", "Deleted load balancer")


def _wants(service: Service) -> bool:
    return service.spec.type == "LoadBalancer" and not service.spec.load_balancer_class


def _addresses(service: Service) -> list[str]:
    balancer = service.status.load_balancer
    return [i.ip for i in (balancer.ingress or ()) if i.ip] if balancer is not None else []
