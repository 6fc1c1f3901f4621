"""PodStatus from what the node knows: phase, conditions, container statuses. Pure functions, upstream's words.

What is computed here is complete but for conditions of others (readiness gates, the scheduler's), which stay theirs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field

import msgspec

from api import pod_resources
from api import time as api_time
from api.types.core_v1 import (
    Container,
    ContainerState,
    ContainerStateRunning,
    ContainerStateTerminated,
    ContainerStateWaiting,
    ContainerStatus,
    HostIP,
    Pod,
    PodCondition,
    PodIP,
    PodStatus,
    ResourceRequirements,
    VolumeMountStatus,
)
from kubelet import cri, podutil, restart
from kubelet.podutil import AnyContainer
from kubelet.probes.prober import Health

PREFIX = "docker://"
READY_TO_START, INITIALIZED, READY, CONTAINERS_READY, SCHEDULED = (
    "PodReadyToStartContainers",
    "Initialized",
    "Ready",
    "ContainersReady",
    "PodScheduled",
)
#: Conditions the kubelet writes, in upstream's order; `DisruptionTarget` only when it ends a pod itself.
OWNED_CONDITIONS = (
    "PodResizePending", "PodResizeInProgress", READY_TO_START, INITIALIZED, READY, CONTAINERS_READY, SCHEDULED,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Verdict:
    """Why the kubelet itself ends a pod: eviction, deadline, refused admission."""

    phase: str
    reason: str
    message: str
    disruption: str = ""  # reason of a DisruptionTarget condition


@dataclass(slots=True)
class View:
    """What is known about a pod beside its spec."""

    snapshot: cri.PodSnapshot | None = None
    previous: PodStatus = field(default_factory=PodStatus)  # what was last computed, or what the API server has
    health: Mapping[str, Health] = field(default_factory=dict)  # container id -> its probes' findings
    waiting: Mapping[str, tuple[str, str]] = field(default_factory=dict)  # container -> why it doesn't run
    hidden: Set[str] = frozenset()  # ids of containers whose postStart hook still runs
    messages: Mapping[str, str] = field(default_factory=dict)  # container id -> termination message
    host_ips: Sequence[str] = ()
    ending: bool = False  # nothing will be started any more
    verdict: Verdict | None = None
    finished: bool = False  # nothing runs any more and nothing will
    actual: Mapping[str, ResourceRequirements] = field(default_factory=dict)  # container id -> what it runs with
    resizing: Sequence[PodCondition] = ()
    shown_phase: str = "Pending"  # what the API has seen so far


def runs(snapshot: cri.PodSnapshot | None, name: str) -> list[cri.ContainerStatus]:
    """Every run of a container that the runtime still knows, newest first."""
    return [c for c in snapshot.containers if c.name == name] if snapshot else []


def active_sandbox(snapshot: cri.PodSnapshot | None) -> cri.SandboxStatus | None:
    """The newest sandbox, if it runs."""
    if snapshot and snapshot.sandboxes and snapshot.sandboxes[0].state is cri.State.RUNNING:
        return snapshot.sandboxes[0]
    return None


def compute(pod: Pod, view: View) -> PodStatus:
    previous = {s.name: s for s in _all_statuses(view.previous)}
    initial = _statuses(pod, pod.spec.init_containers or (), view, previous)
    regular = _statuses(pod, pod.spec.containers, view, previous)
    ephemeral = _statuses(pod, pod.spec.ephemeral_containers or (), view, previous)
    status = PodStatus(
        init_container_statuses=initial or None,
        container_statuses=regular or None,
        ephemeral_container_statuses=ephemeral or None,
        host_ip=view.host_ips[0] if view.host_ips else None,
        host_ips=[HostIP(ip=ip) for ip in view.host_ips] or None,
        qos_class=pod_resources.qos_class(pod.spec),
        start_time=view.previous.start_time or api_time.now(),
        observed_generation=pod.metadata.generation,
        reason=view.previous.reason,
        message=view.previous.message,
        resize=view.previous.resize,
    )
    _addresses(pod, view, status)
    status.phase = _settled_phase(pod, view, initial, regular)
    if view.verdict:
        status.phase = view.verdict.phase
        status.reason, status.message = view.verdict.reason, view.verdict.message
    status.conditions = _conditions(pod, view, status, initial, regular)
    return status


def shown(status: PodStatus, view: View) -> PodStatus:
    """What the API may see of a computed status: a pod is over only when nothing of it runs any more."""
    over = status.phase in ("Succeeded", "Failed")
    running = any(s.state.running for s in _all_statuses(status))
    if not over or not running or view.finished or view.shown_phase in ("Succeeded", "Failed"):
        return status
    return msgspec.structs.replace(status, phase=view.shown_phase, reason=None, message=None)


def _all_statuses(status: PodStatus) -> list[ContainerStatus]:
    return [
        *(status.init_container_statuses or ()),
        *(status.container_statuses or ()),
        *(status.ephemeral_container_statuses or ()),
    ]


def _addresses(pod: Pod, view: View, status: PodStatus) -> None:
    ips: Sequence[str] = ()
    if podutil.is_host_network(pod):
        ips = view.host_ips
    elif sandbox := active_sandbox(view.snapshot):
        ips = sandbox.ips
    if not ips and view.previous.pod_ips:
        # An ended pod keeps showing the address that it had.
        ips = [ip.ip for ip in view.previous.pod_ips]
    status.pod_ip = ips[0] if ips else None
    status.pod_ips = [PodIP(ip=ip) for ip in ips] or None


# -- containers -------------------------------------------------------------------------------------------------------


def _statuses(
    pod: Pod, containers: Sequence[AnyContainer], view: View, previous: Mapping[str, ContainerStatus]
) -> list[ContainerStatus]:
    return [_status(pod, container, view, previous.get(container.name)) for container in containers]


def _status(pod: Pod, container: AnyContainer, view: View, old: ContainerStatus | None) -> ContainerStatus:
    known = runs(view.snapshot, container.name)
    if not known:
        return _never_seen(pod, container, view, old)
    newest = known[0]
    status = ContainerStatus(
        name=container.name,
        image=newest.image or container.image or "",
        image_id=newest.image_id,
        container_id=PREFIX + newest.id,
        restart_count=newest.attempt,
        started=False,
        volume_mounts=_mount_statuses(container),
    )
    if len(known) > 1:
        status.last_state = ContainerState(terminated=_terminated(known[1], view))
    elif old and old.restart_count in (newest.attempt, newest.attempt - 1):
        # The run before is gone from the runtime, but was told of when it ended (or got lost).
        present = old.restart_count == newest.attempt
        status.last_state = old.state if old.state.terminated and not present else old.last_state
    if newest.state is cri.State.RUNNING and newest.id not in view.hidden:
        status.state = ContainerState(running=ContainerStateRunning(started_at=_seconds(newest.started_at)))
        _show_health(pod, container, newest, view, status)
        status.resources = view.actual.get(newest.id, container.resources)
        status.allocated_resources = dict(status.resources.requests) if status.resources.requests else None
    elif newest.state is cri.State.EXITED:
        terminated = ContainerState(terminated=_terminated(newest, view))
        status.state = terminated
        status.ready = _is_init(pod, container) and newest.exit_code == 0 and not podutil.is_sidecar(container)
        if container.name in view.waiting and not view.ending and restart.restarts(pod, container, newest.exit_code):
            status.last_state = terminated
            status.state = ContainerState(waiting=_waiting(*view.waiting[container.name]))
            status.ready = False
    else:
        status.state = ContainerState(waiting=_default_waiting(pod, container, view))
    return status


def _never_seen(pod: Pod, container: AnyContainer, view: View, old: ContainerStatus | None) -> ContainerStatus:
    """The runtime knows no run of this container: not yet, or it was removed behind our back."""
    status = ContainerStatus(
        name=container.name,
        image=container.image or "",
        started=False,
        state=ContainerState(waiting=_default_waiting(pod, container, view)),
    )
    if old is None:
        return status
    if old.state.terminated:
        return old
    status.restart_count, status.last_state = old.restart_count, old.last_state
    if old.state.running:
        when = "deleted" if pod.metadata.deletion_timestamp else "terminated"
        lost = ContainerState(
            terminated=ContainerStateTerminated(
                exit_code=137,
                reason="ContainerStatusUnknown",
                message=f"The container could not be located when the pod was {when}.  "
                "The container used to be Running",
            )
        )
        if view.ending or podutil.restart_policy(pod) == "Never":
            status.state = lost
        else:
            status.last_state = lost
        status.image_id, status.container_id = old.image_id, old.container_id
    return status


def _default_waiting(pod: Pod, container: AnyContainer, view: View) -> ContainerStateWaiting:
    if container.name in view.waiting:
        return _waiting(*view.waiting[container.name])
    return _waiting("PodInitializing" if pod.spec.init_containers else "ContainerCreating", "")


def _waiting(reason: str, message: str) -> ContainerStateWaiting:
    return ContainerStateWaiting(reason=reason, message=message or None)


def _seconds(timestamp: str) -> str:
    """The runtime's nanoseconds are cut, as metav1.Time does."""
    return timestamp[:19] + "Z" if timestamp else timestamp


def _terminated(run: cri.ContainerStatus, view: View) -> ContainerStateTerminated:
    return ContainerStateTerminated(
        exit_code=run.exit_code,
        reason=run.reason or ("Completed" if run.exit_code == 0 else "Error"),
        message=view.messages.get(run.id) or run.message or None,
        started_at=_seconds(run.started_at) or None,
        finished_at=_seconds(run.finished_at) or None,
        container_id=PREFIX + run.id,
    )


def _show_health(
    pod: Pod, container: AnyContainer, run: cri.ContainerStatus, view: View, status: ContainerStatus
) -> None:
    health = view.health.get(run.id)
    probed = bool(container.startup_probe or container.readiness_probe)
    status.started = health.started if health else not container.startup_probe
    if _is_init(pod, container) and not podutil.is_sidecar(container):
        status.ready = False
    else:
        status.ready = health.ready if health else not probed


def _is_init(pod: Pod, container: AnyContainer) -> bool:
    return any(c.name == container.name for c in pod.spec.init_containers or ())


def _mount_statuses(container: AnyContainer) -> list[VolumeMountStatus] | None:
    return [
        VolumeMountStatus(
            name=m.name,
            mount_path=m.mount_path,
            read_only=m.read_only or None,
            recursive_read_only="Disabled" if m.read_only else None,
        )
        for m in container.volume_mounts or ()
    ] or None


# -- phase ------------------------------------------------------------------------------------------------------------


def _settled_phase(pod: Pod, view: View, initial: Sequence[ContainerStatus], regular: Sequence[ContainerStatus]) -> str:
    """A pod that has succeeded or failed stays so."""
    if view.previous.phase in ("Succeeded", "Failed"):
        return view.previous.phase
    phase_ = phase(pod, initial, regular, terminal=view.finished)
    # A pod that ends before it ever ran has failed; one that nothing could tell about has, too.
    return "Failed" if view.finished and phase_ in ("Pending", "Running") else phase_


def phase(
    pod: Pod, initial: Sequence[ContainerStatus], regular: Sequence[ContainerStatus], *, terminal: bool = False
) -> str:
    """Upstream's getPhase: `terminal` says that no container will be started again."""
    by_name = {c.name: c for c in pod.spec.init_containers or ()}
    pending = failed_initialization = 0
    for status in initial:
        if podutil.is_sidecar(by_name[status.name]):
            pending += not (status.started or (status.state.terminated and terminal))
        elif status.state.running:
            pending += 1
        else:
            ended = status.state.terminated or (status.last_state.terminated if status.state.waiting else None)
            if ended is None:
                pending += 1
            elif ended.exit_code != 0:
                failed_initialization += 1
                if restart.restarts(pod, by_name[status.name], ended.exit_code):
                    pending += 1
    running = waiting = stopped = succeeded = 0
    for status in regular:
        if status.state.running:
            running += 1
        elif status.state.terminated:
            stopped += 1
            succeeded += status.state.terminated.exit_code == 0
        elif status.last_state.terminated:
            stopped += 1
        else:
            waiting += 1
    if failed_initialization and podutil.restart_policy(pod) == "Never" and not _init_restarts(pod, initial):
        return "Failed"
    initialized = running + stopped > 0
    if waiting > 0 or (pending > 0 and not initialized):
        return "Pending"
    if running > 0:
        return "Running"
    if stopped > 0:
        if terminal:
            return "Succeeded" if stopped == succeeded else "Failed"
        if any(_restarts_after(pod, status) for status in regular):
            return "Running"
        return "Succeeded" if stopped == succeeded else "Failed"
    return "Pending"


def _init_restarts(pod: Pod, initial: Sequence[ContainerStatus]) -> bool:
    by_name = {c.name: c for c in pod.spec.init_containers or ()}
    ended = [(s, s.state.terminated or s.last_state.terminated) for s in initial]
    failed = [(s, t) for s, t in ended if t and t.exit_code != 0 and not s.state.running]
    return all(restart.restarts(pod, by_name[s.name], t.exit_code) for s, t in failed)


def _restarts_after(pod: Pod, status: ContainerStatus) -> bool:
    container = next((c for c in pod.spec.containers if c.name == status.name), None)
    ended = status.state.terminated or status.last_state.terminated
    return container is not None and ended is not None and restart.restarts(pod, container, ended.exit_code)


# -- conditions -------------------------------------------------------------------------------------------------------


def _conditions(
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


def container_specs(pod: Pod) -> dict[str, Container]:
    """Init and main containers by name."""
    return {c.name: c for c in (*(pod.spec.init_containers or ()), *pod.spec.containers)}
