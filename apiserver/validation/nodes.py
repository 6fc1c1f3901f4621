"""Nodes: taints, pod ranges, capacity; what may change once it is set."""

from __future__ import annotations

import ipaddress

from api.errors import FieldError, Path
from api.types import core_v1
from apiserver.validation import scheduling
from apiserver.validation.resources import quantity_value

_SPEC, _STATUS = Path("spec"), Path("status")
_CIDR = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"


def validate_node(node: core_v1.Node) -> list[FieldError]:
    errors: list[FieldError] = []
    if node.spec.taints:
        errors += scheduling.taints(node.spec.taints, _SPEC.child("taints"))
    errors += _capacity(node)
    if node.spec.pod_cidrs:
        errors += _pod_cidrs(node.spec.pod_cidrs)
    return errors


def _capacity(node: core_v1.Node) -> list[FieldError]:
    errors: list[FieldError] = []
    for field, resources in (("capacity", node.status.capacity), ("allocatable", node.status.allocatable)):
        for name, value in (resources or {}).items():
            errors += quantity_value(name, value, _STATUS.child(field).key(name))
    return errors


def _pod_cidrs(cidrs: list[str]) -> list[FieldError]:
    errors: list[FieldError] = []
    path = _SPEC.child("podCIDRs")
    versions = []
    for index, cidr in enumerate(cidrs):
        try:
            versions.append(ipaddress.ip_network(cidr, strict=False).version)
        except ValueError:
            errors.append(FieldError.invalid(path.index(index), cidr, _CIDR))
    if len(cidrs) > 2 or len(set(versions)) < len(versions):
        errors.append(FieldError.invalid(path, cidrs, "may specify no more than one CIDR for each IP family"))
    return errors


def validate_node_update(new: core_v1.Node, old: core_v1.Node) -> list[FieldError]:
    """The same for the node and its status: each leaves the other's half as it was."""
    errors: list[FieldError] = []
    if new.status.addresses and new.status.addresses != old.status.addresses:
        seen: set[tuple[str, str]] = set()
        for index, address in enumerate(new.status.addresses):
            if (address.type, address.address) in seen:
                errors.append(FieldError.duplicate(_STATUS.child("addresses").index(index), address))
            seen.add((address.type, address.address))
    if new.status.capacity != old.status.capacity or new.status.allocatable != old.status.allocatable:
        errors += _capacity(new)
    if new.spec == old.spec:
        return errors
    if old.spec.pod_cidrs:
        if (new.spec.pod_cidrs or []) != old.spec.pod_cidrs:
            detail = 'node updates may not change podCIDR except from "" to valid'
            errors.append(FieldError.forbidden(_SPEC.child("podCIDRs"), detail))
    elif new.spec.pod_cidrs:
        errors += _pod_cidrs(new.spec.pod_cidrs)
    if old.spec.provider_id and new.spec.provider_id != old.spec.provider_id:
        detail = 'node updates may not change providerID except from "" to valid'
        errors.append(FieldError.forbidden(_SPEC.child("providerID"), detail))
    if new.spec.taints:
        errors += scheduling.taints(new.spec.taints, _SPEC.child("taints"))
    return errors
