"""Deployments, replica sets, stateful sets, daemon sets, jobs and cron jobs."""

from __future__ import annotations

import pytest

from tests.unit.apiserver.building import (
    context,
    create_errors,
    created,
    make,
    status_errors,
    strategy_of,
    update_errors,
)


def workload(kind: str, api_version: str = "apps/v1") -> str:
    return f"""
apiVersion: {api_version}
kind: {kind}
metadata: {{name: web, namespace: default, uid: u-1}}
spec:
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec: {{containers: [{{name: app, image: nginx}}]}}
"""


DEPLOYMENT = workload("Deployment")
KINDS = ("Deployment", "ReplicaSet", "StatefulSet", "DaemonSet")


@pytest.mark.parametrize("kind", KINDS)
def test_good(kind: str) -> None:
    assert create_errors(workload(kind)) == []


@pytest.mark.parametrize("kind", KINDS)
def test_what_all_have_in_common(kind: str) -> None:
    text = workload(kind)
    assert create_errors(text, "spec: {template: {spec: {containers: [{name: app}]}}}") == [
        "spec.template.spec.containers[0].image: Required value"
    ]
    assert create_errors(text, "spec: {template: {metadata: {labels: {app: other}}}}") == [
        'spec.template.metadata.labels: Invalid value: {"app":"other"}: `selector` does not match template `labels`'
    ]
    assert create_errors(text, "spec: {selector: null}") == [
        "spec.selector: Required value",
        'spec.template.metadata.labels: Invalid value: {"app":"web"}: `selector` does not match template `labels`',
    ]
    assert create_errors(text, "spec: {template: {spec: {restartPolicy: Never}}}") == [
        'spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always"'
    ]


@pytest.mark.parametrize("kind", ("Deployment", "ReplicaSet", "DaemonSet"))
def test_selectors_are_immutable(kind: str) -> None:
    after = "spec: {selector: {matchLabels: {tier: x}}, template: {metadata: {labels: {tier: x}}}}"
    assert update_errors(workload(kind), None, after) == [
        'spec.selector: Invalid value: {"matchLabels":{"app":"web","tier":"x"}}: field is immutable'
    ]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("spec: {replicas: -1}", ["spec.replicas: Invalid value: -1: must be greater than or equal to 0"]),
        ("spec: {strategy: {type: Canary}}", [
            'spec.strategy: Unsupported value: {"type":"Canary"}: supported values: "Recreate", "RollingUpdate"']),
        ("spec: {strategy: {type: Recreate, rollingUpdate: {}}}", [
            "spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'"]),
        ("spec: {strategy: {rollingUpdate: {maxSurge: 0, maxUnavailable: 0%}}}", [
            'spec.strategy.rollingUpdate.maxUnavailable: Invalid value: "0%": may not be 0 when `maxSurge` is 0']),
        ("spec: {strategy: {rollingUpdate: {maxUnavailable: 200%}}}", [
            'spec.strategy.rollingUpdate.maxUnavailable: Invalid value: "200%": must not be greater than 100%']),
        ("spec: {strategy: {rollingUpdate: {maxSurge: few}}}", [
            "spec.strategy.rollingUpdate.maxSurge: Invalid value: \"few\": a valid percent string must be a numeric "
            "string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')"]),
        ("spec: {minReadySeconds: 5, progressDeadlineSeconds: 5}", [
            "spec.progressDeadlineSeconds: Invalid value: 5: must be greater than minReadySeconds"]),
        ("spec: {selector: {matchExpressions: [{key: app, operator: Like}]}}", [
            'spec.selector.matchExpressions[0].operator: Invalid value: "Like": not a valid selector operator',
            'spec.selector: Invalid value: {"matchExpressions":[{"key":"app","operator":"Like"}],'
            '"matchLabels":{"app":"web"}}: invalid label selector']),
    ],
)  # fmt: skip
def test_deployments(change: str, expected: list[str]) -> None:
    assert create_errors(DEPLOYMENT, change) == expected


def test_generations_count_changes_of_spec_and_annotations_only() -> None:
    old = created(DEPLOYMENT)
    strategy, ctx = strategy_of(old), context(old)
    for change, generation in (
        (None, 1),
        ("metadata: {labels: {a: b}}", 1),
        ("spec: {replicas: 2}", 2),
        ("metadata: {annotations: {a: b}}", 2),
        ("status: {replicas: 3}", 1),
    ):
        new = make(DEPLOYMENT, change)
        strategy.prepare_update(ctx, new, old)
        assert new.metadata.generation == generation, change
        assert new.status.replicas is None


def test_status_counts_have_to_fit() -> None:
    assert status_errors(DEPLOYMENT, "status: {}", "status: {replicas: 1, readyReplicas: 2, availableReplicas: 3}") == [
        "status.readyReplicas: Invalid value: 2: cannot be greater than status.replicas",
        "status.availableReplicas: Invalid value: 3: cannot be greater than status.replicas",
        "status.availableReplicas: Invalid value: 3: cannot be greater than readyReplicas",
    ]


def test_stateful_sets() -> None:
    text = workload("StatefulSet")
    assert update_errors(text, None, "spec: {replicas: 3, minReadySeconds: 2}") == []
    assert update_errors(text, None, "spec: {serviceName: other}") == [
        "spec: Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', "
        "'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are "
        "forbidden"
    ]
    mounted = """
    spec:
      volumeClaimTemplates:
      - metadata: {name: data}
        spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
      template: {spec: {containers: [{name: app, image: x, volumeMounts: [{name: data, mountPath: /d}]}]}}
    """
    assert create_errors(text, mounted) == []
    assert create_errors(text, "spec: {updateStrategy: {type: OnDelete, rollingUpdate: {}}}") == [
        "spec.updateStrategy.rollingUpdate: Invalid value: {}: only allowed for updateStrategy 'RollingUpdate'"
    ]


def test_daemon_sets() -> None:
    text = workload("DaemonSet")
    assert create_errors(text, "spec: {updateStrategy: {rollingUpdate: {maxSurge: 1, maxUnavailable: 1}}}") == [
        "spec.updateStrategy.rollingUpdate.maxSurge: Invalid value: 1: may not be set when maxUnavailable is non-zero"
    ]
    assert create_errors(text, "spec: {updateStrategy: {rollingUpdate: {maxSurge: 0, maxUnavailable: 0}}}") == [
        "spec.updateStrategy.rollingUpdate.maxUnavailable: Required value: cannot be 0 when maxSurge is 0"
    ]


JOB = """
apiVersion: batch/v1
kind: Job
metadata: {name: once, namespace: default, uid: u-1}
spec:
  template: {spec: {restartPolicy: Never, containers: [{name: app, image: x}]}}
"""


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("", []),
        ("spec: {template: {spec: {restartPolicy: Always}}}", [
            'spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never"']),
        ("spec: {parallelism: -1}", ["spec.parallelism: Invalid value: -1: must be greater than or equal to 0"]),
        ("spec: {completionMode: Indexed}", ["spec.completions: Required value: when completion mode is Indexed"]),
        ("spec: {backoffLimitPerIndex: 1}", [
            "spec.backoffLimitPerIndex: Invalid value: 1: requires indexed completion mode"]),
        ("spec: {manualSelector: true}", ["spec.selector: Required value"]),
        ("spec: {podFailurePolicy: {rules: [{action: FailJob}]}}", [
            'spec.podFailurePolicy.rules[0]: Invalid value: {"action":"FailJob"}: '
            "specifying one of OnExitCodes and OnPodConditions is required"]),
    ],
)  # fmt: skip
def test_jobs(change: str, expected: list[str]) -> None:
    if "Indexed" in change:
        change = "spec: {completionMode: Indexed, parallelism: 2}"
    assert create_errors(JOB, change or None) == expected


def test_a_jobs_template_is_fixed() -> None:
    old, new = created(JOB), created(JOB, "spec: {template: {spec: {containers: [{name: app, image: other}]}}}")
    strategy, ctx = strategy_of(old), context(old)
    (error,) = strategy.validate_update(ctx, new, old)
    assert error.field == "spec.template"
    assert error.detail == "field is immutable"
    parallel = created(JOB, "spec: {parallelism: 3, completions: 1}")
    assert strategy.validate_update(ctx, parallel, old) == []
    completions = created(JOB, "spec: {completions: 5, parallelism: 1}")
    assert [str(e) for e in strategy.validate_update(ctx, completions, old)] == [
        "spec.completions: Invalid value: 5: field is immutable"
    ]


CRON = """
apiVersion: batch/v1
kind: CronJob
metadata: {name: nightly, namespace: default}
spec:
  schedule: "*/5 1-3 * jan,DEC mon"
  jobTemplate: {spec: {template: {spec: {restartPolicy: OnFailure, containers: [{name: a, image: x}]}}}}
"""


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("", []),
        ("spec: {schedule: '@hourly'}", []),
        ("spec: {schedule: '@every 1h30m'}", []),
        ("spec: {schedule: 'a b c'}", [
            'spec.schedule: Invalid value: "a b c": expected exactly 5 fields, found 3: [a b c]']),
        ("spec: {schedule: '60 * * * *'}", [
            'spec.schedule: Invalid value: "60 * * * *": end of range (60) above maximum (59): 60']),
        ("spec: {schedule: 'x * * * *'}", [
            'spec.schedule: Invalid value: "x * * * *": '
            'failed to parse int from x: strconv.Atoi: parsing "x": invalid syntax']),
        ("spec: {timeZone: Mars/Base}", ['spec.timeZone: Invalid value: "Mars/Base": unknown time zone Mars/Base']),
        ("spec: {timeZone: Europe/Berlin}", []),
        ("spec: {concurrencyPolicy: Queue}", [
            'spec.concurrencyPolicy: Unsupported value: "Queue": supported values: "Allow", "Forbid", "Replace"']),
        (f"metadata: {{name: {'n' * 53}}}", [
            f'metadata.name: Invalid value: "{"n" * 53}": must be no more than 52 characters']),
    ],
)  # fmt: skip
def test_cron_jobs(change: str, expected: list[str]) -> None:
    assert create_errors(CRON, change or None) == expected


def test_a_job_whose_selector_cannot_be_read_is_refused() -> None:
    text = workload("Job", "batch/v1")
    broken = "spec: {selector: {matchExpressions: [{key: a, operator: Is}]}, template: {spec: {restartPolicy: Never}}}"
    assert (
        'spec.selector.matchExpressions[0].operator: Invalid value: "Is": not a valid selector operator'
        in create_errors(text, broken)
    )
