"""The node authorizer: a kubelet sees what its pods need."""

from __future__ import annotations

import pytest

from api.types import core_v1
from api.types.core_v1 import ConfigMapProjection, PersistentVolume, PersistentVolumeSpec, Pod, Volume
from api.types.meta_v1 import ObjectMeta
from apiserver.auth import User
from apiserver.auth.graph import Graph
from apiserver.auth.node import NodeAuthorizer
from apiserver.auth.source import MemorySource
from tests.unit.auth.support import may, pod_on

N1 = User("system:node:n1", groups=("system:nodes", "system:authenticated"))
N2 = User("system:node:n2", groups=("system:nodes", "system:authenticated"))


def busy_pod() -> Pod:
    pod = pod_on("n1")
    pod.spec.image_pull_secrets = [core_v1.LocalObjectReference(name="pull")]
    container = pod.spec.containers[0]
    container.env = [
        core_v1.EnvVar(
            name="A",
            value_from=core_v1.EnvVarSource(secret_key_ref=core_v1.SecretKeySelector(name="env-secret", key="k")),
        )
    ]
    container.env_from = [core_v1.EnvFromSource(config_map_ref=core_v1.ConfigMapEnvSource(name="env-map"))]
    pod.spec.volumes = [
        Volume(name="s", secret=core_v1.SecretVolumeSource(secret_name="vol-secret")),
        Volume(
            name="p",
            projected=core_v1.ProjectedVolumeSource(
                sources=[core_v1.VolumeProjection(config_map=ConfigMapProjection(name="projected-map"))]
            ),
        ),
        Volume(
            name="c",
            persistent_volume_claim=core_v1.PersistentVolumeClaimVolumeSource(claim_name="claim"),
        ),
    ]
    return pod


@pytest.mark.parametrize(
    ("resource", "name"),
    [
        ("secrets", "pull"),
        ("secrets", "env-secret"),
        ("secrets", "vol-secret"),
        ("configmaps", "env-map"),
        ("configmaps", "projected-map"),
        ("persistentvolumeclaims", "claim"),
        ("pods", "p"),
    ],
)
def test_what_pods_use_is_readable_on_their_node_while_they_are_there(resource: str, name: str) -> None:
    source = MemorySource()
    node = NodeAuthorizer(Graph(source))
    assert not may(node, N1, "get", resource, namespace="default", name=name)
    pod = busy_pod()
    source.put(pod)
    assert may(node, N1, "get", resource, namespace="default", name=name)
    assert not may(node, N2, "get", resource, namespace="default", name=name)
    assert not may(node, N1, "get", resource, namespace="other", name=name)
    assert not may(node, N1, "get", resource, namespace="default", name="unused")
    source.remove(pod)
    assert not may(node, N1, "get", resource, namespace="default", name=name)


def test_secrets_are_watched_one_by_one_and_never_written() -> None:
    node = NodeAuthorizer(Graph(MemorySource(busy_pod())))
    assert may(node, N1, "watch", "secrets", namespace="default", fields="metadata.name=pull")
    assert not may(node, N1, "list", "secrets", namespace="default")
    assert not may(node, N1, "list", "secrets")
    assert not may(node, N1, "update", "secrets", namespace="default", name="pull")


def test_references_are_counted() -> None:
    source = MemorySource()
    node = NodeAuthorizer(Graph(source))
    first, second = busy_pod(), busy_pod()
    second.metadata.name = "q"
    source.put(first)
    source.put(second)
    source.remove(first)
    assert may(node, N1, "get", "secrets", namespace="default", name="pull")
    source.remove(second)
    assert not may(node, N1, "get", "secrets", namespace="default", name="pull")


def test_volumes_are_reached_through_their_claim() -> None:
    volume = PersistentVolume(metadata=ObjectMeta(name="pv"), spec=PersistentVolumeSpec())
    volume.spec.claim_ref = core_v1.ObjectReference(namespace="default", name="claim")
    volume.spec.csi = core_v1.CSIPersistentVolumeSource(
        driver="d", volume_handle="h", node_stage_secret_ref=core_v1.SecretReference(name="stage", namespace="infra")
    )
    node = NodeAuthorizer(Graph(MemorySource(busy_pod(), volume)))
    assert may(node, N1, "get", "persistentvolumes", name="pv")
    assert may(node, N1, "get", "secrets", namespace="infra", name="stage")
    assert not may(node, N2, "get", "secrets", namespace="infra", name="stage")


def test_tokens_are_for_the_accounts_of_its_pods() -> None:
    node = NodeAuthorizer(Graph(MemorySource(pod_on("n1"))))
    assert may(node, N1, "create", "serviceaccounts/token", namespace="default", name="builder")
    assert not may(node, N2, "create", "serviceaccounts/token", namespace="default", name="builder")
    assert not may(node, N1, "create", "serviceaccounts/token", namespace="default", name="admin")


def test_a_node_keeps_itself() -> None:
    node = NodeAuthorizer(Graph(MemorySource()))
    assert may(node, N1, "create", "nodes") and may(node, N1, "patch", "nodes/status", name="n1")
    assert may(node, N1, "get", "nodes", name="n1") and not may(node, N1, "get", "nodes", name="n2")
    assert not may(node, N1, "list", "nodes") and may(node, N1, "watch", "nodes", fields="metadata.name=n1")
    assert not may(node, N1, "delete", "nodes", name="n1")
    assert may(node, N1, "list", "pods", fields="spec.nodeName=n1")
    assert not may(node, N1, "list", "pods") and not may(node, N1, "list", "pods", fields="spec.nodeName=n2")
    lease = "leases.coordination.k8s.io"
    assert may(node, N1, "update", lease, namespace="kube-node-lease", name="n1")
    assert may(node, N1, "create", lease, namespace="kube-node-lease")
    assert not may(node, N1, "update", lease, namespace="kube-node-lease", name="n2")
    assert not may(node, N1, "update", lease, namespace="kube-system", name="n1")
    assert may(node, N1, "list", "services") and may(node, N1, "create", "events", namespace="default")
    assert not may(node, N1, "create", "deployments.apps", namespace="default")


def test_mirror_pods_give_no_access() -> None:
    pod = busy_pod()
    pod.metadata.annotations = {"kubernetes.io/config.mirror": "x"}
    node = NodeAuthorizer(Graph(MemorySource(pod)))
    assert may(node, N1, "get", "pods", namespace="default", name="p")
    assert not may(node, N1, "get", "secrets", namespace="default", name="pull")


def test_others_are_none_of_its_business() -> None:
    node = NodeAuthorizer(Graph(MemorySource(busy_pod())))
    for user in (
        User("system:node:n1"),
        User("alice", groups=("system:nodes",)),
        User("system:node:", groups=("system:nodes",)),
    ):
        assert not may(node, user, "list", "services")
