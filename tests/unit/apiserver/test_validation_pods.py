"""What is refused of pods and pod templates, in upstream's words and at upstream's paths."""

# ruff: noqa: E501 (messages and documents in tables are easier to compare unbroken)
from __future__ import annotations

import pytest

from tests.unit.apiserver.building import context as context_of
from tests.unit.apiserver.building import create_errors, created, make, status_errors, strategy_of, update_errors

POD = """
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: default, labels: {app: web}}
spec:
  volumes: [{name: data, emptyDir: {}}]
  containers:
  - name: app
    image: nginx
    ports: [{name: http, containerPort: 80}]
    env: [{name: A, value: b}]
    volumeMounts: [{name: data, mountPath: /data}]
"""
LABEL = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with "
    "an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
C = "spec.containers[0]"


def container(fields: str) -> str:
    return f"spec: {{containers: [{{name: app, image: nginx, {fields}}}]}}"


def test_a_good_pod_is_good() -> None:
    assert create_errors(POD) == []


CASES = {
    "spec: {containers: []}": ["spec.containers: Required value"],
    "spec: {containers: [{name: app}]}": [f"{C}.image: Required value"],
    "spec: {containers: [{image: x}]}": [f"{C}.name: Required value"],
    "spec: {containers: [{name: My_App, image: x}]}": [f'{C}.name: Invalid value: "My_App": {LABEL}'],
    "spec: {containers: [{name: a, image: x}, {name: a, image: y}]}": ['spec.containers[1].name: Duplicate value: "a"'],
    "spec: {containers: [{name: a, image: ' x'}]}": [
        f'{C}.image: Invalid value: " x": must not have leading or trailing whitespace'
    ],
    "spec: {initContainers: [{name: app, image: x}]}": ['spec.initContainers[0].name: Duplicate value: "app"'],
    "spec: {initContainers: [{name: i, image: x, livenessProbe: {tcpSocket: {port: 1}}}]}": [
        "spec.initContainers[0].livenessProbe: Forbidden: "
        "may not be set for init containers without restartPolicy=Always"
    ],
    "spec: {initContainers: [{name: i, image: x, restartPolicy: Always, livenessProbe: {tcpSocket: {port: 1}}}]}": [],
    "spec: {restartPolicy: Sometimes}": [
        'spec.restartPolicy: Unsupported value: "Sometimes": supported values: "Always", "OnFailure", "Never"'
    ],
    "spec: {dnsPolicy: Any}": [
        'spec.dnsPolicy: Unsupported value: "Any": supported values: "ClusterFirstWithHostNet", "ClusterFirst", '
        '"Default", "None"'
    ],
    "spec: {dnsPolicy: None}": ["spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None"],
    "spec: {ephemeralContainers: [{name: debug, image: x}]}": [
        "spec.ephemeralContainers: Forbidden: cannot be set on create"
    ],
    "spec: {activeDeadlineSeconds: 0}": [
        "spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive"
    ],
    "spec: {hostname: a.b}": ['spec.hostname: Invalid value: "a.b": must not contain dots'],
    "spec: {nodeSelector: {'bad key': x}}": [
        "spec.nodeSelector: Invalid value: \"bad key\": name part must consist of alphanumeric characters, '-', '_' or "
        "'.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', "
        "regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
    ],
    "spec: {schedulingGates: [{name: a/b}], nodeName: n1}": [
        "spec.nodeName: Forbidden: cannot be set until all schedulingGates have been cleared"
    ],
    "spec: {hostAliases: [{ip: nope}]}": [
        'spec.hostAliases[0].ip: Invalid value: "nope": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)'
    ],
    "spec: {securityContext: {runAsUser: -1}}": [
        "spec.securityContext.runAsUser: Invalid value: -1: must be between 0 and 2147483647, inclusive"
    ],
    "spec: {shareProcessNamespace: true, hostPID: true}": [
        "spec.securityContext.shareProcessNamespace: Invalid value: true: "
        "ShareProcessNamespace and HostPID cannot both be enabled"
    ],
    # ports
    container("ports: [{containerPort: 0}]"): [f"{C}.ports[0].containerPort: Required value"],
    container("ports: [{containerPort: 99999}]"): [
        f"{C}.ports[0].containerPort: Invalid value: 99999: must be between 1 and 65535, inclusive"
    ],
    container("ports: [{containerPort: 1, protocol: tcp}]"): [
        f'{C}.ports[0].protocol: Unsupported value: "tcp": supported values: "SCTP", "TCP", "UDP"'
    ],
    container("ports: [{containerPort: 1, name: UP}]"): [
        f'{C}.ports[0].name: Invalid value: "UP": '
        "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)",
        f'{C}.ports[0].name: Invalid value: "UP": must contain at least one letter (a-z)',
    ],
    container("ports: [{containerPort: 1, name: a}, {containerPort: 2, name: a}]"): [
        f'{C}.ports[1].name: Duplicate value: "a"'
    ],
    container("ports: [{containerPort: 1, hostPort: 8}, {containerPort: 2, hostPort: 8}]"): [
        f'{C}.ports[1].hostPort: Duplicate value: "TCP//8"'
    ],
    "spec: {hostNetwork: true, containers: [{name: a, image: x, ports: [{containerPort: 1, hostPort: 2}]}]}": [
        f"{C}.ports[0].containerPort: Invalid value: 1: must match `hostPort` when `hostNetwork` is true"
    ],
    # environment
    container("env: [{name: ''}]"): [f"{C}.env[0].name: Required value"],
    container("env: [{name: 'a=b'}]"): [
        f'{C}.env[0].name: Invalid value: "a=b": a valid environment variable name must consist only of printable '
        "ASCII characters other than '='"
    ],
    container("env: [{name: A, value: b, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]"): [
        f'{C}.env[0].valueFrom: Invalid value: "": may not be specified when `value` is not empty'
    ],
    container("env: [{name: A, valueFrom: {fieldRef: {fieldPath: metadata.labels}}}]"): [
        f'{C}.env[0].valueFrom.fieldRef.fieldPath: Unsupported value: "metadata.labels": supported values: '
        '"metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName", '
        '"status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs"'
    ],
    container("env: [{name: A, valueFrom: {fieldRef: {fieldPath: \"metadata.labels['app']\"}}}]"): [],
    container("env: [{name: A, valueFrom: {fieldRef: {fieldPath: spec.nope}}}]"): [
        f'{C}.env[0].valueFrom.fieldRef.fieldPath: Invalid value: "spec.nope": '
        "error converting fieldPath: field label not supported: spec.nope"
    ],
    container("env: [{name: A, valueFrom: {resourceFieldRef: {resource: limits.gpu}}}]"): [
        f'{C}.env[0].valueFrom.resourceFieldRef.resource: Unsupported value: "limits.gpu": supported values: '
        '"limits.cpu", "limits.ephemeral-storage", "limits.memory", "requests.cpu", "requests.ephemeral-storage", '
        '"requests.memory"'
    ],
    container("env: [{name: A, valueFrom: {secretKeyRef: {name: s, key: 'a b'}}}]"): [
        f'{C}.env[0].valueFrom.secretKeyRef.key: Invalid value: "a b": a valid config key must consist of '
        "alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for "
        "validation is '[-._a-zA-Z0-9]+')"
    ],
    container("envFrom: [{prefix: x}]"): [
        f'{C}.envFrom: Invalid value: "": must specify one of: `configMapRef` or `secretRef`'
    ],
    # resources
    container("resources: {limits: {cpu: 1}, requests: {cpu: 2}}"): [
        f'{C}.resources.requests: Invalid value: "2": must be less than or equal to cpu limit of 1'
    ],
    container("resources: {requests: {cpu: -1}}"): [
        f'{C}.resources.requests[cpu]: Invalid value: "-1": must be greater than or equal to 0'
    ],
    container("resources: {requests: {tape: 1}}"): [
        f'{C}.resources.requests[tape]: Invalid value: "tape": must be a standard resource type or fully qualified',
        f'{C}.resources.requests[tape]: Invalid value: "tape": must be a standard resource for containers',
    ],
    container("resources: {requests: {example.com/gpu: 1}}"): [
        f"{C}.resources.limits: Required value: Limit must be set for non overcommitable resources"
    ],
    container("resources: {limits: {example.com/gpu: 1500m}}"): [
        f'{C}.resources.limits[example.com/gpu]: Invalid value: "1500m": must be an integer',
        f'{C}.resources.requests[example.com/gpu]: Invalid value: "1500m": must be an integer',
    ],
    # probes and hooks
    container("livenessProbe: {}"): [f"{C}.livenessProbe: Required value: must specify a handler type"],
    container("livenessProbe: {successThreshold: 2, tcpSocket: {port: 80}}"): [
        f"{C}.livenessProbe.successThreshold: Invalid value: 2: must be 1"
    ],
    container("readinessProbe: {httpGet: {port: 0}}"): [
        f"{C}.readinessProbe.httpGet.port: Invalid value: 0: must be between 1 and 65535, inclusive"
    ],
    container("readinessProbe: {exec: {command: [a]}, tcpSocket: {port: 1}}"): [
        f"{C}.readinessProbe.tcpSocket: Forbidden: may not specify more than 1 handler type"
    ],
    container("lifecycle: {preStop: {exec: {}}}"): [f"{C}.lifecycle.preStop.exec.command: Required value"],
    container("lifecycle: {preStop: {sleep: {seconds: 31}}}"): [
        f"{C}.lifecycle.preStop.sleep: Invalid value: 31: "
        "must be non-negative and less than terminationGracePeriodSeconds (30)"
    ],
    container("imagePullPolicy: Often"): [
        f'{C}.imagePullPolicy: Unsupported value: "Often": supported values: "Always", "IfNotPresent", "Never"'
    ],
    container("securityContext: {privileged: true, allowPrivilegeEscalation: false}"): [
        f'{C}.securityContext: Invalid value: {{"allowPrivilegeEscalation":false,"privileged":true}}: '
        "cannot set `allowPrivilegeEscalation` to false and `privileged` to true"
    ],
    # mounts and volumes
    container("volumeMounts: [{name: nope, mountPath: /a}]"): [f'{C}.volumeMounts[0].name: Not found: "nope"'],
    container("volumeMounts: [{name: data, mountPath: /a}, {name: data, mountPath: /a}]"): [
        f'{C}.volumeMounts[1].mountPath: Invalid value: "/a": must be unique'
    ],
    container("volumeMounts: [{name: data, mountPath: /a, subPath: /abs}]"): [
        f'{C}.volumeMounts[0].subPath: Invalid value: "/abs": must be a relative path'
    ],
    container("volumeMounts: [{name: data, mountPath: /a, subPath: a/../b}]"): [
        f"{C}.volumeMounts[0].subPath: Invalid value: \"a/../b\": must not contain '..'"
    ],
    "spec: {volumes: [{name: data, emptyDir: {}}, {name: data, emptyDir: {}}]}": [
        'spec.volumes[1].name: Duplicate value: "data"'
    ],
    "spec: {volumes: [{name: data, emptyDir: {}, hostPath: {path: /x}}]}": [
        "spec.volumes[0].hostPath: Forbidden: may not specify more than 1 volume type",
        f'{C}.volumeMounts[0].name: Not found: "data"',
    ],
    "spec: {volumes: [{name: data, emptyDir: {}}, {name: x, secret: {}}]}": [
        "spec.volumes[1].secret.secretName: Required value"
    ],
    "spec: {volumes: [{name: data, emptyDir: {}}, {name: x, configMap: {name: c, defaultMode: 512}}]}": [
        "spec.volumes[1].configMap.defaultMode: Invalid value: 512: "
        "must be a number between 0 and 0777 (octal), both inclusive"
    ],
    "spec: {volumes: [{name: data, emptyDir: {}}, {name: x, hostPath: {path: /a/../b, type: Disk}}]}": [
        "spec.volumes[1].hostPath.path: Invalid value: \"/a/../b\": must not contain '..'",
        'spec.volumes[1].hostPath.type: Unsupported value: "Disk": supported values: "", "BlockDevice", "CharDevice", '
        '"Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"',
    ],
    "spec: {volumes: [{name: data, emptyDir: {}}, {name: t, projected: {sources: [{serviceAccountToken: {path: t}}]}}]}": [
        "spec.volumes[1].projected.sources[0].serviceAccountToken: Forbidden: "
        "must not be specified when serviceAccountName is not set"
    ],
    # placement
    "spec: {tolerations: [{key: a, operator: Exists, value: b}]}": [
        'spec.tolerations[0].operator: Invalid value: {"key":"a","operator":"Exists","value":"b"}: '
        "value must be empty when `operator` is 'Exists'"
    ],
    "spec: {tolerations: [{operator: Equal, value: b}]}": [
        'spec.tolerations[0].operator: Invalid value: "Equal": '
        'operator must be Exists when `key` is empty, which means "match all values and all keys"'
    ],
    "spec: {tolerations: [{key: a, operator: Exists, effect: NoSchedule, tolerationSeconds: 3}]}": [
        'spec.tolerations[0].effect: Invalid value: "NoSchedule": '
        "effect must be 'NoExecute' when `tolerationSeconds` is set"
    ],
    "spec: {topologySpreadConstraints: [{maxSkew: 0, topologyKey: z, whenUnsatisfiable: Maybe}]}": [
        "spec.topologySpreadConstraints[0].maxSkew: Invalid value: 0: must be greater than zero",
        'spec.topologySpreadConstraints[0].whenUnsatisfiable: Unsupported value: "Maybe": supported values: '
        '"DoNotSchedule", "ScheduleAnyway"',
    ],
    "spec: {affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: []}}}}": [
        "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms: Required value: "
        "must have at least one node selector term"
    ],
    "spec: {affinity: {podAffinity: {preferredDuringSchedulingIgnoredDuringExecution: "
    "[{weight: 101, podAffinityTerm: {topologyKey: ''}}]}}}": [
        "spec.affinity.podAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].weight: Invalid value: 101: "
        "must be in the range 1-100",
        "spec.affinity.podAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].podAffinityTerm.topologyKey: "
        "Required value: can not be empty",
    ],
}


@pytest.mark.parametrize("change", CASES)
def test_refused(change: str) -> None:
    assert create_errors(POD, change) == CASES[change]


UPDATES = {
    ("", "spec: {activeDeadlineSeconds: 10}"): [],
    ("spec: {activeDeadlineSeconds: 10}", "spec: {activeDeadlineSeconds: 20}"): [
        "spec.activeDeadlineSeconds: Invalid value: 20: must be less than or equal to previous value"
    ],
    ("spec: {activeDeadlineSeconds: 10}", ""): [
        "spec.activeDeadlineSeconds: Invalid value: null: must not update from a positive integer to nil value"
    ],
    ("", "spec: {containers: [{name: app, image: nginx}, {name: b, image: x}]}"): [
        "spec.containers: Forbidden: pod updates may not add or remove containers"
    ],
    ("", "spec: {tolerations: [{key: a, operator: Exists}]}"): [],
    ("spec: {tolerations: [{key: a, operator: Exists}]}", ""): [
        "spec.tolerations: Forbidden: existing toleration can not be modified except its tolerationSeconds"
    ],
    ("spec: {schedulingGates: [{name: x/a}]}", "spec: {nodeSelector: {a: b}, schedulingGates: [{name: x/a}]}"): [],
    ("spec: {schedulingGates: [{name: x/a}]}", "spec: {schedulingGates: [{name: x/b}]}"): [
        "spec.schedulingGates[0].name: Forbidden: only deletion is allowed, but found new scheduling gate 'x/b'"
    ],
}


@pytest.mark.parametrize("changes", UPDATES)
def test_updates(changes: tuple[str, str]) -> None:
    before, after = changes
    assert update_errors(POD, before or None, after or None) == UPDATES[changes]


def test_the_image_may_change() -> None:
    old, new = created(POD.replace("nginx", "nginx:1")), make(POD.replace("nginx", "nginx:2"))
    strategy, ctx = strategy_of(old), context_of(old)
    strategy.prepare_update(ctx, new, old)
    assert strategy.validate_update(ctx, new, old) == []
    assert new.metadata.generation == 2


def test_nothing_else_may_change() -> None:
    (error,) = update_errors(POD, None, "spec: {hostNetwork: true, nodeSelector: {disk: ssd}}")
    assert error.startswith(
        "spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`,"
        "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing "
        "tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)\n"
    )
    assert '+ \tnodeSelector: {"disk":"ssd"},' in error


def test_values_that_mean_the_same_are_no_change() -> None:
    assert update_errors(POD, None, "spec: {hostNetwork: false, nodeSelector: {}, hostAliases: []}") == []


def test_status_updates() -> None:
    terminated = "status: {containerStatuses: [{name: app, state: {terminated: {exitCode: 0}}}]}"
    running = "status: {containerStatuses: [{name: app, state: {running: {}}}]}"
    never = POD + "\n  restartPolicy: Never"
    assert status_errors(never, terminated, running) == [
        "status.containerStatuses[0].state: Forbidden: may not be transitioned to non-terminated state"
    ]
    assert status_errors(POD, terminated, running) == []
    assert status_errors(POD, "status: {qosClass: BestEffort}", "status: {qosClass: Guaranteed}") == [
        'status.qosClass: Invalid value: "Guaranteed": field is immutable'
    ]


def test_status_updates_keep_the_rest() -> None:
    old = created(POD)
    new = make(POD, "spec: {nodeName: elsewhere}\nstatus: {phase: Running}")
    strategy_of(old).prepare_status_update(context_of(old), new, old)
    assert new.spec.node_name is None
    assert new.status.phase == "Running"
    assert new.status.qos_class == "BestEffort"


def test_ephemeral_containers_may_only_be_added() -> None:
    one = "spec: {ephemeralContainers: [{name: debug, image: x}]}"
    other = "spec: {ephemeralContainers: [{name: debug, image: y}]}"
    ports = "spec: {ephemeralContainers: [{name: debug, image: x, ports: [{containerPort: 1}]}]}"

    def errors(before: str | None, after: str | None) -> list[str]:
        old, new = created(POD, before), make(POD, after)
        strategy, ctx = strategy_of(old), context_of(old)
        strategy.prepare_ephemeral_containers(ctx, new, old)  # type: ignore[attr-defined]
        return [str(e) for e in strategy.validate_ephemeral_containers(ctx, new, old)]  # type: ignore[attr-defined]

    assert errors(None, one) == []
    assert errors(one, other) == [
        'spec.ephemeralContainers[0]: Forbidden: existing ephemeral containers "debug" may not be changed\n'
    ]
    assert errors(one, None) == [
        'spec.ephemeralContainers: Forbidden: existing ephemeral containers "debug" may not be removed\n'
    ]
    assert errors(None, ports) == [
        "spec.ephemeralContainers[0].ports: Forbidden: cannot be set for an Ephemeral Container"
    ]


def test_resizing_changes_resources_alone_and_keeps_the_class() -> None:
    before = container("resources: {requests: {cpu: 100m}}")
    old, new = created(POD, before), make(POD, container("resources: {requests: {cpu: 200m}}, command: [x]"))
    strategy, ctx = strategy_of(old), context_of(old)
    strategy.prepare_resize(ctx, new, old)  # type: ignore[attr-defined]
    assert new.spec.containers[0].command is None
    assert new.spec.containers[0].resources.requests == {"cpu": "200m"}
    assert strategy.validate_resize(ctx, new, old) == []  # type: ignore[attr-defined]
    new = make(POD, container("resources: {limits: {cpu: 100m, memory: 1Gi}}"))
    strategy.prepare_resize(ctx, new, old)  # type: ignore[attr-defined]
    assert [str(e) for e in strategy.validate_resize(ctx, new, old)] == [  # type: ignore[attr-defined]
        'spec: Invalid value: "Guaranteed": Pod QOS Class may not change as a result of resizing'
    ]


def test_grace_periods() -> None:
    from api.types.meta_v1 import DeleteOptions

    scheduled = make(POD, "spec: {nodeName: n1}")
    strategy, ctx = strategy_of(scheduled), context_of(scheduled)
    assert strategy.graceful_deletion(ctx, scheduled, DeleteOptions()) == 30
    assert strategy.graceful_deletion(ctx, scheduled, DeleteOptions(grace_period_seconds=0)) == 0
    assert strategy.graceful_deletion(ctx, scheduled, DeleteOptions(grace_period_seconds=-5)) == 1
    assert strategy.graceful_deletion(ctx, make(POD), DeleteOptions(grace_period_seconds=9)) == 0
    done = make(POD, "spec: {nodeName: n1}\nstatus: {phase: Succeeded}")
    assert strategy.graceful_deletion(ctx, done, DeleteOptions()) == 0


def test_warnings() -> None:
    pod = make(
        POD,
        """
        metadata: {name: web.x}
        spec:
          nodeSelector: {beta.kubernetes.io/os: linux}
          containers:
          - name: app
            image: x
            env: [{name: A, value: "1"}, {name: A, value: "2"}, {name: B, value: "1"}, {name: B, value: "$(B)2"}]
            ports: [{containerPort: 80}, {containerPort: 80, name: again}]
        """,
    )
    assert strategy_of(pod).warnings(context_of(pod), pod, None) == [
        'spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use "kubernetes.io/os" instead',
        'spec.containers[0].env[1]: hides previous definition of "A", which may be dropped when using apply',
        "spec.containers[0].ports[1]: duplicate port definition with spec.containers[0].ports[0]",
        "metadata.name: this is used in the Pod's hostname, which can result in surprising behavior; a DNS label is "
        "recommended: [must not contain dots]",
    ]
