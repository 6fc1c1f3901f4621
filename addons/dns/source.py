"""The zone's view of the cluster: informers for namespaces, services and endpoint slices, indexed for look-ups."""

from __future__ import annotations

import asyncio

from addons.dns.records import SERVICE_NAME_LABEL
from api.types.core_v1 import Namespace, Service
from api.types.discovery_v1 import EndpointSlice
from client.api import Api
from client.informer import Informer


class ClusterSource:
    """`addons.dns.records.Source` on informers."""

    def __init__(self, api: Api) -> None:
        self._namespaces = Informer(api, Namespace)
        self._services = Informer(api, Service)
        self._slices = Informer(api, EndpointSlice)
        self._services.add_index("ip", lambda s: [ip for ip in s.spec.cluster_ips or [s.spec.cluster_ip or ""] if ip])
        self._slices.add_index(
            "service",
            lambda s: [f"{s.metadata.namespace}/{(s.metadata.labels or {}).get(SERVICE_NAME_LABEL, '')}"],
        )
        self._slices.add_index("ip", lambda s: [ip for e in s.endpoints or [] for ip in e.addresses])

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            for informer in (self._namespaces, self._services, self._slices):
                tasks.create_task(informer.run())

    def has_synced(self) -> bool:
        return all(i.has_synced for i in (self._namespaces, self._services, self._slices))

    def namespace(self, name: str) -> Namespace | None:
        return self._namespaces.get("", name)

    def service(self, namespace: str, name: str) -> Service | None:
        return self._services.get(namespace, name)

    def slices(self, namespace: str, service: str) -> list[EndpointSlice]:
        return self._slices.by_index("service", f"{namespace}/{service}")

    def service_by_ip(self, ip: str) -> Service | None:
        return next(iter(self._services.by_index("ip", ip)), None)

    def slices_by_ip(self, ip: str) -> list[EndpointSlice]:
        return self._slices.by_index("ip", ip)
