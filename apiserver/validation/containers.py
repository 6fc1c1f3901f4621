"""The containers of a pod: what holds for all of them, and what for init and ephemeral ones alone."""

from __future__ import annotations

from dataclasses import dataclass

from api.errors import FieldError, Path
from api.types import core_v1
from apiserver.validation import names, probes
from apiserver.validation.environment import environment, environment_from
from apiserver.validation.pod_volumes import devices, mounts
from apiserver.validation.resources import requirements
from apiserver.validation.security import container_security_context

_PULL_POLICIES = ("Always", "IfNotPresent", "Never")
_PROTOCOLS = ("SCTP", "TCP", "UDP")
_MESSAGE_POLICIES = ("FallbackToLogsOnError", "File")
_ONLY_SIDECARS = "may not be set for init containers without restartPolicy=Always"
_NOT_EPHEMERAL = "cannot be set for an Ephemeral Container"

AnyContainer = core_v1.Container | core_v1.EphemeralContainer


@dataclass(slots=True)
class Surroundings:
    """What of the pod the rules of its containers depend on."""

    volumes: dict[str, core_v1.Volume]
    claims: frozenset[str]
    grace: int | None
    host_users: bool | None


def containers(values: list[core_v1.Container], pod: Surroundings, path: Path) -> list[FieldError]:
    if not values:
        return [FieldError.required(path)]
    errors: list[FieldError] = []
    seen: set[str] = set()
    for index, container in enumerate(values):
        at = path.index(index)
        errors += _common(container, pod, at)
        if container.name in seen:
            errors.append(FieldError.duplicate(at.child("name"), container.name))
        seen.add(container.name)
        errors += _running(container, pod, at)
        if container.restart_policy is not None:
            errors += _restart_policy(container, at)
    return errors + _host_port_conflicts(values, path)


def init_containers(
    values: list[core_v1.Container], regular: list[core_v1.Container], pod: Surroundings, path: Path
) -> list[FieldError]:
    errors: list[FieldError] = []
    seen = {container.name for container in regular}
    for index, container in enumerate(values):
        at = path.index(index)
        errors += _common(container, pod, at)
        if container.restart_policy is not None:
            errors += _restart_policy(container, at)
        if container.name in seen:
            errors.append(FieldError.duplicate(at.child("name"), container.name))
        elif container.name:
            seen.add(container.name)
        errors += _host_port_conflicts([container], path)
        if container.restart_policy == "Always":
            errors += _running(container, pod, at)
            continue
        for field, value in (
            ("lifecycle", container.lifecycle),
            ("livenessProbe", container.liveness_probe),
            ("readinessProbe", container.readiness_probe),
            ("startupProbe", container.startup_probe),
        ):
            if value is not None:
                errors.append(FieldError.forbidden(at.child(field), _ONLY_SIDECARS))
    return errors


def ephemeral_containers(
    values: list[core_v1.EphemeralContainer], spec: core_v1.PodSpec, pod: Surroundings, path: Path
) -> list[FieldError]:
    errors: list[FieldError] = []
    others = {c.name for c in (*spec.containers, *(spec.init_containers or ()))}
    seen: set[str] = set()
    for index, container in enumerate(values):
        at = path.index(index)
        errors += _common(container, pod, at)
        if container.name in others or container.name in seen:
            errors.append(FieldError.duplicate(at.child("name"), container.name))
        seen.add(container.name)
        if container.target_container_name and container.target_container_name not in others:
            errors.append(FieldError.not_found(at.child("targetContainerName"), container.target_container_name))
        resources = container.resources
        for field, value in (
            ("ports", container.ports),
            ("lifecycle", container.lifecycle),
            ("livenessProbe", container.liveness_probe),
            ("readinessProbe", container.readiness_probe),
            ("startupProbe", container.startup_probe),
            ("resources", resources.limits or resources.requests or resources.claims),
            ("resizePolicy", container.resize_policy),
            ("restartPolicy", container.restart_policy),
        ):
            if value:
                errors.append(FieldError.forbidden(at.child(field), _NOT_EPHEMERAL))
        for position, mount in enumerate(container.volume_mounts or ()):
            where = at.child("volumeMounts").index(position)
            if mount.sub_path:
                errors.append(FieldError.forbidden(where.child("subPath"), _NOT_EPHEMERAL))
            if mount.sub_path_expr:
                errors.append(FieldError.forbidden(where.child("subPathExpr"), _NOT_EPHEMERAL))
    return errors


def _common(container: AnyContainer, pod: Surroundings, path: Path) -> list[FieldError]:
    """validateContainerCommon."""
    errors: list[FieldError] = []
    if not container.name:
        errors.append(FieldError.required(path.child("name")))
    else:
        for message in names.dns1123_label(container.name):
            errors.append(FieldError.invalid(path.child("name"), container.name, message))
    if not container.image:
        errors.append(FieldError.required(path.child("image")))
    policy = container.termination_message_policy
    if policy not in _MESSAGE_POLICIES:
        where = path.child("terminationMessagePolicy")
        errors.append(
            FieldError.not_supported(where, policy, _MESSAGE_POLICIES) if policy else FieldError.required(where)
        )
    if container.ports:
        errors += _ports(container.ports, path.child("ports"))
    if container.env:
        errors += environment(container.env, path.child("env"))
    if container.env_from:
        errors += environment_from(container.env_from, path.child("envFrom"))
    if container.volume_mounts:
        errors += mounts(container, pod.volumes, path.child("volumeMounts"))
    if container.volume_devices:
        errors += devices(container, pod.volumes, path.child("volumeDevices"))
    if container.image_pull_policy not in _PULL_POLICIES:
        where = path.child("imagePullPolicy")
        if container.image_pull_policy:
            errors.append(FieldError.not_supported(where, container.image_pull_policy, _PULL_POLICIES))
        else:
            errors.append(FieldError.required(where))
    errors += requirements(container.resources, path.child("resources"), claims=pod.claims)
    if container.resize_policy:
        errors += _resize_policy(container.resize_policy, path.child("resizePolicy"))
    if container.security_context is not None:
        where = path.child("securityContext")
        errors += container_security_context(container.security_context, where, host_users=pod.host_users)
    return errors


def _running(container: core_v1.Container, pod: Surroundings, path: Path) -> list[FieldError]:
    """What only containers have that keep running: hooks and probes."""
    errors: list[FieldError] = []
    if container.lifecycle is not None:
        errors += probes.lifecycle(container.lifecycle, pod.grace, path.child("lifecycle"))
    if container.liveness_probe is not None:
        errors += probes.liveness(container.liveness_probe, path.child("livenessProbe"))
    if container.readiness_probe is not None:
        errors += probes.readiness(container.readiness_probe, path.child("readinessProbe"))
    if container.startup_probe is not None:
        errors += probes.startup(container.startup_probe, path.child("startupProbe"))
    return errors


def _restart_policy(container: core_v1.Container, path: Path) -> list[FieldError]:
    """Restart policies of single containers (KEP-5307)."""
    valid = ("Always", "Never", "OnFailure")
    if container.restart_policy in valid:
        return []
    return [FieldError.not_supported(path.child("restartPolicy"), container.restart_policy, valid)]


def _resize_policy(policies: list[core_v1.ContainerResizePolicy], path: Path) -> list[FieldError]:
    errors: list[FieldError] = []
    seen: set[str] = set()
    for policy in policies:
        if policy.resource_name in seen:
            errors.append(FieldError.duplicate(path, policy.resource_name))
        seen.add(policy.resource_name)
        if policy.resource_name not in ("cpu", "memory"):
            errors.append(FieldError.not_supported(path, policy.resource_name, ("cpu", "memory")))
        if policy.restart_policy not in ("NotRequired", "RestartContainer"):
            valid = ("NotRequired", "RestartContainer")
            errors.append(FieldError.not_supported(path, policy.restart_policy, valid))
    return errors


def _ports(ports: list[core_v1.ContainerPort], path: Path) -> list[FieldError]:
    errors: list[FieldError] = []
    seen: set[str] = set()
    for index, port in enumerate(ports):
        if port.name:
            at = path.index(index).child("name")
            if messages := names.port_name(port.name):
                errors += [FieldError.invalid(at, port.name, message) for message in messages]
            elif port.name in seen:
                errors.append(FieldError.duplicate(at, port.name))
            seen.add(port.name)
        if not port.container_port:
            errors.append(FieldError.required(path.index(index).child("containerPort")))
        elif not 1 <= port.container_port <= 65535:
            at = path.index(index).child("containerPort")
            errors.append(FieldError.invalid(at, port.container_port, names.in_range(1, 65535)))
        if port.host_port and not 1 <= port.host_port <= 65535:
            at = path.index(index).child("hostPort")
            errors.append(FieldError.invalid(at, port.host_port, names.in_range(1, 65535)))
        if port.protocol not in _PROTOCOLS:
            at = path.index(index).child("protocol")
            if port.protocol:
                errors.append(FieldError.not_supported(at, port.protocol, _PROTOCOLS))
            else:
                errors.append(FieldError.required(at))
    return errors


def _host_port_conflicts(values: list[core_v1.Container], path: Path) -> list[FieldError]:
    errors: list[FieldError] = []
    seen: set[str] = set()
    for index, container in enumerate(values):
        for position, port in enumerate(container.ports or ()):
            if not port.host_port:
                continue
            text = f"{port.protocol}/{port.host_ip or ''}/{port.host_port}"
            if text in seen:
                at = path.index(index).child("ports").index(position).child("hostPort")
                errors.append(FieldError.duplicate(at, text))
            seen.add(text)
    return errors
