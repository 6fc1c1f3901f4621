"""A pod's sandbox: what the runtime is asked to make for the pod as a whole."""

from __future__ import annotations

from api.types.core_v1 import Pod
from kubelet import network, podutil, resources
from kubelet.config import Config
from kubelet.cri import PortMapping, SandboxConfig


def sandbox_config(pod: Pod, attempt: int, config: Config, runtime_handler: str = "") -> SandboxConfig:
    """Raises ConfigError if the pod's hostname can't be."""
    security = pod.spec.security_context
    return SandboxConfig(
        namespace=podutil.namespace(pod),
        name=podutil.name(pod),
        uid=podutil.uid(pod),
        attempt=attempt,
        hostname=network.node_hostname(pod, config),
        cgroup_parent=resources.cgroup_parent(pod),
        resources=resources.pod_resources(pod),
        host_network=podutil.is_host_network(pod),
        host_pid=bool(pod.spec.host_pid),
        host_ipc=bool(pod.spec.host_ipc),
        share_process_namespace=bool(pod.spec.share_process_namespace),
        dns=network.dns_config(pod, config),
        port_mappings=_port_mappings(pod),
        sysctls={s.name: s.value for s in (security.sysctls if security else None) or ()},
        labels=dict(pod.metadata.labels or {}),
        annotations={},
        runtime_handler=runtime_handler,
    )


def _port_mappings(pod: Pod) -> tuple[PortMapping, ...]:
    containers = (*(pod.spec.init_containers or ()), *pod.spec.containers)
    return tuple(
        PortMapping(port.host_port, port.container_port, port.protocol or "TCP", port.host_ip or "")
        for container in containers
        for port in container.ports or ()
        if port.host_port
    )
