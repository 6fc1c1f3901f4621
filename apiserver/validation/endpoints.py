"""Endpoints and EndpointSlices: addresses that traffic may be sent to."""

from __future__ import annotations

from api.errors import FieldError, Path
from api.types import core_v1, discovery_v1
from apiserver.validation import names
from apiserver.validation.common import immutable, name_errors
from apiserver.validation.services import special_address

_PROTOCOLS = ("SCTP", "TCP", "UDP")
_ADDRESS_TYPES = ("FQDN", "IPv4", "IPv6")
MAX_ENDPOINTS, MAX_PORTS, MAX_ADDRESSES = 1000, 20000, 100


def validate_endpoints(endpoints: core_v1.Endpoints) -> list[FieldError]:
    errors: list[FieldError] = []
    for index, subset in enumerate(endpoints.subsets or ()):
        path = Path("subsets").index(index)
        if not subset.addresses and not subset.not_ready_addresses:
            errors.append(FieldError.required(path, "must specify `addresses` or `notReadyAddresses`"))
        for field, addresses in (
            ("addresses", subset.addresses or ()),
            ("notReadyAddresses", subset.not_ready_addresses or ()),
        ):
            for position, address in enumerate(addresses):
                errors += _address(address, path.child(field).index(position))
        ports = subset.ports or []
        for position, port in enumerate(ports):
            errors += _port(port, path.child("ports").index(position), name_required=len(ports) > 1)
    return errors


def _address(address: core_v1.EndpointAddress, path: Path) -> list[FieldError]:
    at = path.child("ip")
    errors = name_errors(names.ip_address, address.ip, at) or special_address(address.ip, at)
    if address.hostname:
        errors += name_errors(names.dns1123_label, address.hostname, path.child("hostname"))
    if address.node_name is not None:
        errors += name_errors(names.dns1123_subdomain, address.node_name, path.child("nodeName"))
    return errors


def _port(port: core_v1.EndpointPort, path: Path, *, name_required: bool) -> list[FieldError]:
    errors: list[FieldError] = []
    if port.name:
        errors += name_errors(names.dns1123_label, port.name, path.child("name"))
    elif name_required:
        errors.append(FieldError.required(path.child("name")))
    errors += [FieldError.invalid(path.child("port"), port.port, message) for message in names.port_number(port.port)]
    if not port.protocol:
        errors.append(FieldError.required(path.child("protocol")))
    elif port.protocol not in _PROTOCOLS:
        errors.append(FieldError.not_supported(path.child("protocol"), port.protocol, _PROTOCOLS))
    if port.app_protocol is not None:
        errors += name_errors(names.qualified_name, port.app_protocol, path.child("appProtocol"))
    return errors


def validate_endpoint_slice(endpoint_slice: discovery_v1.EndpointSlice) -> list[FieldError]:
    errors: list[FieldError] = []
    kind = endpoint_slice.address_type
    if not kind:
        errors.append(FieldError.required("addressType"))
    elif kind not in _ADDRESS_TYPES:
        errors.append(FieldError.not_supported("addressType", kind, _ADDRESS_TYPES))
    endpoints = endpoint_slice.endpoints or []
    if len(endpoints) > MAX_ENDPOINTS:
        errors.append(FieldError.too_many("endpoints", len(endpoints), MAX_ENDPOINTS))
        return errors
    for index, endpoint in enumerate(endpoints):
        errors += _endpoint(endpoint, kind, Path("endpoints").index(index))
    ports = endpoint_slice.ports or []
    if len(ports) > MAX_PORTS:
        errors.append(FieldError.too_many("ports", len(ports), MAX_PORTS))
        return errors
    seen: set[str] = set()
    for index, port in enumerate(ports):
        errors += _slice_port(port, seen, Path("ports").index(index))
    return errors


def _endpoint(endpoint: discovery_v1.Endpoint, kind: str, path: Path) -> list[FieldError]:
    errors: list[FieldError] = []
    at = path.child("addresses")
    if not endpoint.addresses:
        errors.append(FieldError.required(at, "must contain at least 1 address"))
    elif len(endpoint.addresses) > MAX_ADDRESSES:
        errors.append(FieldError.too_many(at, len(endpoint.addresses), MAX_ADDRESSES))
    for index, address in enumerate(endpoint.addresses):
        where = at.index(index)
        if kind == "FQDN":
            errors += name_errors(names.dns1123_subdomain, address, where)
            continue
        parsed = names.parse_ip(address)
        if parsed is None:
            errors.append(FieldError.invalid(where, address, names.IP_MESSAGE))
        elif kind in ("IPv4", "IPv6") and f"IPv{parsed.version}" != kind:
            errors.append(FieldError.invalid(where, address, f"must be an {kind} address"))
        else:
            errors += special_address(address, where)
    if endpoint.node_name is not None:
        errors += name_errors(names.dns1123_subdomain, endpoint.node_name, path.child("nodeName"))
    if endpoint.hostname is not None:
        errors += name_errors(names.dns1123_label, endpoint.hostname, path.child("hostname"))
    if endpoint.hints is not None:
        for index, zone in enumerate(endpoint.hints.for_zones or ()):
            if not zone.name:
                errors.append(FieldError.required(path.child("hints").child("forZones").index(index).child("name")))
    return errors


def _slice_port(port: discovery_v1.EndpointPort, seen: set[str], path: Path) -> list[FieldError]:
    errors: list[FieldError] = []
    name = port.name or ""
    if name:
        errors += name_errors(names.dns1123_label, name, path.child("name"))
    if name in seen:
        errors.append(FieldError.duplicate(path.child("name"), port.name))
    seen.add(name)
    if port.port is not None:
        errors += [
            FieldError.invalid(path.child("port"), port.port, message) for message in names.port_number(port.port)
        ]
    if port.protocol is None:
        errors.append(FieldError.required(path.child("protocol")))
    elif port.protocol not in _PROTOCOLS:
        errors.append(FieldError.not_supported(path.child("protocol"), port.protocol, _PROTOCOLS))
    if port.app_protocol is not None:
        errors += name_errors(names.qualified_name, port.app_protocol, path.child("appProtocol"))
    return errors


def validate_endpoint_slice_update(
    new: discovery_v1.EndpointSlice, old: discovery_v1.EndpointSlice
) -> list[FieldError]:
    return validate_endpoint_slice(new) + immutable(new.address_type, old.address_type, Path("addressType"))
