"""StatefulSets: names, order, storage and DNS that stay; rolling updates that can be held back."""

from __future__ import annotations

import time
from typing import Any

from tests.cluster.harness import Cluster, Space, until
from tests.cluster.workloads import claim, headless, live, names, template, workload

LABELS = {"app": "db"}
# Ready a moment after it has started, so that order can be seen.
PROBE = {"exec": {"command": ["sh", "-c", "test -e /tmp/ok || { sleep 0.3; touch /tmp/ok; }"]}, "periodSeconds": 1}


def stateful(version: str = "one", *, pod: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    made = pod or template(LABELS, env={"VERSION": version}, readinessProbe=PROBE)
    return workload("StatefulSet", "db", made, **{"serviceName": "db", "replicas": 3, **spec})


def versions(space: Space) -> dict[str, str]:
    return {p["metadata"]["name"]: p["spec"]["containers"][0]["env"][0]["value"] for p in live(space, "app=db")}


def test_pods_start_in_order_with_names_claims_and_dns_that_stay(cluster: Cluster, space: Space) -> None:
    keep = (
        'echo "$HOSTNAME $(cat /data/log 2>/dev/null | wc -l)" >> /data/log; trap "exit 0" TERM; sleep infinity & wait'
    )
    mounts = [{"name": "data", "mountPath": "/data"}]
    pod = template(LABELS, readinessProbe=PROBE, volumeMounts=mounts, command=["sh", "-c", keep])
    space.apply(headless("db", LABELS), stateful(pod=pod, volumeClaimTemplates=[claim("data")]))
    space.rolled_out("statefulset/db")
    pods = {p["metadata"]["name"]: p for p in space.pods("app=db")}
    assert set(pods) == {"db-0", "db-1", "db-2"}
    started = [pods[f"db-{i}"]["metadata"]["creationTimestamp"] for i in range(3)]
    ready = [
        next(c["lastTransitionTime"] for c in pods[f"db-{i}"]["status"]["conditions"] if c["type"] == "Ready")
        for i in range(3)
    ]
    assert ready[0] <= started[1]
    assert ready[1] <= started[2]
    assert pods["db-1"]["metadata"]["labels"]["apps.kubernetes.io/pod-index"] == "1"
    assert pods["db-1"]["metadata"]["labels"]["statefulset.kubernetes.io/pod-name"] == "db-1"
    assert pods["db-1"]["spec"]["hostname"] == "db-1"
    bound = {c["metadata"]["name"]: c for c in space.get("pvc")["items"]}
    assert set(bound) == {"data-db-0", "data-db-1", "data-db-2"}
    assert {c["status"]["phase"] for c in bound.values()} == {"Bound"}

    def address() -> str:
        return space.exec("db-0", "getent", "hosts", f"db-1.db.{space.name}.svc.cluster.local").split()[0]

    until(lambda: address() == pods["db-1"]["status"]["podIP"], "a name for the pod")
    assert space.exec("db-0", "getent", "hosts", "db-1.db").split()[0] == address()
    # A deleted pod comes back with its name, its claim and what it wrote.
    space.kubectl("delete", "pod", "db-1")
    until(lambda: names(live(space, "app=db")) == set(pods), "the pod is back")
    space.wait_ready("db-1")
    assert space.exec("db-1", "cat", "/data/log").split() == ["db-1", "0", "db-1", "1"]
    # Scaling down takes the highest; its claim stays, and serves again when it comes back.
    space.kubectl("scale", "statefulset/db", "--replicas=1")
    until(lambda: names(space.pods("app=db")) == {"db-0"}, "scaled down", timeout=60)
    assert len(space.get("pvc")["items"]) == 3
    space.kubectl("scale", "statefulset/db", "--replicas=2")
    until(lambda: "db-1" in names(live(space, "app=db")), "scaled up")
    space.wait_ready("db-1")
    assert space.exec("db-1", "tail", "-n1", "/data/log").strip() == "db-1 2"


def test_scaling_down_goes_from_the_highest_one_at_a_time(space: Space) -> None:
    space.apply(headless("db", LABELS), stateful())
    space.rolled_out("statefulset/db")
    space.kubectl("scale", "statefulset/db", "--replicas=0")
    seen: list[set[str]] = []

    def gone() -> bool:
        left = names(space.pods("app=db"))
        if not seen or seen[-1] != left:
            seen.append(left)
        return not left

    until(gone, "all pods are gone", timeout=60, every=0.05)
    full = ["db-0", "db-1", "db-2"]
    assert all(sorted(left) == full[: len(left)] for left in seen), seen


def test_a_rolling_update_waits_at_its_partition_and_undo_goes_back(space: Space) -> None:
    held = {"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}
    space.apply(headless("db", LABELS), stateful(updateStrategy=held))
    space.rolled_out("statefulset/db")
    space.apply(stateful("two", updateStrategy=held))
    space.rolled_out("statefulset/db")
    assert versions(space) == {"db-0": "one", "db-1": "one", "db-2": "two"}
    space.kubectl("delete", "pod", "db-0")  # below the partition: comes back as it was
    until(lambda: versions(space).get("db-0") == "one", "the old revision is kept")
    space.wait_ready("db-0")
    space.apply(stateful("two", updateStrategy={"type": "RollingUpdate"}))
    space.rolled_out("statefulset/db")
    assert set(versions(space).values()) == {"two"}
    status = space.get("statefulset", "db")["status"]
    assert status["currentRevision"] == status["updateRevision"]
    assert len(space.get("controllerrevisions")["items"]) == 2
    space.kubectl("rollout", "undo", "statefulset/db")
    space.rolled_out("statefulset/db")
    assert set(versions(space).values()) == {"one"}
    assert "REVISION" in space.kubectl("rollout", "history", "statefulset/db")


def test_on_delete_parallel_start_ordinal_and_claims_that_go(space: Space) -> None:
    retention = {"whenScaled": "Delete", "whenDeleted": "Delete"}
    more: dict[str, Any] = {
        "updateStrategy": {"type": "OnDelete"},
        "podManagementPolicy": "Parallel",
        "ordinals": {"start": 5},
        "persistentVolumeClaimRetentionPolicy": retention,
        "volumeClaimTemplates": [claim("data")],
    }
    space.apply(headless("db", LABELS), stateful(**more))
    until(lambda: len(live(space, "app=db")) == 3, "all at once", timeout=10)
    assert names(live(space, "app=db")) == {"db-5", "db-6", "db-7"}
    until(lambda: space.get("statefulset", "db")["status"].get("readyReplicas") == 3, "all are ready")
    space.apply(stateful("two", **more))
    until(lambda: space.get("statefulset", "db")["status"]["observedGeneration"] == 2, "the new template is seen")
    time.sleep(1)
    assert set(versions(space).values()) == {"one"}
    space.kubectl("delete", "pod", "db-6")
    until(lambda: versions(space).get("db-6") == "two", "the deleted one is new")
    assert versions(space)["db-5"] == "one"
    space.kubectl("scale", "statefulset/db", "--replicas=2")

    def claims() -> set[str]:
        return {c["metadata"]["name"] for c in space.get("pvc")["items"]}

    until(lambda: claims() == {"data-db-5", "data-db-6"}, "the claim went with its pod")
    space.kubectl("delete", "statefulset", "db")
    until(lambda: not claims(), "the claims went with their StatefulSet")


def test_several_at_once_where_max_unavailable_allows_it(space: Space) -> None:
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 3}}
    space.apply(headless("db", LABELS), stateful(podManagementPolicy="Parallel", updateStrategy=strategy))
    space.rolled_out("statefulset/db")
    before = {p["metadata"]["uid"] for p in space.pods("app=db")}
    space.apply(stateful("two", podManagementPolicy="Parallel", updateStrategy=strategy))

    def all_going() -> bool:
        old = [p for p in space.pods("app=db") if p["metadata"]["uid"] in before]
        return all(p["metadata"].get("deletionTimestamp") for p in old)

    until(all_going, "all three are replaced together", every=0.05)
    space.rolled_out("statefulset/db")
    assert set(versions(space).values()) == {"two"}
