"""Deployments under traffic: a rolling update loses no request, an undo brings the old one back."""

from __future__ import annotations

import threading
import time
import urllib.error
from typing import Any

from tests.cluster.harness import TOOLBOX, Cluster, Space, http_get, until

NODE_PORT = 30111

# Answers one request a connection with the version, and on SIGTERM goes on for a moment while the proxies let go of it.
SERVER = (
    "mkdir -p /www && echo $VERSION > /www/index.html && (httpd -f -p 8080 -h /www & p=$!; "
    "trap 'sleep 3; kill $p' TERM; wait $p; wait $p)"
)


def deployment(version: str, replicas: int = 3) -> dict[str, Any]:
    labels = {"app": "web"}
    container = {
        "name": "web",
        "image": TOOLBOX,
        "command": ["sh", "-c", SERVER],
        "env": [{"name": "VERSION", "value": version}],
        "ports": [{"containerPort": 8080}],
        "readinessProbe": {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "annotations": {"kubernetes.io/change-cause": f"version {version}"}},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "strategy": {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }


SERVICE = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "web"},
    "spec": {
        "type": "NodePort",
        "selector": {"app": "web"},
        "ports": [{"port": 80, "targetPort": 8080, "nodePort": NODE_PORT}],
    },
}


class Traffic(threading.Thread):
    """Requests one after the other until stopped; remembers every answer and every failure."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self.url = url
        self.answers: list[str] = []
        self.failures: list[str] = []
        self._stop_asking = threading.Event()

    def run(self) -> None:
        while not self._stop_asking.is_set():
            try:
                self.answers.append(http_get(self.url, timeout=5).strip())
            except (OSError, urllib.error.URLError) as error:
                self.failures.append(f"after {len(self.answers)} answers: {error!r}")
            time.sleep(0.005)

    def stop(self) -> None:
        self._stop_asking.set()
        self.join()


def test_a_rolling_update_loses_no_request_and_undo_brings_the_old_version_back(cluster: Cluster, space: Space) -> None:
    space.apply(deployment("one"), SERVICE)
    space.rolled_out("deployment/web")
    url = f"http://{cluster.node_ip('node2')}:{NODE_PORT}/"
    until(lambda: http_get(url).strip() == "one", "the first version answers")
    traffic = Traffic(url)
    traffic.start()
    try:
        space.apply(deployment("two"))
        assert "successfully rolled out" in space.rolled_out("deployment/web")
        until(lambda: set(traffic.answers[-20:]) == {"two"}, "only the new version answers")
        assert "deployment.apps/web rolled back" in space.kubectl("rollout", "undo", "deployment/web")
        space.rolled_out("deployment/web")
        until(lambda: set(traffic.answers[-20:]) == {"one"}, "only the old version answers again")
    finally:
        traffic.stop()
    assert traffic.failures == []
    assert len(traffic.answers) > 100
    history = space.kubectl("rollout", "history", "deployment/web")
    assert "version two" in history
    assert "version one" in history


def test_pause_resume_and_restart(space: Space) -> None:
    space.apply(deployment("one", replicas=2))
    space.rolled_out("deployment/web")
    space.kubectl("rollout", "pause", "deployment/web")
    space.kubectl("set", "env", "deployment/web", "VERSION=two")
    time.sleep(1)
    assert len(space.get("replicasets")["items"]) == 1
    space.kubectl("rollout", "resume", "deployment/web")
    space.rolled_out("deployment/web")
    assert len(space.get("replicasets")["items"]) == 2
    before = {p["metadata"]["name"] for p in space.pods("app=web")}
    space.kubectl("rollout", "restart", "deployment/web")
    space.rolled_out("deployment/web")
    until(lambda: before.isdisjoint(p["metadata"]["name"] for p in space.pods("app=web")), "all pods are new")


def test_a_rollout_that_cannot_progress_says_so(space: Space) -> None:
    stuck = deployment("one", replicas=1)
    stuck["spec"]["progressDeadlineSeconds"] = 3
    stuck["spec"]["template"]["spec"]["containers"][0]["image"] = "localhost:5000/no-such-image"
    space.apply(stuck)

    def progressing() -> dict[str, Any]:
        conditions = space.get("deployment", "web")["status"].get("conditions", [])
        return next((c for c in conditions if c["type"] == "Progressing" and c["status"] == "False"), {})

    condition = until(progressing, "Progressing is False")
    assert condition["reason"] == "ProgressDeadlineExceeded"
    waiting = until(
        lambda: space.pods("app=web")[0]["status"]["containerStatuses"][0]["state"].get("waiting"), "waiting"
    )
    assert waiting["reason"] in ("ErrImagePull", "ImagePullBackOff")


def test_recreate_never_runs_two_versions_at_once(space: Space) -> None:
    one = deployment("one", replicas=2)
    one["spec"]["strategy"] = {"type": "Recreate"}
    space.apply(one)
    space.rolled_out("deployment/web")
    two = deployment("two", replicas=2)
    two["spec"]["strategy"] = {"type": "Recreate"}
    space.apply(two)
    seen: set[frozenset[str]] = set()

    def finished() -> bool:
        versions = frozenset(
            p["spec"]["containers"][0]["env"][0]["value"]
            for p in space.pods("app=web")
            if p["status"]["phase"] == "Running"
        )
        seen.add(versions)
        return versions == {"two"} and len(space.pods("app=web")) == 2

    until(finished, "the new version runs")
    assert frozenset({"one", "two"}) not in seen
