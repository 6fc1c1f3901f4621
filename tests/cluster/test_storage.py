"""Volumes and claims: made on demand, bound by what they ask for, kept or given back, and data that stays."""

from __future__ import annotations

from typing import Any

import pytest

from tests.cluster.harness import ROOT, Cluster, CommandFailed, Space, pod, until
from tests.cluster.workloads import claim, live, reasons

FOLDER = "/var/lib/kubelet/local-volumes"


def using(name: str, claim_name: str, *script: str, **spec: Any) -> dict[str, Any]:
    """A pod that mounts a claim on /data."""
    volumes = [{"name": "data", "persistentVolumeClaim": {"claimName": claim_name}}]
    return pod(
        name, *script, volumes=volumes, container={"volumeMounts": [{"name": "data", "mountPath": "/data"}]}, **spec
    )


def volume(space: Space, name: str, *, size: str = "1Mi", policy: str = "Retain", **spec: Any) -> dict[str, Any]:
    """A PersistentVolume by hand, of a class that is this test's own."""
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": f"{space.name}-{name}", "labels": {"test": space.name, "name": name}},
        "spec": {
            "capacity": {"storage": size},
            "accessModes": ["ReadWriteOnce"],
            "persistentVolumeReclaimPolicy": policy,
            "storageClassName": space.name,
            **({} if "local" in spec else {"hostPath": {"path": f"/tmp/{space.name}-{name}"}}),
            **spec,
        },
    }


def on_node(name: str) -> dict[str, Any]:
    term = {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": [name]}]}
    return {"required": {"nodeSelectorTerms": [term]}}


def phase(space: Space, name: str) -> str:
    return str(space.get("pvc", name)["status"].get("phase"))


def test_the_default_class_makes_a_volume_where_the_first_pod_runs(cluster: Cluster, space: Space) -> None:
    space.apply(claim("data", size="1Mi"))
    until(lambda: "WaitForFirstConsumer" in reasons(space, "data"), "it waits for a pod")
    found = space.get("pvc", "data")
    assert found["spec"]["storageClassName"] == "standard"
    assert found["status"]["phase"] == "Pending"
    space.apply(using("one", "data", "echo hello > /data/file && exec sleep infinity"))
    space.wait_ready("one")
    node = space.get("pod", "one")["spec"]["nodeName"]
    found = space.get("pvc", "data")
    assert found["status"]["phase"] == "Bound"
    assert found["metadata"]["annotations"]["volume.kubernetes.io/selected-node"] == node
    bound = cluster.get("pv", found["spec"]["volumeName"])
    assert bound["spec"]["persistentVolumeReclaimPolicy"] == "Delete"
    # Every other pod of the claim runs there too, and sees the data.
    elsewhere = {"nodeSelector": {"kubernetes.io/hostname": "node2" if node == "node1" else "node1"}}
    space.apply(using("two", "data"), using("lost", "data", **elsewhere))
    space.wait_ready("two")
    assert space.get("pod", "two")["spec"]["nodeName"] == node
    assert space.exec("two", "cat", "/data/file").strip() == "hello"

    def refused() -> str:
        return "".join(e["message"] for e in space.events("lost") if e["reason"] == "FailedScheduling")

    until(lambda: "didn't match PersistentVolume's node affinity" in refused(), "nowhere else")
    # Growing, and a clone that has the data of this moment.
    grow = '{"spec": {"resources": {"requests": {"storage": "2Mi"}}}}'
    space.kubectl("patch", "pvc", "data", "-p", grow)
    until(lambda: space.get("pvc", "data")["status"]["capacity"]["storage"] == "2Mi", "it has grown")
    source = {"kind": "PersistentVolumeClaim", "name": "data"}
    space.apply(claim("clone", size="2Mi", dataSource=source), using("three", "clone"))
    space.wait_ready("three")
    assert space.exec("three", "cat", "/data/file").strip() == "hello"
    space.exec("three", "sh", "-c", "echo changed > /data/file")
    assert space.exec("one", "cat", "/data/file").strip() == "hello"
    # In use it stays; then it goes, and its directory with it.
    directory = f"{FOLDER}/{found['spec']['volumeName']}_{space.name}_data"
    assert cluster.on(node, "cat", f"{directory}/file").strip() == "hello"
    space.kubectl("delete", "pvc", "data", "--wait=false")
    held = space.get("pvc", "data")
    assert held["metadata"]["deletionTimestamp"]
    assert "kubernetes.io/pvc-protection" in held["metadata"]["finalizers"]
    assert "Terminating" in space.kubectl("get", "pvc", "data")
    space.kubectl("delete", "pod", "one", "two", "lost")
    until(lambda: not any(c["metadata"]["name"] == "data" for c in space.get("pvc")["items"]), "the claim is gone")

    def gone() -> bool:
        return not any(v["metadata"]["name"] == found["spec"]["volumeName"] for v in cluster.get("pv")["items"])

    until(gone, "its volume is gone")
    with pytest.raises(CommandFailed):
        cluster.on(node, "ls", directory)


def test_volumes_made_by_hand_are_bound_by_what_claims_ask_for(cluster: Cluster, space: Space) -> None:
    reserved = {"claimRef": {"namespace": space.name, "name": "mine"}}
    space.apply(
        volume(space, "small", size="1Mi"),
        volume(space, "large", size="9Mi"),
        volume(space, "gold", size="3Mi"),
        volume(space, "reserved", size="1Mi", **reserved),
        volume(space, "shared", size="1Mi", accessModes=["ReadOnlyMany"]),
    )
    mine = {"storageClassName": space.name}
    try:
        space.apply(claim("middle", size="4Mi", **mine))
        until(lambda: phase(space, "middle") == "Bound", "bound")
        space.apply(
            claim("gold", selector={"matchLabels": {"name": "gold"}}, **mine),
            claim("mine", **mine),
            claim("shared", modes=("ReadOnlyMany",), **mine),
            claim("any", **mine),
            claim("none", size="1Ti", **mine),
            claim("named", volumeName=f"{space.name}-small", size="1Ti", **mine),
        )
        wanted = {"middle": "large", "gold": "gold", "mine": "reserved", "shared": "shared", "any": "small"}
        for name, of in wanted.items():
            until(lambda name=name: phase(space, name) == "Bound", f"{name} is bound")  # type: ignore[misc]
            assert space.get("pvc", name)["spec"]["volumeName"] == f"{space.name}-{of}"
        assert phase(space, "none") == "Pending"
        assert phase(space, "named") == "Pending"
        space.apply(using("waits", "none"), using("nothing", "no-such-claim"))

        def said(name: str) -> str:
            return "".join(e["message"] for e in space.events(name))

        until(lambda: "pod has unbound immediate PersistentVolumeClaims" in said("waits"), "it says what it waits for")
        until(lambda: 'persistentvolumeclaim "no-such-claim" not found' in said("nothing"), "it says what is missing")
        # Retain: the volume is kept, released, and free again once its claimRef is cleared.
        space.kubectl("delete", "pvc", "any")
        kept = f"{space.name}-small"
        until(lambda: cluster.get("pv", kept)["status"]["phase"] == "Released", "released")
        cluster.kubectl("patch", "pv", kept, "--type=json", "-p", '[{"op": "remove", "path": "/spec/claimRef"}]')
        until(lambda: cluster.get("pv", kept)["status"]["phase"] == "Available", "available")
        # Recycle was given up by upstream; a volume that asks for it fails.
        cluster.kubectl(
            "patch", "pv", f"{space.name}-gold", "-p", '{"spec":{"persistentVolumeReclaimPolicy":"Recycle"}}'
        )
        space.kubectl("delete", "pvc", "gold")
        until(lambda: cluster.get("pv", f"{space.name}-gold")["status"]["phase"] == "Failed", "failed")
        # A volume in use is protected; a claim whose volume is gone is Lost.
        cluster.kubectl("delete", "pv", f"{space.name}-large", "--wait=false")
        assert "Terminating" in cluster.kubectl("get", "pv", f"{space.name}-large")
        cluster.kubectl("patch", "pv", f"{space.name}-large", "-p", '{"metadata":{"finalizers":null}}')
        until(lambda: phase(space, "middle") == "Lost", "lost")
    finally:
        cluster.kubectl("delete", "pv", "-l", f"test={space.name}", "--wait=false")


def test_a_local_volume_decides_where_its_first_consumer_runs(cluster: Cluster, space: Space) -> None:
    waiting = {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": space.name},
        "provisioner": "kubernetes.io/no-provisioner",
        "volumeBindingMode": "WaitForFirstConsumer",
    }
    cluster.on("node3", "mkdir", "-p", f"/tmp/{space.name}")
    local = {"local": {"path": f"/tmp/{space.name}"}, "nodeAffinity": on_node("node3")}
    try:
        space.apply(waiting, claim("disk", storageClassName=space.name))
        space.apply(using("early", "disk", "echo here > /data/file && exec sleep infinity"))
        message = "didn't find available persistent volumes to bind"
        until(lambda: any(message in e["message"] for e in space.events("early")), "there is none yet")
        space.apply(volume(space, "disk", **local))
        space.wait_ready("early")
        assert space.get("pod", "early")["spec"]["nodeName"] == "node3"
        assert cluster.on("node3", "cat", f"/tmp/{space.name}/file").strip() == "here"
    finally:
        cluster.kubectl("delete", "storageclass", space.name)
        cluster.kubectl("delete", "pv", "-l", f"test={space.name}", "--wait=false")


def test_an_ephemeral_volume_goes_with_its_pod_and_one_pod_may_keep_others_out(space: Space) -> None:
    template = {"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}}
    volumes = [{"name": "scratch", "ephemeral": {"volumeClaimTemplate": template}}]
    mounts = {"volumeMounts": [{"name": "scratch", "mountPath": "/data"}]}
    space.apply(
        pod("temp", "echo x > /data/x && exec sleep infinity", volumes=volumes, container=mounts),
        claim("alone", modes=("ReadWriteOncePod",)),
        using("first", "alone"),
    )
    space.wait_ready("temp", "first")
    assert space.get("pvc", "temp-scratch")["metadata"]["ownerReferences"][0]["name"] == "temp"
    space.apply(using("second", "alone"))
    message = "node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode"
    until(lambda: any(message in e["message"] for e in space.events("second")), "one at a time")
    space.kubectl("delete", "pod", "temp", "first")
    until(lambda: not any(c["metadata"]["name"] == "temp-scratch" for c in space.get("pvc")["items"]), "it went too")
    space.wait_ready("second")


def test_postgres_keeps_its_data_through_pod_deletion_and_node_restart(
    cluster: Cluster, space: Space, calm: None
) -> None:
    space.kubectl("apply", "-f", str(ROOT / "examples/postgres/postgres.yaml"))
    space.rolled_out("statefulset/postgres")

    def sql(statement: str) -> str:
        script = f'PGPASSWORD=$POSTGRES_PASSWORD psql -h postgres -U postgres -qtAc "{statement}"'
        return space.exec("postgres-0", "sh", "-c", script).strip()

    until(lambda: sql("create table if not exists t (x int)") == "", "it answers by its name")
    sql("insert into t select generate_series(1, 1000)")
    first = space.get("pod", "postgres-0")
    space.kubectl("delete", "pod", "postgres-0")
    until(lambda: [p for p in live(space) if p["metadata"]["uid"] != first["metadata"]["uid"]], "a new pod")
    space.rolled_out("statefulset/postgres")
    until(lambda: sql("select sum(x) from t") == "500500", "the data is there")
    sql("insert into t values (1)")
    node = space.get("pod", "postgres-0")["spec"]["nodeName"]
    cluster.docker("kill", cluster.container(node))
    cluster.docker("start", cluster.container(node))
    until(lambda: sql("select sum(x) from t") == "500501", "the data is there after the node's death", timeout=120)
