"""The phase of a pod, from the statuses of its containers: upstream's getPhase."""

from __future__ import annotations

from collections.abc import Sequence

from api.types.core_v1 import ContainerStatus, Pod
from kubelet import podutil, restart
from kubelet.view import View


def settled_phase(pod: Pod, view: View, initial: Sequence[ContainerStatus], regular: Sequence[ContainerStatus]) -> str:
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
