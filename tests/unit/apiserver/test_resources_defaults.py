"""Defaults: what a client reads back of what it left out."""

# ruff: noqa: E501 (messages and documents in tables are easier to compare unbroken)
from __future__ import annotations

from typing import Any

import pytest

from api import codec
from api.resources import RESOURCES
from tests.unit.apiserver.building import STRATEGIES, created, make, merge, shown

POD = """
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: default}
spec:
  containers:
  - {name: app, image: nginx}
"""
TEMPLATE = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "app", "image": "nginx:1.25"}]}}


def pod_spec(change: str) -> dict[str, Any]:
    spec: dict[str, Any] = shown(make(POD, change))["spec"]
    return spec


def workload(api_version: str, kind: str, spec: dict[str, Any]) -> dict[str, Any]:
    base = {"selector": {"matchLabels": {"app": "web"}}, "template": TEMPLATE}
    document = {"apiVersion": api_version, "kind": kind, "metadata": {"name": "web", "namespace": "default"}}
    found: dict[str, Any] = shown(make({**document, "spec": merge(base, spec)}))
    return found


def test_a_bare_pod() -> None:
    pod = shown(created(POD))
    assert pod["spec"] == {
        "containers": [
            {
                "name": "app",
                "image": "nginx",
                "imagePullPolicy": "Always",
                "resources": {},
                "terminationMessagePath": "/dev/termination-log",
                "terminationMessagePolicy": "File",
            }
        ],
        "dnsPolicy": "ClusterFirst",
        "enableServiceLinks": True,
        "restartPolicy": "Always",
        "schedulerName": "default-scheduler",
        "securityContext": {},
        "terminationGracePeriodSeconds": 30,
    }
    assert pod["status"] == {"phase": "Pending", "qosClass": "BestEffort"}
    assert pod["metadata"]["generation"] == 1


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("nginx", "Always"),
        ("nginx:latest", "Always"),
        ("nginx:1.25", "IfNotPresent"),
        ("localhost:5000/nginx", "Always"),
        ("localhost:5000/a/b:v1", "IfNotPresent"),
        ("nginx@sha256:" + "a" * 64, "IfNotPresent"),
        ("nginx:latest@sha256:" + "a" * 64, "Always"),
        ("Not An Image", "IfNotPresent"),
    ],
)
def test_pull_policy_by_tag(image: str, policy: str) -> None:
    spec = pod_spec(f"spec: {{containers: [{{name: app, image: '{image}'}}]}}")
    assert spec["containers"][0]["imagePullPolicy"] == policy


def test_requests_from_limits_and_canonical_quantities() -> None:
    spec = pod_spec(
        "spec: {containers: [{name: a, image: x, resources: {limits: {cpu: 0.5, memory: 1024Mi}, requests: {cpu: 1}}}]}"
    )
    assert spec["containers"][0]["resources"] == {
        "limits": {"cpu": "500m", "memory": "1Gi"},
        "requests": {"cpu": "1", "memory": "1Gi"},
    }


def test_quantities_are_rounded_up_to_a_thousandth() -> None:
    spec = pod_spec("spec: {containers: [{name: a, image: x, resources: {requests: {cpu: 100u}}}]}")
    assert spec["containers"][0]["resources"]["requests"]["cpu"] == "1m"


def test_a_template_does_not_get_requests_from_limits() -> None:
    limits = {"containers": [{"name": "a", "image": "x", "resources": {"limits": {"cpu": "1"}}}]}
    deployment = workload("apps/v1", "Deployment", {"template": {"spec": limits}})
    assert deployment["spec"]["template"]["spec"]["containers"][0]["resources"] == {"limits": {"cpu": "1"}}
    assert "enableServiceLinks" not in deployment["spec"]["template"]["spec"]


def test_probes_and_hooks() -> None:
    spec = pod_spec(
        """
        spec:
          containers:
          - name: a
            image: x
            livenessProbe: {httpGet: {port: 80}}
            readinessProbe: {grpc: {port: 9}, periodSeconds: 3}
            lifecycle: {preStop: {httpGet: {port: 80, scheme: HTTPS}}}
        """
    )
    container = spec["containers"][0]
    assert container["livenessProbe"] == {
        "httpGet": {"path": "/", "port": 80, "scheme": "HTTP"},
        "timeoutSeconds": 1,
        "periodSeconds": 10,
        "successThreshold": 1,
        "failureThreshold": 3,
    }
    assert container["readinessProbe"]["grpc"] == {"port": 9, "service": ""}
    assert container["readinessProbe"]["periodSeconds"] == 3
    assert container["lifecycle"]["preStop"]["httpGet"] == {"path": "/", "port": 80, "scheme": "HTTPS"}


def test_volumes() -> None:
    spec = pod_spec(
        """
        spec:
          volumes:
          - {name: none}
          - {name: empty, emptyDir: {}}
          - {name: config, configMap: {name: c}}
          - {name: secret, secret: {secretName: s, defaultMode: 256}}
          - {name: host, hostPath: {path: /x}}
          - {name: down, downwardAPI: {items: [{path: n, fieldRef: {fieldPath: metadata.name}}]}}
          - {name: all, projected: {sources: [{serviceAccountToken: {path: token}}]}}
          - {name: claim, ephemeral: {volumeClaimTemplate: {spec: {accessModes: [ReadWriteOnce]}}}}
          - {name: image, image: {reference: "x:1"}}
        """
    )
    volumes = {v.pop("name"): v for v in spec["volumes"]}
    assert volumes["none"] == volumes["empty"] == {"emptyDir": {}}
    assert volumes["config"] == {"configMap": {"name": "c", "defaultMode": 420}}
    assert volumes["secret"] == {"secret": {"secretName": "s", "defaultMode": 256}}
    assert volumes["host"] == {"hostPath": {"path": "/x", "type": ""}}
    assert volumes["down"]["downwardAPI"]["items"][0]["fieldRef"] == {"apiVersion": "v1", "fieldPath": "metadata.name"}
    assert volumes["all"]["projected"]["sources"][0]["serviceAccountToken"]["expirationSeconds"] == 3600
    assert volumes["claim"]["ephemeral"]["volumeClaimTemplate"]["spec"]["volumeMode"] == "Filesystem"
    assert volumes["image"]["image"]["pullPolicy"] == "IfNotPresent"


def test_host_network_ports() -> None:
    spec = pod_spec("spec: {hostNetwork: true, containers: [{name: a, image: x, ports: [{containerPort: 80}]}]}")
    assert spec["containers"][0]["ports"] == [{"containerPort": 80, "hostPort": 80, "protocol": "TCP"}]


def test_the_deprecated_service_account_is_the_same_field() -> None:
    spec = pod_spec("spec: {serviceAccount: robot}")
    assert spec["serviceAccountName"] == spec["serviceAccount"] == "robot"


def test_pod_level_requests_follow_from_containers_and_limits() -> None:
    spec = pod_spec(
        """
        spec:
          resources: {limits: {cpu: "2", memory: 1Gi}}
          containers: [{name: a, image: x, resources: {requests: {cpu: 100m}}}]
        """
    )
    assert spec["resources"]["requests"] == {"cpu": "100m", "memory": "1Gi"}


def test_a_pods_addresses_agree() -> None:
    pod = shown(make(POD, "status: {podIP: 10.0.0.1, hostIP: 1.2.3.4}"))
    assert pod["status"]["podIPs"] == [{"ip": "10.0.0.1"}]
    assert pod["status"]["hostIPs"] == [{"ip": "1.2.3.4"}]


@pytest.mark.parametrize(
    ("resources", "qos"),
    [
        ("{}", "BestEffort"),
        ("{requests: {cpu: 1}}", "Burstable"),
        ("{limits: {cpu: 1, memory: 1Gi}}", "Guaranteed"),
        ("{limits: {cpu: 1, memory: 1Gi}, requests: {cpu: 500m}}", "Burstable"),
        ("{limits: {cpu: 1000m, memory: 1Gi}, requests: {cpu: '1', memory: 1024Mi}}", "Guaranteed"),
        ("{limits: {ephemeral-storage: 1Gi}}", "BestEffort"),
        ("{limits: {memory: 1Gi}}", "Burstable"),
    ],
)
def test_qos_class(resources: str, qos: str) -> None:
    pod = created(POD, f"spec: {{containers: [{{name: a, image: x, resources: {resources}}}]}}")
    assert pod.status.qos_class == qos


def test_gated_pods_say_so() -> None:
    pod = created(POD, "spec: {schedulingGates: [{name: example.com/wait}]}")
    condition = pod.status.conditions[0]
    assert (condition.type, condition.status, condition.reason) == ("PodScheduled", "False", "SchedulingGated")


def test_match_label_keys_become_part_of_the_selector() -> None:
    pod = created(
        POD,
        """
        metadata: {labels: {app: web, version: "2"}}
        spec:
          topologySpreadConstraints:
          - {maxSkew: 1, topologyKey: zone, whenUnsatisfiable: DoNotSchedule, matchLabelKeys: [version, missing],
             labelSelector: {matchLabels: {app: web}}}
        """,
    )
    selector = shown(pod)["spec"]["topologySpreadConstraints"][0]["labelSelector"]
    assert selector["matchExpressions"] == [{"key": "version", "operator": "In", "values": ["2"]}]


SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: web, namespace: default}
spec:
  ports: [{port: 80}]
"""


def test_a_service() -> None:
    assert shown(make(SERVICE))["spec"] == {
        "internalTrafficPolicy": "Cluster",
        "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}],
        "sessionAffinity": "None",
        "type": "ClusterIP",
    }


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("spec: {type: NodePort}", {"externalTrafficPolicy": "Cluster"}),
        ("spec: {externalIPs: [1.2.3.4]}", {"externalTrafficPolicy": "Cluster"}),
        ("spec: {type: LoadBalancer}", {"externalTrafficPolicy": "Cluster", "allocateLoadBalancerNodePorts": True}),
        ("spec: {sessionAffinity: ClientIP}", {"sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 10800}}}),
        ("spec: {ports: [{port: 80, targetPort: http}]}", {"ports": [
            {"port": 80, "protocol": "TCP", "targetPort": "http"}]}),
        ("spec: {type: ExternalName, externalName: a.b}", {"internalTrafficPolicy": None}),
    ],
)  # fmt: skip
def test_service_types(change: str, expected: dict[str, Any]) -> None:
    spec = shown(make(SERVICE, change))["spec"]
    assert {key: spec.get(key) for key in expected} == expected


def test_a_deployment() -> None:
    spec = workload("apps/v1", "Deployment", {})["spec"]
    assert spec["replicas"] == 1
    assert spec["revisionHistoryLimit"] == 10
    assert spec["progressDeadlineSeconds"] == 600
    assert spec["strategy"] == {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"},
    }
    assert spec["template"]["spec"]["restartPolicy"] == "Always"
    recreate = workload("apps/v1", "Deployment", {"strategy": {"type": "Recreate"}})
    assert recreate["spec"]["strategy"] == {"type": "Recreate"}


def test_a_stateful_set_and_a_daemon_set() -> None:
    claim = {"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"]}}
    spec = workload("apps/v1", "StatefulSet", {"serviceName": "web", "volumeClaimTemplates": [claim]})["spec"]
    assert spec["podManagementPolicy"] == "OrderedReady"
    assert spec["updateStrategy"] == {
        "type": "RollingUpdate",
        "rollingUpdate": {"partition": 0, "maxUnavailable": 1},
    }
    assert spec["persistentVolumeClaimRetentionPolicy"] == {"whenDeleted": "Retain", "whenScaled": "Retain"}
    assert spec["volumeClaimTemplates"][0]["spec"]["volumeMode"] == "Filesystem"
    assert spec["volumeClaimTemplates"][0]["kind"] == "PersistentVolumeClaim"
    daemons = workload("apps/v1", "DaemonSet", {})["spec"]
    assert daemons["updateStrategy"] == {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0},
    }


def test_a_job_gets_its_selector() -> None:
    template = {"spec": {"restartPolicy": "Never", "containers": [{"name": "a", "image": "x"}]}}
    metadata = {"name": "once", "namespace": "default", "uid": "u-1"}
    job = shown(
        created({"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": {"template": template}})
    )
    spec = job["spec"]
    assert (spec["completions"], spec["parallelism"], spec["backoffLimit"]) == (1, 1, 6)
    assert (spec["completionMode"], spec["suspend"], spec["podReplacementPolicy"]) == (
        "NonIndexed",
        False,
        "TerminatingOrFailed",
    )
    assert spec["selector"] == {"matchLabels": {"batch.kubernetes.io/controller-uid": "u-1"}}
    assert spec["template"]["metadata"]["labels"] == {
        "batch.kubernetes.io/controller-uid": "u-1",
        "batch.kubernetes.io/job-name": "once",
        "controller-uid": "u-1",
        "job-name": "once",
    }


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team"}},
            {
                "metadata": {"name": "team", "labels": {"kubernetes.io/metadata.name": "team"}},
                "spec": {"finalizers": ["kubernetes"]},
                "status": {"phase": "Active"},
            },
        ),
        (
            {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": {"a": "MQ=="},
             "stringData": {"a": "two", "b": "x"}},
            {"type": "Opaque", "data": {"a": "dHdv", "b": "eA=="}},
        ),
        (
            {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "n"},
             "spec": {"podSelector": {}, "ingress": [{"ports": [{"port": 80}]}]}},
            {"spec": {"podSelector": {}, "ingress": [{"ports": [{"port": 80, "protocol": "TCP"}]}],
                      "policyTypes": ["Ingress"]}},
        ),
        (
            {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": "p"}, "value": 3},
            {"preemptionPolicy": "PreemptLowerPriority", "value": 3},
        ),
        (
            {"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": "s"}, "provisioner": "x/y"},
            {"reclaimPolicy": "Delete", "volumeBindingMode": "Immediate"},
        ),
        (
            {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "b"},
             "roleRef": {"kind": "Role", "name": "r"}, "subjects": [{"kind": "User", "name": "u"}]},
            {"roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"},
             "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "u"}]},
        ),
        (
            {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "c"},
             "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1024Mi"}}}},
            {"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}},
                      "volumeMode": "Filesystem"}, "status": {"phase": "Pending"}},
        ),
        (
            {"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "l"},
             "spec": {"limits": [{"type": "Container", "max": {"cpu": "2"}, "min": {"memory": "1Mi"}}]}},
            {"spec": {"limits": [{"type": "Container", "max": {"cpu": "2"}, "min": {"memory": "1Mi"},
                                  "default": {"cpu": "2"}, "defaultRequest": {"cpu": "2", "memory": "1Mi"}}]}},
        ),
        (
            {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "c"},
             "spec": {"schedule": "* * * * *", "jobTemplate": {"spec": {"template": {"spec": {"containers": []}}}}}},
            {"spec": {"concurrencyPolicy": "Allow", "suspend": False, "successfulJobsHistoryLimit": 3,
                      "failedJobsHistoryLimit": 1}},
        ),
        (
            {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "h"},
             "spec": {"maxReplicas": 3, "scaleTargetRef": {"kind": "Deployment", "name": "web"}, "behavior": {}}},
            {"spec": {"minReplicas": 1, "maxReplicas": 3, "metrics": [{"type": "Resource", "resource": {
                "name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}}]}},
        ),
    ],
)  # fmt: skip
def test_other_kinds(document: dict[str, Any], expected: dict[str, Any]) -> None:
    found = shown(created(document))

    def check(expected: Any, found: Any, where: str) -> None:
        if isinstance(expected, dict):
            for key, value in expected.items():
                check(value, found.get(key), f"{where}.{key}")
        else:
            assert found == expected, where

    check(expected, found, "")


@pytest.mark.parametrize("resource", [r for r in RESOURCES if "create" in r.verbs], ids=lambda r: r.group_resource)
def test_every_kind_survives_defaulting_twice(resource: Any) -> None:
    strategy = STRATEGIES[resource]
    obj = resource.type()
    if resource.group_resource in ("events.events.k8s.io",) or (
        resource.version == "v1" and resource.group == "autoscaling"
    ):
        return  # stored as another type
    strategy.default(obj)
    once = codec.encode(obj)
    strategy.default(obj)
    assert codec.encode(obj) == once
    cells = strategy.cells(obj)
    assert len(cells) == len(strategy.columns)


def test_projections_behind_gates_that_are_off_are_dropped() -> None:
    pod = created(
        """
        apiVersion: v1
        kind: Pod
        metadata: {name: p, namespace: default}
        spec:
          containers: [{name: c, image: x}]
          volumes:
          - name: v
            projected:
              sources:
              - clusterTrustBundle: {name: b, path: ca.pem}
              - podCertificate: {signerName: a.example/b, keyType: ED25519, credentialBundlePath: c.pem}
              - configMap: {name: m}
        """
    )
    sources = shown(pod)["spec"]["volumes"][0]["projected"]["sources"]
    assert sources == [{}, {}, {"configMap": {"name": "m"}}]
