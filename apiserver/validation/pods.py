"""Pod specs, and pods as they are created (ValidatePodSpec, ValidatePodCreate)."""

from __future__ import annotations

from api.errors import FieldError, Path
from api.quantity import Quantity
from api.types import core_v1
from apiserver.validation import names, scheduling
from apiserver.validation.common import labels, name_errors
from apiserver.validation.containers import Surroundings, containers, ephemeral_containers, init_containers
from apiserver.validation.pod_volumes import volumes
from apiserver.validation.remembered import if_unseen
from apiserver.validation.resources import quantity_value, requirements, resource_name_errors
from apiserver.validation.security import pod_security_context

_SPEC = Path("spec")
_RESTART_POLICIES = ("Always", "OnFailure", "Never")
_DNS_POLICIES = ("ClusterFirstWithHostNet", "ClusterFirst", "Default", "None")
_MAX_INT32 = 2**31 - 1
_NAMESERVERS, _SEARCHES, _SEARCH_CHARACTERS = 3, 32, 2048


def validate_pod_create(pod: core_v1.Pod) -> list[FieldError]:
    return _new_pod(pod.spec)


@if_unseen
def _new_pod(spec: core_v1.PodSpec) -> list[FieldError]:
    errors = _pod(spec)
    if spec.ephemeral_containers:
        errors.append(FieldError.forbidden(_SPEC.child("ephemeralContainers"), "cannot be set on create"))
    if spec.node_name and spec.scheduling_gates:
        detail = "cannot be set until all schedulingGates have been cleared"
        errors.append(FieldError.forbidden(_SPEC.child("nodeName"), detail))
    return errors


def validate_pod(pod: core_v1.Pod) -> list[FieldError]:
    """The spec, and the few rules that hold for pods and not for templates."""
    return _pod(pod.spec)


def _pod(spec: core_v1.PodSpec) -> list[FieldError]:
    errors = validate_pod_spec(spec, _SPEC)
    if not spec.service_account_name:
        for index, volume in enumerate(spec.volumes or ()):
            for position, source in enumerate(volume.projected.sources or () if volume.projected is not None else ()):
                if source.service_account_token is not None:
                    at = _SPEC.child("volumes").index(index).child("projected").child("sources").index(position)
                    detail = "must not be specified when serviceAccountName is not set"
                    errors.append(FieldError.forbidden(at.child("serviceAccountToken"), detail))
    for field, group in (("containers", spec.containers), ("initContainers", spec.init_containers or ())):
        for index, container in enumerate(group):
            if container.image and container.image != container.image.strip():
                at = _SPEC.child(field).index(index).child("image")
                errors.append(FieldError.invalid(at, container.image, "must not have leading or trailing whitespace"))
    return errors


def validate_pod_spec(spec: core_v1.PodSpec, path: Path) -> list[FieldError]:
    known, errors = volumes(spec.volumes, path.child("volumes")) if spec.volumes else ({}, [])
    claims: frozenset[str] = frozenset()
    if spec.resource_claims:
        claims = frozenset(claim.name for claim in spec.resource_claims)
        errors += _resource_claims(spec.resource_claims, path.child("resourceClaims"))
    pod = Surroundings(known, claims, spec.termination_grace_period_seconds, spec.host_users)
    errors += containers(spec.containers, pod, path.child("containers"))
    if spec.init_containers:
        errors += init_containers(spec.init_containers, spec.containers, pod, path.child("initContainers"))
    if spec.ephemeral_containers:
        errors += ephemeral_containers(spec.ephemeral_containers, spec, pod, path.child("ephemeralContainers"))
    if spec.resources is not None:
        errors += requirements(spec.resources, path.child("resources"), claims=claims, pod=True)
    errors += _policies(spec, path)
    errors += _placement(spec, path)
    errors += _names(spec, path)
    errors += _network(spec, path)
    return errors + _rest(spec, path)


def _policies(spec: core_v1.PodSpec, path: Path) -> list[FieldError]:
    errors: list[FieldError] = []
    if spec.restart_policy not in _RESTART_POLICIES:
        at = path.child("restartPolicy")
        if spec.restart_policy:
            errors.append(FieldError.not_supported(at, spec.restart_policy, _RESTART_POLICIES))
        else:
            errors.append(FieldError.required(at))
    if spec.dns_policy not in _DNS_POLICIES:
        at = path.child("dnsPolicy")
        if spec.dns_policy:
            errors.append(FieldError.not_supported(at, spec.dns_policy, _DNS_POLICIES))
        else:
            errors.append(FieldError.required(at))
    if spec.preemption_policy is not None and spec.preemption_policy not in ("PreemptLowerPriority", "Never"):
        valid = ("PreemptLowerPriority", "Never")
        errors.append(FieldError.not_supported(path.child("preemptionPolicy"), spec.preemption_policy, valid))
    if spec.security_context is not None:
        errors += pod_security_context(spec.security_context, spec, path.child("securityContext"))
    if spec.share_process_namespace and spec.host_pid:
        detail = "ShareProcessNamespace and HostPID cannot both be enabled"
        errors.append(FieldError.invalid(path.child("securityContext").child("shareProcessNamespace"), True, detail))
    if spec.host_users is False and (spec.host_network or spec.host_pid or spec.host_ipc):
        for field, value in (
            ("hostNetwork", spec.host_network),
            ("hostPID", spec.host_pid),
            ("hostIPC", spec.host_ipc),
        ):
            if value:
                detail = "when `hostUsers` is false"
                errors.append(FieldError.forbidden(path.child(field), detail))
    return errors


def _placement(spec: core_v1.PodSpec, path: Path) -> list[FieldError]:
    errors: list[FieldError] = []
    if spec.node_selector:
        errors += labels(spec.node_selector, path.child("nodeSelector"))
    if spec.affinity is not None:
        errors += scheduling.affinity(spec.affinity, path.child("affinity"))
    if spec.tolerations:
        errors += scheduling.tolerations(spec.tolerations, path.child("tolerations"))
    if spec.topology_spread_constraints:
        at = path.child("topologySpreadConstraints")
        errors += scheduling.topology_spread(spec.topology_spread_constraints, at)
    if spec.scheduling_gates:
        at = path.child("schedulingGates")
        seen: set[str] = set()
        for index, gate in enumerate(spec.scheduling_gates):
            errors += name_errors(names.qualified_name, gate.name, at.index(index))
            if gate.name in seen:
                errors.append(FieldError.duplicate(at.index(index), gate.name))
            seen.add(gate.name)
    return errors


def _names(spec: core_v1.PodSpec, path: Path) -> list[FieldError]:
    errors: list[FieldError] = []
    for field, value, check in (
        ("serviceAccountName", spec.service_account_name, names.dns1123_subdomain),
        ("nodeName", spec.node_name, names.dns1123_subdomain),
        ("hostname", spec.hostname, names.dns1123_label),
        ("subdomain", spec.subdomain, names.dns1123_label),
        ("priorityClassName", spec.priority_class_name, names.dns1123_subdomain),
        ("runtimeClassName", spec.runtime_class_name, names.dns1123_subdomain),
    ):
        if value and (messages := check(value)):
            errors += [FieldError.invalid(path.child(field), value, message) for message in messages]
    if spec.runtime_class_name == "":
        errors += name_errors(names.dns1123_subdomain, "", path.child("runtimeClassName"))
    return errors


def _network(spec: core_v1.PodSpec, path: Path) -> list[FieldError]:
    errors: list[FieldError] = []
    if spec.host_network:
        for index, container in enumerate(spec.containers):
            for position, port in enumerate(container.ports or ()):
                if port.host_port and port.host_port != port.container_port:
                    at = path.child("containers").index(index).child("ports").index(position).child("containerPort")
                    detail = "must match `hostPort` when `hostNetwork` is true"
                    errors.append(FieldError.invalid(at, port.container_port, detail))
    if spec.dns_config is not None or spec.dns_policy == "None":
        errors += _dns_config(spec.dns_config, spec.dns_policy, path.child("dnsConfig"))
    for index, alias in enumerate(spec.host_aliases or ()):
        at = path.child("hostAliases").index(index)
        errors += name_errors(names.ip_address, alias.ip, at.child("ip"))
        for hostname in alias.hostnames or ():
            errors += name_errors(names.dns1123_subdomain, hostname, at.child("hostnames"))
    return errors


def _dns_config(config: core_v1.PodDNSConfig | None, policy: str | None, path: Path) -> list[FieldError]:
    if config is None:
        detail = "must provide `dnsConfig` when `dnsPolicy` is None"
        return [FieldError.required(path, detail)]
    errors: list[FieldError] = []
    nameservers = config.nameservers or []
    at = path.child("nameservers")
    if policy == "None" and not nameservers:
        detail = "must provide at least one DNS nameserver when `dnsPolicy` is None"
        errors.append(FieldError.required(at, detail))
    if len(nameservers) > _NAMESERVERS:
        detail = f"must not have more than {_NAMESERVERS} nameservers"
        errors.append(FieldError.invalid(at, nameservers, detail))
    for index, server in enumerate(nameservers):
        errors += name_errors(names.ip_address, server, at.index(index))
    searches = config.searches or []
    at = path.child("searches")
    if len(searches) > _SEARCHES:
        errors.append(FieldError.invalid(at, searches, f"must not have more than {_SEARCHES} search paths"))
    if len(" ".join(searches)) > _SEARCH_CHARACTERS:
        detail = f"must not have more than {_SEARCH_CHARACTERS} characters (including spaces) in the search list"
        errors.append(FieldError.invalid(at, searches, detail))
    for index, search in enumerate(searches):
        # Underscores are common in DNS even where names may not have them; a lone dot means no search at all.
        bare = search.removesuffix(".").replace("_", "-") if search != "." else "a"
        if messages := names.dns1123_subdomain(f"a{bare}a" if "_" in search else bare):
            errors += [FieldError.invalid(at.index(index), search, message) for message in messages]
    for index, option in enumerate(config.options or ()):
        if not option.name:
            errors.append(FieldError.required(path.child("options").index(index), "must not be empty"))
    return errors


def _rest(spec: core_v1.PodSpec, path: Path) -> list[FieldError]:
    errors: list[FieldError] = []
    deadline = spec.active_deadline_seconds
    if deadline is not None and not 1 <= deadline <= _MAX_INT32:
        at = path.child("activeDeadlineSeconds")
        errors.append(FieldError.invalid(at, deadline, names.in_range(1, _MAX_INT32)))
    for index, gate in enumerate(spec.readiness_gates or ()):
        at = path.child("readinessGates").index(index).child("conditionType")
        errors += name_errors(names.qualified_name, gate.condition_type, at)
    for name, value in (spec.overhead or {}).items():
        at = path.child("overhead").key(name)
        errors += [FieldError.invalid(at, name, message) for message in resource_name_errors(name)]
        errors += quantity_value(name, value, at)
    if spec.os is not None and spec.os.name not in ("linux", "windows"):
        at = path.child("os").child("name")
        if spec.os.name:
            errors.append(FieldError.not_supported(at, spec.os.name, ("linux", "windows")))
        else:
            errors.append(FieldError.required(at, "cannot be empty"))
    if spec.resources is not None:
        errors += _pod_against_containers(spec, path)
    return errors


def _pod_against_containers(spec: core_v1.PodSpec, path: Path) -> list[FieldError]:
    """Pod-level requests cover those of all containers, and no container's limit exceeds the pod's (KEP-2837)."""
    from apiserver.defaults.pods import aggregate

    assert spec.resources is not None
    errors: list[FieldError] = []
    requests = spec.resources.requests or {}
    for name, total in aggregate(spec, "requests").items():
        if name in requests and total > Quantity(requests[name]):
            at = path.child("resources").child("requests").key(name)
            detail = f"must be greater than or equal to aggregate container requests of {total}"
            errors.append(FieldError.invalid(at, str(Quantity(requests[name])), detail))
    limits = spec.resources.limits or {}
    for index, container in enumerate(spec.containers):
        for name, limit in (container.resources.limits or {}).items():
            if name in limits and Quantity(limit) > Quantity(limits[name]):
                at = path.child("containers").index(index).child("resources").child("limits").key(name)
                detail = f"must be less than or equal to pod limits of {Quantity(limits[name])}"
                errors.append(FieldError.invalid(at, str(Quantity(limit)), detail))
    return errors


def _resource_claims(claims: list[core_v1.PodResourceClaim], path: Path) -> list[FieldError]:
    errors: list[FieldError] = []
    seen: set[str] = set()
    for index, claim in enumerate(claims):
        at = path.index(index)
        if not claim.name:
            errors.append(FieldError.required(at.child("name")))
        elif claim.name in seen:
            errors.append(FieldError.duplicate(at.child("name"), claim.name))
        else:
            errors += name_errors(names.dns1123_label, claim.name, at.child("name"))
        seen.add(claim.name)
        if claim.resource_claim_name is not None and claim.resource_claim_template_name is not None:
            detail = "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified"
            errors.append(FieldError.invalid(at, claim, detail))
        if claim.resource_claim_name is None and claim.resource_claim_template_name is None:
            detail = "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`"
            errors.append(FieldError.invalid(at, claim, detail))
    return errors
