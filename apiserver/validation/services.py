"""Services: ports, addresses, traffic policies (ValidateService, ValidateServiceUpdate)."""

from __future__ import annotations

import ipaddress

from api.errors import FieldError, Path
from api.types import core_v1
from apiserver.defaults.core import externally_accessible
from apiserver.validation import names
from apiserver.validation.common import labels, name_errors, semantic_equal
from apiserver.validation.probes import port_number_or_name

_SPEC = Path("spec")
_TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
_PROTOCOLS = ("SCTP", "TCP", "UDP")
_FAMILIES = ("IPv4", "IPv6")
_POLICIES = ("PreferDualStack", "RequireDualStack", "SingleStack")
_DISTRIBUTIONS = ("PreferClose", "PreferSameNode", "PreferSameZone")
_ONLY_LOAD_BALANCERS = "may only be used when `type` is 'LoadBalancer'"
_NOT_EXTERNAL_NAME = "may not be set for ExternalName services"
_MAX_AFFINITY_SECONDS = 86400
_KUBELET_PORT = 10250


def _headless(spec: core_v1.ServiceSpec) -> bool:
    return bool(spec.cluster_ips) and spec.cluster_ips[0] == "None"  # type: ignore[index]


def validate_service(service: core_v1.Service) -> list[FieldError]:
    spec = service.spec
    headless = _headless(spec)
    errors: list[FieldError] = []
    if not spec.ports and not headless and spec.type != "ExternalName":
        errors.append(FieldError.required(_SPEC.child("ports")))
    errors += _type_rules(spec, headless)
    ports = spec.ports or []
    seen_names: set[str] = set()
    for index, port in enumerate(ports):
        errors += _port(port, seen_names, _SPEC.child("ports").index(index), name_required=len(ports) > 1)
    if spec.selector:
        errors += labels(spec.selector, _SPEC.child("selector"))
    errors += _affinity(spec)
    errors += _cluster_ips(spec)
    for index, ip in enumerate(spec.external_ips or ()):
        at = _SPEC.child("externalIPs").index(index)
        errors += name_errors(names.ip_address, ip, at) or special_address(ip, at)
    if not spec.type:
        errors.append(FieldError.required(_SPEC.child("type")))
    elif spec.type not in _TYPES:
        errors.append(FieldError.not_supported(_SPEC.child("type"), spec.type, _TYPES))
    errors += _unique_ports(spec)
    return errors + _load_balancer(spec) + _traffic(spec)


def _type_rules(spec: core_v1.ServiceSpec, headless: bool) -> list[FieldError]:
    errors: list[FieldError] = []
    if spec.type in ("LoadBalancer", "NodePort") and headless:
        detail = f"may not be set to 'None' for {spec.type} services"
        errors.append(FieldError.invalid(_SPEC.child("clusterIPs").index(0), "None", detail))
    if spec.type == "LoadBalancer":
        for index, port in enumerate(spec.ports or ()):
            if port.port == _KUBELET_PORT:
                detail = f"may not expose port {_KUBELET_PORT} externally since it is used by kubelet"
                errors.append(FieldError.invalid(_SPEC.child("ports").index(index), port.port, detail))
    elif spec.type == "ExternalName":
        if spec.cluster_ips:
            errors.append(FieldError.forbidden(_SPEC.child("clusterIPs"), _NOT_EXTERNAL_NAME))
        if spec.ip_families:
            errors.append(FieldError.forbidden(_SPEC.child("ipFamilies"), _NOT_EXTERNAL_NAME))
        if spec.ip_family_policy is not None:
            errors.append(FieldError.forbidden(_SPEC.child("ipFamilyPolicy"), _NOT_EXTERNAL_NAME))
        name = (spec.external_name or "").removesuffix(".")
        if name:
            errors += name_errors(names.dns1123_subdomain, name, _SPEC.child("externalName"))
        else:
            errors.append(FieldError.required(_SPEC.child("externalName")))
    return errors


def _port(port: core_v1.ServicePort, seen: set[str], path: Path, *, name_required: bool) -> list[FieldError]:
    errors: list[FieldError] = []
    if not port.name:
        if name_required:
            errors.append(FieldError.required(path.child("name")))
    else:
        errors += name_errors(names.dns1123_label, port.name, path.child("name"))
        if port.name in seen:
            errors.append(FieldError.duplicate(path.child("name"), port.name))
        seen.add(port.name)
    errors += [FieldError.invalid(path.child("port"), port.port, message) for message in names.port_number(port.port)]
    if not port.protocol:
        errors.append(FieldError.required(path.child("protocol")))
    elif port.protocol not in _PROTOCOLS:
        errors.append(FieldError.not_supported(path.child("protocol"), port.protocol, _PROTOCOLS))
    if port.target_port is not None:
        errors += port_number_or_name(port.target_port, path.child("targetPort"))
    if port.app_protocol is not None:
        errors += name_errors(names.qualified_name, port.app_protocol, path.child("appProtocol"))
    return errors


def _affinity(spec: core_v1.ServiceSpec) -> list[FieldError]:
    errors: list[FieldError] = []
    path = _SPEC.child("sessionAffinity")
    if not spec.session_affinity:
        errors.append(FieldError.required(path))
    elif spec.session_affinity not in ("ClientIP", "None"):
        errors.append(FieldError.not_supported(path, spec.session_affinity, ("ClientIP", "None")))
    config = spec.session_affinity_config
    path = _SPEC.child("sessionAffinityConfig")
    if spec.session_affinity == "ClientIP":
        timeout = config.client_ip.timeout_seconds if config is not None and config.client_ip is not None else None
        at = path.child("clientIP").child("timeoutSeconds")
        if timeout is None:
            errors.append(FieldError.required(at, "when session affinity type is ClientIP"))
        elif not 0 < timeout <= _MAX_AFFINITY_SECONDS:
            detail = f"must be greater than 0 and less than {_MAX_AFFINITY_SECONDS}"
            errors.append(FieldError.invalid(at, timeout, detail))
    elif spec.session_affinity == "None" and config is not None:
        errors.append(FieldError.forbidden(path, "must not be set when session affinity is None"))
    return errors


def _cluster_ips(spec: core_v1.ServiceSpec) -> list[FieldError]:
    if spec.type == "ExternalName":
        return []
    errors: list[FieldError] = []
    path = _SPEC.child("clusterIPs")
    ips = spec.cluster_ips or []
    if spec.cluster_ip and not ips:
        errors.append(FieldError.required(path))
    elif ips and not spec.cluster_ip:
        errors.append(FieldError.invalid(path, ips, "must be empty when `clusterIP` is not specified"))
    elif ips and ips[0] != spec.cluster_ip:
        errors.append(FieldError.invalid(path, ips, "first value must match `clusterIP`"))
    if spec.ip_family_policy is not None and spec.ip_family_policy not in _POLICIES:
        errors.append(FieldError.not_supported(_SPEC.child("ipFamilyPolicy"), spec.ip_family_policy, _POLICIES))
    seen: set[str] = set()
    for index, family in enumerate(spec.ip_families or ()):
        at = _SPEC.child("ipFamilies").index(index)
        if family not in _FAMILIES:
            errors.append(FieldError.not_supported(at, family, _FAMILIES))
        if family in seen:
            errors.append(FieldError.duplicate(at, family))
        seen.add(family)
    if "None" in ips:
        if len(ips) > 1:
            errors.append(FieldError.invalid(path, ips, "'None' must be the first and only value"))
        return errors
    if len(ips) > 2:
        errors.append(FieldError.invalid(path, ips, "may only hold up to 2 values"))
    for index, ip in enumerate(ips):
        problems = name_errors(names.ip_address, ip, path.index(index))
        errors += problems
        families = spec.ip_families or []
        if not problems and index < len(families):
            parsed = names.parse_ip(ip)
            if parsed is not None and f"IPv{parsed.version}" != families[index]:
                detail = f"expected an {families[index]} value as indicated by `ipFamilies[{index}]`"
                errors.append(FieldError.invalid(path.index(index), ip, detail))
    return errors


def special_address(ip: str, path: Path) -> list[FieldError]:
    """ValidateNonSpecialIP: addresses that traffic from outside can never have."""
    address = names.parse_ip(ip)
    if address is None:
        return []
    detail = ""
    if address.is_unspecified:
        detail = f"may not be unspecified ({ip})"
    elif address.is_loopback:
        detail = "may not be in the loopback range (127.0.0.0/8, ::1/128)"
    elif address.is_link_local:
        detail = "may not be in the link-local range (169.254.0.0/16, fe80::/10)"
    elif address.is_multicast and str(address).startswith(("224.0.0.", "ff02:")):
        detail = "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"
    return [FieldError.invalid(path, ip, detail)] if detail else []


def _unique_ports(spec: core_v1.ServiceSpec) -> list[FieldError]:
    errors: list[FieldError] = []
    node_ports: set[tuple[str | None, int]] = set()
    ports: set[tuple[str | None, int]] = set()
    for index, port in enumerate(spec.ports or ()):
        at = _SPEC.child("ports").index(index)
        if port.node_port:
            if spec.type == "ClusterIP":
                detail = "may not be used when `type` is 'ClusterIP'"
                errors.append(FieldError.forbidden(at.child("nodePort"), detail))
            if (port.protocol, port.node_port) in node_ports:
                errors.append(FieldError.duplicate(at.child("nodePort"), port.node_port))
            node_ports.add((port.protocol, port.node_port))
        if (port.protocol, port.port) in ports:
            errors.append(FieldError.duplicate(at, {"protocol": port.protocol, "port": port.port}))
        ports.add((port.protocol, port.port))
    return errors


def _load_balancer(spec: core_v1.ServiceSpec) -> list[FieldError]:
    errors: list[FieldError] = []
    is_load_balancer = spec.type == "LoadBalancer"
    if spec.load_balancer_source_ranges:
        at = _SPEC.child("loadBalancerSourceRanges")
        if not is_load_balancer:
            errors.append(FieldError.forbidden(at, _ONLY_LOAD_BALANCERS))
        for index, cidr in enumerate(spec.load_balancer_source_ranges):
            try:
                ipaddress.ip_network(cidr.strip(), strict=False)
            except ValueError:
                detail = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"
                errors.append(FieldError.invalid(at.index(index), cidr, detail))
    allocate = spec.allocate_load_balancer_node_ports
    if is_load_balancer and allocate is None:
        errors.append(FieldError.required(_SPEC.child("allocateLoadBalancerNodePorts")))
    if not is_load_balancer and allocate is not None:
        errors.append(FieldError.forbidden(_SPEC.child("allocateLoadBalancerNodePorts"), _ONLY_LOAD_BALANCERS))
    if spec.load_balancer_class is not None:
        at = _SPEC.child("loadBalancerClass")
        if not is_load_balancer:
            errors.append(FieldError.forbidden(at, _ONLY_LOAD_BALANCERS))
        errors += name_errors(names.qualified_name, spec.load_balancer_class, at)
    return errors


def _traffic(spec: core_v1.ServiceSpec) -> list[FieldError]:
    errors: list[FieldError] = []
    at = _SPEC.child("externalTrafficPolicy")
    policy = spec.external_traffic_policy
    reachable = externally_accessible(spec)
    if not policy:
        if reachable:
            errors.append(FieldError.required(at))
    elif not reachable:
        errors.append(FieldError.invalid(at, policy, "may only be set for externally-accessible services"))
    elif policy not in ("Cluster", "Local"):
        errors.append(FieldError.not_supported(at, policy, ("Cluster", "Local")))
    at = _SPEC.child("healthCheckNodePort")
    port = spec.health_check_node_port
    if port:
        if spec.type != "LoadBalancer" or policy != "Local":
            detail = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"
            errors.append(FieldError.invalid(at, port, detail))
        else:
            errors += [FieldError.invalid(at, port, message) for message in names.port_number(port)]
    at = _SPEC.child("internalTrafficPolicy")
    if spec.internal_traffic_policy is None:
        if spec.type != "ExternalName":
            errors.append(FieldError.required(at))
    elif spec.internal_traffic_policy not in ("Cluster", "Local"):
        errors.append(FieldError.not_supported(at, spec.internal_traffic_policy, ("Cluster", "Local")))
    if spec.traffic_distribution is not None and spec.traffic_distribution not in _DISTRIBUTIONS:
        at = _SPEC.child("trafficDistribution")
        errors.append(FieldError.not_supported(at, spec.traffic_distribution, _DISTRIBUTIONS))
    return errors


def validate_service_update(new: core_v1.Service, old: core_v1.Service) -> list[FieldError]:
    errors: list[FieldError] = []
    spec, before = new.spec, old.spec
    if spec.type != "ExternalName" and before.type != "ExternalName":
        ips, earlier = spec.cluster_ips or [], before.cluster_ips or []
        if earlier and (not ips or ips[0] != earlier[0]):
            at = _SPEC.child("clusterIPs").index(0)
            errors.append(FieldError.invalid(at, ips, "may not change once set"))
        elif len(earlier) > 1 and len(ips) > 1 and ips[1] != earlier[1]:
            at = _SPEC.child("clusterIPs").index(1)
            errors.append(FieldError.invalid(at, ips, "may not change once set"))
        families, had = spec.ip_families or [], before.ip_families or []
        if families and had and families[0] != had[0]:
            at = _SPEC.child("ipFamilies").index(0)
            errors.append(FieldError.invalid(at, families, "may not change once set"))
    both = spec.type == "LoadBalancer" and before.type == "LoadBalancer"
    if both and not semantic_equal(spec.load_balancer_class, before.load_balancer_class):
        at = _SPEC.child("loadBalancerClass")
        errors.append(FieldError.invalid(at, spec.load_balancer_class, "may not change once set"))
    return errors + validate_service(new)


def validate_service_status_update(new: core_v1.Service, old: core_v1.Service) -> list[FieldError]:
    errors: list[FieldError] = []
    path = Path("status", "loadBalancer")
    ingress = new.status.load_balancer.ingress or []
    if ingress and new.spec.type != "LoadBalancer":
        detail = 'may only be used when `spec.type` is "LoadBalancer"'
        errors.append(FieldError.forbidden(path.child("ingress"), detail))
    for index, entry in enumerate(ingress):
        at = path.child("ingress").index(index)
        if entry.ip:
            errors += name_errors(names.ip_address, entry.ip, at.child("ip"))
            if entry.ip_mode is None:
                detail = "must be set when `ip` is specified"
                errors.append(FieldError.required(at.child("ipMode"), detail))
            elif entry.ip_mode not in ("Proxy", "VIP"):
                errors.append(FieldError.not_supported(at.child("ipMode"), entry.ip_mode, ("Proxy", "VIP")))
        elif entry.ip_mode is not None:
            detail = "may not be specified when `ip` is not set"
            errors.append(FieldError.forbidden(at.child("ipMode"), detail))
        if entry.hostname:
            errors += name_errors(names.dns1123_subdomain, entry.hostname, at.child("hostname"))
            if names.parse_ip(entry.hostname) is not None:
                detail = "must be a DNS name, not an IP address"
                errors.append(FieldError.invalid(at.child("hostname"), entry.hostname, detail))
    return errors
