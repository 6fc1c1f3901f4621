"""Rows as real kubectl shows them."""

# ruff: noqa: E501 (messages and documents in tables are easier to compare unbroken)
from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

import pytest
import yaml

from apiserver.printers import human_duration
from tests.unit.apiserver.building import make, strategy_of


def ago(seconds: float) -> str:
    return datetime.fromtimestamp(time.time() - seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def row(document: str | dict[str, Any], wide: bool = False) -> dict[str, Any]:
    """Cells by column, those of `-o wide` only if asked for."""
    obj = make(document)
    strategy = strategy_of(obj)
    cells = strategy.cells(obj)
    assert len(cells) == len(strategy.columns)
    return {c.name: cell for c, cell in zip(strategy.columns, cells, strict=True) if wide or not c.priority}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-2, "<invalid>"), (-0.5, "0s"), (0, "0s"), (119, "119s"), (120, "2m"), (125, "2m5s"), (599, "9m59s"),
        (600, "10m"), (3 * 3600 - 1, "179m"), (3 * 3600, "3h"), (3 * 3600 + 60, "3h1m"), (8 * 3600, "8h"),
        (47 * 3600, "47h"), (48 * 3600, "2d"), (50 * 3600, "2d2h"), (8 * 86400, "8d"), (2 * 365 * 86400 - 1, "729d"),
        (2 * 365 * 86400, "2y"), (3 * 365 * 86400 + 86400, "3y1d"), (9 * 365 * 86400, "9y"),
    ],
)  # fmt: skip
def test_durations(seconds: float, text: str) -> None:
    assert human_duration(seconds) == text


def pod(status: str, spec: str = "containers: [{name: a, image: x}]", meta: str = "") -> dict[str, Any]:
    return row(f"""
apiVersion: v1
kind: Pod
metadata: {{name: web, namespace: default, {meta}}}
spec: {{{spec}}}
status: {{{status}}}
""")


TWO = "containers: [{name: a, image: x}, {name: b, image: y}]"
INIT = "initContainers: [{name: i, image: x}, {name: j, image: x}], containers: [{name: a, image: x}]"
SIDE = "initContainers: [{name: s, image: x, restartPolicy: Always}], containers: [{name: a, image: x}]"


@pytest.mark.parametrize(
    ("status", "spec", "ready", "shown"),
    [
        ("phase: Pending", TWO, "0/2", "Pending"),
        ("phase: Pending, conditions: [{type: PodScheduled, status: 'False', reason: SchedulingGated}]", TWO, "0/2",
         "SchedulingGated"),
        ("phase: Pending, containerStatuses: [{name: a, state: {waiting: {reason: ContainerCreating}}}]", TWO, "0/2",
         "ContainerCreating"),
        ("phase: Running, containerStatuses: [{name: a, ready: true, state: {running: {}}}]", TWO, "1/2", "Running"),
        ("phase: Running, containerStatuses: [{name: a, state: {waiting: {reason: CrashLoopBackOff}}}, "
         "{name: b, ready: true, state: {running: {}}}]", TWO, "1/2", "CrashLoopBackOff"),
        ("phase: Pending, containerStatuses: [{name: a, state: {waiting: {reason: ImagePullBackOff}}}]", TWO, "0/2",
         "ImagePullBackOff"),
        ("phase: Succeeded, containerStatuses: [{name: a, state: {terminated: {exitCode: 0, reason: Completed}}}]",
         TWO, "0/2", "Completed"),
        ("phase: Failed, containerStatuses: [{name: a, state: {terminated: {exitCode: 137, reason: OOMKilled}}}]", TWO,
         "0/2", "OOMKilled"),
        ("phase: Failed, containerStatuses: [{name: a, state: {terminated: {exitCode: 3}}}]", TWO, "0/2", "ExitCode:3"),
        ("phase: Failed, containerStatuses: [{name: a, state: {terminated: {exitCode: 1, signal: 9}}}]", TWO, "0/2",
         "Signal:9"),
        ("phase: Failed, reason: Evicted", TWO, "0/2", "Evicted"),
        ("phase: Running, conditions: [{type: Ready, status: 'True'}], containerStatuses: [{name: a, state: "
         "{terminated: {exitCode: 0, reason: Completed}}}, {name: b, ready: true, state: {running: {}}}]", TWO, "1/2",
         "Running"),
        ("phase: Running, containerStatuses: [{name: a, state: {terminated: {exitCode: 0, reason: Completed}}}, "
         "{name: b, ready: true, state: {running: {}}}]", TWO, "1/2", "NotReady"),
        ("phase: Pending, initContainerStatuses: [{name: i, state: {running: {}}}, {name: j, state: {waiting: "
         "{reason: PodInitializing}}}]", INIT, "0/1", "Init:0/2"),
        ("phase: Pending, initContainerStatuses: [{name: i, state: {terminated: {exitCode: 0}}}, {name: j, state: "
         "{running: {}}}]", INIT, "0/1", "Init:1/2"),
        ("phase: Pending, initContainerStatuses: [{name: i, state: {waiting: {reason: CrashLoopBackOff}}}]", INIT,
         "0/1", "Init:CrashLoopBackOff"),
        ("phase: Pending, initContainerStatuses: [{name: i, state: {terminated: {exitCode: 1, reason: Error}}}]", INIT,
         "0/1", "Init:Error"),
        ("phase: Running, initContainerStatuses: [{name: s, started: true, ready: true, state: {running: {}}}], "
         "containerStatuses: [{name: a, ready: true, state: {running: {}}}]", SIDE, "2/2", "Running"),
    ],
)  # fmt: skip
def test_pod_status(status: str, spec: str, ready: str, shown: str) -> None:
    found = pod(status, spec)
    assert (found["Ready"], found["Status"]) == (ready, shown)


def test_pods_that_are_going() -> None:
    going = "deletionTimestamp: '2026-01-01T00:00:00Z'"
    assert pod("phase: Running", meta=going)["Status"] == "Terminating"
    assert pod("phase: Running, reason: NodeLost", meta=going)["Status"] == "Unknown"
    done = "phase: Succeeded, containerStatuses: [{name: a, state: {terminated: {exitCode: 0, reason: Completed}}}]"
    assert pod(done, meta=going)["Status"] == "Completed"


def test_restarts_say_when_the_last_one_was() -> None:
    status = f"""phase: Running, containerStatuses: [
        {{name: a, restartCount: 2, ready: true, state: {{running: {{}}}},
          lastState: {{terminated: {{exitCode: 1, finishedAt: '{ago(150)}'}}}}}}]"""
    assert pod(status)["Restarts"] == "2 (2m30s ago)"
    assert (
        pod("phase: Running, containerStatuses: [{name: a, restartCount: 2, state: {running: {}}}]")["Restarts"] == "2"
    )
    assert pod("phase: Running")["Restarts"] == "0"


def test_wide_pods() -> None:
    text = """
apiVersion: v1
kind: Pod
metadata: {name: web}
spec: {nodeName: n1, readinessGates: [{conditionType: a/b}, {conditionType: c/d}], containers: [{name: a, image: x}]}
status: {podIPs: [{ip: 10.0.0.1}], conditions: [{type: a/b, status: 'True'}]}
"""
    found = row(text, wide=True)
    assert (found["IP"], found["Node"], found["Nominated Node"], found["Readiness Gates"]) == (
        "10.0.0.1", "n1", "<none>", "1/2"
    )  # fmt: skip
    assert set(row(text)) == {"Name", "Ready", "Status", "Restarts", "Age"}


TEMPLATE = "{metadata: {labels: {app: web}}, spec: {containers: [{name: a, image: 'x:1'}, {name: b, image: 'y:2'}]}}"
ROWS: list[tuple[str, dict[str, Any]]] = [
    ("{apiVersion: v1, kind: Node, metadata: {name: n1, labels: {node-role.kubernetes.io/worker: '', "
     "kubernetes.io/role: gpu}}, spec: {unschedulable: true}, status: {conditions: [{type: Ready, status: 'False'}], "
     "addresses: [{type: InternalIP, address: 1.2.3.4}], nodeInfo: {kubeletVersion: v1.36.0}}}",
     {"Status": "NotReady,SchedulingDisabled", "Roles": "gpu,worker", "Version": "v1.36.0", "Internal-IP": "1.2.3.4",
      "External-IP": "<none>", "OS-Image": "<unknown>"}),
    ("{apiVersion: v1, kind: Node, metadata: {name: n1}}", {"Status": "Unknown", "Roles": "<none>"}),
    ("{apiVersion: v1, kind: Service, metadata: {name: s}, spec: {type: NodePort, clusterIPs: [10.96.0.5], "
     "selector: {b: c, a: d}, ports: [{port: 80, nodePort: 30080}, {port: 53, protocol: UDP}]}}",
     {"Type": "NodePort", "Cluster-IP": "10.96.0.5", "External-IP": "<none>", "Port(s)": "80:30080/TCP,53/UDP",
      "Selector": "a=d,b=c"}),
    ("{apiVersion: v1, kind: Service, metadata: {name: s}, spec: {type: LoadBalancer}}",
     {"External-IP": "<pending>", "Port(s)": "<none>", "Selector": "<none>", "Cluster-IP": "<none>"}),
    ("{apiVersion: v1, kind: Service, metadata: {name: s}, spec: {type: LoadBalancer}, status: {loadBalancer: {ingress: "
     "[{ip: 1.1.1.1}, {hostname: lb.example.com}]}}}", {"External-IP": "1.1.1.1,lb.example.com"}),
    ("{apiVersion: v1, kind: Service, metadata: {name: s}, spec: {type: ExternalName, externalName: a.b}}",
     {"External-IP": "a.b"}),
    (f"{{apiVersion: apps/v1, kind: Deployment, metadata: {{name: d}}, spec: {{replicas: 3, selector: {{matchLabels: "
     f"{{app: web}}}}, template: {TEMPLATE}}}, status: {{readyReplicas: 2, updatedReplicas: 1, availableReplicas: 2}}}}",
     {"Ready": "2/3", "Up-to-date": 1, "Available": 2, "Containers": "a,b", "Images": "x:1,y:2",
      "Selector": "app=web"}),
    (f"{{apiVersion: apps/v1, kind: ReplicaSet, metadata: {{name: d}}, spec: {{replicas: 3, template: {TEMPLATE}}}, "
     "status: {replicas: 2, readyReplicas: 1}}", {"Desired": 3, "Current": 2, "Ready": 1}),
    (f"{{apiVersion: apps/v1, kind: StatefulSet, metadata: {{name: d}}, spec: {{template: {TEMPLATE}}}}}",
     {"Ready": "0/1"}),
    (f"{{apiVersion: apps/v1, kind: DaemonSet, metadata: {{name: d}}, spec: {{template: {TEMPLATE}}}, status: "
     "{desiredNumberScheduled: 3, currentNumberScheduled: 2, numberReady: 1}}",
     {"Desired": 3, "Current": 2, "Ready": 1, "Up-to-date": 0, "Available": 0, "Node Selector": "<none>"}),
    ("{apiVersion: apps/v1, kind: ControllerRevision, metadata: {name: r, ownerReferences: [{apiVersion: apps/v1, "
     "kind: StatefulSet, name: web, uid: u, controller: true}]}, revision: 3}",
     {"Controller": "statefulset.apps/web", "Revision": 3}),
    (f"{{apiVersion: batch/v1, kind: Job, metadata: {{name: j}}, spec: {{completions: 3, template: {TEMPLATE}}}, status: "
     "{succeeded: 1, startTime: '2026-01-01T00:00:00Z', completionTime: '2026-01-01T00:01:05Z', "
     "conditions: [{type: Complete, status: 'True'}]}}",
     {"Status": "Complete", "Completions": "1/3", "Duration": "65s"}),
    (f"{{apiVersion: batch/v1, kind: CronJob, metadata: {{name: c}}, spec: {{schedule: '@daily', jobTemplate: {{spec: "
     f"{{template: {TEMPLATE}}}}}}}}}",
     {"Schedule": "@daily", "Timezone": "<none>", "Suspend": "False", "Active": 0, "Last Schedule": "<none>"}),
    ("{apiVersion: v1, kind: Endpoints, metadata: {name: e}, subsets: [{addresses: [{ip: 10.0.0.1}, {ip: 10.0.0.2}], "
     "ports: [{port: 80}, {port: 443}]}]}", {"Endpoints": "10.0.0.1:80,10.0.0.2:80,10.0.0.1:443 + 1 more..."}),
    ("{apiVersion: v1, kind: Endpoints, metadata: {name: e}}", {"Endpoints": "<none>"}),
    ("{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: e}, addressType: IPv4, endpoints: "
     "[{addresses: [10.0.0.1]}]}", {"Ports": "<unset>", "Endpoints": "10.0.0.1"}),
    ("{apiVersion: v1, kind: ConfigMap, metadata: {name: c}, data: {a: b}, binaryData: {c: eA==}}", {"Data": 2}),
    ("{apiVersion: v1, kind: Secret, metadata: {name: c}, stringData: {a: b}}", {"Type": "Opaque", "Data": 1}),
    ("{apiVersion: v1, kind: ServiceAccount, metadata: {name: c}}", {"Secrets": 0}),
    ("{apiVersion: v1, kind: Namespace, metadata: {name: c}}", {"Status": "Active"}),
    ("{apiVersion: v1, kind: Event, metadata: {name: e}, type: Warning, reason: Failed, message: ' no ', "
     "involvedObject: {kind: Pod, name: web}, source: {component: kubelet, host: n1}, count: 3}",
     {"Last Seen": "<unknown>", "Type": "Warning", "Object": "pod/web", "Message": "no", "Source": "kubelet, n1",
      "Count": 3}),
    ("{apiVersion: v1, kind: PersistentVolume, metadata: {name: v}, spec: {capacity: {storage: 1Gi}, accessModes: "
     "[ReadWriteMany, ReadWriteOnce], claimRef: {namespace: a, name: b}, storageClassName: fast}, status: {phase: Bound}}",
     {"Capacity": "1Gi", "Access Modes": "RWO,RWX", "Reclaim Policy": "Retain", "Status": "Bound", "Claim": "a/b",
      "StorageClass": "fast", "VolumeAttributesClass": "<unset>", "VolumeMode": "Filesystem"}),
    ("{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: v}, spec: {volumeName: pv1}, status: {phase: Bound, "
     "capacity: {storage: 2Gi}, accessModes: [ReadWriteOnce]}}",
     {"Status": "Bound", "Volume": "pv1", "Capacity": "2Gi", "Access Modes": "RWO", "StorageClass": ""}),
    ("{apiVersion: v1, kind: ResourceQuota, metadata: {name: q}, status: {hard: {pods: 4, limits.cpu: 2}, used: {pods: 1}}}",
     {"Request": "pods: 1/4", "Limit": "limits.cpu: 0/2"}),
    ("{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {name: i}, spec: {tls: [{}], rules: [{host: a.b}]}}",
     {"Class": "<none>", "Hosts": "a.b", "Address": "", "Ports": "80, 443"}),
    ("{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: n}, spec: {podSelector: {matchLabels: "
     "{a: b}}}}", {"Pod-Selector": "a=b"}),
    ("{apiVersion: networking.k8s.io/v1, kind: IPAddress, metadata: {name: 10.96.0.1}, spec: {parentRef: {resource: "
     "services, namespace: default, name: kubernetes}}}", {"ParentRef": "services/default/kubernetes"}),
    ("{apiVersion: policy/v1, kind: PodDisruptionBudget, metadata: {name: p}, spec: {minAvailable: 50%}}",
     {"Min Available": "50%", "Max Unavailable": "N/A", "Allowed Disruptions": 0}),
    ("{apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler, metadata: {name: h}, spec: {maxReplicas: 5, "
     "scaleTargetRef: {kind: Deployment, name: web}}}",
     {"Reference": "Deployment/web", "Targets": "cpu: <unknown>/80%", "MinPods": "1", "MaxPods": 5, "Replicas": 0}),
    ("{apiVersion: storage.k8s.io/v1, kind: StorageClass, metadata: {name: s, annotations: "
     "{storageclass.kubernetes.io/is-default-class: 'true'}}, provisioner: x/y}",
     {"Name": "s (default)", "AllowVolumeExpansion": False, "VolumeBindingMode": "Immediate"}),
    ("{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: b}, roleRef: {kind: Role, name: r}, "
     "subjects: [{kind: User, name: u}, {kind: ServiceAccount, name: s, namespace: n}]}",
     {"Role": "Role/r", "Users": "u", "Groups": "", "ServiceAccounts": "n/s"}),
    ("{apiVersion: coordination.k8s.io/v1, kind: Lease, metadata: {name: l}, spec: {holderIdentity: me}}",
     {"Holder": "me"}),
    ("{apiVersion: certificates.k8s.io/v1, kind: CertificateSigningRequest, metadata: {name: c}, spec: {signerName: a.b/c, "
     "username: jane, expirationSeconds: 3600}, status: {certificate: eA==, conditions: [{type: Approved}]}}",
     {"SignerName": "a.b/c", "Requestor": "jane", "RequestedDuration": "60m", "Condition": "Approved,Issued"}),
    ("{apiVersion: scheduling.k8s.io/v1, kind: PriorityClass, metadata: {name: p}, value: 7}",
     {"Value": 7, "Global-Default": False, "PreemptionPolicy": "PreemptLowerPriority"}),
]  # fmt: skip


@pytest.mark.parametrize(("document", "expected"), ROWS, ids=lambda v: "" if isinstance(v, dict) else v[14:60])
def test_rows(document: str, expected: dict[str, Any]) -> None:
    found = row(yaml.safe_load(document), wide=True)
    assert {name: found[name] for name in expected} == expected


def test_ages() -> None:
    document = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n", "creationTimestamp": ago(7200)}}
    assert row(document)["Age"] == "120m"
    assert row({**document, "metadata": {"name": "n"}})["Age"] == "<unknown>"


def test_kinds_without_printers_say_when_they_were_made() -> None:
    created = "2026-01-01T00:00:00Z"
    for api_version, kind in (("v1", "LimitRange"), ("rbac.authorization.k8s.io/v1", "ClusterRole")):
        metadata = {"name": "n", "creationTimestamp": created}
        found = row({"apiVersion": api_version, "kind": kind, "metadata": metadata})
        assert found == {"Name": "n", "Created At": created}
