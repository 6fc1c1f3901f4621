"""What to do next for a pod that should run: a pure function of its spec and of what the runtime holds.

Upstream's computePodActions, with native sidecars (KEP-753): init containers one after the other, sidecars kept running
beside everything, main containers once initialization is done, all by their restart policies.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from api.types.core_v1 import Pod
from kubelet import cri, podutil, restart
from kubelet.podutil import AnyContainer
from kubelet.probes.prober import Health
from kubelet.view import active_sandbox, runs

HASH = "io.kubernetes.container.hash"


@dataclass(frozen=True, slots=True)
class Kill:
    container: cri.ContainerStatus
    message: str
    probe: str = ""  # "liveness" or "startup" if that is why


@dataclass(slots=True)
class Actions:
    create_sandbox: bool = False
    attempt: int = 0  # of the new sandbox
    kill: list[Kill] = field(default_factory=list)
    start: list[AnyContainer] = field(default_factory=list)
    done: bool = False  # nothing runs and nothing will: the sandbox can go


def container_hash(container: AnyContainer) -> str:
    """Changes with what can only be had by a new container."""
    material = json.dumps({"name": container.name, "image": container.image})
    return hashlib.sha256(material.encode()).hexdigest()[:8]


def compute(pod: Pod, snapshot: cri.PodSnapshot | None, health: Mapping[str, Health]) -> Actions:
    actions = Actions()
    sandbox = active_sandbox(snapshot)
    if sandbox is None or not (sandbox.host_network or sandbox.ips):
        return _from_scratch(pod, snapshot)
    here = _in_sandbox(snapshot, sandbox.id)
    _ephemeral(pod, here, actions)
    if not _initialize(pod, here, health, actions):
        return actions
    keep = 0
    for container in pod.spec.containers:
        run = _newest(here, snapshot, container)
        if run is None or run.state is cri.State.CREATED:
            actions.start.append(container)
        elif run.state is cri.State.EXITED:
            if restart.restarts(pod, container, run.exit_code):
                actions.start.append(container)
        else:
            keep += 1
            if kill := _must_die(pod, container, run, health):
                actions.kill.append(kill)
    if keep == 0 and not [c for c in actions.start if c in pod.spec.containers]:
        actions.start.clear()
        actions.done = True
    return actions


def _newest(
    here: Mapping[str, cri.ContainerStatus], snapshot: cri.PodSnapshot | None, container: AnyContainer
) -> cri.ContainerStatus | None:
    """The run in this sandbox, else how the last one elsewhere ended: it decides about a restart all the same."""
    if container.name in here:
        return here[container.name]
    return next(iter(runs(snapshot, container.name)), None)


def _in_sandbox(snapshot: cri.PodSnapshot | None, sandbox: str) -> dict[str, cri.ContainerStatus]:
    """The newest run of each container in a sandbox."""
    newest: dict[str, cri.ContainerStatus] = {}
    for run in snapshot.containers if snapshot else ():
        if run.sandbox_id == sandbox:
            newest.setdefault(run.name, run)
    return newest


def _from_scratch(pod: Pod, snapshot: cri.PodSnapshot | None) -> Actions:
    """There is no usable sandbox: make one, unless nothing would run in it."""
    attempt = snapshot.sandboxes[0].attempt + 1 if snapshot and snapshot.sandboxes else 0
    had_containers = bool(snapshot and snapshot.containers)
    if attempt and had_containers and not restart.may_restart(pod):
        return Actions(done=True)
    start: list[AnyContainer] = []
    for container in pod.spec.containers:
        last = next(iter(runs(snapshot, container.name)), None)
        if last is None or last.state is not cri.State.EXITED or restart.restarts(pod, container, last.exit_code):
            start.append(container)
    if not start:
        return Actions(done=True)
    actions = Actions(create_sandbox=True, attempt=attempt)
    if pod.spec.init_containers:
        actions.start = [pod.spec.init_containers[0]]
    else:
        actions.start = start
    return actions


def _initialize(
    pod: Pod, here: Mapping[str, cri.ContainerStatus], health: Mapping[str, Health], actions: Actions
) -> bool:
    """Work on the init containers; True once the main containers may run."""
    # Ended init containers may have been cleaned up; a main container proves that they had done their work.
    initialized = any(c.name in here for c in pod.spec.containers)
    for container in pod.spec.init_containers or ():
        run = here.get(container.name)
        if podutil.is_sidecar(container):
            if run is None or run.state is not cri.State.RUNNING:
                actions.start.append(container)
                if not initialized:
                    return False
                continue
            if kill := _must_die(pod, container, run, health):
                actions.kill.append(kill)
            elif not initialized and not _started(container, run, health):
                return False
            continue
        if initialized:
            continue
        if run is None or run.state is cri.State.CREATED:
            actions.start.append(container)
            return False
        if run.state is cri.State.RUNNING:
            if kill := _must_die(pod, container, run, health):
                actions.kill.append(kill)
            return False
        if run.exit_code != 0:
            if restart.restarts(pod, container, run.exit_code):
                actions.start.append(container)
            else:
                actions.done = True
            return False
    return True


def _started(container: AnyContainer, run: cri.ContainerStatus, health: Mapping[str, Health]) -> bool:
    found = health.get(run.id)
    return found.started if found else container.startup_probe is None


def _must_die(pod: Pod, container: AnyContainer, run: cri.ContainerStatus, health: Mapping[str, Health]) -> Kill | None:
    made_from = run.annotations.get(HASH)
    if made_from is not None and made_from != container_hash(container):
        return Kill(run, f"Container {container.name} definition changed, will be restarted")
    found = health.get(run.id)
    if found is None or not found.failed:
        return None
    again = ", will be restarted" if restart.restarts(pod, container, 137) else ""
    return Kill(run, f"Container {container.name} failed {found.failed} probe{again}", probe=found.failed)


def _ephemeral(pod: Pod, here: Mapping[str, cri.ContainerStatus], actions: Actions) -> None:
    """Ephemeral containers run once, whenever the pod's sandbox does."""
    for container in pod.spec.ephemeral_containers or ():
        if container.name not in here:
            actions.start.append(container)
