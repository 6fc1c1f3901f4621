"""What keeps workloads from each other's throats: disruption budgets, priorities, quotas, limit ranges."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest

from tests.cluster.harness import Cluster, CommandFailed, Space, pod, until
from tests.cluster.workloads import condition, live, names, template, workload

pytestmark = pytest.mark.alone

LABELS = {"app": "web"}
READY = {"exec": {"command": ["true"]}, "periodSeconds": 1}


def budget(**spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": "web"},
        "spec": {"selector": {"matchLabels": LABELS}, **spec},
    }


def evict(space: Space, name: str) -> None:
    """As `kubectl drain` does. Raises CommandFailed."""
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": space.name}}
    path = f"/api/v1/namespaces/{space.name}/pods/{name}/eviction"
    space.kubectl("create", "--raw", path, "-f", "-", stdin=json.dumps(body))


def priority_class(name: str, value: int, **more: Any) -> dict[str, Any]:
    metadata = {"name": name}
    return {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": metadata, "value": value, **more}


def quota(name: str, hard: dict[str, str], **spec: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": name}, "spec": {"hard": hard, **spec}}


def used(space: Space, name: str) -> dict[str, str]:
    found: dict[str, str] = space.get("resourcequota", name)["status"].get("used", {})
    return found


def asking(name: str, cpu: str, **spec: Any) -> dict[str, Any]:
    return pod(name, container={"resources": {"requests": {"cpu": cpu}}}, **spec)


@pytest.mark.alone
def test_a_budget_stands_in_the_way_of_evictions_and_of_drains(cluster: Cluster, space: Space) -> None:
    deployment = workload("Deployment", "web", template(LABELS, readinessProbe=READY), replicas=3)
    space.apply(deployment, budget(minAvailable=2))
    space.rolled_out("deployment/web")

    def allowed() -> int:
        return int(space.get("pdb", "web")["status"].get("disruptionsAllowed", 0))

    until(lambda: allowed() == 1, "one disruption is allowed")
    status = space.get("pdb", "web")["status"]
    assert (status["currentHealthy"], status["desiredHealthy"], status["expectedPods"]) == (3, 2, 3)
    assert condition({"status": status}, "DisruptionAllowed")["reason"] == "SufficientPods"
    # Two at once: only one passes, exactly.
    victims = sorted(names(live(space, "app=web")))
    refused: list[str] = []

    def attempt(name: str) -> None:
        try:
            evict(space, name)
        except CommandFailed as error:
            refused.append(error.stderr)

    attempts = [threading.Thread(target=attempt, args=(name,)) for name in victims]
    for thread in attempts:
        thread.start()
    for thread in attempts:
        thread.join()
    assert len(refused) == 2
    assert all("Cannot evict pod as it would violate the pod's disruption budget" in message for message in refused)
    until(lambda: len(set(victims) & names(live(space, "app=web"))) == 2, "one was evicted")
    until(lambda: allowed() == 1, "its replacement counts")
    # A drain waits for the budget, pod by pod.
    node = live(space, "app=web")[0]["spec"]["nodeName"]
    try:
        drained = cluster.kubectl("drain", node, "--pod-selector=app=web,pod-template-hash", "--timeout=60s")
        assert "evicted" in drained
        assert all(p["spec"]["nodeName"] != node for p in live(space, "app=web"))
        assert cluster.get("node", node)["spec"]["unschedulable"] is True
    finally:
        cluster.kubectl("uncordon", node)
    space.apply(budget(maxUnavailable="0%"))
    until(lambda: allowed() == 0, "none is allowed")
    with pytest.raises(CommandFailed):
        evict(space, live(space, "app=web")[0]["metadata"]["name"])


def test_the_more_important_pod_takes_the_place_of_the_less(cluster: Cluster, space: Space) -> None:
    high, low, patient = (f"{space.name}-{n}" for n in ("high", "low", "patient"))
    cpus = {n["metadata"]["name"]: int(n["status"]["allocatable"]["cpu"]) for n in cluster.get("nodes")["items"]}
    on = {"nodeSelector": {"kubernetes.io/hostname": "node2"}}
    most = f"{cpus['node2'] * 1000 * 2 // 3}m"
    try:
        space.apply(
            priority_class(high, 1000),
            priority_class(low, 10),
            priority_class(patient, 1000, preemptionPolicy="Never"),
        )
        space.apply(asking("minor", most, priorityClassName=low, **on))
        space.wait_ready("minor")
        assert space.get("pod", "minor")["spec"]["priority"] == 10
        space.apply(asking("waits", most, priorityClassName=patient, **on))

        def said(name: str) -> str:
            return "".join(e["message"] for e in space.events(name))

        until(lambda: "not eligible due to preemptionPolicy=Never" in said("waits"), "it does not push")
        space.kubectl("delete", "pod", "waits")
        space.apply(asking("major", most, priorityClassName=high, **on))
        space.wait_ready("major")
        assert "minor" not in names(live(space))
        assert "Preempted by pod" in said("minor")
        with pytest.raises(CommandFailed) as refused:
            space.apply(pod("unknown", priorityClassName="no-such-class"))
        assert "no PriorityClass with name no-such-class was found" in refused.value.stderr
        with pytest.raises(CommandFailed) as forbidden:
            space.apply(priority_class("system-mine", 2_000_000_001))
        assert "system-" in forbidden.value.stderr
    finally:
        cluster.kubectl("delete", "priorityclass", high, low, patient, "--ignore-not-found")


def test_quotas_are_exact_under_concurrent_creation(space: Space) -> None:
    space.apply(
        quota("all", {"pods": "5", "requests.cpu": "1", "count/configmaps": "4", "services.nodeports": "1"}),
        quota("best-effort", {"pods": "1"}, scopes=["BestEffort"]),
        quota("terminating", {"pods": "1"}, scopes=["Terminating"]),
    )
    until(lambda: used(space, "all").get("count/configmaps") == "1", "what exists is counted")
    space.apply(asking("cpu", "600m"))
    with pytest.raises(CommandFailed) as over:
        space.apply(asking("more", "500m"))
    assert (
        "exceeded quota: all, requested: requests.cpu=500m, used: requests.cpu=600m, limited: requests.cpu=1"
        in over.value.stderr
    )
    with pytest.raises(CommandFailed) as needed:
        space.apply(pod("silent"))
    assert "failed quota: all: must specify requests.cpu for: main" in needed.value.stderr
    # Twelve at once for three places.
    outcomes: list[bool] = []

    def attempt(number: int) -> None:
        try:
            space.kubectl("create", "configmap", f"c{number}", "--from-literal=a=b")
            outcomes.append(True)
        except CommandFailed as error:
            assert "exceeded quota: all" in error.stderr
            outcomes.append(False)

    attempts = [threading.Thread(target=attempt, args=(number,)) for number in range(12)]
    for thread in attempts:
        thread.start()
    for thread in attempts:
        thread.join()
    assert outcomes.count(True) == 3
    until(lambda: used(space, "all")["count/configmaps"] == "4", "four of four")
    space.kubectl("delete", "configmap", "-l", "!none", "--field-selector=metadata.name!=kube-root-ca.crt")
    until(lambda: used(space, "all")["count/configmaps"] == "1", "given back")
    space.kubectl("delete", "quota", "all")
    space.apply(pod("one"))
    with pytest.raises(CommandFailed) as second:
        space.apply(pod("two"))
    assert "exceeded quota: best-effort, requested: pods=1, used: pods=1, limited: pods=1" in second.value.stderr
    space.apply(asking("ends", "1m", activeDeadlineSeconds=600))
    with pytest.raises(CommandFailed):
        space.apply(asking("ends-too", "1m", activeDeadlineSeconds=600))
    until(lambda: used(space, "terminating") == {"pods": "1"}, "counted in its scope")


def test_limit_ranges_give_defaults_and_bounds(space: Space) -> None:
    limits = [
        {
            "type": "Container",
            "default": {"cpu": "200m", "memory": "64Mi"},
            "defaultRequest": {"cpu": "100m"},
            "min": {"cpu": "50m"},
            "max": {"cpu": "300m"},
            "maxLimitRequestRatio": {"cpu": "4"},
        },
        {"type": "PersistentVolumeClaim", "max": {"storage": "1Gi"}},
    ]
    space.apply({"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "limits"}, "spec": {"limits": limits}})
    space.apply(pod("plain"))
    resources = space.get("pod", "plain")["spec"]["containers"][0]["resources"]
    assert resources == {"limits": {"cpu": "200m", "memory": "64Mi"}, "requests": {"cpu": "100m", "memory": "64Mi"}}
    refusals = [
        (asking("small", "10m"), "minimum cpu usage per Container is 50m, but request is 10m"),
        (
            pod("large", container={"resources": {"limits": {"cpu": "400m"}}}),
            "maximum cpu usage per Container is 300m, but limit is 400m",
        ),
    ]
    for refused, why in refusals:
        with pytest.raises(CommandFailed) as error:
            space.apply(refused)
        assert why in error.value.stderr
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "2Gi"}}}
    with pytest.raises(CommandFailed) as error:
        space.apply({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "c"}, "spec": claim})
    assert "maximum storage usage per PersistentVolumeClaim is 1Gi, but request is 2Gi" in error.value.stderr
