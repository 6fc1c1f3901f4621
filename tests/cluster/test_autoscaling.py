"""The cluster's own metrics.k8s.io, `kubectl top`, and a Deployment that follows its load up and down."""

from __future__ import annotations

from typing import Any

from tests.cluster.harness import NODES, Cluster, Space, until
from tests.cluster.workloads import condition, live, reasons, template, workload

LABELS = {"app": "busy"}
# Burns while the file is there, in one container; the other only waits.
BURN = (
    "while :; do if [ -e /tmp/load ]; then i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; else sleep 0.2; fi; done"
)


def deployment() -> dict[str, Any]:
    resources = {"requests": {"cpu": "50m", "memory": "16Mi"}, "limits": {"cpu": "300m"}}
    pod = template(LABELS, command=["sh", "-c", BURN], resources=resources, spec={"terminationGracePeriodSeconds": 0})
    waits = {"name": "waits", "image": pod["spec"]["containers"][0]["image"], "command": ["sleep", "infinity"]}
    pod["spec"]["containers"].append({**waits, "resources": {"requests": {"cpu": "50m", "memory": "16Mi"}}})
    return workload("Deployment", "busy", pod, replicas=1)


def autoscaler(name: str, metric: dict[str, Any], target: str = "busy", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": name},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": target},
            "minReplicas": 1,
            "maxReplicas": 3,
            "metrics": [metric],
            **spec,
        },
    }


def test_a_loaded_deployment_scales_up_and_back_down(cluster: Cluster, space: Space) -> None:
    cluster.kubectl("-n", "kube-system", "rollout", "status", "deployment/metrics-server", "--timeout=90s")
    available = "--for=condition=Available"
    cluster.kubectl("wait", available, "apiservice/v1beta1.metrics.k8s.io", "--timeout=60s")
    space.apply(deployment())
    space.rolled_out("deployment/busy")
    name = live(space, "app=busy")[0]["metadata"]["name"]
    space.exec(name, "touch", "/tmp/load", container="main")
    quick = {
        "scaleDown": {"stabilizationWindowSeconds": 0, "policies": [{"type": "Pods", "value": 1, "periodSeconds": 15}]},
        "scaleUp": {"stabilizationWindowSeconds": 0, "policies": [{"type": "Pods", "value": 1, "periodSeconds": 15}]},
    }
    half = {"target": {"type": "Utilization", "averageUtilization": 50}}
    of_container = {"type": "ContainerResource", "containerResource": {"name": "cpu", "container": "main", **half}}
    space.apply(autoscaler("busy", of_container, behavior=quick))
    # kubectl top, for nodes and pods, with the numbers of the containers.
    tops = until(lambda: space.kubectl("top", "pods", "--containers", "--no-headers"), "metrics of the pod", timeout=60)
    used = {line.split()[1]: int(line.split()[2].removesuffix("m")) for line in tops.splitlines()}
    assert set(used) == {"main", "waits"}
    until(lambda: busy_cores(space) > 100, "the load is seen", timeout=60)
    nodes = cluster.kubectl("top", "nodes", "--no-headers")
    assert sorted(line.split()[0] for line in nodes.splitlines()) == list(NODES)
    assert all(line.split()[1].endswith("m") and line.split()[3].endswith("Mi") for line in nodes.splitlines())
    # Up, one pod in a period at most, to the most that is allowed ...
    until(lambda: space.get("deployment", "busy")["spec"]["replicas"] == 2, "one more", timeout=90)
    hpa = space.get("hpa", "busy")
    assert condition(hpa, "ScalingActive")["reason"] == "ValidMetricFound"
    assert "SuccessfulRescale" in reasons(space, "busy")
    current = hpa["status"]["currentMetrics"][0]["containerResource"]
    assert current["container"] == "main"
    assert current["current"]["averageUtilization"] > 50
    # ... and down again once the load is gone.
    space.exec(name, "rm", "/tmp/load", container="main")
    until(lambda: space.get("deployment", "busy")["spec"]["replicas"] == 1, "one less", timeout=120)


def busy_cores(space: Space) -> int:
    """Millicores of the pods."""
    lines = space.kubectl("top", "pods", "-l", "app=busy", "--no-headers").splitlines()
    return sum(int(line.split()[1].removesuffix("m")) for line in lines)


def test_what_kubectl_autoscale_makes_and_what_it_says_without_metrics(space: Space) -> None:
    pod = template({"app": "idle"})
    space.apply(workload("Deployment", "idle", pod, replicas=5))
    space.kubectl("autoscale", "deployment", "idle", "--min=1", "--max=3", "--cpu-percent=80")
    # More than the most that is allowed, whatever metrics say.
    until(lambda: space.get("deployment", "idle")["spec"]["replicas"] == 3, "no more than allowed", timeout=45)
    # The container requests no CPU, so utilization means nothing.
    until(lambda: condition(space.get("hpa", "idle"), "ScalingActive").get("status") == "False", "inactive", timeout=60)
    assert condition(space.get("hpa", "idle"), "ScalingActive")["reason"] == "FailedGetResourceMetric"
    assert condition(space.get("hpa", "idle"), "AbleToScale")["status"] == "True"
    assert "cpu: <unknown>/80%" in space.kubectl("get", "hpa", "idle")
    # Nobody serves custom metrics here; upstream's words.
    custom = {
        "type": "Pods",
        "pods": {"metric": {"name": "requests"}, "target": {"type": "AverageValue", "averageValue": "1"}},
    }
    space.kubectl("delete", "hpa", "idle")
    space.apply(autoscaler("idle", custom, "idle"))
    until(lambda: condition(space.get("hpa", "idle"), "ScalingActive"), "judged", timeout=45)
    found = condition(space.get("hpa", "idle"), "ScalingActive")
    assert found["reason"] == "FailedGetPodsMetric"
    assert "unable to get metric requests" in found["message"]
