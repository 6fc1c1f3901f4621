"""Manifests in a line each, and questions about objects, for the tests of workloads."""

from __future__ import annotations

from typing import Any

from tests.cluster.harness import TOOLBOX, Space

SLEEP = ["sh", "-c", "trap 'exit 0' TERM; sleep infinity & wait"]

Object = dict[str, Any]


def template(labels: dict[str, str], *, env: dict[str, str] | None = None, **container: Any) -> Object:
    """A pod template of one toolbox container `main`; `spec` of it is the pod's own fields."""
    spec = container.pop("spec", {})
    main = {"name": "main", "image": TOOLBOX, "command": SLEEP, **container}
    if env:
        main["env"] = [{"name": k, "value": v} for k, v in env.items()]
    return {
        "metadata": {"labels": labels},
        "spec": {"containers": [main], "terminationGracePeriodSeconds": 2, **spec},
    }


def workload(kind: str, name: str, pod: Object, **spec: Any) -> Object:
    """A StatefulSet, DaemonSet, Deployment or ReplicaSet over pods of this template."""
    selector = {"matchLabels": pod["metadata"]["labels"]}
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": name},
        "spec": {"selector": selector, "template": pod, **spec},
    }


def job(name: str, script: str, *, template_spec: Object | None = None, **spec: Any) -> Object:
    """A Job that runs a shell script; restartPolicy Never."""
    container = {"name": "main", "image": TOOLBOX, "command": ["sh", "-c", script]}
    pod = {"containers": [container], "restartPolicy": "Never", "terminationGracePeriodSeconds": 1}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": {"template": {"spec": {**pod, **(template_spec or {})}}, **spec},
    }


def claim(name: str, *, size: str = "1Mi", modes: tuple[str, ...] = ("ReadWriteOnce",), **spec: Any) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name},
        "spec": {"accessModes": list(modes), "resources": {"requests": {"storage": size}}, **spec},
    }


def headless(name: str, labels: dict[str, str]) -> Object:
    spec = {"clusterIP": "None", "selector": labels, "ports": [{"port": 80, "name": "http"}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}


def condition(obj: Object, kind: str) -> Object:
    """The condition of this type; empty if there is none."""
    found: Object = next((c for c in obj["status"].get("conditions", ()) if c["type"] == kind), {})
    return found


def names(pods: list[Object]) -> set[str]:
    return {p["metadata"]["name"] for p in pods}


def live(space: Space, selector: str = "") -> list[Object]:
    """Pods that are not going away."""
    return [p for p in space.pods(selector) if not p["metadata"].get("deletionTimestamp")]


def reasons(space: Space, name: str) -> set[str]:
    return {e["reason"] for e in space.events(name)}
