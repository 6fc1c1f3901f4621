"""Defaults of the core group's kinds other than pods."""

from __future__ import annotations

from api.types import core_v1
from apiserver.defaults.pods import default_pod_template
from apiserver.defaults.quantities import default_resource_list
from apiserver.defaults.volumes import default_claim_spec, default_rare_source


def default_service(service: core_v1.Service) -> None:
    """SetDefaults_Service. Address families, which depend on the cluster, are set when addresses are allocated."""
    spec = service.spec
    if not spec.session_affinity:
        spec.session_affinity = "None"
    if spec.session_affinity == "None":
        spec.session_affinity_config = None
    elif spec.session_affinity == "ClientIP":
        config = spec.session_affinity_config
        if config is None or config.client_ip is None or config.client_ip.timeout_seconds is None:
            spec.session_affinity_config = core_v1.SessionAffinityConfig(
                client_ip=core_v1.ClientIPConfig(timeout_seconds=10800)
            )
    if not spec.type:
        spec.type = "ClusterIP"
    for port in spec.ports or ():
        if not port.protocol:
            port.protocol = "TCP"
        if not port.target_port or port.target_port == "0":
            port.target_port = port.port
    if not spec.external_traffic_policy and externally_accessible(spec):
        spec.external_traffic_policy = "Cluster"
    if spec.internal_traffic_policy is None and spec.type in ("NodePort", "LoadBalancer", "ClusterIP"):
        spec.internal_traffic_policy = "Cluster"
    if spec.type == "LoadBalancer":
        if spec.allocate_load_balancer_node_ports is None:
            spec.allocate_load_balancer_node_ports = True
        for ingress in service.status.load_balancer.ingress or ():
            if ingress.ip and ingress.ip_mode is None:
                ingress.ip_mode = "VIP"


def externally_accessible(spec: core_v1.ServiceSpec) -> bool:
    """Can clients outside the cluster reach it (so that externalTrafficPolicy means something)?"""
    return spec.type in ("LoadBalancer", "NodePort") or (spec.type == "ClusterIP" and bool(spec.external_ips))


def default_namespace(namespace: core_v1.Namespace) -> None:
    if namespace.metadata.name:
        if namespace.metadata.labels is None:
            namespace.metadata.labels = {}
        namespace.metadata.labels["kubernetes.io/metadata.name"] = namespace.metadata.name
    if not namespace.status.phase:
        namespace.status.phase = "Active"


def default_node(node: core_v1.Node) -> None:
    spec, status = node.spec, node.status
    # podCIDR and podCIDRs[0] are one value in upstream's internal type.
    if spec.pod_cidr and (not spec.pod_cidrs or spec.pod_cidrs[0] != spec.pod_cidr):
        spec.pod_cidrs = [spec.pod_cidr]
    elif not spec.pod_cidr and spec.pod_cidrs:
        spec.pod_cidr = spec.pod_cidrs[0]
    default_resource_list(status.capacity)
    default_resource_list(status.allocatable)
    if status.allocatable is None and status.capacity is not None:
        status.allocatable = dict(status.capacity)
    if status.daemon_endpoints.kubelet_endpoint is None:
        status.daemon_endpoints.kubelet_endpoint = core_v1.DaemonEndpoint()


def default_secret(secret: core_v1.Secret) -> None:
    if not secret.type:
        secret.type = "Opaque"


def default_endpoints(endpoints: core_v1.Endpoints) -> None:
    for subset in endpoints.subsets or ():
        for port in subset.ports or ():
            if not port.protocol:
                port.protocol = "TCP"


def default_replication_controller(controller: core_v1.ReplicationController) -> None:
    spec = controller.spec
    if spec.template is not None:
        default_pod_template(spec.template)
        if labels := spec.template.metadata.labels:
            if not spec.selector:
                spec.selector = dict(labels)
            if not controller.metadata.labels:
                controller.metadata.labels = dict(labels)
    if spec.replicas is None:
        spec.replicas = 1


def default_pod_template_object(template: core_v1.PodTemplate) -> None:
    default_pod_template(template.template)


def default_persistent_volume(volume: core_v1.PersistentVolume) -> None:
    spec = volume.spec
    if not volume.status.phase:
        volume.status.phase = "Pending"
    if not spec.persistent_volume_reclaim_policy:
        spec.persistent_volume_reclaim_policy = "Retain"
    if spec.volume_mode is None:
        spec.volume_mode = "Filesystem"
    default_resource_list(spec.capacity)
    default_rare_source(spec)


def default_persistent_volume_claim(claim: core_v1.PersistentVolumeClaim) -> None:
    if not claim.status.phase:
        claim.status.phase = "Pending"
    default_claim_spec(claim.spec)
    default_resource_list(claim.status.capacity)
    default_resource_list(claim.status.allocated_resources)


def default_limit_range(limits: core_v1.LimitRange) -> None:
    for item in limits.spec.limits:
        for values in (item.max, item.min, item.default, item.default_request, item.max_limit_request_ratio):
            default_resource_list(values)
        if item.type != "Container":
            continue
        default = dict(item.default or {})
        request = dict(item.default_request or {})
        for name, value in (item.max or {}).items():
            default.setdefault(name, value)
        for name, value in default.items():
            request.setdefault(name, value)
        for name, value in (item.min or {}).items():
            request.setdefault(name, value)
        item.default = default or None
        item.default_request = request or None


def default_resource_quota(quota: core_v1.ResourceQuota) -> None:
    for values in (quota.spec.hard, quota.status.hard, quota.status.used):
        default_resource_list(values)
