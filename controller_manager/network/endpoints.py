"""Endpoints: for each Service with a selector, an object of its name with the pods' addresses, for clients of old.

Invariants:
- ready pods are in `addresses`, others in `notReadyAddresses`; publishNotReadyAddresses makes all of them ready;
- addresses that offer the same set of ports share a subset (pods may map a named port differently);
- more than 1000 addresses are cut, ready ones kept first, and an annotation says so;
- a Service without a selector has its Endpoints from somebody else: they are left alone.
"""

from __future__ import annotations

from typing import Any

from api import codec, errors
from api import time as api_time
from api.types.core_v1 import (
    EndpointAddress,
    EndpointPort,
    Endpoints,
    EndpointSubset,
    ObjectReference,
    Pod,
    Service,
)
from api.types.meta_v1 import ObjectMeta
from client.controller import Controller
from client.store import Key, key_of
from controller_manager import pods as pod_facts
from controller_manager.context import Context
from controller_manager.network import service_pods
from controller_manager.network.service_pods import HEADLESS_LABEL, LAST_CHANGE, ServicePods

MAX_ADDRESSES = 1000
OVER_CAPACITY = "endpoints.kubernetes.io/over-capacity"
MANAGED_BY = "endpoints.kubernetes.io/managed-by"
_Ports = tuple[tuple[str | None, int, str, str | None], ...]


class EndpointsController:
    def __init__(self, context: Context) -> None:
        self._api = context.api
        self._recorder = context.recorder("endpoint-controller")
        self._services = context.informers.informer(Service)
        self._endpoints = context.informers.informer(Endpoints)
        self.controller: Controller[Key] = Controller("endpoint", self.reconcile, workers=8)
        self._pods = ServicePods(self._services, context.informers.informer(Pod), self.controller)
        self._endpoints.add_handler(
            # left over from a service that went while nobody was looking
            on_add=lambda e: self.controller.enqueue(key_of(e)),
            on_update=lambda _, e: self.controller.enqueue(key_of(e)),
            on_delete=lambda e: self.controller.enqueue(key_of(e)),
        )

    async def run(self) -> None:
        await self.controller.run()

    async def reconcile(self, key: Key) -> float | None:
        service = self._services.get(*key)
        current = self._endpoints.get(*key)
        if service is None:
            if current is not None and (current.metadata.labels or {}).get(MANAGED_BY):
                await self._delete(current)
            return None
        if not service.spec.selector or service.spec.type == "ExternalName":
            return None
        wanted, over = self._wanted(service)
        if current is not None and not _differs(current, wanted, over):
            return None
        changed = codec.deepcopy(current) if current is not None else Endpoints(metadata=ObjectMeta())
        changed.metadata.name, changed.metadata.namespace = key[1], key[0]
        changed.metadata.labels = wanted.metadata.labels
        annotations = changed.metadata.annotations or {}
        annotations.pop(OVER_CAPACITY, None)
        if over:
            annotations[OVER_CAPACITY] = "truncated"
        annotations[LAST_CHANGE] = api_time.now()
        changed.metadata.annotations = annotations
        changed.subsets = wanted.subsets
        try:
            await (self._api.create(changed) if current is None else self._api.update(changed))
        except errors.StatusError as error:
            if errors.has_cause(error, "NamespaceTerminating") or errors.is_not_found(error):
                return None
            if current is None and errors.is_forbidden(error):
                self._recorder.event(service, "Warning", "FailedToCreateEndpoint", _failed("create", key, error))
            elif current is not None and not errors.is_conflict(error):
                self._recorder.event(changed, "Warning", "FailedToUpdateEndpoint", _failed("update", key, error))
            raise
        return None

    async def _delete(self, current: Endpoints) -> None:
        meta = current.metadata
        try:
            await self._api.delete(Endpoints, meta.name or "", namespace=meta.namespace or "", uid=meta.uid)
        except errors.StatusError as error:
            if not (errors.is_not_found(error) or errors.is_conflict(error)):
                raise

    def _wanted(self, service: Service) -> tuple[Endpoints, bool]:
        everything = bool(service.spec.publish_not_ready_addresses)
        family = service_pods.families(service)[0]
        ready: dict[_Ports, list[EndpointAddress]] = {}
        other: dict[_Ports, list[EndpointAddress]] = {}
        for pod in self._pods.selected(service):
            found = service_pods.addresses(pod, family)
            if not found or not service_pods.counts(pod, terminating=everything):
                continue
            ports = _ports(pod, service)
            if ports is None:
                continue
            side = ready if everything or pod_facts.is_ready(pod) else other
            side.setdefault(ports, []).append(_address(pod, service, found[0]))
        over = _cut(ready, other)
        subsets = [_subset(ports, ready.get(ports), other.get(ports)) for ports in sorted({**ready, **other}, key=str)]
        labels = dict(service.metadata.labels or {})
        labels[MANAGED_BY] = "endpoint-controller"
        labels.pop(HEADLESS_LABEL, None)
        if service_pods.is_headless(service):
            labels[HEADLESS_LABEL] = ""
        return Endpoints(metadata=ObjectMeta(labels=labels), subsets=subsets or None), over


def _ports(pod: Pod, service: Service) -> _Ports | None:
    """None if the pod offers none of the service's ports; () for a headless service without ports."""
    if not service.spec.ports:
        return () if service_pods.is_headless(service) else None
    found = []
    for port in service.spec.ports:
        number = service_pods.target_port(pod, port)
        if number is not None:
            found.append((port.name or None, number, port.protocol or "TCP", port.app_protocol))
    return tuple(sorted(found, key=str)) or None


def _address(pod: Pod, service: Service, ip: str) -> EndpointAddress:
    meta = pod.metadata
    return EndpointAddress(
        ip=ip,
        hostname=service_pods.hostname(pod, service),
        node_name=pod.spec.node_name,
        target_ref=ObjectReference(kind="Pod", namespace=meta.namespace, name=meta.name, uid=meta.uid),
    )


def _cut(ready: dict[_Ports, list[EndpointAddress]], other: dict[_Ports, list[EndpointAddress]]) -> bool:
    room = MAX_ADDRESSES
    over = False
    for side in (ready, other):
        for ports, found in list(side.items()):
            if len(found) > room:
                over = True
                del found[room:]
            room -= len(found)
            if not found:
                del side[ports]
    return over


def _subset(ports: _Ports, ready: list[EndpointAddress] | None, other: list[EndpointAddress] | None) -> EndpointSubset:
    def ordered(found: list[EndpointAddress] | None) -> list[EndpointAddress] | None:
        return sorted(found, key=lambda a: (a.ip, a.target_ref.uid if a.target_ref else "")) if found else None

    return EndpointSubset(
        addresses=ordered(ready),
        not_ready_addresses=ordered(other),
        ports=[EndpointPort(name=n, port=p, protocol=proto, app_protocol=app) for n, p, proto, app in ports] or None,
    )


def _differs(current: Endpoints, wanted: Endpoints, over: bool) -> bool:
    marked = OVER_CAPACITY in (current.metadata.annotations or {})
    return (
        _plain(current.subsets) != _plain(wanted.subsets)
        or (current.metadata.labels or {}) != (wanted.metadata.labels or {})
        or marked != over
    )


def _plain(subsets: list[EndpointSubset] | None) -> Any:
    """Without the revisions that older writers put into references."""
    return [codec.encode(subset) for subset in subsets or ()]


def _failed(verb: str, key: Key, error: errors.StatusError) -> str:
    return f"Failed to {verb} endpoint for service {key[0]}/{key[1]}: {error.message}"
