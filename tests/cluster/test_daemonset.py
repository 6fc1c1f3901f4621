"""DaemonSets: one pod for every node that matches, through the scheduler, as nodes and templates change."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.cluster.harness import NODES, Cluster, Space, until
from tests.cluster.workloads import live, template, workload

pytestmark = pytest.mark.alone

LABELS = {"app": "agent"}
KEY = "tests.pykube.dev/agent"


def daemons(version: str = "one", *, spec: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    probe = {"exec": {"command": ["true"]}, "periodSeconds": 1}
    return workload(
        "DaemonSet", "agent", template(LABELS, env={"VERSION": version}, readinessProbe=probe, spec=spec or {}), **more
    )


def places(space: Space) -> list[str]:
    return sorted(p["spec"].get("nodeName", "") for p in live(space, "app=agent"))


def versions(space: Space) -> dict[str, str]:
    return {p["spec"]["nodeName"]: p["spec"]["containers"][0]["env"][0]["value"] for p in live(space, "app=agent")}


def test_one_on_every_node_with_upstreams_tolerations(space: Space) -> None:
    space.apply(daemons())
    assert "successfully rolled out" in space.rolled_out("daemonset/agent")
    assert places(space) == list(NODES)
    status = space.get("daemonset", "agent")["status"]
    assert (status["desiredNumberScheduled"], status["numberReady"], status["numberMisscheduled"]) == (3, 3, 0)
    pod = live(space, "app=agent")[0]
    tolerated = {(t.get("key"), t.get("effect")) for t in pod["spec"]["tolerations"]}
    assert tolerated >= {
        ("node.kubernetes.io/not-ready", "NoExecute"),
        ("node.kubernetes.io/unreachable", "NoExecute"),
        ("node.kubernetes.io/disk-pressure", "NoSchedule"),
        ("node.kubernetes.io/memory-pressure", "NoSchedule"),
        ("node.kubernetes.io/pid-pressure", "NoSchedule"),
        ("node.kubernetes.io/unschedulable", "NoSchedule"),
    }
    term = pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    field = {"key": "metadata.name", "operator": "In", "values": [pod["spec"]["nodeName"]]}
    assert term["nodeSelectorTerms"] == [{"matchFields": [field]}]
    assert pod["metadata"]["labels"]["controller-revision-hash"]
    # The scheduler put it there.
    scheduled = [e for e in space.events(pod["metadata"]["name"]) if e["reason"] == "Scheduled"]
    assert scheduled
    space.kubectl("delete", "pod", pod["metadata"]["name"])
    until(lambda: places(space) == list(NODES), "the node has its pod again")


def test_nodes_that_come_to_match_and_cease_to(cluster: Cluster, space: Space) -> None:
    space.apply(daemons(spec={"nodeSelector": {KEY: space.name}}))
    try:
        until(lambda: space.get("daemonset", "agent")["status"].get("observedGeneration"), "seen")
        assert places(space) == []
        cluster.kubectl("label", "node", "node1", "node3", f"{KEY}={space.name}", "--overwrite")
        until(lambda: places(space) == ["node1", "node3"], "pods on the labelled nodes")
        cluster.kubectl("cordon", "node3")  # does not bother a DaemonSet
        space.kubectl("delete", "pod", "-l", "app=agent")
        until(lambda: places(space) == ["node1", "node3"], "pods on a cordoned node too")
        cluster.kubectl("taint", "node", "node3", "tests=x:NoSchedule")
        time.sleep(1)
        assert places(space) == ["node1", "node3"], "NoSchedule does not send away who is there"
        cluster.kubectl("taint", "node", "node3", "tests=x:NoExecute")
        until(lambda: places(space) == ["node1"], "NoExecute does")
        cluster.kubectl("label", "node", "node1", f"{KEY}-")
        until(lambda: places(space) == [], "no node matches")
    finally:
        cluster.kubectl("uncordon", "node3")
        cluster.kubectl("label", "node", *NODES, f"{KEY}-")
        for effect in ("NoSchedule", "NoExecute"):
            if any(t["effect"] == effect for t in cluster.get("node", "node3")["spec"].get("taints", ())):
                cluster.kubectl("taint", "node", "node3", f"tests=x:{effect}-")


def test_rolling_update_history_undo_and_on_delete(space: Space) -> None:
    space.apply(daemons())
    space.rolled_out("daemonset/agent")
    space.apply(daemons("two"))
    unavailable: set[int] = set()

    def updated() -> bool:
        status = space.get("daemonset", "agent")["status"]
        unavailable.add(status.get("numberUnavailable", 0))
        return status.get("updatedNumberScheduled") == 3 and status.get("numberAvailable") == 3

    until(updated, "all are new", every=0.05, timeout=90)
    assert max(unavailable) == 1
    assert set(versions(space).values()) == {"two"}
    revisions = sorted(r["revision"] for r in space.get("controllerrevisions")["items"])
    assert revisions == [1, 2]
    space.kubectl("rollout", "undo", "daemonset/agent")
    space.rolled_out("daemonset/agent")
    assert set(versions(space).values()) == {"one"}
    assert sorted(r["revision"] for r in space.get("controllerrevisions")["items"]) == [2, 3]
    space.apply(daemons("three", updateStrategy={"type": "OnDelete"}))
    until(lambda: len(space.get("controllerrevisions")["items"]) == 3, "a new revision")
    time.sleep(0.5)
    assert set(versions(space).values()) == {"one"}
    victim = next(p["metadata"]["name"] for p in live(space, "app=agent") if p["spec"]["nodeName"] == "node2")
    space.kubectl("delete", "pod", victim)
    until(lambda: versions(space).get("node2") == "three", "the deleted one is new")
    assert versions(space)["node1"] == "one"


def test_a_surge_starts_the_new_before_the_old_goes(space: Space) -> None:
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    space.apply(daemons(updateStrategy=strategy))
    space.rolled_out("daemonset/agent")
    space.apply(daemons("two", updateStrategy=strategy))
    available: set[int] = set()

    def updated() -> bool:
        ready: dict[str, int] = {}
        for pod in space.pods("app=agent"):
            if any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", ())):
                ready[pod["spec"]["nodeName"]] = ready.get(pod["spec"]["nodeName"], 0) + 1
        available.add(len(ready))
        return set(versions(space).values()) == {"two"} and len(live(space, "app=agent")) == 3

    until(updated, "all are new", every=0.05, timeout=90)
    assert available == {3}
