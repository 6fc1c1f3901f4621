"""What a cluster starts with: namespaces, priority classes, the `kubernetes` Service, and the way to this server.

Several servers may do all of it at once: everything is created if missing and put right if wrong.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from collections.abc import Callable
from typing import Any

from api import errors
from api.types.core_v1 import (
    EndpointAddress,
    EndpointPort,
    Endpoints,
    EndpointSubset,
    Namespace,
    Service,
    ServicePort,
    ServiceSpec,
)
from api.types.discovery_v1 import Endpoint, EndpointConditions, EndpointSlice
from api.types.discovery_v1 import EndpointPort as SlicePort
from api.types.meta_v1 import ObjectMeta
from api.types.scheduling_v1 import PriorityClass
from apiserver.registry import Registry

log = logging.getLogger(__name__)

NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")
_SERVICE = "kubernetes"
_INTERVAL = 10.0  # seconds between looks at the Service and its endpoints, as upstream


async def objects(registry: Registry) -> None:
    """Namespaces and priority classes."""
    for name in NAMESPACES:
        await _ensure(registry, Namespace(metadata=ObjectMeta(name=name)))
    for name, value, what in (
        ("system-cluster-critical", 2_000_000_000, "must run in the cluster, but can be moved to another node"),
        ("system-node-critical", 2_000_001_000, "must not be moved from their current node"),
    ):
        await _ensure(
            registry,
            PriorityClass(
                metadata=ObjectMeta(name=name),
                value=value,
                global_default=False,
                description=f"Used for system critical pods that {what}.",
            ),
        )


async def _ensure(registry: Registry, obj: Any) -> None:
    if registry.cached(type(obj), obj.metadata.name, obj.metadata.namespace) is not None:
        return
    try:
        await registry.create(obj)
    except errors.StatusError as error:
        if not errors.is_already_exists(error):
            raise


class KubernetesService:
    """Keeps the Service `kubernetes` and its endpoints pointing at the servers that are there."""

    def __init__(self, registry: Registry, *, service_ip: str, address: str, port: int) -> None:
        self._registry = registry
        self._service_ip = service_ip
        self._address = address
        self._port = port

    async def run(self) -> None:
        """Until cancelled; then take this server's address out."""
        try:
            while True:
                try:
                    await self.reconcile()
                except errors.StatusError as error:
                    log.warning("the kubernetes Service could not be reconciled: %s", error)
                await asyncio.sleep(_INTERVAL)
        finally:
            await asyncio.shield(self._leave())

    async def reconcile(self) -> None:
        """Once."""
        registry = self._registry
        if registry.cached(Service, _SERVICE, "default") is None:
            await _ensure(registry, self._service())
        if registry.cached(Endpoints, _SERVICE, "default") is None:
            await _ensure(registry, Endpoints(metadata=self._meta(), subsets=[self._subset([self._address])]))
        else:
            await self._change(Endpoints, self._into_endpoints)
        if registry.cached(EndpointSlice, _SERVICE, "default") is None:
            await _ensure(registry, self._slice([self._address]))
        else:
            await self._change(EndpointSlice, self._into_slice)

    async def _change(self, kind: type[Any], change: Callable[[Any], None]) -> None:
        try:
            await self._registry.mutate(kind, _SERVICE, change, namespace="default")
        except errors.StatusError as error:
            if not errors.is_not_found(error):
                raise

    async def _leave(self) -> None:
        try:
            async with asyncio.timeout(2):
                await self._change(Endpoints, self._out_of_endpoints)
                await self._change(EndpointSlice, self._out_of_slice)
        except (TimeoutError, errors.StatusError) as error:
            log.info("this server's address stays in the endpoints: %s", error)

    def _meta(self) -> ObjectMeta:
        return ObjectMeta(
            name=_SERVICE, namespace="default", labels={"endpointslice.kubernetes.io/skip-mirror": "true"}
        )

    def _service(self) -> Service:
        return Service(
            metadata=ObjectMeta(
                name=_SERVICE,
                namespace="default",
                labels={"provider": "kubernetes", "component": "apiserver"},
            ),
            spec=ServiceSpec(
                cluster_ip=self._service_ip,
                cluster_ips=[self._service_ip],
                ports=[ServicePort(name="https", protocol="TCP", port=443, target_port=self._port)],
                session_affinity="None",
                type="ClusterIP",
            ),
        )

    def _subset(self, addresses: list[str]) -> EndpointSubset:
        return EndpointSubset(
            addresses=[EndpointAddress(ip=ip) for ip in addresses],
            ports=[EndpointPort(name="https", port=self._port, protocol="TCP")],
        )

    def _slice(self, addresses: list[str]) -> EndpointSlice:
        meta = ObjectMeta(name=_SERVICE, namespace="default", labels={"kubernetes.io/service-name": _SERVICE})
        version = ipaddress.ip_address(self._address).version
        return EndpointSlice(
            metadata=meta,
            address_type=f"IPv{version}",
            endpoints=[Endpoint(addresses=[ip], conditions=EndpointConditions(ready=True)) for ip in addresses],
            ports=[SlicePort(name="https", port=self._port, protocol="TCP")],
        )

    def _into_endpoints(self, endpoints: Any) -> None:
        known = {a.ip for subset in endpoints.subsets or () for a in subset.addresses or ()}
        endpoints.subsets = [self._subset(sorted(known | {self._address}))]

    def _out_of_endpoints(self, endpoints: Any) -> None:
        known = {a.ip for subset in endpoints.subsets or () for a in subset.addresses or ()}
        rest = sorted(known - {self._address})
        if rest:  # the last one stays: it is the best guess for clients of a server that restarts
            endpoints.subsets = [self._subset(rest)]

    def _into_slice(self, found: Any) -> None:
        known = {ip for endpoint in found.endpoints for ip in endpoint.addresses}
        wanted = self._slice(sorted(known | {self._address}))
        found.endpoints, found.ports = wanted.endpoints, wanted.ports

    def _out_of_slice(self, found: Any) -> None:
        known = {ip for endpoint in found.endpoints for ip in endpoint.addresses}
        if rest := sorted(known - {self._address}):
            found.endpoints = self._slice(rest).endpoints
