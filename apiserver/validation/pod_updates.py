"""What an update may change of a pod, through the pod itself and through each of its subresources."""

from __future__ import annotations

from typing import Any

import msgspec

from api import codec
from api.errors import FieldError, Path
from api.pod_resources import qos_class
from api.types import core_v1
from apiserver.validation import names, scheduling
from apiserver.validation.common import IMMUTABLE, semantic_equal
from apiserver.validation.containers import Surroundings, ephemeral_containers
from apiserver.validation.pod_volumes import volumes
from apiserver.validation.pods import validate_pod, validate_pod_spec

_SPEC, _STATUS = Path("spec"), Path("status")
_MAX_INT32 = 2**31 - 1
_UPDATABLE = ",".join((
    "`spec.containers[*].image`",
    "`spec.initContainers[*].image`",
    "`spec.activeDeadlineSeconds`",
    "`spec.tolerations` (only additions to existing tolerations)",
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)",
))  # fmt: skip


def validate_pod_update(new: core_v1.Pod, old: core_v1.Pod) -> list[FieldError]:
    """ValidatePodUpdate."""
    if new.spec == old.spec:
        return []  # nothing of the spec changed: what was valid still is
    errors = validate_pod(new)
    for field, group, before in (
        ("containers", new.spec.containers, old.spec.containers),
        ("initContainers", new.spec.init_containers or [], old.spec.init_containers or []),
    ):
        if len(group) != len(before):
            detail = "pod updates may not add or remove containers"
            return [*errors, FieldError.forbidden(_SPEC.child(field), detail)]
    deadline, stop = _deadline(new.spec.active_deadline_seconds, old.spec.active_deadline_seconds)
    errors += deadline
    if stop:
        return errors
    errors += _only_added_tolerations(new.spec, old.spec)
    errors += _only_removed_gates(new.spec, old.spec)
    munged = _with_updatable_fields(new.spec, old.spec)
    if not semantic_equal(munged, old.spec):
        detail = f"pod updates may not change fields other than {_UPDATABLE}\n{difference(old.spec, munged)}"
        errors.append(FieldError.forbidden(_SPEC, detail))
    return errors


def _deadline(new: int | None, old: int | None) -> tuple[list[FieldError], bool]:
    at = _SPEC.child("activeDeadlineSeconds")
    if new is not None:
        if not 0 <= new <= _MAX_INT32:
            return [FieldError.invalid(at, new, names.in_range(0, _MAX_INT32))], True
        if old is not None and old < new:
            return [FieldError.invalid(at, new, "must be less than or equal to previous value")], True
    elif old is not None:
        return [FieldError.invalid(at, None, "must not update from a positive integer to nil value")], False
    return [], False


def _only_added_tolerations(new: core_v1.PodSpec, old: core_v1.PodSpec) -> list[FieldError]:
    at = _SPEC.child("tolerations")

    def identity(toleration: core_v1.Toleration) -> tuple[Any, ...]:
        return (toleration.key or "", toleration.operator or "", toleration.value or "", toleration.effect or "")

    present = {identity(toleration) for toleration in new.tolerations or ()}
    if any(identity(toleration) not in present for toleration in old.tolerations or ()):
        detail = "existing toleration can not be modified except its tolerationSeconds"
        return [FieldError.forbidden(at, detail)]
    return scheduling.tolerations(new.tolerations or [], at)


def _only_removed_gates(new: core_v1.PodSpec, old: core_v1.PodSpec) -> list[FieldError]:
    before = {gate.name for gate in old.scheduling_gates or ()}
    return [
        FieldError.forbidden(
            _SPEC.child("schedulingGates").index(index).child("name"),
            f"only deletion is allowed, but found new scheduling gate '{gate.name}'",
        )
        for index, gate in enumerate(new.scheduling_gates or ())
        if gate.name not in before
    ]


def _with_updatable_fields(new: core_v1.PodSpec, old: core_v1.PodSpec) -> core_v1.PodSpec:
    """The new spec with the old values of all that may change, so that the rest can be compared."""
    munged = codec.deepcopy(new)
    for group, before in (
        (munged.containers, old.containers),
        (munged.init_containers or [], old.init_containers or []),
    ):
        for container, was in zip(group, before, strict=True):
            container.image = was.image
    munged.active_deadline_seconds = old.active_deadline_seconds
    munged.scheduling_gates = old.scheduling_gates
    munged.tolerations = old.tolerations
    grace = old.termination_grace_period_seconds
    if grace is not None and grace < 0 and munged.termination_grace_period_seconds == 1:
        munged.termination_grace_period_seconds = grace
    if old.scheduling_gates:
        # A pod that may not be scheduled yet may still be told where to go, as long as it only gets narrower.
        if (old.node_selector or {}).items() <= (munged.node_selector or {}).items():
            munged.node_selector = old.node_selector
        if _narrower(munged, old):
            munged.affinity = old.affinity
    return munged


def _narrower(new: core_v1.PodSpec, old: core_v1.PodSpec) -> bool:
    def terms(spec: core_v1.PodSpec) -> list[core_v1.NodeSelectorTerm]:
        node = spec.affinity.node_affinity if spec.affinity is not None else None
        required = node.required_during_scheduling_ignored_during_execution if node is not None else None
        return required.node_selector_terms if required is not None else []

    before, after = terms(old), terms(new)
    if not before:
        return True
    if len(before) != len(after):
        return False
    for was, now in zip(before, after, strict=True):
        for group in ("match_expressions", "match_fields"):
            if any(r not in (getattr(now, group) or ()) for r in getattr(was, group) or ()):
                return False
    return True


def difference(old: Any, new: Any) -> str:
    """What changed, one line for each value: enough to find the field, as upstream's diff is."""
    lines: list[str] = []

    def walk(a: Any, b: Any, where: str) -> None:
        if a == b:
            return
        if isinstance(a, dict) and isinstance(b, dict):
            for key in sorted({*a, *b}):
                walk(a.get(key), b.get(key), f"{where}.{key}" if where else key)
        elif isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
            for index, (x, y) in enumerate(zip(a, b, strict=True)):
                walk(x, y, f"{where}[{index}]")
        else:
            if a is not None:
                lines.append(f"- \t{where}: {msgspec.json.encode(a).decode()},")
            if b is not None:
                lines.append(f"+ \t{where}: {msgspec.json.encode(b).decode()},")

    walk(codec.to_dict(old), codec.to_dict(new), "")
    return "\n".join(lines) + "\n"


def validate_pod_status_update(new: core_v1.Pod, old: core_v1.Pod) -> list[FieldError]:
    """ValidatePodStatusUpdate."""
    errors: list[FieldError] = []
    status = new.status
    if (status.qos_class or "") != (old.status.qos_class or ""):
        errors.append(FieldError.invalid(_STATUS.child("qosClass"), status.qos_class, IMMUTABLE))
    if status.nominated_node_name:
        at = _STATUS.child("nominatedNodeName")
        for message in names.dns1123_subdomain(status.nominated_node_name):
            errors.append(FieldError.invalid(at, status.nominated_node_name, message))
    for field, group, before in (
        ("containerStatuses", status.container_statuses, old.status.container_statuses),
        ("initContainerStatuses", status.init_container_statuses, old.status.init_container_statuses),
    ):
        if before and group:
            errors += _transitions(group, before, old.spec, _STATUS.child(field))
    if status.pod_ips:
        errors += _addresses([ip.ip for ip in status.pod_ips], _STATUS.child("podIPs"), "pod")
    if status.host_ips:
        errors += _addresses([ip.ip for ip in status.host_ips], _STATUS.child("hostIPs"), "host")
    return errors


def _transitions(
    new: list[core_v1.ContainerStatus], old: list[core_v1.ContainerStatus], spec: core_v1.PodSpec, path: Path
) -> list[FieldError]:
    """A container that may not be restarted stays terminated."""
    if spec.restart_policy == "Always":
        return []
    sidecars = {c.name for c in (*spec.containers, *(spec.init_containers or ())) if c.restart_policy is not None}
    now = {status.name: (index, status) for index, status in enumerate(new)}
    errors: list[FieldError] = []
    for was in old:
        if was.state.terminated is None or was.name in sidecars:
            continue
        if was.state.terminated.exit_code != 0 and spec.restart_policy == "OnFailure":
            continue
        index, status = now.get(was.name, (0, None))
        if status is not None and status.state.terminated is None:
            detail = "may not be transitioned to non-terminated state"
            errors.append(FieldError.forbidden(path.index(index).child("state"), detail))
    return errors


def _addresses(addresses: list[str], path: Path, what: str) -> list[FieldError]:
    errors: list[FieldError] = []
    for index, address in enumerate(addresses):
        for message in names.ip_address(address):
            errors.append(FieldError.invalid(path.index(index), address, message))
    if len(addresses) > 1:
        versions = {ip.version for address in addresses if (ip := names.parse_ip(address)) is not None}
        if len(versions) < 2 or len(addresses) > 2:
            detail = (
                "may specify no more than one IP for each IP family"
                if what == "pod"
                else "may specify no more than one IP for each IP family and cannot be more than 2"
            )
            errors.append(FieldError.invalid(path, addresses, detail))
    seen: set[str] = set()
    for index, address in enumerate(addresses):
        if address in seen:
            errors.append(FieldError.duplicate(path.index(index), address))
        seen.add(address)
    return errors


def validate_ephemeral_containers_update(new: core_v1.Pod, old: core_v1.Pod) -> list[FieldError]:
    """ValidatePodEphemeralContainersUpdate: they may be added, and nothing else."""
    known, _ = volumes(new.spec.volumes or [], _SPEC.child("volumes"))
    claims = frozenset(claim.name for claim in new.spec.resource_claims or ())
    pod = Surroundings(known, claims, new.spec.termination_grace_period_seconds, new.spec.host_users)
    at = _SPEC.child("ephemeralContainers")
    containers = new.spec.ephemeral_containers or []
    errors = ephemeral_containers(containers, new.spec, pod, at)
    by_name = {container.name: (index, container) for index, container in enumerate(containers)}
    for was in old.spec.ephemeral_containers or ():
        index, now = by_name.get(was.name, (0, None))
        if now is None:
            errors.append(FieldError.forbidden(at, f'existing ephemeral containers "{was.name}" may not be removed\n'))
        elif not semantic_equal(now, was):
            detail = f'existing ephemeral containers "{was.name}" may not be changed\n'
            errors.append(FieldError.forbidden(at.index(index), detail))
    return errors


def validate_pod_resize(new: core_v1.Pod, old: core_v1.Pod) -> list[FieldError]:
    """ValidatePodResize (KEP-1287): cpu and memory may change, the QoS class may not."""
    errors = validate_pod_spec(new.spec, _SPEC)
    if old.status.phase in ("Succeeded", "Failed"):
        errors.append(FieldError.forbidden(_SPEC, "pod in a terminal phase cannot be resized"))
    was = old.status.qos_class or qos_class(old.spec)
    if (now := qos_class(new.spec)) != was:
        detail = "Pod QOS Class may not change as a result of resizing"
        errors.append(FieldError.invalid(_SPEC, now, detail))
    for field, group, before in (
        ("containers", new.spec.containers, old.spec.containers),
        ("initContainers", new.spec.init_containers or [], old.spec.init_containers or []),
    ):
        for index, (container, earlier) in enumerate(zip(group, before, strict=False)):
            at = _SPEC.child(field).index(index).child("resources")
            if container.resources != earlier.resources:
                errors += _resized(container.resources, earlier.resources, at)
                if field == "initContainers" and container.restart_policy != "Always":
                    detail = "resources for non-sidecar init containers are immutable"
                    errors.append(FieldError.forbidden(at, detail))
    return errors


def _resized(new: core_v1.ResourceRequirements, old: core_v1.ResourceRequirements, path: Path) -> list[FieldError]:
    errors: list[FieldError] = []
    for field in ("limits", "requests"):
        now, was = getattr(new, field) or {}, getattr(old, field) or {}
        for name in ("cpu", "memory"):
            if name in was and name not in now:
                detail = f"resource {field} cannot be removed"
                errors.append(FieldError.forbidden(path.child(field), detail))
        others_now = {k: v for k, v in now.items() if k not in ("cpu", "memory")}
        others_was = {k: v for k, v in was.items() if k not in ("cpu", "memory")}
        if others_now != others_was:
            detail = "only cpu and memory resources are mutable"
            errors.append(FieldError.forbidden(path.child(field), detail))
    return errors
