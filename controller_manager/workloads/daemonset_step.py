"""One reconcile of a DaemonSet: which nodes get a pod, which pods go, and what the status says then.

Where pods may be is `daemonset_pods.placement`'s word, the pace of an update `daemonset_update`'s.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from api import errors
from api.types.apps_v1 import DaemonSet, DaemonSetStatus
from api.types.core_v1 import Pod
from controller_manager import pods as pod_facts
from controller_manager.int_or_percent import scaled
from controller_manager.workloads import daemonset_pods as daemon
from controller_manager.workloads.daemonset_update import Update
from controller_manager.workloads.history import REVISION_LABEL

if TYPE_CHECKING:
    from controller_manager.workloads.daemonset import DaemonSetController


class Step:
    """One reconcile."""

    def __init__(self, controller: DaemonSetController, owner: DaemonSet, found: list[Pod], revision: str) -> None:
        self._control, self._owner, self._revision = controller, owner, revision
        self._pod = daemon.template_pod(owner, revision)
        self._nodes = {n.metadata.name or "": n for n in controller.nodes}
        self._should = {name: daemon.placement(owner, node, self._pod) for name, node in self._nodes.items()}
        self._by_node: dict[str, list[Pod]] = {}
        for pod in found:
            self._by_node.setdefault(daemon.node_of(pod) or "", []).append(pod)
        self._now = datetime.now(UTC)
        self._min_ready = owner.spec.min_ready_seconds or 0
        waits = [pod_facts.available_in(p, self._min_ready, self._now) for p in found]
        self.wait: float | None = min((w + 1 for w in waits if w), default=None)

    def _available(self, pod: Pod) -> bool:
        return pod_facts.is_available(pod, self._min_ready, self._now)

    def _updated(self, pod: Pod) -> bool:
        labels = pod.metadata.labels or {}
        number = daemon.generation(self._owner)
        by_generation = number is not None and labels.get(daemon.GENERATION_LABEL) == number
        return by_generation or labels.get(REVISION_LABEL) == self._revision

    async def place(self) -> errors.StatusError | None:
        creates, deletes = [], []
        for name, (run, stay) in self._should.items():
            there = self._by_node.get(name, [])
            if run and not there:
                creates.append(name)
            elif stay:
                create, delete = self._tidy(name, there)
                creates += [name] if create else []
                deletes += delete
            else:
                deletes += there
        for name, there in self._by_node.items():
            if name not in self._nodes:
                deletes += [p for p in there if not p.spec.node_name]  # the others are the pod collector's
        return await self._control.change(self._owner, [daemon.pinned(self._pod, name) for name in creates], deletes)

    def _tidy(self, name: str, there: list[Pod]) -> tuple[bool, list[Pod]]:
        """What to do about the pods of a node that may have one: create another?, and which to delete."""
        running, deletes = [], []
        for pod in there:
            if pod.metadata.deletion_timestamp:
                continue
            if pod.status.phase == "Failed":
                left = self._control.failed(self._owner, name, pod)
                if left:
                    self.wait = left if self.wait is None else min(self.wait, left)
                else:
                    deletes.append(pod)
            elif pod.status.phase == "Succeeded":
                self._control.succeeded(self._owner, name, pod)
                deletes.append(pod)
            else:
                running.append(pod)
        if not self._surge():
            running.sort(key=lambda p: (not p.spec.node_name, p.metadata.creation_timestamp or ""))
            return False, deletes + running[1:]
        old = [p for p in running if not self._updated(p)]
        new = [p for p in running if self._updated(p)]
        for versions in (old, new):
            versions.sort(key=lambda p: (not pod_facts.is_ready(p), p.metadata.creation_timestamp or ""))
        deletes += old[1:] + new[1:]
        if old and new and (not pod_facts.is_ready(old[0]) or self._available(new[0])):
            deletes.append(old[0])
        return False, deletes

    def _surge(self) -> int:
        return self._limits()[0]

    def _limits(self) -> tuple[int, int]:
        """maxSurge and maxUnavailable in nodes."""
        desired = sum(run for run, _ in self._should.values())
        rolling = self._owner.spec.update_strategy.rolling_update
        if self._owner.spec.update_strategy.type == "OnDelete" or rolling is None:
            return 0, 1
        surge = scaled(rolling.max_surge, desired, round_up=True)
        unavailable = scaled(rolling.max_unavailable, desired, round_up=True)
        return surge, 1 if not surge and not unavailable and desired else unavailable

    async def update(self) -> errors.StatusError | None:
        surge, unavailable = self._limits()
        places = {name: self._by_node.get(name, []) for name, (run, _) in self._should.items() if run}
        plan = Update(places, self._updated, self._available, unavailable)
        if surge:
            names, deletes = plan.surging(surge)
        else:
            names, deletes = [], plan.replacing()
        return await self._control.change(self._owner, [daemon.pinned(self._pod, name) for name in names], deletes)

    def status(self, collisions: int) -> DaemonSetStatus:
        desired = current = misplaced = ready = available = updated = 0
        for name, (run, _) in self._should.items():
            there = self._by_node.get(name, [])
            if not run:
                misplaced += bool(there)
                continue
            desired += 1
            if not there:
                continue
            current += 1
            oldest_first = sorted(there, key=lambda p: p.metadata.creation_timestamp or "")
            readiest = sorted(oldest_first, key=lambda p: not pod_facts.is_ready(p))[0]
            if pod_facts.is_ready(readiest):
                ready += 1
                available += self._available(readiest)
            updated += any(self._updated(p) for p in there)
        return DaemonSetStatus(
            observed_generation=self._owner.metadata.generation,
            desired_number_scheduled=desired,
            current_number_scheduled=current,
            number_misscheduled=misplaced,
            number_ready=ready,
            number_available=available or None,
            number_unavailable=desired - available or None,
            updated_number_scheduled=updated or None,
            collision_count=collisions or self._owner.status.collision_count,
            conditions=self._owner.status.conditions,
        )
