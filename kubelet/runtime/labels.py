"""What identifies a pod's sandbox and containers in Docker: their labels, and names that nobody can mistake.

The labels are the only record: a kubelet that starts anew, or with an empty disk, finds all its pods in them. The keys
are those that Kubernetes' Docker integration used, plus `io.pykube.*` for what it kept in files.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict

from kubelet.cri import ContainerConfig, PortMapping, SandboxConfig

POD_NAME = "io.kubernetes.pod.name"
POD_NAMESPACE = "io.kubernetes.pod.namespace"
POD_UID = "io.kubernetes.pod.uid"
CONTAINER_NAME = "io.kubernetes.container.name"
TYPE = "io.kubernetes.docker.type"
SANDBOX_ID = "io.kubernetes.sandbox.id"
ATTEMPT = "io.pykube.attempt"
ANNOTATIONS = "io.pykube.annotations"  # JSON
CREATED_AT = "io.pykube.created-at"  # Docker's list has whole seconds only
POD_IP = "io.pykube.pod-ip"
BRIDGE = "io.pykube.bridge"  # whose pods these are: kubelets that share one dockerd have bridges of their own
HOST_NETWORK = "io.pykube.host-network"
CGROUP_PARENT = "io.pykube.cgroup-parent"
PORT_MAPPINGS = "io.pykube.port-mappings"  # JSON
IMAGE = "io.pykube.image"  # as the pod's spec names it
LABELS = "io.pykube.labels"  # JSON: the caller's own; Docker adds the image's labels to a container's

SANDBOX = "podsandbox"
CONTAINER = "container"
SANDBOX_CONTAINER_NAME = "POD"

OURS = frozenset(
    {
        POD_NAME, POD_NAMESPACE, POD_UID, CONTAINER_NAME, TYPE, SANDBOX_ID, ATTEMPT, ANNOTATIONS, CREATED_AT, POD_IP,
        HOST_NETWORK, CGROUP_PARENT, PORT_MAPPINGS, IMAGE, LABELS, BRIDGE,
    }
)  # fmt: skip


def sandbox_name(config: SandboxConfig) -> str:
    return f"k8s_{SANDBOX_CONTAINER_NAME}_{config.name}_{config.namespace}_{config.uid}_{config.attempt}"


def container_name(sandbox: SandboxConfig, config: ContainerConfig) -> str:
    return f"k8s_{config.name}_{sandbox.name}_{sandbox.namespace}_{sandbox.uid}_{config.attempt}"


def sandbox_labels(config: SandboxConfig, *, ip: str, bridge: str, created_at: str) -> dict[str, str]:
    labels = _pod_labels(config, config.labels, config.annotations, created_at)
    labels |= {
        CONTAINER_NAME: SANDBOX_CONTAINER_NAME,
        TYPE: SANDBOX,
        ATTEMPT: str(config.attempt),
        CGROUP_PARENT: config.cgroup_parent,
        BRIDGE: bridge,
    }
    if ip:
        labels[POD_IP] = ip
    if config.host_network:
        labels[HOST_NETWORK] = "true"
    if config.port_mappings and not config.host_network:
        labels[PORT_MAPPINGS] = json.dumps([asdict(mapping) for mapping in config.port_mappings])
    return labels


def container_labels(
    sandbox_id: str, sandbox: SandboxConfig, config: ContainerConfig, *, bridge: str, created_at: str
) -> dict[str, str]:
    return _pod_labels(sandbox, config.labels, config.annotations, created_at) | {
        CONTAINER_NAME: config.name,
        TYPE: CONTAINER,
        ATTEMPT: str(config.attempt),
        SANDBOX_ID: sandbox_id,
        CGROUP_PARENT: sandbox.cgroup_parent,
        IMAGE: config.image,
        BRIDGE: bridge,
    }


def _pod_labels(
    sandbox: SandboxConfig, labels: Mapping[str, str], annotations: Mapping[str, str], created_at: str
) -> dict[str, str]:
    return {key: value for key, value in labels.items() if key not in OURS} | {
        POD_NAME: sandbox.name,
        POD_NAMESPACE: sandbox.namespace,
        POD_UID: sandbox.uid,
        ANNOTATIONS: json.dumps(dict(annotations), sort_keys=True),
        LABELS: json.dumps(dict(labels), sort_keys=True),
        CREATED_AT: created_at,
    }


def user_labels(labels: Mapping[str, str]) -> dict[str, str]:
    return dict(json.loads(labels.get(LABELS) or "{}"))


def annotations_of(labels: Mapping[str, str]) -> dict[str, str]:
    return dict(json.loads(labels.get(ANNOTATIONS) or "{}"))


def port_mappings(labels: Mapping[str, str]) -> tuple[PortMapping, ...]:
    return tuple(PortMapping(**mapping) for mapping in json.loads(labels.get(PORT_MAPPINGS) or "[]"))


def attempt(labels: Mapping[str, str]) -> int:
    value = labels.get(ATTEMPT, "0")
    return int(value) if value.isdigit() else 0


def is_pod(labels: Mapping[str, str], bridge: str) -> bool:
    """Whether a container of dockerd is one of this kubelet's at all."""
    return bool(labels.get(POD_UID)) and labels.get(TYPE) in (SANDBOX, CONTAINER) and labels.get(BRIDGE) == bridge
