"""networking.k8s.io: ingresses and their classes, network policies, addresses and ranges of Services."""

from __future__ import annotations

import ipaddress

from api.errors import FieldError, Path
from api.types import core_v1, networking_v1
from apiserver.validation import names
from apiserver.validation.common import immutable, label_selector, name_errors
from apiserver.validation.probes import port_number_or_name

_SPEC, _STATUS = Path("spec"), Path("status")
_PATH_TYPES = ("Exact", "ImplementationSpecific", "Prefix")
_PROTOCOLS = ("SCTP", "TCP", "UDP")
_BAD_SEQUENCES = ("//", "/./", "/../", "%2f", "%2F")
_BAD_SUFFIXES = ("/..", "/.")
_CLASS_ANNOTATION = "kubernetes.io/ingress.class"


def validate_ingress(ingress: networking_v1.Ingress) -> list[FieldError]:
    errors: list[FieldError] = []
    annotation = (ingress.metadata.annotations or {}).get(_CLASS_ANNOTATION)
    if annotation and ingress.spec.ingress_class_name is not None:
        at = Path("metadata").child("annotations").key(_CLASS_ANNOTATION)
        detail = "can not be set when the class field is also set"
        errors.append(FieldError.invalid(at, annotation, detail))
    return errors + _ingress_spec(ingress.spec)


def validate_ingress_update(new: networking_v1.Ingress, old: networking_v1.Ingress) -> list[FieldError]:
    return [] if new.spec == old.spec else _ingress_spec(new.spec)


def _ingress_spec(spec: networking_v1.IngressSpec) -> list[FieldError]:
    errors: list[FieldError] = []
    if not spec.rules and spec.default_backend is None:
        detail = "either `defaultBackend` or `rules` must be specified"
        errors.append(FieldError.invalid(_SPEC, spec.rules or [], detail))
    if spec.default_backend is not None:
        errors += _backend(spec.default_backend, _SPEC.child("defaultBackend"))
    for index, rule in enumerate(spec.rules or ()):
        at = _SPEC.child("rules").index(index)
        if rule.host:
            errors += _host(rule.host, at.child("host"))
        if rule.http is None:
            continue
        where = at.child("http").child("paths")
        if not rule.http.paths:
            errors.append(FieldError.required(where))
        for position, path in enumerate(rule.http.paths):
            errors += _path(path, where.index(position))
    for index, tls in enumerate(spec.tls or ()):
        at = _SPEC.child("tls").index(index)
        for position, host in enumerate(tls.hosts or ()):
            where = at.child("hosts").index(position)
            check = names.wildcard_subdomain if "*" in host else names.dns1123_subdomain
            errors += name_errors(check, host, where)
        if tls.secret_name:
            errors += name_errors(names.dns1123_subdomain, tls.secret_name, at.child("secretName"))
    if spec.ingress_class_name is not None:
        errors += name_errors(names.dns1123_subdomain, spec.ingress_class_name, _SPEC.child("ingressClassName"))
    return errors


def _host(host: str, path: Path) -> list[FieldError]:
    if names.parse_ip(host) is not None:
        return [FieldError.invalid(path, host, "must be a DNS name, not an IP address")]
    return name_errors(names.wildcard_subdomain if "*" in host else names.dns1123_subdomain, host, path)


def _path(path: networking_v1.HTTPIngressPath, at: Path) -> list[FieldError]:
    errors: list[FieldError] = []
    text = path.path or ""
    if not path.path_type:
        return [FieldError.required(at.child("pathType"), "pathType must be specified")]
    match path.path_type:
        case "Exact" | "Prefix":
            if not text.startswith("/"):
                errors.append(FieldError.invalid(at.child("path"), text, "must be an absolute path"))
            for sequence in _BAD_SEQUENCES:
                if sequence in text:
                    errors.append(FieldError.invalid(at.child("path"), text, f"must not contain '{sequence}'"))
            for suffix in _BAD_SUFFIXES:
                if text.endswith(suffix):
                    errors.append(FieldError.invalid(at.child("path"), text, f"cannot end with '{suffix}'"))
        case "ImplementationSpecific":
            if text and not text.startswith("/"):
                errors.append(FieldError.invalid(at.child("path"), text, "must be an absolute path"))
        case _:
            errors.append(FieldError.not_supported(at.child("pathType"), path.path_type, _PATH_TYPES))
    return errors + _backend(path.backend, at.child("backend"))


def _backend(backend: networking_v1.IngressBackend, path: Path) -> list[FieldError]:
    if backend.resource is not None and backend.service is not None:
        return [FieldError.invalid(path, "", "cannot set both resource and service backends")]
    if backend.resource is not None:
        return _typed_reference(backend.resource, path.child("resource"))
    if backend.service is None:
        return [FieldError.required(path, "must specify either `service` or `resource`")]
    service, at = backend.service, path.child("service")
    errors: list[FieldError] = []
    if not service.name:
        errors.append(FieldError.required(at.child("name")))
    else:
        errors += name_errors(names.dns1035_label, service.name, at.child("name"))
    port = service.port
    if port is not None and port.name and port.number:
        errors.append(FieldError.invalid(path, "", "cannot set both port name & port number"))
    elif port is not None and port.name:
        errors += name_errors(names.port_name, port.name, at.child("port").child("name"))
    elif port is not None and port.number:
        where = at.child("port").child("number")
        errors += [FieldError.invalid(where, port.number, message) for message in names.port_number(port.number)]
    else:
        errors.append(FieldError.required(path, "port name or number is required"))
    return errors


def _typed_reference(reference: core_v1.TypedLocalObjectReference, path: Path) -> list[FieldError]:
    errors: list[FieldError] = []
    if reference.api_group is not None and reference.api_group:
        errors += name_errors(names.dns1123_subdomain, reference.api_group, path.child("apiGroup"))
    for field, value in (("kind", reference.kind), ("name", reference.name)):
        if not value:
            errors.append(FieldError.required(path.child(field)))
        else:
            errors += name_errors(names.path_segment, value, path.child(field))
    return errors


def validate_ingress_status_update(new: networking_v1.Ingress, old: networking_v1.Ingress) -> list[FieldError]:
    errors: list[FieldError] = []
    for index, entry in enumerate(new.status.load_balancer.ingress or ()):
        at = _STATUS.child("loadBalancer").child("ingress").index(index)
        if entry.ip:
            errors += name_errors(names.ip_address, entry.ip, at.child("ip"))
        if entry.hostname:
            errors += name_errors(names.dns1123_subdomain, entry.hostname, at.child("hostname"))
            if names.parse_ip(entry.hostname) is not None:
                detail = "must be a DNS name, not an IP address"
                errors.append(FieldError.invalid(at.child("hostname"), entry.hostname, detail))
    return errors


def validate_ingress_class(ingress_class: networking_v1.IngressClass) -> list[FieldError]:
    spec = ingress_class.spec
    errors: list[FieldError] = []
    controller, at = spec.controller or "", _SPEC.child("controller")
    if len(controller) > 250:
        errors.append(FieldError.too_long(at, controller, 250))
    if not controller:
        errors.append(FieldError.required(at))
    elif "/" not in controller:
        detail = 'must be a domain-prefixed path (such as "acme.io/foo")'
        errors.append(FieldError.invalid(at, controller, detail))
    if (parameters := spec.parameters) is None:
        return errors
    at = _SPEC.child("parameters")
    for field, value in (("kind", parameters.kind), ("name", parameters.name)):
        if not value:
            errors.append(FieldError.required(at.child(field)))
    if parameters.scope not in ("Cluster", "Namespace"):
        errors.append(FieldError.not_supported(at.child("scope"), parameters.scope, ("Cluster", "Namespace")))
    elif parameters.scope == "Namespace" and not parameters.namespace:
        detail = "`parameters.scope` is set to 'Namespace'"
        errors.append(FieldError.required(at.child("namespace"), detail))
    elif parameters.scope == "Cluster" and parameters.namespace:
        detail = "`parameters.scope` is set to 'Cluster'"
        errors.append(FieldError.forbidden(at.child("namespace"), detail))
    return errors


def validate_ingress_class_update(new: networking_v1.IngressClass, old: networking_v1.IngressClass) -> list[FieldError]:
    return immutable(new.spec.controller, old.spec.controller, _SPEC.child("controller")) + validate_ingress_class(new)


# -- network policies -------------------------------------------------------------------------------------------------


def validate_network_policy(policy: networking_v1.NetworkPolicy) -> list[FieldError]:
    spec = policy.spec
    errors = label_selector(spec.pod_selector, _SPEC.child("podSelector"))
    for index, rule in enumerate(spec.ingress or ()):
        at = _SPEC.child("ingress").index(index)
        errors += _policy_ports(rule.ports, at.child("ports"))
        errors += _peers(rule.from_, at.child("from"))
    for index, outgoing in enumerate(spec.egress or ()):
        at = _SPEC.child("egress").index(index)
        errors += _policy_ports(outgoing.ports, at.child("ports"))
        errors += _peers(outgoing.to, at.child("to"))
    types = spec.policy_types or []
    if len(types) > 2:
        detail = "may not specify more than two policyTypes"
        return [*errors, FieldError.invalid(_SPEC.child("policyTypes"), types, detail)]
    for index, kind in enumerate(types):
        if kind not in ("Egress", "Ingress"):
            at = _SPEC.child("policyTypes").index(index)
            errors.append(FieldError.not_supported(at, kind, ("Egress", "Ingress")))
    return errors


def _policy_ports(ports: list[networking_v1.NetworkPolicyPort] | None, path: Path) -> list[FieldError]:
    errors: list[FieldError] = []
    for index, port in enumerate(ports or ()):
        at = path.index(index)
        if port.protocol is not None and port.protocol not in _PROTOCOLS:
            errors.append(FieldError.not_supported(at.child("protocol"), port.protocol, _PROTOCOLS))
        if port.port is not None:
            errors += port_number_or_name(port.port, at.child("port"))
        if port.end_port is None:
            continue
        if port.port is None:
            detail = "must be specified when `endPort` is specified"
            errors.append(FieldError.required(at.child("port"), detail))
        elif isinstance(port.port, str):
            detail = "may not be specified when `port` is non-numeric"
            errors.append(FieldError.invalid(at.child("endPort"), port.end_port, detail))
        else:
            if port.end_port < port.port:
                detail = "must be greater than or equal to `port`"
                errors.append(FieldError.invalid(at.child("endPort"), port.end_port, detail))
            errors += [
                FieldError.invalid(at.child("endPort"), port.end_port, message)
                for message in names.port_number(port.end_port)
            ]
    return errors


def _peers(peers: list[networking_v1.NetworkPolicyPeer] | None, path: Path) -> list[FieldError]:
    errors: list[FieldError] = []
    for index, peer in enumerate(peers or ()):
        at = path.index(index)
        selected = peer.pod_selector is not None or peer.namespace_selector is not None
        if peer.ip_block is not None:
            if selected:
                detail = "may not specify both ipBlock and another peer"
                errors.append(FieldError.forbidden(at, detail))
            errors += _ip_block(peer.ip_block, at.child("ipBlock"))
        elif not selected:
            errors.append(FieldError.required(at, "must specify a peer"))
        errors += label_selector(peer.pod_selector, at.child("podSelector"))
        errors += label_selector(peer.namespace_selector, at.child("namespaceSelector"))
    return errors


def _ip_block(block: networking_v1.IPBlock, path: Path) -> list[FieldError]:
    if not block.cidr:
        return [FieldError.required(path.child("cidr"))]
    network = _network(block.cidr)
    if network is None:
        return [FieldError.invalid(path.child("cidr"), block.cidr, _CIDR)]
    errors: list[FieldError] = []
    for index, text in enumerate(block.except_ or ()):
        at = path.child("except").index(index)
        inner = _network(text)
        if inner is None:
            errors.append(FieldError.invalid(at, text, _CIDR))
        elif inner.version != network.version or inner == network or not _within(inner, network):
            errors.append(FieldError.invalid(at, text, "must be a strict subset of `cidr`"))
    return errors


_CIDR = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def _network(text: str) -> _Network | None:
    try:
        return ipaddress.ip_network(text, strict=False) if "/" in text else None
    except ValueError:
        return None


def _within(inner: _Network, outer: _Network) -> bool:
    if isinstance(inner, ipaddress.IPv4Network) and isinstance(outer, ipaddress.IPv4Network):
        return inner.subnet_of(outer)
    if isinstance(inner, ipaddress.IPv6Network) and isinstance(outer, ipaddress.IPv6Network):
        return inner.subnet_of(outer)
    return False


# -- addresses and ranges ---------------------------------------------------------------------------------------------


def ip_address_name(name: str) -> list[str]:
    """The name of an IPAddress is the address, in canonical form."""
    parsed = names.parse_ip(name)
    if parsed is None:
        return [names.IP_MESSAGE]
    return [] if str(parsed) == name else [f'must be in canonical form ("{parsed}")']


def validate_ip_address(address: networking_v1.IPAddress) -> list[FieldError]:
    parent, at = address.spec.parent_ref, _SPEC.child("parentRef")
    if not parent.resource and not parent.name:
        return [FieldError.required(at)]
    errors: list[FieldError] = []
    if parent.group:
        errors += name_errors(names.dns1123_subdomain, parent.group, at.child("group"))
    for field, value in (("resource", parent.resource), ("name", parent.name)):
        if not value:
            errors.append(FieldError.required(at.child(field)))
        else:
            errors += name_errors(names.path_segment, value, at.child(field))
    if parent.namespace:
        errors += name_errors(names.path_segment, parent.namespace, at.child("namespace"))
    return errors


def validate_ip_address_update(new: networking_v1.IPAddress, old: networking_v1.IPAddress) -> list[FieldError]:
    return immutable(new.spec.parent_ref, old.spec.parent_ref, _SPEC.child("parentRef"))


def validate_service_cidr(cidr: networking_v1.ServiceCIDR) -> list[FieldError]:
    cidrs, at = cidr.spec.cidrs or [], _SPEC.child("cidrs")
    if not cidrs:
        return [FieldError.required(at, "at least one CIDR required")]
    errors: list[FieldError] = []
    if len(cidrs) > 2:
        errors.append(FieldError.invalid(at, cidrs, "may only hold up to 2 values"))
    networks = [_network(text) for text in cidrs]
    for index, (text, network) in enumerate(zip(cidrs, networks, strict=True)):
        if network is None:
            errors.append(FieldError.invalid(at.index(index), text, _CIDR))
        elif str(network) != text:
            errors.append(FieldError.invalid(at.index(index), text, f'must be in canonical form ("{network}")'))
    versions = [network.version for network in networks if network is not None]
    if len(versions) == 2 and versions[0] == versions[1]:
        detail = "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64"
        errors.append(FieldError.invalid(at, cidrs, detail))
    return errors


def validate_service_cidr_update(new: networking_v1.ServiceCIDR, old: networking_v1.ServiceCIDR) -> list[FieldError]:
    now, was = new.spec.cidrs or [], old.spec.cidrs or []
    at = _SPEC.child("cidrs")
    if now[: len(was)] != was:
        return [FieldError.invalid(at, now, "field is immutable")]
    return validate_service_cidr(new)
