"""Defaults of pods and of everything that holds a pod template (SetDefaults_Pod, SetDefaults_PodSpec and below)."""

from __future__ import annotations

from api.quantity import Quantity
from api.types import core_v1
from apiserver.defaults.images import default_pull_policy
from apiserver.defaults.quantities import canonical, default_resource_list
from apiserver.defaults.volumes import default_object_field_selector, default_volume

AnyContainer = core_v1.Container | core_v1.EphemeralContainer


def default_pod(pod: core_v1.Pod) -> None:
    """A Pod: the defaults of its spec plus those that upstream sets on pods only, not on templates."""
    spec = pod.spec
    default_pod_spec(spec)
    for container in spec.containers:
        _requests_from_limits(container)
    for container in spec.init_containers or ():
        _requests_from_limits(container)
    if spec.resources is not None:
        _pod_level_resources(spec)
    if spec.enable_service_links is None:
        spec.enable_service_links = True
    if spec.host_network:
        for container in (*spec.containers, *(spec.init_containers or ())):
            for port in container.ports or ():
                if not port.host_port:
                    port.host_port = port.container_port
    _status_addresses(pod.status)
    for status in pod.status.container_statuses or ():
        default_resource_list(status.allocated_resources)


def default_pod_template(template: core_v1.PodTemplateSpec) -> None:
    default_pod_spec(template.spec)


def default_pod_spec(spec: core_v1.PodSpec) -> None:
    if not spec.dns_policy:
        spec.dns_policy = "ClusterFirst"
    if not spec.restart_policy:
        spec.restart_policy = "Always"
    if spec.security_context is None:
        spec.security_context = core_v1.PodSecurityContext()
    if spec.termination_grace_period_seconds is None:
        spec.termination_grace_period_seconds = 30
    if not spec.scheduler_name:
        spec.scheduler_name = "default-scheduler"
    # The deprecated alias and the field are one value in upstream's internal type; both appear when read.
    if not spec.service_account_name:
        spec.service_account_name = spec.service_account
    spec.service_account = spec.service_account_name
    for container in spec.containers:
        default_container(container)
    for container in spec.init_containers or ():
        default_container(container)
    for ephemeral in spec.ephemeral_containers or ():
        default_container(ephemeral)
    for volume in spec.volumes or ():
        default_volume(volume)
    default_resource_list(spec.overhead)
    if spec.resources is not None:
        default_resource_list(spec.resources.limits)
        default_resource_list(spec.resources.requests)


def default_container(container: AnyContainer) -> None:
    if not container.image_pull_policy:
        container.image_pull_policy = default_pull_policy(container.image)
    if not container.termination_message_path:
        container.termination_message_path = "/dev/termination-log"
    if not container.termination_message_policy:
        container.termination_message_policy = "File"
    for port in container.ports or ():
        if not port.protocol:
            port.protocol = "TCP"
    for variable in container.env or ():
        source = variable.value_from
        if source is None:
            continue
        if source.field_ref is not None:
            default_object_field_selector(source.field_ref)
        if source.resource_field_ref is not None:
            default_resource_field_selector(source.resource_field_ref)
        if source.file_key_ref is not None and source.file_key_ref.optional is None:
            source.file_key_ref.optional = False
    default_resource_list(container.resources.limits)
    default_resource_list(container.resources.requests)
    for probe in (container.liveness_probe, container.readiness_probe, container.startup_probe):
        if probe is not None:
            default_probe(probe)
    if (lifecycle := container.lifecycle) is not None:
        for handler in (lifecycle.post_start, lifecycle.pre_stop):
            if handler is not None and handler.http_get is not None:
                default_http_get(handler.http_get)


def default_probe(probe: core_v1.Probe) -> None:
    if not probe.timeout_seconds:
        probe.timeout_seconds = 1
    if not probe.period_seconds:
        probe.period_seconds = 10
    if not probe.success_threshold:
        probe.success_threshold = 1
    if not probe.failure_threshold:
        probe.failure_threshold = 3
    if probe.http_get is not None:
        default_http_get(probe.http_get)
    if probe.grpc is not None and probe.grpc.service is None:
        probe.grpc.service = ""


def default_http_get(action: core_v1.HTTPGetAction) -> None:
    if not action.path:
        action.path = "/"
    if not action.scheme:
        action.scheme = "HTTP"


def default_resource_field_selector(selector: core_v1.ResourceFieldSelector) -> None:
    """The divisor is a quantity that Go always writes, `0` when unset."""
    selector.divisor = canonical(selector.divisor) if selector.divisor is not None else "0"


def _requests_from_limits(container: core_v1.Container) -> None:
    limits = container.resources.limits
    if limits:
        requests = container.resources.requests
        if requests is None:
            requests = container.resources.requests = {}
        for name, value in limits.items():
            requests.setdefault(name, value)


def _status_addresses(status: core_v1.PodStatus) -> None:
    # podIP and podIPs[0] are one value in upstream's internal type, and the singular field wins.
    if status.pod_ip and (not status.pod_ips or status.pod_ips[0].ip != status.pod_ip):
        status.pod_ips = [core_v1.PodIP(ip=status.pod_ip)]
    elif not status.pod_ip and status.pod_ips:
        status.pod_ip = status.pod_ips[0].ip
    if status.host_ip and (not status.host_ips or status.host_ips[0].ip != status.host_ip):
        status.host_ips = [core_v1.HostIP(ip=status.host_ip)]


def _overcommittable(name: str) -> bool:
    return name in ("cpu", "memory")


def _pod_level(name: str) -> bool:
    return name in ("cpu", "memory") or name.startswith("hugepages-")


def _pod_level_resources(spec: core_v1.PodSpec) -> None:
    """Pod-level requests and limits that follow from the other and from the containers (KEP-2837)."""
    resources = spec.resources
    assert resources is not None
    if resources.limits or resources.requests:
        limits = resources.limits if resources.limits is not None else {}
        for name, value in aggregate(spec, "limits").items():
            if name.startswith("hugepages-") and name not in (resources.requests or {}):
                limits.setdefault(name, str(value))
        if limits:
            resources.limits = limits
    if resources.limits:
        requests = resources.requests if resources.requests is not None else {}
        for name, value in aggregate(spec, "requests").items():
            if _overcommittable(name):
                requests.setdefault(name, str(value))
        for name, limit in resources.limits.items():
            if _pod_level(name):
                requests.setdefault(name, limit)
        if requests:
            resources.requests = requests
    elif resources.requests:
        everyone = [*spec.containers, *(spec.init_containers or ())]
        derived = {
            name: str(value)
            for name, value in aggregate(spec, "limits").items()
            if _overcommittable(name) and all(name in (c.resources.limits or {}) for c in everyone)
        }
        if derived:
            resources.limits = dict(derived)


def aggregate(spec: core_v1.PodSpec, side: str) -> dict[str, Quantity]:
    """Effective `requests` or `limits` of all containers together (resourcehelper.AggregateContainerRequests).

    Restartable init containers run beside the others; of the remaining init containers the largest counts.
    """
    total: dict[str, Quantity] = {}
    for container in spec.containers:
        _add(total, getattr(container.resources, side))
    sidecars: dict[str, Quantity] = {}
    peak: dict[str, Quantity] = {}
    for container in spec.init_containers or ():
        values = getattr(container.resources, side)
        if container.restart_policy == "Always":
            _add(total, values)
            _add(sidecars, values)
            current = dict(sidecars)
        else:
            current = dict(sidecars)
            _add(current, values)
        for name, value in current.items():
            if name not in peak or value > peak[name]:
                peak[name] = value
    for name, value in peak.items():
        if name not in total or value > total[name]:
            total[name] = value
    return total


def _add(total: dict[str, Quantity], values: dict[str, str | int | float] | None) -> None:
    for name, value in (values or {}).items():
        quantity = Quantity(value)
        total[name] = total[name] + quantity if name in total else quantity
