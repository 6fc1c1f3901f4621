"""Where a backend's pods are, straight from its EndpointSlices, in turn.

Invariants: an address that is no longer ready is not handed out from the moment the slice says so; only if none is
ready, those that end but still serve are, as the proxy on the nodes does (KEP-1669).
"""

from __future__ import annotations

import random
from collections.abc import Collection
from dataclasses import dataclass

from addons.ingress.routes import Backend
from api.types.core_v1 import Service
from api.types.discovery_v1 import Endpoint, EndpointSlice
from client.informer import Informer

SERVICE_NAME = "kubernetes.io/service-name"


@dataclass(frozen=True)
class Address:
    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class _Turn:
    """Addresses one after the other."""

    def __init__(self, addresses: list[Address]) -> None:
        self._addresses = addresses
        # controllers that all start with the first would send it everything
        self._next = random.randrange(len(addresses)) if addresses else 0

    def next(self, without: Collection[Address]) -> Address | None:
        for _ in self._addresses:
            address = self._addresses[self._next % len(self._addresses)]
            self._next += 1
            if address not in without:
                return address
        return None


class Endpoints:
    """Picks an address for each request; what a backend means is worked out once per change."""

    def __init__(self, services: Informer[Service], slices: Informer[EndpointSlice]) -> None:
        self._services = services
        self._slices = slices
        self._known: dict[tuple[str, str], dict[Backend, _Turn]] = {}
        slices.add_index("service", lambda s: [_service_of(s)])
        services.add_handler(
            on_add=lambda s: self._forget(s.metadata.namespace or "", s.metadata.name or ""),
            on_update=lambda _, s: self._forget(s.metadata.namespace or "", s.metadata.name or ""),
            on_delete=lambda s: self._forget(s.metadata.namespace or "", s.metadata.name or ""),
        )
        slices.add_handler(
            on_add=lambda s: self._forget(*_service_of(s)),
            on_update=self._changed,
            on_delete=lambda s: self._forget(*_service_of(s)),
        )

    def pick(self, backend: Backend, without: Collection[Address] = ()) -> Address | None:
        """The next address, none of `without`; None if there is no other."""
        service = (backend.namespace, backend.service)
        turns = self._known.setdefault(service, {})
        turn = turns.get(backend)
        if turn is None:
            turn = turns[backend] = _Turn(self._addresses(backend))
        return turn.next(without)

    def _addresses(self, backend: Backend) -> list[Address]:
        service = self._services.get(backend.namespace, backend.service)
        if service is None:
            return []
        if service.spec.type == "ExternalName":
            number = backend.port if isinstance(backend.port, int) else 0
            return [Address(service.spec.external_name or "", number)] if number else []
        port = next((p for p in service.spec.ports or () if backend.port in (p.name, p.port)), None)
        if port is None:
            return []
        ready: list[Address] = []
        ending: list[Address] = []
        for one in self._slices.by_index("service", (backend.namespace, backend.service)):
            numbers = [p.port for p in one.ports or () if (p.name or "") == (port.name or "") and p.port]
            for endpoint in one.endpoints or ():
                found = [Address(endpoint.addresses[0], number) for number in numbers if endpoint.addresses]
                if _ready(endpoint):
                    ready += found
                elif _ending(endpoint):
                    ending += found
        return list(dict.fromkeys(ready or ending))

    def _changed(self, old: EndpointSlice, new: EndpointSlice) -> None:
        self._forget(*_service_of(old))
        self._forget(*_service_of(new))

    def _forget(self, namespace: str, name: str) -> None:
        self._known.pop((namespace, name), None)


def _service_of(one: EndpointSlice) -> tuple[str, str]:
    return one.metadata.namespace or "", (one.metadata.labels or {}).get(SERVICE_NAME, "")


def _ready(endpoint: Endpoint) -> bool:
    """Nobody has said otherwise."""
    return endpoint.conditions is None or endpoint.conditions.ready is not False


def _ending(endpoint: Endpoint) -> bool:
    conditions = endpoint.conditions
    return conditions is not None and bool(conditions.serving) and bool(conditions.terminating)
