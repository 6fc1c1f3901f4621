"""Tells the cluster about its ingresses: the address by which they are reached (`status.loadBalancer`), and events.

The address is that of the controller's own Service. Several replicas write the same, so none of them has to lead.
"""

from __future__ import annotations

import builtins

from addons.ingress.state import State
from api import codec
from api.types.core_v1 import Service
from api.types.networking_v1 import Ingress, IngressLoadBalancerIngress
from client.api import Api
from client.controller import Controller
from client.events import EventRecorder
from client.store import Key, key_of


class StatusController:
    """`service` is the namespace and name of the Service in front of this controller."""

    def __init__(self, api: Api, state: State, recorder: EventRecorder, service: Key) -> None:
        self._api = api
        self._state = state
        self._recorder = recorder
        self._service = service
        self._announced: dict[Key, int] = {}
        self.controller: Controller[Key] = Controller("ingress-status", self.reconcile, workers=2)
        state.ingresses.add_handler(
            on_add=self._enqueue, on_update=lambda _, i: self._enqueue(i), on_delete=self._forget
        )
        state.services.add_handler(on_add=self._moved, on_update=lambda _, s: self._moved(s), on_delete=self._moved)
        state.on_rebuilt(self._all)

    async def run(self) -> None:
        await self.controller.run()

    async def reconcile(self, key: Key) -> float | None:
        ingress = self._state.ingresses.get(*key)
        if ingress is None or not self._state.has_synced() or not self._state.serves(ingress):
            return None
        generation = ingress.metadata.generation or 0
        if self._announced.get(key) != generation:
            self._announced[key] = generation
            self._recorder.event(ingress, "Normal", "Sync", "Scheduled for sync")
        wanted = self.addresses()
        if (ingress.status.load_balancer.ingress or []) != wanted:
            change = {"status": {"loadBalancer": {"ingress": [codec.to_dict(address) for address in wanted] or None}}}
            await self._api.patch(Ingress, key[1], change, namespace=key[0], type="merge", subresource="status")
        return None

    def addresses(self) -> builtins.list[IngressLoadBalancerIngress]:
        """How ingresses are reached; nothing as long as the Service has no address."""
        service = self._state.services.get(*self._service)
        if service is None or service.status.load_balancer is None:
            return []
        return [
            IngressLoadBalancerIngress(ip=given.ip, hostname=given.hostname)
            for given in service.status.load_balancer.ingress or ()
        ]

    def _enqueue(self, ingress: Ingress) -> None:
        self.controller.enqueue(key_of(ingress))

    def _forget(self, ingress: Ingress) -> None:
        self._announced.pop(key_of(ingress), None)

    def _moved(self, service: Service) -> None:
        if key_of(service) == self._service:
            self._all()

    def _all(self) -> None:
        for ingress in self._state.ingresses.list():
            self._enqueue(ingress)
