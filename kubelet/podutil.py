"""Small questions about a Pod that every part of the kubelet asks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

from api.types.core_v1 import (
    Container,
    ContainerStatus,
    EphemeralContainer,
    ObjectReference,
    Pod,
    PodCondition,
    Toleration,
)

AnyContainer: TypeAlias = Container | EphemeralContainer

CONFIG_SOURCE = "kubernetes.io/config.source"
CONFIG_HASH = "kubernetes.io/config.hash"
CONFIG_MIRROR = "kubernetes.io/config.mirror"
DEFAULT_GRACE = 30  # seconds
SYSTEM_CRITICAL_PRIORITY = 2_000_000_000


def uid(pod: Pod) -> str:
    return pod.metadata.uid or ""


def name(pod: Pod) -> str:
    return pod.metadata.name or ""


def namespace(pod: Pod) -> str:
    return pod.metadata.namespace or ""


def describe(pod: Pod) -> str:
    """`name_namespace(uid)`: how upstream names a pod in messages."""
    return f"{name(pod)}_{namespace(pod)}({uid(pod)})"


def key(pod: Pod) -> str:
    return f"{namespace(pod)}/{name(pod)}"


def is_host_network(pod: Pod) -> bool:
    return bool(pod.spec.host_network)


def is_static(pod: Pod) -> bool:
    return (pod.metadata.annotations or {}).get(CONFIG_SOURCE, "api") != "api"


def is_mirror(pod: Pod) -> bool:
    return CONFIG_MIRROR in (pod.metadata.annotations or {})


def is_critical(pod: Pod) -> bool:
    return is_static(pod) or is_mirror(pod) or (pod.spec.priority or 0) >= SYSTEM_CRITICAL_PRIORITY


def is_sidecar(container: AnyContainer) -> bool:
    """A restartable init container (KEP-753). Only init containers may say so in `restartPolicy`, or any container may
    have a policy of its own (KEP-5307); callers ask this of init containers only."""
    return container.restart_policy == "Always"


def restart_policy(pod: Pod) -> str:
    return pod.spec.restart_policy or "Always"


def all_containers(pod: Pod) -> Iterator[AnyContainer]:
    yield from pod.spec.init_containers or ()
    yield from pod.spec.containers
    yield from pod.spec.ephemeral_containers or ()


def find_container(pod: Pod, container: str) -> AnyContainer | None:
    return next((c for c in all_containers(pod) if c.name == container), None)


def field_path(pod: Pod, container: str) -> str:
    """The path of a container's spec, as events carry it in involvedObject.fieldPath."""
    for path, containers in (
        ("spec.initContainers", pod.spec.init_containers or ()),
        ("spec.containers", pod.spec.containers),
        ("spec.ephemeralContainers", pod.spec.ephemeral_containers or ()),
    ):
        if any(c.name == container for c in containers):
            return f"{path}{{{container}}}"
    return ""


def container_reference(pod: Pod, container: str) -> ObjectReference:
    """What an event about one container is attached to."""
    return ObjectReference(
        api_version="v1",
        kind="Pod",
        namespace=pod.metadata.namespace,
        name=pod.metadata.name,
        uid=pod.metadata.uid,
        resource_version=pod.metadata.resource_version,
        field_path=field_path(pod, container) or None,
    )


def api_statuses(pod: Pod) -> dict[str, ContainerStatus]:
    """The container statuses that the API server holds, by container name (names are unique in a pod)."""
    status = pod.status
    groups = (status.init_container_statuses, status.container_statuses, status.ephemeral_container_statuses)
    return {s.name: s for group in groups for s in group or ()}


def condition(pod: Pod, kind: str) -> PodCondition | None:
    return next((c for c in pod.status.conditions or () if c.type == kind), None)


def spec_grace(pod: Pod) -> int:
    grace = pod.spec.termination_grace_period_seconds
    return DEFAULT_GRACE if grace is None else grace


def deletion_grace(pod: Pod) -> int:
    """Seconds that this pod's containers have to end, by its deletion if it is being deleted, else by its spec."""
    grace = pod.metadata.deletion_grace_period_seconds
    return spec_grace(pod) if grace is None else grace


def service_account(pod: Pod) -> str:
    return pod.spec.service_account_name or "default"


def tolerates(toleration: Toleration, key: str, value: str, effect: str) -> bool:
    """Does the toleration cover a taint? (core/v1 Toleration's own rules.)"""
    if toleration.effect and toleration.effect != effect:
        return False
    if toleration.key and toleration.key != key:
        return False
    if (toleration.operator or "Equal") == "Exists":
        return True
    return bool(toleration.key) and (toleration.value or "") == value
