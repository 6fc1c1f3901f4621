"""PodStatus from what the node knows. Pure functions; words and order are upstream's.

What is computed here is complete but for conditions of others (readiness gates, the scheduler's), which stay theirs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from api import time as api_time
from api.pod_resources import qos_class
from api.types.core_v1 import (
    ContainerState,
    ContainerStateRunning,
    ContainerStateTerminated,
    ContainerStateWaiting,
    ContainerStatus,
    ContainerUser,
    HostIP,
    LinuxContainerUser,
    Pod,
    PodIP,
    PodStatus,
    VolumeMountStatus,
)
from kubelet import cri, podutil, restart
from kubelet.conditions import conditions
from kubelet.phase import settled_phase
from kubelet.podutil import AnyContainer
from kubelet.view import PREFIX, Verdict, View, active_sandbox, runs


def compute(pod: Pod, view: View) -> PodStatus:
    if view.verdict and view.verdict.refused:
        return _refused(pod, view, view.verdict)
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
        qos_class=qos_class(pod.spec),
        start_time=view.previous.start_time or api_time.now(),
        observed_generation=pod.metadata.generation,
        reason=view.previous.reason,
        message=view.previous.message,
        resize=view.previous.resize,
    )
    _addresses(pod, view, status)
    status.phase = settled_phase(pod, view, initial, regular)
    if view.verdict:
        status.phase = view.verdict.phase
        status.reason, status.message = view.verdict.reason, view.verdict.message
    status.conditions = conditions(pod, view, status, initial, regular)
    return status


def _refused(pod: Pod, view: View, verdict: Verdict) -> PodStatus:
    """Nothing but the refusal, as upstream: with containers in it kubectl would show what those wait for instead."""
    return PodStatus(
        phase=verdict.phase,
        reason=verdict.reason,
        message=verdict.message,
        qos_class=qos_class(pod.spec),
        start_time=view.previous.start_time or api_time.now(),
        observed_generation=pod.metadata.generation,
        conditions=view.previous.conditions,
    )


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
    if newest.user is not None and newest.state is cri.State.RUNNING:
        user = newest.user
        status.user = ContainerUser(
            linux=LinuxContainerUser(uid=user.uid, gid=user.gid, supplemental_groups=list(user.supplemental_groups))
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
