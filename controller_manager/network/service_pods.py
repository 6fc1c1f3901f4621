"""What Endpoints and EndpointSlices have in common: which pods count, on which ports, and whom a pod's change wakes.

Looking at a Service costs in proportion to its pods, and they come and go together: of a large one the news are
gathered first, so that a rollout of thousands costs a few looks a second and not one for each pod.
"""

from __future__ import annotations

from typing import Any

from api.selectors import selector_from
from api.types.core_v1 import Pod, Service, ServicePort
from client.controller import Controller
from client.informer import Informer
from client.store import Key, key_of
from controller_manager import pods as pod_facts

HEADLESS_LABEL = "service.kubernetes.io/headless"
LAST_CHANGE = "endpoints.kubernetes.io/last-change-trigger-time"
#: Pods from which on news are gathered, and for how many seconds for each of them.
_LARGE = 50
_SECONDS_PER_POD = 1e-4


def counts(pod: Pod, *, terminating: bool) -> bool:
    """Whether a pod can be an endpoint at all (ShouldPodBeInEndpoints)."""
    if pod_facts.is_terminal(pod) or not (pod.status.pod_ips or pod.status.pod_ip):
        return False
    return terminating or not pod.metadata.deletion_timestamp


def addresses(pod: Pod, family: str) -> list[str]:
    """The pod's addresses of a family (IPv4, IPv6)."""
    every = [p.ip for p in pod.status.pod_ips or () if p.ip] or [a for a in [pod.status.pod_ip] if a]
    return [address for address in every if (":" in address) == (family == "IPv6")]


def families(service: Service) -> list[str]:
    found = service.spec.ip_families
    if found:
        return list(found)
    ip = service.spec.cluster_ip or ""
    return ["IPv6"] if ":" in ip else ["IPv4"]


def is_headless(service: Service) -> bool:
    return service.spec.cluster_ip == "None"


def target_port(pod: Pod, port: ServicePort) -> int | None:
    """The number of the container port that a service port leads to; None if the pod does not have that name."""
    wanted = port.target_port
    if isinstance(wanted, int):
        return wanted or port.port
    if not wanted:
        return port.port
    protocol = port.protocol or "TCP"
    sidecars = [c for c in pod.spec.init_containers or () if c.restart_policy == "Always"]
    for container in [*pod.spec.containers, *sidecars]:
        for one in container.ports or ():
            if one.name == wanted and (one.protocol or "TCP") == protocol:
                return one.container_port
    return None


def hostname(pod: Pod, service: Service) -> str | None:
    """The name under which DNS knows the pod, if it lives in this service's subdomain."""
    in_subdomain = pod.spec.subdomain == service.metadata.name and pod.metadata.namespace == service.metadata.namespace
    return pod.spec.hostname if pod.spec.hostname and in_subdomain else None


def _facts(pod: Pod) -> Any:
    return (
        pod.status.pod_ips,
        pod.status.pod_ip,
        pod_facts.is_ready(pod),
        pod_facts.is_terminal(pod),
        pod.metadata.deletion_timestamp is None,
        pod.metadata.labels,
        pod.spec.node_name,
        pod.spec.hostname,
        pod.spec.subdomain,
    )


class ServicePods:
    """Wakes a controller for a service when the service, or a pod that it selects or did select, has changed."""

    def __init__(self, services: Informer[Service], pods: Informer[Pod], controller: Controller[Key]) -> None:
        self._services, self._pods, self._controller = services, pods, controller
        self._sizes: dict[Key, int] = {}  # pods that a service selected when it was last looked at
        services.add_handler(
            on_add=lambda s: controller.enqueue(key_of(s)),
            on_update=lambda _, s: controller.enqueue(key_of(s)),
            on_delete=self._service_deleted,
        )
        pods.add_handler(on_add=self._changed, on_update=self._updated, on_delete=self._changed)

    def selected(self, service: Service) -> list[Pod]:
        found = self._pods.list(service.metadata.namespace or "", selector_from(service.spec.selector))
        self._sizes[key_of(service)] = len(found)
        return found

    def _service_deleted(self, service: Service) -> None:
        self._sizes.pop(key_of(service), None)
        self._controller.enqueue(key_of(service))

    def _changed(self, pod: Pod) -> None:
        labels = (pod.metadata.labels or {}).items()
        for service in self._services.list(pod.metadata.namespace or ""):
            selector = service.spec.selector
            if selector and selector.items() <= labels:
                size = self._sizes.get(key_of(service), 0)
                self._controller.enqueue_after(key_of(service), size * _SECONDS_PER_POD if size > _LARGE else 0.0)

    def _updated(self, old: Pod, new: Pod) -> None:
        if _facts(old) == _facts(new):
            return
        self._changed(new)
        if old.metadata.labels != new.metadata.labels:
            self._changed(old)
