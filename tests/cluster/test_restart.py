"""The whole cluster stopped and started again: its state and its applications come back."""

from __future__ import annotations

import pytest

from tests.cluster.harness import NODES, SERVE_NAME, Cluster, Space, http_get, pod, run, until

pytestmark = pytest.mark.alone

NODE_PORT = 30133


def test_docker_compose_restart_keeps_everything(cluster: Cluster, space: Space) -> None:
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "names"},
        "spec": {
            "type": "NodePort",
            "selector": {"app": "names"},
            "ports": [{"port": 80, "targetPort": 8080, "nodePort": NODE_PORT}],
        },
    }
    space.apply(pod("kept", SERVE_NAME, labels={"app": "names"}), service)
    space.wait_ready("kept")
    before = space.get("pod", "kept")["metadata"]["uid"]
    cluster_ip = space.get("service", "names")["spec"]["clusterIP"]
    run(["docker", "compose", "restart"], timeout=300)
    until(lambda: cluster.ready_nodes() == list(NODES), "three nodes are Ready again", timeout=180)
    assert space.get("pod", "kept")["metadata"]["uid"] == before
    assert space.get("service", "names")["spec"]["clusterIP"] == cluster_ip
    for node in NODES:
        url = f"http://{cluster.node_ip(node)}:{NODE_PORT}/"
        until(lambda url=url: http_get(url).strip() == "kept", f"the service answers on {node}", timeout=90)
    space.apply(pod("new"))
    space.wait_ready("new")
    until(lambda: space.exec("new", "getent", "hosts", "names"), "DNS answers", timeout=60)
