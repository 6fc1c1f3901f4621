"""What belongs to something goes with it, in the order that was asked for; what was orphaned stays."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cluster.harness import Cluster, Space, pod, until
from tests.cluster.workloads import job, live, names, template, workload

LABELS = {"app": "web"}


def deployment(replicas: int = 2) -> dict[str, Any]:
    return workload("Deployment", "web", template(LABELS), replicas=replicas)


def owned(name: str, owner: dict[str, Any], **more: Any) -> dict[str, Any]:
    meta = owner["metadata"]
    reference = {"apiVersion": "v1", "kind": owner["kind"], "name": meta["name"], "uid": meta["uid"], **more}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "ownerReferences": [reference]}}


def config_maps(space: Space) -> set[str]:
    return names(space.get("configmaps")["items"]) - {"kube-root-ca.crt"}


@pytest.fixture(scope="module", autouse=True)
def stranded(cluster: Cluster) -> Iterator[Space]:
    """A pod on a node that is gone. Upstream waits 40 s before it believes that, which the other tests use."""
    name = f"stranded-{uuid.uuid4().hex[:6]}"
    cluster.kubectl("create", "namespace", name)
    space = Space(cluster, name)
    until(lambda: space.get("serviceaccount", "default"), "the default service account")
    away = {"taints": [{"key": "tests.pykube.dev/stranded", "effect": "NoSchedule"}]}  # no DaemonSet comes here
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "spec": away}
    cluster.kubectl("create", "-f", "-", stdin=json.dumps(node))
    space.apply(pod("lost", nodeName=name))
    cluster.kubectl("delete", "node", name)
    yield space
    cluster.kubectl("delete", "namespace", name, "--wait=false")


def test_background_foreground_and_orphan(space: Space) -> None:
    space.apply(deployment())
    space.rolled_out("deployment/web")
    # Orphan: ReplicaSet and pods stay, and the next Deployment of the same selector adopts them.
    pods = {p["metadata"]["uid"] for p in live(space)}
    space.kubectl("delete", "deployment", "web", "--cascade=orphan")
    (left,) = space.get("replicasets")["items"]
    assert not left["metadata"].get("ownerReferences")
    space.apply(deployment())
    until(lambda: space.get("replicasets")["items"][0]["metadata"].get("ownerReferences"), "adopted")
    space.rolled_out("deployment/web")
    assert {p["metadata"]["uid"] for p in live(space)} == pods
    # Foreground: the Deployment is the last to go.
    space.kubectl("delete", "deployment", "web", "--cascade=foreground", "--wait=false")
    seen = []

    def gone() -> bool:
        left = space.get("deployments,replicasets,pods")["items"]
        kinds = {o["kind"] for o in left}
        seen.append(kinds)
        if "Deployment" in kinds:
            (held,) = [o for o in left if o["kind"] == "Deployment"]
            assert "foregroundDeletion" in held["metadata"]["finalizers"]
        return not left

    until(gone, "all are gone", every=0.05)
    assert all("Deployment" in kinds for kinds in seen if kinds & {"ReplicaSet", "Pod"})
    # Background: the Deployment at once, the rest follows.
    space.apply(deployment())
    space.rolled_out("deployment/web")
    space.kubectl("delete", "deployment", "web", "--cascade=background", "--wait=false")
    assert not space.get("deployments")["items"]
    until(lambda: not space.get("replicasets,pods")["items"], "the rest is gone")


def test_several_owners_owners_that_never_were_and_blocking_ones(space: Space) -> None:
    for name in ("one", "two"):
        space.kubectl("create", "configmap", name)
    one, two = space.get("configmap", "one"), space.get("configmap", "two")
    both = owned("both", one)
    both["metadata"]["ownerReferences"] += owned("x", two)["metadata"]["ownerReferences"]
    nobody = {"kind": "ConfigMap", "metadata": {"name": "never", "uid": "00000000-0000-0000-0000-000000000000"}}
    space.apply(both, owned("orphan", nobody), owned("child", one, blockOwnerDeletion=True))
    until(lambda: config_maps(space) == {"one", "two", "both", "child"}, "whose owner never was is gone")
    # Foreground waits for the blocking child, which somebody holds.
    space.kubectl("patch", "configmap", "child", "-p", '{"metadata": {"finalizers": ["tests.pykube.dev/hold"]}}')
    space.kubectl("delete", "configmap", "one", "--cascade=foreground", "--wait=false")
    until(lambda: space.get("configmap", "child")["metadata"].get("deletionTimestamp"), "the child is deleted first")
    time.sleep(0.5)
    assert "one" in config_maps(space)
    space.kubectl("patch", "configmap", "child", "-p", '{"metadata": {"finalizers": null}}')
    until(lambda: config_maps(space) == {"two", "both"}, "then the owner; who has another owner stays")
    assert [r["name"] for r in space.get("configmap", "both")["metadata"]["ownerReferences"]] == ["two"]
    space.kubectl("delete", "configmap", "two")
    until(lambda: not config_maps(space), "the last owner took it along")


def test_a_namespace_says_what_remains_and_goes_when_it_can(cluster: Cluster) -> None:
    name = "garbage-namespace"
    cluster.kubectl("create", "namespace", name)
    space = Space(cluster, name)
    space.apply(job("work", "sleep 600"), pod("alone"))
    held = {"name": "held", "finalizers": ["tests.pykube.dev/hold"]}
    space.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": held})
    cluster.kubectl("delete", "namespace", name, "--wait=false")

    def remaining() -> dict[str, str]:
        status = cluster.get("namespace", name)["status"]
        return {c["type"]: c["message"] for c in status.get("conditions", ()) if c["status"] == "True"}

    held_by = "tests.pykube.dev/hold in 1 resource instances"
    until(lambda: held_by in remaining().get("NamespaceFinalizersRemaining", ""), "it says what remains")
    until(lambda: "configmaps. has 1 resource instances" in remaining().get("NamespaceContentRemaining", ""), "of what")
    assert cluster.get("namespace", name)["status"]["phase"] == "Terminating"
    space.kubectl("patch", "configmap", "held", "-p", '{"metadata": {"finalizers": null}}')
    until(lambda: name not in names(cluster.get("namespaces")["items"]), "it is gone")


def test_pods_of_a_node_that_is_no_more_are_collected(stranded: Space) -> None:
    until(lambda: not live(stranded), "the pod is gone", timeout=90)
