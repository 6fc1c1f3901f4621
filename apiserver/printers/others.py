"""Rows of the smaller groups: networking, RBAC, storage, scheduling, admission, flow control, certificates, DRA."""

from __future__ import annotations

from typing import Any

from api.quantity import Quantity
from api.types import (
    admissionregistration_v1,
    apiregistration_v1,
    certificates_v1,
    coordination_v1,
    flowcontrol_v1,
    networking_v1,
    node_v1,
    rbac_v1,
    resource_v1,
    scheduling_v1,
    storage_v1,
)
from apiserver.printers import age, columns, format_selector, human_duration

INGRESS = columns("Name", "Class", "Hosts", "Address", "Ports", "Age")
INGRESS_CLASS = columns("Name", "Controller", "Parameters", "Age")
NETWORK_POLICY = columns("Name", "Pod-Selector", "Age")
SERVICE_CIDR = columns("Name", "CIDRs", "Age")
IP_ADDRESS = columns("Name", "ParentRef")
BINDING = columns("Name", "Role", "Age", "+Users", "+Groups", "+ServiceAccounts")
CERTIFICATE_REQUEST = columns("Name", "Age", "SignerName", "Requestor", "RequestedDuration", "Condition")
LEASE = columns("Name", "Holder", "Age")
STORAGE_CLASS = columns("Name", "Provisioner", "ReclaimPolicy", "VolumeBindingMode", "AllowVolumeExpansion", "Age")
VOLUME_ATTRIBUTES_CLASS = columns("Name", "DriverName", "Age")
VOLUME_ATTACHMENT = columns("Name", "Attacher", "PV", "Node", "Attached:boolean", "Age")
CSI_NODE = columns("Name", "Drivers:integer", "Age")
CSI_DRIVER = columns(
    "Name", "AttachRequired:boolean", "PodInfoOnMount:boolean", "StorageCapacity:boolean", "TokenRequests",
    "RequiresRepublish:boolean", "Modes", "Age",
)  # fmt: skip
CSI_STORAGE_CAPACITY = columns("Name", "StorageClassName", "Capacity")
PRIORITY_CLASS = columns("Name", "Value:integer", "Global-Default:boolean", "Age", "PreemptionPolicy")
RUNTIME_CLASS = columns("Name", "Handler", "Age")
WEBHOOKS = columns("Name", "Webhooks:integer", "Age")
VALIDATING_POLICY = columns("Name", "Validations:integer", "ParamKind", "Age")
MUTATING_POLICY = columns("Name", "Mutations:integer", "ParamKind", "Age")
POLICY_BINDING = columns("Name", "PolicyName", "ParamRef", "Age")
FLOW_SCHEMA = columns("Name", "PriorityLevel", "MatchingPrecedence", "DistinguisherMethod", "Age", "MissingPL")
PRIORITY_LEVEL = columns("Name", "Type", "NominalConcurrencyShares", "Queues", "HandSize", "QueueLengthLimit", "Age")
RESOURCE_CLAIM = columns("Name", "State", "Age")
RESOURCE_SLICE = columns("Name", "Node", "Driver", "Pool", "Age")
API_SERVICE = columns("Name", "Service", "Available", "Age")


def ingress_cells(ingress: networking_v1.Ingress) -> list[Any]:
    spec, metadata = ingress.spec, ingress.metadata
    rules = spec.rules or []
    hosts: list[str] = []
    more = False
    for rule in rules:
        more = more or len(hosts) == 3
        if not more and rule.host:
            hosts.append(rule.host)
    shown = ",".join(hosts) or "*"
    if hosts and more:
        shown = f"{shown} + {len(rules) - 3} more..."
    addresses = {i.ip or i.hostname or "" for i in ingress.status.load_balancer.ingress or ()} - {""}
    return [
        metadata.name,
        "<none>" if spec.ingress_class_name is None else spec.ingress_class_name,
        shown,
        ",".join(sorted(addresses)),
        "80, 443" if spec.tls else "80",
        age(metadata.creation_timestamp),
    ]


def ingress_class_cells(ingress_class: networking_v1.IngressClass) -> list[Any]:
    parameters = ingress_class.spec.parameters
    shown = "<none>"
    if parameters is not None:
        group = f".{parameters.api_group}" if parameters.api_group is not None else ""
        shown = f"{parameters.kind}{group}/{parameters.name}"
    metadata = ingress_class.metadata
    return [metadata.name, ingress_class.spec.controller or "", shown, age(metadata.creation_timestamp)]


def network_policy_cells(policy: networking_v1.NetworkPolicy) -> list[Any]:
    metadata = policy.metadata
    return [metadata.name, format_selector(policy.spec.pod_selector), age(metadata.creation_timestamp)]


def service_cidr_cells(cidr: networking_v1.ServiceCIDR) -> list[Any]:
    return [cidr.metadata.name, ",".join(cidr.spec.cidrs or ()), age(cidr.metadata.creation_timestamp)]


def ip_address_cells(address: networking_v1.IPAddress) -> list[Any]:
    parent = address.spec.parent_ref
    shown = f"{parent.resource}.{parent.group}".lower() if parent.group else parent.resource.lower()
    if parent.namespace:
        shown += f"/{parent.namespace}"
    return [address.metadata.name, f"{shown}/{parent.name}"]


def binding_cells(binding: rbac_v1.RoleBinding | rbac_v1.ClusterRoleBinding) -> list[Any]:
    metadata, subjects = binding.metadata, binding.subjects or ()
    accounts = [f"{s.namespace}/{s.name}" if s.namespace else s.name for s in subjects if s.kind == "ServiceAccount"]
    return [
        metadata.name,
        f"{binding.role_ref.kind}/{binding.role_ref.name}",
        age(metadata.creation_timestamp),
        ", ".join(s.name for s in subjects if s.kind == "User"),
        ", ".join(s.name for s in subjects if s.kind == "Group"),
        ", ".join(accounts),
    ]


def certificate_request_cells(request: certificates_v1.CertificateSigningRequest) -> list[Any]:
    spec, metadata = request.spec, request.metadata
    types = {c.type for c in request.status.conditions or ()}
    state = "Denied" if "Denied" in types else "Approved" if "Approved" in types else "Pending"
    if "Failed" in types:
        state += ",Failed"
    if request.status.certificate:
        state += ",Issued"
    return [
        metadata.name,
        age(metadata.creation_timestamp),
        spec.signer_name or "<none>",
        spec.username or "",
        "<none>" if spec.expiration_seconds is None else human_duration(spec.expiration_seconds),
        state,
    ]


def lease_cells(lease: coordination_v1.Lease) -> list[Any]:
    metadata = lease.metadata
    return [metadata.name, lease.spec.holder_identity or "", age(metadata.creation_timestamp)]


def storage_class_cells(storage_class: storage_v1.StorageClass) -> list[Any]:
    metadata = storage_class.metadata
    return [
        _with_default(metadata.name, metadata.annotations, "storageclass"),
        storage_class.provisioner,
        storage_class.reclaim_policy or "Delete",
        storage_class.volume_binding_mode or "Immediate",
        bool(storage_class.allow_volume_expansion),
        age(metadata.creation_timestamp),
    ]


def _with_default(name: str | None, annotations: dict[str, str] | None, prefix: str) -> str:
    marks = annotations or {}
    keys = (f"{prefix}.kubernetes.io/is-default-class", f"{prefix}.beta.kubernetes.io/is-default-class")
    return f"{name} (default)" if any(marks.get(key) == "true" for key in keys) else name or ""


def volume_attributes_class_cells(volume_class: storage_v1.VolumeAttributesClass) -> list[Any]:
    metadata = volume_class.metadata
    name = _with_default(metadata.name, metadata.annotations, "volumeattributesclass")
    return [name, volume_class.driver_name, age(metadata.creation_timestamp)]


def volume_attachment_cells(attachment: storage_v1.VolumeAttachment) -> list[Any]:
    spec, metadata = attachment.spec, attachment.metadata
    return [
        metadata.name,
        spec.attacher,
        spec.source.persistent_volume_name or "",
        spec.node_name,
        attachment.status.attached,
        age(metadata.creation_timestamp),
    ]


def csi_node_cells(node: storage_v1.CSINode) -> list[Any]:
    return [node.metadata.name, len(node.spec.drivers), age(node.metadata.creation_timestamp)]


def csi_driver_cells(driver: storage_v1.CSIDriver) -> list[Any]:
    spec, metadata = driver.spec, driver.metadata
    requests = spec.token_requests
    return [
        metadata.name,
        True if spec.attach_required is None else spec.attach_required,
        bool(spec.pod_info_on_mount),
        bool(spec.storage_capacity),
        "<unset>" if requests is None else ",".join(r.audience for r in requests),
        bool(spec.requires_republish),
        ",".join(spec.volume_lifecycle_modes or ()) or "<none>",
        age(metadata.creation_timestamp),
    ]


def csi_storage_capacity_cells(capacity: storage_v1.CSIStorageCapacity) -> list[Any]:
    shown = "<unset>" if capacity.capacity is None else str(Quantity(capacity.capacity))
    return [capacity.metadata.name, capacity.storage_class_name, shown]


def priority_class_cells(priority_class: scheduling_v1.PriorityClass) -> list[Any]:
    return [
        priority_class.metadata.name,
        priority_class.value or 0,
        bool(priority_class.global_default),
        age(priority_class.metadata.creation_timestamp),
        priority_class.preemption_policy or "",
    ]


def runtime_class_cells(runtime_class: node_v1.RuntimeClass) -> list[Any]:
    metadata = runtime_class.metadata
    return [metadata.name, runtime_class.handler, age(metadata.creation_timestamp)]


def webhooks_cells(
    configuration: (
        admissionregistration_v1.MutatingWebhookConfiguration | admissionregistration_v1.ValidatingWebhookConfiguration
    ),
) -> list[Any]:
    metadata = configuration.metadata
    return [metadata.name, len(configuration.webhooks or ()), age(metadata.creation_timestamp)]


def _param_kind(kind: admissionregistration_v1.ParamKind | None) -> str:
    return "<unset>" if kind is None else f"{kind.api_version or ''}/{kind.kind or ''}"


def validating_policy_cells(policy: admissionregistration_v1.ValidatingAdmissionPolicy) -> list[Any]:
    spec, metadata = policy.spec, policy.metadata
    return [
        metadata.name,
        len(spec.validations or ()),
        _param_kind(spec.param_kind),
        age(metadata.creation_timestamp),
    ]


def mutating_policy_cells(policy: admissionregistration_v1.MutatingAdmissionPolicy) -> list[Any]:
    spec, metadata = policy.spec, policy.metadata
    return [metadata.name, len(spec.mutations or ()), _param_kind(spec.param_kind), age(metadata.creation_timestamp)]


def policy_binding_cells(
    binding: (
        admissionregistration_v1.ValidatingAdmissionPolicyBinding
        | admissionregistration_v1.MutatingAdmissionPolicyBinding
    ),
) -> list[Any]:
    param = "<unset>"
    if (ref := binding.spec.param_ref) is not None:
        if ref.name:
            param = f"{ref.namespace or '*'}/{ref.name}"
        elif ref.selector is not None:
            param = format_selector(ref.selector)
    metadata = binding.metadata
    return [metadata.name, binding.spec.policy_name or "", param, age(metadata.creation_timestamp)]


def flow_schema_cells(schema: flowcontrol_v1.FlowSchema) -> list[Any]:
    spec, metadata = schema.spec, schema.metadata
    method = spec.distinguisher_method
    dangling = next((c.status or "" for c in schema.status.conditions or () if c.type == "Dangling"), "?")
    return [
        metadata.name,
        spec.priority_level_configuration.name,
        spec.matching_precedence or 0,
        "<none>" if method is None else method.type,
        age(metadata.creation_timestamp),
        dangling,
    ]


def priority_level_cells(level: flowcontrol_v1.PriorityLevelConfiguration) -> list[Any]:
    spec, metadata = level.spec, level.metadata
    shares: Any = "<none>"
    queues: list[Any] = ["<none>"] * 3
    if spec.limited is not None:
        shares = spec.limited.nominal_concurrency_shares
        response = spec.limited.limit_response
        if response is not None and response.queuing is not None:
            q = response.queuing
            queues = [q.queues or 0, q.hand_size or 0, q.queue_length_limit or 0]
    return [metadata.name, spec.type, shares, *queues, age(metadata.creation_timestamp)]


def resource_claim_cells(claim: resource_v1.ResourceClaim) -> list[Any]:
    metadata, status = claim.metadata, claim.status
    states = []
    if metadata.deletion_timestamp:
        states.append("deleted")
    if status.allocation is None:
        if not metadata.deletion_timestamp:
            states.append("pending")
    else:
        states.append("allocated")
        if status.reserved_for:
            states.append("reserved")
    return [metadata.name, ",".join(states), age(metadata.creation_timestamp)]


def resource_slice_cells(resource_slice: resource_v1.ResourceSlice) -> list[Any]:
    spec, metadata = resource_slice.spec, resource_slice.metadata
    return [metadata.name, spec.node_name or "", spec.driver, spec.pool.name, age(metadata.creation_timestamp)]


def api_service_cells(service: apiregistration_v1.APIService) -> list[Any]:
    target = service.spec.service
    shown = "Local" if target is None else f"{target.namespace}/{target.name}"
    available = next((c for c in service.status.conditions or () if c.type == "Available"), None)
    state = "Unknown"
    if available is not None:
        state = available.status
        if state != "True":
            state = f"{state} ({available.reason})"
    metadata = service.metadata
    return [metadata.name, shown, state, age(metadata.creation_timestamp)]
