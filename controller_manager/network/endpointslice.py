"""EndpointSlices: for each Service with a selector, the pods behind it, in slices that change one at a time.

Invariants:
- a pod is an endpoint from the moment it has an address until it is gone or terminal; `ready`: it should get
  traffic, `serving` whether it could, `terminating` whether it is going (KEP-1672);
- publishNotReadyAddresses makes every endpoint ready;
- slices are labelled with the service's labels, its name and this controller's, and only those labelled so are touched;
- trafficDistribution becomes hints, so that proxies may prefer near endpoints (KEP-2433, KEP-4444).
"""

from __future__ import annotations

from api import errors
from api.types.core_v1 import Node, ObjectReference, Pod, Service
from api.types.discovery_v1 import (
    Endpoint,
    EndpointConditions,
    EndpointHints,
    EndpointSlice,
    ForNode,
    ForZone,
)
from client.controller import Controller
from client.store import Key
from controller_manager import pods as pod_facts
from controller_manager.context import Context
from controller_manager.network import service_pods
from controller_manager.network.service_pods import HEADLESS_LABEL, ServicePods
from controller_manager.network.slices import MANAGED_BY, SERVICE_NAME, Group, PortSet, SliceWriter, identity

MANAGER = "endpointslice-controller.k8s.io"
ZONE = "topology.kubernetes.io/zone"
_INDEX = "endpointslice-service"


def by_service(found: EndpointSlice) -> list[Key]:
    """Index function: the service that a slice belongs to, for slices of this controller."""
    labels = found.metadata.labels or {}
    if labels.get(MANAGED_BY) != MANAGER or not labels.get(SERVICE_NAME):
        return []
    return [(found.metadata.namespace or "", labels[SERVICE_NAME])]


class EndpointSliceController:
    def __init__(self, context: Context) -> None:
        self._recorder = context.recorder("endpoint-slice-controller")
        self._services = context.informers.informer(Service)
        self._slices = context.informers.informer(EndpointSlice)
        self._nodes = context.informers.informer(Node)
        self._writer = SliceWriter(context.batcher, MANAGER)
        self.controller: Controller[Key] = Controller("endpoint_slice", self.reconcile, workers=8)
        self._pods = ServicePods(self._services, context.informers.informer(Pod), self.controller)
        self._slices.add_index(_INDEX, by_service)
        self._slices.add_handler(on_add=self._wake, on_update=self._slice_updated, on_delete=self._slice_deleted)

    async def run(self) -> None:
        await self.controller.run()

    def _wake(self, found: EndpointSlice) -> None:
        for key in by_service(found):
            self.controller.enqueue(key)

    def _slice_updated(self, old: EndpointSlice, new: EndpointSlice) -> None:
        self._wake(new)
        if by_service(old) != by_service(new):
            self._wake(old)

    def _slice_deleted(self, found: EndpointSlice) -> None:
        for key in by_service(found):
            self._writer.seen_deleted(found, key)
        self._wake(found)

    async def reconcile(self, key: Key) -> float | None:
        service = self._services.get(*key)
        if service is None or service.metadata.deletion_timestamp:
            self._writer.forget(key)  # the garbage collector takes the slices
            return None
        current = self._writer.current(key, self._slices.by_index(_INDEX, key))
        if service.spec.type == "ExternalName":
            await self._writer.write(service, key, current, [], {})
            return None
        if not service.spec.selector:
            return None
        labels = dict(service.metadata.labels or {})
        for reserved in (HEADLESS_LABEL, SERVICE_NAME, MANAGED_BY):
            labels.pop(reserved, None)
        if service_pods.is_headless(service):
            labels[HEADLESS_LABEL] = ""
        try:
            await self._writer.write(service, key, current, self._groups(service), labels)
        except errors.StatusError as error:
            if errors.has_cause(error, "NamespaceTerminating") or errors.is_not_found(error):
                return None
            if not errors.is_conflict(error):
                message = f"Error updating Endpoint Slices for Service {key[0]}/{key[1]}: {error.message}"
                self._recorder.event(service, "Warning", "FailedToUpdateEndpointSlices", message)
            raise
        return None

    def _groups(self, service: Service) -> list[Group]:
        groups: dict[tuple[str, PortSet], Group] = {}
        for family in service_pods.families(service):
            for pod in self._pods.selected(service):
                found = service_pods.addresses(pod, family)
                if not found or not service_pods.counts(pod, terminating=True):
                    continue
                ports = _ports(pod, service)
                group = groups.setdefault((family, ports), Group(family, ports))
                endpoint = self._endpoint(pod, service, found)
                group.endpoints[identity(endpoint)] = endpoint
            if not any(g.family == family for g in groups.values()):
                groups[(family, ())] = Group(family, ())
        return list(groups.values())

    def _endpoint(self, pod: Pod, service: Service, addresses: list[str]) -> Endpoint:
        meta, name = pod.metadata, pod.spec.node_name
        node = self._nodes.get("", name) if name else None
        serving, terminating = pod_facts.is_ready(pod), bool(meta.deletion_timestamp)
        ready = bool(service.spec.publish_not_ready_addresses) or (serving and not terminating)
        zone = (node.metadata.labels or {}).get(ZONE) if node is not None else None
        return Endpoint(
            addresses=addresses[:1],
            conditions=EndpointConditions(ready=ready, serving=serving, terminating=terminating),
            hostname=service_pods.hostname(pod, service),
            node_name=name,
            zone=zone,
            hints=_hints(service, ready, zone, name),
            target_ref=ObjectReference(kind="Pod", namespace=meta.namespace, name=meta.name, uid=meta.uid),
        )


def _hints(service: Service, ready: bool, zone: str | None, node: str | None) -> EndpointHints | None:
    preference = service.spec.traffic_distribution
    if not ready or preference not in ("PreferClose", "PreferSameZone", "PreferSameNode"):
        return None
    nodes = [ForNode(name=node)] if preference == "PreferSameNode" and node else None
    zones = [ForZone(name=zone)] if zone else None
    return EndpointHints(for_nodes=nodes, for_zones=zones) if nodes or zones else None


def _ports(pod: Pod, service: Service) -> PortSet:
    """Ports that the pod does not know by name are left out."""
    found = []
    for port in service.spec.ports or ():
        number = service_pods.target_port(pod, port)
        if number is not None:
            found.append((port.name or None, number, port.protocol or "TCP", port.app_protocol))
    return tuple(sorted(found, key=str))
