"""The conditions of a pod that the kubelet owns, with upstream's reasons and messages."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from api import time as api_time
from api.types.core_v1 import ContainerStatus, Pod, PodCondition, PodStatus
from kubelet import podutil
from kubelet.view import CONTAINERS_READY, INITIALIZED, READY, READY_TO_START, SCHEDULED, View, active_sandbox


def conditions(
    pod: Pod,
    view: View,
    status: PodStatus,
    initial: Sequence[ContainerStatus],
    regular: Sequence[ContainerStatus],
) -> list[PodCondition]:
    ready_containers = _containers_ready(pod, initial, regular, status.phase or "")
    made = [
        PodCondition(type=READY_TO_START, status=_bool(_ready_to_start(pod, view))),
        _initialized(pod, initial, regular, status.phase or ""),
        _ready(pod, ready_containers),
        ready_containers,
        PodCondition(type=SCHEDULED, status="True"),
    ]
    if view.verdict and view.verdict.disruption:
        made.append(
            PodCondition(
                type="DisruptionTarget",
                status="True",
                reason=view.verdict.disruption,
                message=view.verdict.message,
            )
        )
    made += [msgspec.structs.replace(condition) for condition in view.resizing]
    before = {c.type: c for c in view.previous.conditions or ()}
    now = api_time.now()
    for condition in made:
        old = before.get(condition.type)
        same = old is not None and old.status == condition.status
        condition.last_transition_time = old.last_transition_time if old and same else now
        condition.observed_generation = pod.metadata.generation
    return made


def _bool(value: bool) -> str:
    return "True" if value else "False"


def _ready_to_start(pod: Pod, view: View) -> bool:
    sandbox = active_sandbox(view.snapshot)
    return sandbox is not None and (podutil.is_host_network(pod) or bool(sandbox.ips))


def _initialized(
    pod: Pod, initial: Sequence[ContainerStatus], regular: Sequence[ContainerStatus], phase: str
) -> PodCondition:
    condition = PodCondition(type=INITIALIZED, status="True")
    if phase == "Succeeded":
        if pod.spec.init_containers:
            condition.reason = "PodCompleted"
        return condition
    if any(s.state.running or s.state.terminated or s.last_state.terminated for s in regular):
        return condition  # whatever ran before, a running main container proves it done
    by_name = {c.name: c for c in pod.spec.init_containers or ()}
    incomplete = [s.name for s in initial if not (s.started if podutil.is_sidecar(by_name[s.name]) else s.ready)]
    if incomplete:
        condition.status, condition.reason = "False", "ContainersNotInitialized"
        condition.message = f"containers with incomplete status: [{' '.join(incomplete)}]"
    return condition


def _containers_ready(
    pod: Pod, initial: Sequence[ContainerStatus], regular: Sequence[ContainerStatus], phase: str
) -> PodCondition:
    if phase == "Succeeded":
        return PodCondition(type=CONTAINERS_READY, status="False", reason="PodCompleted")
    if phase == "Failed":
        return PodCondition(type=CONTAINERS_READY, status="False", reason="PodFailed")
    sidecars = {c.name for c in pod.spec.init_containers or () if podutil.is_sidecar(c)}
    counted = [*(s for s in initial if s.name in sidecars), *regular]
    unready = [s.name for s in counted if not s.ready]
    if not unready:
        return PodCondition(type=CONTAINERS_READY, status="True")
    return PodCondition(
        type=CONTAINERS_READY,
        status="False",
        reason="ContainersNotReady",
        message=f"containers with unready status: [{' '.join(unready)}]",
    )


def _ready(pod: Pod, containers: PodCondition) -> PodCondition:
    if containers.status != "True":
        return PodCondition(type=READY, status="False", reason=containers.reason, message=containers.message)
    problems: list[str] = []
    for gate in pod.spec.readiness_gates or ():
        found = podutil.condition(pod, gate.condition_type)
        if found is None:
            problems.append(f'corresponding condition of pod readiness gate "{gate.condition_type}" does not exist.')
        elif found.status != "True":
            problems.append(
                f'the status of pod readiness gate "{gate.condition_type}" is not "True", but {found.status}'
            )
    if problems:
        return PodCondition(type=READY, status="False", reason="ReadinessGatesNotReady", message=", ".join(problems))
    return PodCondition(type=READY, status="True")
