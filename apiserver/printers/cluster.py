"""Rows of the core group's other kinds: nodes, namespaces, services, endpoints, volumes, events and so on."""

from __future__ import annotations

from typing import Any

from api.quantity import Quantity
from api.types import core_v1, discovery_v1
from apiserver.printers import age, columns, format_labels, list_with_more

NODE = columns(
    "Name", "Status", "Roles", "Age", "Version", "+Internal-IP", "+External-IP", "+OS-Image", "+Kernel-Version",
    "+Container-Runtime",
)  # fmt: skip
NAMESPACE = columns("Name", "Status", "Age")
SERVICE = columns("Name", "Type", "Cluster-IP", "External-IP", "Port(s)", "Age", "+Selector")
ENDPOINTS = columns("Name", "Endpoints", "Age")
ENDPOINT_SLICE = columns("Name", "AddressType", "Ports", "Endpoints", "Age")
CONFIG_MAP = columns("Name", "Data", "Age")
SECRET = columns("Name", "Type", "Data", "Age")
SERVICE_ACCOUNT = columns("Name", "Secrets", "Age")
EVENT = columns(
    "Last Seen", "Type", "Reason", "Object", "+Subobject", "+Source", "Message", "+First Seen", "+Count", "+Name"
)  # fmt: skip
PERSISTENT_VOLUME = columns(
    "Name", "Capacity", "Access Modes", "Reclaim Policy", "Status", "Claim", "StorageClass", "VolumeAttributesClass",
    "Reason", "Age", "+VolumeMode",
)  # fmt: skip
PERSISTENT_VOLUME_CLAIM = columns(
    "Name",
    "Status",
    "Volume",
    "Capacity",
    "Access Modes",
    "StorageClass",
    "VolumeAttributesClass",
    "Age",
    "+VolumeMode",
)
RESOURCE_QUOTA = columns("Name", "Request", "Limit", "Age")
COMPONENT_STATUS = columns("Name", "Status", "Message", "Error")

_ROLE_PREFIX = "node-role.kubernetes.io/"
_ACCESS_MODES = (
    ("ReadWriteOnce", "RWO"), ("ReadOnlyMany", "ROX"), ("ReadWriteMany", "RWX"), ("ReadWriteOncePod", "RWOP")
)  # fmt: skip
_BETA_CLASS = "volume.beta.kubernetes.io/storage-class"


def node_cells(node: core_v1.Node) -> list[Any]:
    metadata, info = node.metadata, node.status.node_info
    ready = next((c for c in node.status.conditions or () if c.type == "Ready"), None)
    state = "Unknown" if ready is None else "Ready" if ready.status == "True" else "NotReady"
    if node.spec.unschedulable:
        state += ",SchedulingDisabled"
    roles = set()
    for key, value in (metadata.labels or {}).items():
        if key.startswith(_ROLE_PREFIX) and len(key) > len(_ROLE_PREFIX):
            roles.add(key.removeprefix(_ROLE_PREFIX))
        elif key == "kubernetes.io/role" and value:
            roles.add(value)
    addresses: dict[str, str] = {}
    for address in node.status.addresses or ():
        addresses.setdefault(address.type, address.address)
    return [
        metadata.name,
        state,
        ",".join(sorted(roles)) or "<none>",
        age(metadata.creation_timestamp),
        info.kubelet_version,
        addresses.get("InternalIP", "<none>"),
        addresses.get("ExternalIP", "<none>"),
        info.os_image or "<unknown>",
        info.kernel_version or "<unknown>",
        info.container_runtime_version or "<unknown>",
    ]


def namespace_cells(namespace: core_v1.Namespace) -> list[Any]:
    metadata = namespace.metadata
    return [metadata.name, namespace.status.phase or "", age(metadata.creation_timestamp)]


def service_cells(service: core_v1.Service) -> list[Any]:
    spec, metadata = service.spec, service.metadata
    ports = ",".join(
        f"{p.port}:{p.node_port}/{p.protocol}" if p.node_port else f"{p.port}/{p.protocol}" for p in spec.ports or ()
    )
    return [
        metadata.name,
        spec.type or "",
        spec.cluster_ips[0] if spec.cluster_ips else "<none>",
        _external_ip(service),
        ports or "<none>",
        age(metadata.creation_timestamp),
        format_labels(spec.selector),
    ]


def _external_ip(service: core_v1.Service) -> str:
    spec = service.spec
    external = spec.external_ips or []
    match spec.type:
        case "ClusterIP" | "NodePort":
            return ",".join(external) or "<none>"
        case "LoadBalancer":
            ingress = service.status.load_balancer.ingress or ()
            addresses = sorted({i.ip or i.hostname or "" for i in ingress} - {""})
            return ",".join([*addresses, *external]) or "<pending>"
        case "ExternalName":
            return spec.external_name or ""
        case _:
            return "<unknown>"


def _host_port(ip: str, port: int) -> str:
    return f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"


def endpoints_cells(endpoints: core_v1.Endpoints) -> list[Any]:
    metadata = endpoints.metadata
    items: list[str] = []
    for subset in endpoints.subsets or ():
        addresses = subset.addresses or ()
        if not subset.ports:
            items.extend(address.ip for address in addresses)
        for port in subset.ports or ():
            items.extend(_host_port(address.ip, port.port) for address in addresses)
    if not endpoints.subsets:
        shown = "<none>"
    else:
        shown = ",".join(items[:3])
        if len(items) > 3:
            shown = f"{shown} + {len(items) - 3} more..."
    return [metadata.name, shown, age(metadata.creation_timestamp)]


def endpoint_slice_cells(endpoint_slice: discovery_v1.EndpointSlice) -> list[Any]:
    metadata = endpoint_slice.metadata
    ports = [
        str(p.port) if p.port is not None else p.name if p.name is not None else "*" for p in endpoint_slice.ports or ()
    ]
    addresses = [a for endpoint in endpoint_slice.endpoints or () for a in endpoint.addresses]
    return [
        metadata.name,
        endpoint_slice.address_type,
        list_with_more(ports[:3], len(ports), 3),
        list_with_more(addresses[:3], len(addresses), 3),
        age(metadata.creation_timestamp),
    ]


def config_map_cells(config_map: core_v1.ConfigMap) -> list[Any]:
    metadata = config_map.metadata
    count = len(config_map.data or ()) + len(config_map.binary_data or ())
    return [metadata.name, count, age(metadata.creation_timestamp)]


def secret_cells(secret: core_v1.Secret) -> list[Any]:
    metadata = secret.metadata
    return [metadata.name, secret.type or "", len(secret.data or ()), age(metadata.creation_timestamp)]


def service_account_cells(account: core_v1.ServiceAccount) -> list[Any]:
    metadata = account.metadata
    return [metadata.name, len(account.secrets or ()), age(metadata.creation_timestamp)]


def event_cells(event: core_v1.Event) -> list[Any]:
    first = age(event.first_timestamp or event.event_time)
    last = age(event.last_timestamp) if event.last_timestamp else first
    count = event.count or 1
    if event.series is not None:
        last = age(event.series.last_observed_time)
        count = event.series.count or 0
    involved = event.involved_object
    kind = (involved.kind or "").lower()
    component = event.source.component or event.reporting_component or ""
    instance = event.source.host or event.reporting_instance or ""
    return [
        last,
        event.type or "",
        event.reason or "",
        f"{kind}/{involved.name}" if involved.name else kind,
        involved.field_path or "",
        f"{component}, {instance}" if instance else component,
        (event.message or "").strip(),
        first,
        count,
        event.metadata.name,
    ]


def _modes(modes: list[str] | None) -> str:
    return ",".join(short for mode, short in _ACCESS_MODES if mode in (modes or ()))


def _storage(values: dict[str, str | int | float] | None) -> str:
    return str(Quantity((values or {}).get("storage", "0")))


def _class(annotations: dict[str, str] | None, name: str | None) -> str:
    return (annotations or {}).get(_BETA_CLASS) or name or ""


def persistent_volume_cells(volume: core_v1.PersistentVolume) -> list[Any]:
    spec, status, metadata = volume.spec, volume.status, volume.metadata
    claim = spec.claim_ref
    return [
        metadata.name,
        _storage(spec.capacity),
        _modes(spec.access_modes),
        spec.persistent_volume_reclaim_policy or "",
        "Terminating" if metadata.deletion_timestamp else status.phase or "",
        f"{claim.namespace or ''}/{claim.name or ''}" if claim is not None else "",
        _class(metadata.annotations, spec.storage_class_name),
        "<unset>" if spec.volume_attributes_class_name is None else spec.volume_attributes_class_name,
        status.reason or "",
        age(metadata.creation_timestamp),
        spec.volume_mode or "<unset>",
    ]


def persistent_volume_claim_cells(claim: core_v1.PersistentVolumeClaim) -> list[Any]:
    spec, status, metadata = claim.spec, claim.status, claim.metadata
    return [
        metadata.name,
        "Terminating" if metadata.deletion_timestamp else status.phase or "",
        spec.volume_name or "",
        _storage(status.capacity) if spec.volume_name else "",
        _modes(status.access_modes) if spec.volume_name else "",
        _class(metadata.annotations, spec.storage_class_name),
        "<unset>" if spec.volume_attributes_class_name is None else spec.volume_attributes_class_name,
        age(metadata.creation_timestamp),
        spec.volume_mode or "<unset>",
    ]


def resource_quota_cells(quota: core_v1.ResourceQuota) -> list[Any]:
    hard, used = quota.status.hard or {}, quota.status.used or {}
    requests: list[str] = []
    limits: list[str] = []
    for name in sorted(hard):
        text = f"{name}: {Quantity(used.get(name, '0'))}/{Quantity(hard[name])}"
        (limits if name.startswith("limits.") else requests).append(text)
    return [quota.metadata.name, ", ".join(requests), ", ".join(limits), age(quota.metadata.creation_timestamp)]


def component_status_cells(component: core_v1.ComponentStatus) -> list[Any]:
    healthy = next((c for c in component.conditions or () if c.type == "Healthy"), None)
    if healthy is None:
        return [component.metadata.name, "Unknown", "", ""]
    state = "Healthy" if healthy.status == "True" else "Unhealthy"
    return [component.metadata.name, state, healthy.message or "", healthy.error or ""]
