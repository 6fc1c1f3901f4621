"""Mirrors Endpoints objects that people (or old controllers) write into EndpointSlices, which is all that proxies read.

Invariants:
- only Endpoints of a Service without a selector are mirrored, and not those labelled
  `endpointslice.kubernetes.io/skip-mirror: "true"` or used for leader election;
- the slices go when the Endpoints, the Service, or one of these conditions goes;
- at most 1000 addresses of a subset are mirrored.
"""

from __future__ import annotations

from api import errors
from api.types.core_v1 import EndpointAddress, Endpoints, EndpointSubset, Service
from api.types.discovery_v1 import Endpoint, EndpointConditions, EndpointSlice
from client.controller import Controller
from client.store import Key, key_of
from controller_manager.context import Context
from controller_manager.network.slices import MANAGED_BY, SERVICE_NAME, Group, PortSet, SliceWriter, identity

MANAGER = "endpointslicemirroring-controller.k8s.io"
SKIP = "endpointslice.kubernetes.io/skip-mirror"
LEADER = "control-plane.alpha.kubernetes.io/leader"
MAX_PER_SUBSET = 1000
_INDEX = "mirrored-service"


def by_service(found: EndpointSlice) -> list[Key]:
    labels = found.metadata.labels or {}
    if labels.get(MANAGED_BY) != MANAGER or not labels.get(SERVICE_NAME):
        return []
    return [(found.metadata.namespace or "", labels[SERVICE_NAME])]


class EndpointSliceMirroringController:
    def __init__(self, context: Context) -> None:
        self._services = context.informers.informer(Service)
        self._endpoints = context.informers.informer(Endpoints)
        self._slices = context.informers.informer(EndpointSlice)
        self._writer = SliceWriter(context.batcher, MANAGER)
        self.controller: Controller[Key] = Controller("endpoint_slice_mirroring", self.reconcile, workers=4)
        self._slices.add_index(_INDEX, by_service)
        for informer in (self._services, self._endpoints):
            informer.add_handler(
                on_add=lambda o: self.controller.enqueue(key_of(o)),
                on_update=lambda _, o: self.controller.enqueue(key_of(o)),
                on_delete=lambda o: self.controller.enqueue(key_of(o)),
            )
        self._slices.add_handler(
            on_add=self._wake, on_update=lambda _, new: self._wake(new), on_delete=self._slice_deleted
        )

    async def run(self) -> None:
        await self.controller.run()

    def _wake(self, found: EndpointSlice) -> None:
        for key in by_service(found):
            self.controller.enqueue(key)

    def _slice_deleted(self, found: EndpointSlice) -> None:
        for key in by_service(found):
            self._writer.seen_deleted(found, key)
        self._wake(found)

    async def reconcile(self, key: Key) -> float | None:
        service, endpoints = self._services.get(*key), self._endpoints.get(*key)
        current = self._writer.current(key, self._slices.by_index(_INDEX, key))
        if endpoints is None or service is None or not _mirrored(service, endpoints):
            if current:
                await self._writer.write(service, key, current, [], {})
            return None
        labels = {
            k: v for k, v in (endpoints.metadata.labels or {}).items() if k not in (SERVICE_NAME, MANAGED_BY, SKIP)
        }
        groups = _groups(endpoints)
        if not groups and not current:
            return None
        try:
            await self._writer.write(endpoints, key, current, groups, labels)
        except errors.StatusError as error:
            if not (errors.has_cause(error, "NamespaceTerminating") or errors.is_not_found(error)):
                raise
        return None


def _mirrored(service: Service, endpoints: Endpoints) -> bool:
    if service.spec.selector or endpoints.metadata.deletion_timestamp:
        return False
    if (endpoints.metadata.labels or {}).get(SKIP) == "true":
        return False
    return LEADER not in (endpoints.metadata.annotations or {})


def _groups(endpoints: Endpoints) -> list[Group]:
    groups: dict[tuple[str, PortSet], Group] = {}
    for subset in endpoints.subsets or ():
        ports = _ports(subset)
        room = MAX_PER_SUBSET
        for ready, found in ((True, subset.addresses), (False, subset.not_ready_addresses)):
            for address in (found or ())[: max(0, room)]:
                room -= 1
                family = "IPv6" if ":" in address.ip else "IPv4"
                group = groups.setdefault((family, ports), Group(family, ports))
                endpoint = _endpoint(address, ready)
                group.endpoints[identity(endpoint)] = endpoint
    return list(groups.values())


def _ports(subset: EndpointSubset) -> PortSet:
    ports = [(p.name or None, p.port, p.protocol or "TCP", p.app_protocol) for p in subset.ports or ()]
    return tuple(sorted(ports, key=str))


def _endpoint(address: EndpointAddress, ready: bool) -> Endpoint:
    return Endpoint(
        addresses=[address.ip],
        conditions=EndpointConditions(ready=ready),
        hostname=address.hostname,
        node_name=address.node_name,
        target_ref=address.target_ref,
    )
