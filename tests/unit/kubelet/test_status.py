"""Phases and conditions, in upstream's logic and words."""

from __future__ import annotations

from typing import Any

import pytest

from api import codec
from api.types.core_v1 import ContainerStatus, Pod, PodStatus
from kubelet import cri, phase, restart, status
from kubelet.status_manager import owned, patch_body
from kubelet.view import Verdict, View

RUNNING: dict[str, Any] = {"state": {"running": {}}}
DONE: dict[str, Any] = {"state": {"terminated": {"exitCode": 0}}}
FAILED: dict[str, Any] = {"state": {"terminated": {"exitCode": 1}}}
CREATING: dict[str, Any] = {"state": {"waiting": {"reason": "ContainerCreating"}}}
CRASHING: dict[str, Any] = {
    "state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": {"terminated": {"exitCode": 1}},
}  # fmt: skip


def make(policy: str = "Always", *, containers: int = 2, init: tuple[dict[str, Any], ...] = (), **spec: Any) -> Pod:
    return codec.from_dict(
        Pod,
        {
            "metadata": {"name": "web", "namespace": "default", "uid": "u", "generation": 3},
            "spec": {
                "restartPolicy": policy,
                "containers": [{"name": f"c{i}", "image": "app:1"} for i in range(containers)],
                "initContainers": [{"name": f"i{i}", "image": "app:1", **own} for i, own in enumerate(init)],
                **spec,
            },
        },
    )


def statuses(prefix: str, *states: dict[str, Any]) -> list[ContainerStatus]:
    return [codec.from_dict(ContainerStatus, {"name": f"{prefix}{i}", **state}) for i, state in enumerate(states)]


@pytest.mark.parametrize(
    ("policy", "states", "terminal", "expected"),
    [
        ("Always", (RUNNING, RUNNING), False, "Running"),
        ("Always", (RUNNING, CREATING), False, "Pending"),
        ("Always", (CRASHING, CRASHING), False, "Running"),
        ("Always", (DONE, DONE), False, "Running"),
        ("Always", (DONE, DONE), True, "Succeeded"),
        ("Always", (DONE, FAILED), True, "Failed"),
        ("OnFailure", (DONE, DONE), False, "Succeeded"),
        ("OnFailure", (DONE, FAILED), False, "Running"),
        ("OnFailure", (DONE, RUNNING), False, "Running"),
        ("Never", (DONE, DONE), False, "Succeeded"),
        ("Never", (FAILED, RUNNING), False, "Running"),
        ("Never", (FAILED, DONE), False, "Failed"),
        ("Never", (CREATING, CREATING), False, "Pending"),
    ],
)
def test_phases(policy: str, states: tuple[dict[str, Any], ...], terminal: bool, expected: str) -> None:
    assert phase.phase(make(policy), [], statuses("c", *states), terminal=terminal) == expected


@pytest.mark.parametrize(
    ("policy", "init", "expected"),
    [
        ("Always", RUNNING, "Pending"),
        ("Always", CRASHING, "Pending"),
        ("Never", FAILED, "Failed"),
        ("OnFailure", FAILED, "Pending"),
        ("Never", DONE, "Pending"),
    ],
)
def test_phases_before_initialization(policy: str, init: dict[str, Any], expected: str) -> None:
    pod = make(policy, init=({},))
    assert phase.phase(pod, statuses("i", init), statuses("c", CREATING, CREATING)) == expected


def test_a_phase_that_is_final_stays() -> None:
    view = View(previous=PodStatus(phase="Succeeded"))
    assert status.compute(make(), view).phase == "Succeeded"


def conditions(pod: Pod, view: View) -> dict[str, tuple[str, str | None, str | None]]:
    return {c.type: (c.status, c.reason, c.message) for c in status.compute(pod, view).conditions or ()}


def test_a_new_pod_says_what_it_lacks() -> None:
    found = conditions(make(init=({},)), View())
    assert found == {
        "PodReadyToStartContainers": ("False", None, None),
        "Initialized": ("False", "ContainersNotInitialized", "containers with incomplete status: [i0]"),
        "Ready": ("False", "ContainersNotReady", "containers with unready status: [c0 c1]"),
        "ContainersReady": ("False", "ContainersNotReady", "containers with unready status: [c0 c1]"),
        "PodScheduled": ("True", None, None),
    }


def run(name: str, **fields: Any) -> cri.ContainerStatus:
    values: dict[str, Any] = {
        "id": f"id-{name}", "sandbox_id": "s", "pod_uid": "u", "name": name, "attempt": 0, "state": cri.State.RUNNING,
        "created_at": "", "started_at": "2026-01-01T00:00:00.5Z", "finished_at": "", "exit_code": 0, "reason": "",
        "message": "", "image": "app:1", "image_id": "sha256:1", "labels": {}, "annotations": {},
    }  # fmt: skip
    return cri.ContainerStatus(**{**values, **fields})


def snapshot(*runs: cri.ContainerStatus) -> cri.PodSnapshot:
    box = cri.SandboxStatus("s", "default", "web", "u", 0, cri.State.RUNNING, "", ("10.0.0.7",), False, {}, {})
    return cri.PodSnapshot("u", "default", "web", (box,), runs)


def test_readiness_gates_hold_a_ready_pod_back() -> None:
    pod = make(containers=1, readinessGates=[{"conditionType": "lb"}, {"conditionType": "db"}])
    pod.status = codec.from_dict(PodStatus, {"conditions": [{"type": "db", "status": "False"}]})
    found = conditions(pod, View(snapshot=snapshot(run("c0"))))
    assert found["ContainersReady"] == ("True", None, None)
    assert found["Ready"] == (
        "False",
        "ReadinessGatesNotReady",
        'corresponding condition of pod readiness gate "lb" does not exist., '
        'the status of pod readiness gate "db" is not "True", but False',
    )


def test_transitions_are_dated_only_when_they_happen() -> None:
    pod, view = make(containers=1), View(snapshot=snapshot(run("c0")))
    first = status.compute(pod, view)
    for condition in first.conditions or ():
        condition.last_transition_time = "2020-01-01T00:00:00Z"
    ended = run("c0", state=cri.State.EXITED, exit_code=1, finished_at="2026-01-01T00:00:09Z")
    second = status.compute(pod, View(snapshot=snapshot(ended), previous=first))
    times = {c.type: c.last_transition_time for c in second.conditions or ()}
    assert times["Initialized"] == "2020-01-01T00:00:00Z"
    assert times["Ready"] != "2020-01-01T00:00:00Z"


def test_a_pod_that_is_refused_has_no_containers_to_show() -> None:
    scheduled = codec.from_dict(PodStatus, {"conditions": [{"type": "PodScheduled", "status": "True"}]})
    verdict = Verdict("Failed", "OutOfcpu", "Pod was rejected: Node didn't have enough resource: cpu", refused=True)
    found = status.compute(make(containers=1), View(previous=scheduled, verdict=verdict))
    assert (found.phase, found.reason, found.message) == ("Failed", verdict.reason, verdict.message)
    assert found.container_statuses is None and found.start_time
    assert found.conditions == scheduled.conditions


def test_waiting_takes_the_place_of_an_end_that_is_not_final() -> None:
    ended = run("c0", state=cri.State.EXITED, exit_code=2, finished_at="2026-01-01T00:00:09.9Z")
    view = View(snapshot=snapshot(ended), waiting={"c0": ("CrashLoopBackOff", "back-off 10s")})
    found = (status.compute(make(containers=1), view).container_statuses or [])[0]
    assert found.state.waiting and found.state.waiting.reason == "CrashLoopBackOff"
    assert found.last_state.terminated and found.last_state.terminated.exit_code == 2
    assert found.last_state.terminated.finished_at == "2026-01-01T00:00:09Z"
    view.ending = True
    found = (status.compute(make(containers=1), view).container_statuses or [])[0]
    assert found.state.terminated and found.state.terminated.reason == "Error"


@pytest.mark.parametrize(
    ("policy", "own", "code", "expected"),
    [
        ("Always", {}, 0, True),
        ("OnFailure", {}, 0, False),
        ("OnFailure", {}, 1, True),
        ("Never", {}, 1, False),
        ("Never", {"restartPolicy": "OnFailure"}, 1, True),
        ("Always", {"restartPolicy": "Never"}, 1, False),
        (
            "Never",
            {"restartPolicyRules": [{"action": "Restart", "exitCodes": {"operator": "In", "values": [42]}}]},
            42,
            True,
        ),
        (
            "Never",
            {"restartPolicyRules": [{"action": "Restart", "exitCodes": {"operator": "In", "values": [42]}}]},
            1,
            False,
        ),
    ],
)
def test_restart_policies(policy: str, own: dict[str, Any], code: int, expected: bool) -> None:
    pod = make(policy, containers=0)
    pod.spec.containers = codec.from_dict(Pod, {"spec": {"containers": [{"name": "c", **own}]}}).spec.containers
    assert restart.restarts(pod, pod.spec.containers[0], code) is expected


def test_patches_hold_what_changed_and_nothing_of_others() -> None:
    pod = make(containers=1)
    before = owned(
        codec.from_dict(
            PodStatus,
            {
                "phase": "Pending",
                "reason": "Odd",
                "podIPs": [{"ip": "10.0.0.1"}],
                "nominatedNodeName": "n2",
                "conditions": [
                    {"type": "lb", "status": "True"},
                    {"type": "Ready", "status": "False", "reason": "ContainersNotReady"},
                    {"type": "PodResizePending", "status": "True"},
                ],
            },
        )
    )
    after = owned(
        codec.from_dict(
            PodStatus,
            {
                "phase": "Running",
                "podIPs": [{"ip": "10.0.0.2"}],
                "conditions": [{"type": "Ready", "status": "True"}],
            },
        )
    )
    assert patch_body(pod, after, before) == {
        "metadata": {"uid": "u"},
        "status": {
            "phase": "Running",
            "reason": None,
            "podIPs": [{"$patch": "replace"}, {"ip": "10.0.0.2"}],
            "conditions": [
                {"type": "Ready", "status": "True", "reason": None},
                {"type": "PodResizePending", "$patch": "delete"},
            ],
            "$setElementOrder/conditions": [{"type": "Ready"}],
        },
    }
