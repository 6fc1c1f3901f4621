"""The row of a pod: its STATUS sums up phase, conditions and containers into the one word people look for."""

from __future__ import annotations

from typing import Any

from api.types import core_v1, meta_v1
from apiserver.printers import age, columns, containers_and_images, format_labels

POD = columns(
    "Name", "Ready", "Status", "Restarts", "Age", "+IP", "+Node", "+Nominated Node", "+Readiness Gates"
)  # fmt: skip
POD_TEMPLATE = columns("Name", "Containers", "Images", "Pod Labels")

_COMPLETED = {
    "Succeeded": "The pod has completed successfully.",
    "Failed": "The pod failed.",
}


def pod_row_conditions(pod: core_v1.Pod) -> list[dict[str, str]] | None:
    """The `conditions` of a Table row: a finished pod is marked as completed."""
    phase = pod.status.phase or ""
    if phase not in _COMPLETED:
        return None
    return [{"type": "Completed", "status": "True", "reason": phase, "message": _COMPLETED[phase]}]


def pod_cells(pod: core_v1.Pod) -> list[Any]:
    spec, status, metadata = pod.spec, pod.status, pod.metadata
    row = _Summary(pod)
    restarts = str(row.restarts)
    if row.restarts and row.last_restart:
        restarts = f"{row.restarts} ({age(row.last_restart)} ago)"
    gates = "<none>"
    if spec.readiness_gates:
        statuses: dict[str, str] = {}
        for condition in status.conditions or ():
            statuses.setdefault(condition.type, condition.status)
        true = sum(statuses.get(gate.condition_type) == "True" for gate in spec.readiness_gates)
        gates = f"{true}/{len(spec.readiness_gates)}"
    return [
        metadata.name,
        f"{row.ready}/{row.total}",
        row.reason,
        restarts,
        age(metadata.creation_timestamp),
        (status.pod_ips[0].ip if status.pod_ips else "") or "<none>",
        spec.node_name or "<none>",
        status.nominated_node_name or "<none>",
        gates,
    ]


class _Summary:
    """What upstream's printPod computes: reason, ready and total containers, restarts and the last one's time."""

    __slots__ = ("last_restart", "ready", "reason", "restarts", "total")

    def __init__(self, pod: core_v1.Pod) -> None:
        spec, status = pod.spec, pod.status
        phase = status.phase or ""
        self.reason = status.reason or phase
        self.ready = 0
        self.total = len(spec.containers)
        self.restarts = 0
        self.last_restart = ""
        conditions = status.conditions or ()
        for condition in conditions:
            if condition.type == "PodScheduled" and condition.reason == "SchedulingGated":
                self.reason = "SchedulingGated"
        initializing = self._init_containers(pod) if spec.init_containers else False
        initialized = next((c.status == "True" for c in conditions if c.type == "Initialized"), False)
        if not initializing or initialized:
            self._containers(status)
        if pod.metadata.deletion_timestamp:
            if status.reason == "NodeLost":
                self.reason = "Unknown"
            elif phase not in ("Succeeded", "Failed"):
                self.reason = "Terminating"

    def _restarted(self, container: core_v1.ContainerStatus) -> None:
        self.restarts += container.restart_count
        terminated = container.last_state.terminated
        # RFC 3339 in UTC sorts as text.
        if terminated is not None and (terminated.finished_at or "") > self.last_restart:
            self.last_restart = terminated.finished_at or ""

    def _init_containers(self, pod: core_v1.Pod) -> bool:
        """Go through the init containers up to the one that is not done; True if there is one."""
        init_containers = pod.spec.init_containers or ()
        sidecars = {c.name for c in init_containers if c.restart_policy == "Always"}
        self.total += len(sidecars)
        sidecar_restarts, sidecar_last = 0, ""
        unfinished = False
        for index, container in enumerate(pod.status.init_container_statuses or ()):
            self._restarted(container)
            sidecar = container.name in sidecars
            last = container.last_state.terminated
            if sidecar:
                sidecar_restarts += container.restart_count
                if last is not None:
                    sidecar_last = max(sidecar_last, last.finished_at or "")
            state = container.state
            if state.terminated is not None and state.terminated.exit_code == 0:
                continue
            if sidecar and container.started:
                self.ready += container.ready
                continue
            if state.terminated is not None:
                self.reason = f"Init:{_terminated(state.terminated)}"
            elif state.waiting is not None and state.waiting.reason and state.waiting.reason != "PodInitializing":
                self.reason = f"Init:{state.waiting.reason}"
            else:
                self.reason = f"Init:{index}/{len(init_containers)}"
            unfinished = True
            break
        initialized = any(c.type == "Initialized" and c.status == "True" for c in pod.status.conditions or ())
        if not unfinished or initialized:
            # Past initialization only the sidecars' restarts still count.
            self.restarts, self.last_restart = sidecar_restarts, sidecar_last
        return unfinished

    def _containers(self, status: core_v1.PodStatus) -> None:
        running = False
        for container in reversed(status.container_statuses or ()):
            self._restarted(container)
            state = container.state
            if state.waiting is not None and state.waiting.reason:
                self.reason = state.waiting.reason
            elif state.terminated is not None:
                self.reason = _terminated(state.terminated)
            elif container.ready and state.running is not None:
                running = True
                self.ready += 1
        if self.reason == "Completed" and running:
            ready = any(c.type == "Ready" and c.status == "True" for c in status.conditions or ())
            self.reason = "Running" if ready else "NotReady"


def _terminated(state: core_v1.ContainerStateTerminated) -> str:
    if state.reason:
        return state.reason
    return f"Signal:{state.signal}" if state.signal else f"ExitCode:{state.exit_code}"


def pod_template_cells(template: core_v1.PodTemplate) -> list[Any]:
    metadata: meta_v1.ObjectMeta = template.metadata
    names, images = containers_and_images(template.template.spec.containers)
    return [metadata.name, names, images, format_labels(template.template.metadata.labels)]
