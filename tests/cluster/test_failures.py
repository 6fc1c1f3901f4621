"""Machines and processes that die: the cluster heals, and nothing that was acknowledged is lost."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from tests.cluster.harness import NODES, SERVE_NAME, TOOLBOX, Cluster, CommandFailed, Space, http_get, pod, until

pytestmark = pytest.mark.alone

NODE_PORT = 30122


def web(replicas: int, name: str = "web", **template: Any) -> dict[str, Any]:
    labels = {"app": name}
    container = {
        "name": "main",
        "image": TOOLBOX,
        "command": ["sh", "-c", SERVE_NAME],
        "readinessProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 1},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container], **template}},
        },
    }


def starts(space: Space) -> dict[str, tuple[str, int]]:
    """Container id and restart count of each running pod."""
    return {
        p["metadata"]["name"]: (s["containerID"], s["restartCount"])
        for p in space.pods()
        for s in p["status"].get("containerStatuses", ())
        if s.get("containerID")
    }


def test_a_killed_node(cluster: Cluster, space: Space, calm: None) -> None:
    soon = [
        {"key": f"node.kubernetes.io/{key}", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5}
        for key in ("unreachable", "not-ready")
    ]
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web"},
        "spec": {
            "type": "NodePort",
            "selector": {"app": "web"},
            "ports": [{"port": 80, "targetPort": 8080, "nodePort": NODE_PORT}],
        },
    }
    space.apply(web(6, tolerations=soon, terminationGracePeriodSeconds=1), service)
    space.rolled_out("deployment/web")
    lost = {p["metadata"]["name"] for p in space.pods("app=web") if p["spec"]["nodeName"] == "node3"}
    assert lost, "the scheduler spreads over all nodes"
    cluster.docker("kill", cluster.container("node3"))
    until(lambda: cluster.ready_nodes() == ["node1", "node2"], "node3 is NotReady", timeout=90)
    [node] = [n for n in cluster.get("nodes")["items"] if n["metadata"]["name"] == "node3"]
    [ready] = [c for c in node["status"]["conditions"] if c["type"] == "Ready"]
    assert (ready["status"], ready["reason"]) == ("Unknown", "NodeStatusUnknown")
    until(
        lambda: (
            {t["key"] for t in cluster.get("node", "node3")["spec"].get("taints", ())}
            >= {"node.kubernetes.io/unreachable"}
        ),
        "the unreachable taint",
    )

    def running_elsewhere() -> bool:
        alive = [
            p
            for p in space.pods("app=web")
            if p["spec"].get("nodeName") in ("node1", "node2")
            and any(c["type"] == "Ready" and c["status"] == "True" for c in p["status"].get("conditions", ()))
        ]
        return len(alive) == 6

    until(running_elsewhere, "six pods run on the other nodes", timeout=60)
    url = f"http://{cluster.node_ip('node1')}:{NODE_PORT}/"
    answers = {http_get(url).strip() for _ in range(60)}
    assert answers.isdisjoint(lost)

    cluster.docker("start", cluster.container("node3"))
    until(lambda: cluster.ready_nodes() == list(NODES), "node3 is back", timeout=90)
    until(lambda: not cluster.get("node", "node3")["spec"].get("taints"), "its taints are gone")
    until(lambda: lost.isdisjoint(p["metadata"]["name"] for p in space.pods()), "its old pods are gone", timeout=90)
    running = cluster.on("node3", "docker", "ps", "--format", "{{.Names}}")
    assert not any(name in running for name in lost), running
    space.apply(pod("again", nodeName="node3"))
    space.wait_ready("again")


class Writer(threading.Thread):
    """Creates ConfigMaps one after the other; remembers which the API server has acknowledged."""

    def __init__(self, space: Space) -> None:
        super().__init__(daemon=True)
        self.space = space
        self.acknowledged: list[str] = []
        self._done = threading.Event()

    def run(self) -> None:
        number = 0
        while not self._done.is_set():
            number += 1
            try:
                self.space.kubectl("create", "configmap", f"written-{number}", f"--from-literal=n={number}")
                self.acknowledged.append(f"written-{number}")
            except CommandFailed:
                time.sleep(0.2)

    def stop(self) -> None:
        self._done.set()
        self.join()


#: What is killed: the machine it runs in, and its module.
VICTIMS = [
    ("apiserver", "apiserver"),
    ("scheduler", "scheduler"),
    ("controller-manager", "controller_manager"),
    ("node1", "kubelet"),
    ("node2", "proxy"),
]


def test_every_component_killed_in_turn_while_a_deployment_scales(cluster: Cluster, space: Space, calm: None) -> None:
    space.apply(web(3, terminationGracePeriodSeconds=1))
    space.rolled_out("deployment/web")
    first = starts(space)
    writer = Writer(space)
    writer.start()

    def scale(replicas: int) -> None:
        until(lambda: space.kubectl("scale", "deployment/web", f"--replicas={replicas}"), f"scaled to {replicas}")

    try:
        scale(30)
        for machine, module in VICTIMS:
            cluster.kill(machine, module)
            time.sleep(2)
        until(lambda: space.get("deployment", "web")["status"].get("readyReplicas") == 30, "30 are ready", timeout=240)
        grown = starts(space)
        assert {restarts for _, restarts in grown.values()} == {0}
        assert all(grown[name] == identity for name, identity in first.items())
        scale(3)
        for machine, module in VICTIMS:
            cluster.kill(machine, module)
            time.sleep(1)
        until(lambda: len(space.pods("app=web")) == 3, "three are left", timeout=120)
    finally:
        writer.stop()
    kept = starts(space)
    assert all(grown[name] == identity for name, identity in kept.items())
    stored = {c["metadata"]["name"] for c in space.get("configmaps")["items"]}
    assert writer.acknowledged
    assert set(writer.acknowledged) <= stored


def test_restarting_a_kubelet_restarts_no_container(cluster: Cluster, space: Space) -> None:
    space.apply(*(pod(f"p{i}", nodeName="node2") for i in range(3)))
    space.wait_ready("p0", "p1", "p2")
    before = starts(space)
    cluster.kill("node2", "kubelet")
    space.apply(pod("new", nodeName="node2"))
    space.wait_ready("new")
    after = starts(space)
    assert {name: after[name] for name in before} == before


def test_a_container_killed_behind_the_kubelets_back_is_restarted(cluster: Cluster, space: Space) -> None:
    space.apply(pod("victim", nodeName="node1"))
    space.wait_ready("victim")
    identity = starts(space)["victim"][0].removeprefix("docker://")
    cluster.on("node1", "docker", "kill", identity)
    until(lambda: starts(space)["victim"][1] == 1, "it is restarted")
    space.wait_ready("victim")


def test_drain_and_uncordon(cluster: Cluster, space: Space) -> None:
    space.apply(web(4, terminationGracePeriodSeconds=1))
    space.rolled_out("deployment/web")
    try:
        cluster.kubectl("drain", "node1", "--ignore-daemonsets", "--delete-emptydir-data", "--force", "--timeout=120s")
        assert "SchedulingDisabled" in cluster.kubectl("get", "node", "node1")
        space.rolled_out("deployment/web")
        assert "node1" not in {p["spec"]["nodeName"] for p in space.pods("app=web")}
    finally:
        cluster.kubectl("uncordon", "node1")
