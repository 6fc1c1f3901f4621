"""In-place resize (KEP-1287): requests and limits of running containers follow the pod's spec, without a restart where
the container's resizePolicy allows it.

What a container runs with is known from an annotation it was created with; after a kubelet's restart a resize is simply
done again, which changes nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING

from api import codec, pod_resources
from api.quantity import Quantity
from api.types.core_v1 import Container, PodCondition, ResourceRequirements
from kubelet import cri, podutil, resources
from kubelet.containers import RESOURCES
from kubelet.view import runs

if TYPE_CHECKING:
    from kubelet.pod_worker import PodWorker

PENDING, IN_PROGRESS = "PodResizePending", "PodResizeInProgress"
RETRY = 10.0  # seconds, for a resize that has to wait for room


def running_with(run: cri.ContainerStatus) -> ResourceRequirements | None:
    text = run.annotations.get(RESOURCES)
    return codec.decode(text, ResourceRequirements) if text else None


def same(one: ResourceRequirements, other: ResourceRequirements) -> bool:
    return pod_resources.amounts(one.requests) == pod_resources.amounts(other.requests) and (
        pod_resources.amounts(one.limits) == pod_resources.amounts(other.limits)
    )


def changed(one: ResourceRequirements, other: ResourceRequirements) -> set[str]:
    """Names of the resources that differ."""
    names: set[str] = set()
    for before, after in ((one.requests, other.requests), (one.limits, other.limits)):
        old, new = pod_resources.amounts(before), pod_resources.amounts(after)
        names |= {name for name in old.keys() | new.keys() if old.get(name) != new.get(name)}
    return names


class Resizer:
    """The resizing part of a pod worker."""

    def __init__(self, worker: PodWorker) -> None:
        self._worker = worker
        self.applied: dict[str, ResourceRequirements] = {}  # container id -> what it runs with now
        self.conditions: list[PodCondition] = []
        self.retry_at = 0.0  # loop time; after trouble the next attempt waits a little

    def actual(self) -> Mapping[str, ResourceRequirements]:
        """What the running containers run with, by container id."""
        known = self._worker.snapshot.containers if self._worker.snapshot else ()
        found: dict[str, ResourceRequirements] = {}
        for run in known:
            if run.state is cri.State.RUNNING and (value := self.applied.get(run.id) or running_with(run)):
                found[run.id] = value
        self.applied = {id: value for id, value in self.applied.items() if id in found}
        return found

    def wanted(self) -> list[tuple[Container, cri.ContainerStatus, ResourceRequirements]]:
        """(container, its run, what it runs with) for each that should have something else."""
        pod, actual = self._worker.pod, self.actual()
        found: list[tuple[Container, cri.ContainerStatus, ResourceRequirements]] = []
        for container in (*pod.spec.containers, *(pod.spec.init_containers or ())):
            run = next(iter(runs(self._worker.snapshot, container.name)), None)
            if run is not None and run.id in actual and not same(actual[run.id], container.resources):
                found.append((container, run, actual[run.id]))
        return found

    def settle(self) -> None:
        """Nothing is to be resized (any more)."""
        self.conditions = []

    def fits(self) -> bool:
        """Is there room for what the spec asks? Sets the pending condition if not."""
        worker = self._worker
        allocatable = worker.services.allocatable()
        others: pod_resources.Amounts = {}
        for other in worker.services.neighbours(worker.uid):
            pod_resources.add(others, pod_resources.pod_requests(other))
        for name, amount in pod_resources.pod_requests(worker.pod).items():
            room = allocatable.get(name, Quantity(0))
            if name not in ("cpu", "memory"):
                continue
            if amount > room:
                message = (
                    f"Node didn't have enough capacity: {name}, requested: {_number(name, amount)}, "
                    f"capacity: {_number(name, room)}"
                )
                self._pending("Infeasible", message)
                return False
            if amount + others.get(name, Quantity(0)) > room:
                self._pending("Deferred", f"Node didn't have enough resource: {name}")
                return False
        return True

    def _pending(self, reason: str, message: str) -> None:
        self.conditions = [PodCondition(type=PENDING, status="True", reason=reason, message=message)]

    async def run(self) -> None:
        """Do it. Trouble becomes a condition; the next round tries again."""
        worker = self._worker
        services, pod = worker.services, worker.pod
        self.conditions = [PodCondition(type=IN_PROGRESS, status="True")]
        worker.publish()
        try:
            todo = self.wanted()
            for container, run, before in todo:
                if _needs_restart(container, changed(before, container.resources)):
                    message = f"Container {container.name} resize requires restart, will be restarted"
                    await worker.killer().kill(run, grace=podutil.spec_grace(pod), message=message)
            await services.runtime.update_pod_resources(
                worker.uid, resources.cgroup_parent(pod), resources.pod_resources(pod)
            )
            for container, run, before in todo:
                if not _needs_restart(container, changed(before, container.resources)):
                    limits = resources.container_resources(
                        pod, container, memory_capacity=services.containers.memory_capacity()
                    )
                    await services.runtime.update_container_resources(run.id, limits)
                    self.applied[run.id] = container.resources
        except cri.RuntimeFailure as error:
            self.conditions = [
                PodCondition(type=IN_PROGRESS, status="True", reason="Error", message=str(error)),
            ]
            self.retry_at = asyncio.get_running_loop().time() + RETRY
        else:
            self.settle()


def _needs_restart(container: Container, names: set[str]) -> bool:
    policies = {p.resource_name: p.restart_policy for p in container.resize_policy or ()}
    return any(policies.get(name) == "RestartContainer" for name in names)


def _number(name: str, amount: Quantity) -> int:
    return amount.milli if name == "cpu" else amount.value
