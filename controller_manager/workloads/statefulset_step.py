"""One reconcile of a StatefulSet: which pod comes next, which goes, and what the status says then.

The order is what keeps the promises that `statefulset.py` states at its top.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from api.types.apps_v1 import ControllerRevision, StatefulSet, StatefulSetStatus
from api.types.core_v1 import Pod
from controller_manager import pods as pod_facts
from controller_manager.int_or_percent import scaled
from controller_manager.workloads import history
from controller_manager.workloads import statefulset_pods as identity

if TYPE_CHECKING:
    from controller_manager.workloads.statefulset import StatefulSetController


class Wait(Exception):
    """The next step has to wait for an event."""


class Step:
    """One reconcile: what to do next with these pods."""

    def __init__(
        self,
        controller: StatefulSetController,
        owner: StatefulSet,
        found: Sequence[Pod],
        current: ControllerRevision,
        update: ControllerRevision,
    ) -> None:
        self._control, self._owner, self._found = controller, owner, found
        self._current, self._update = current, update
        self._now = datetime.now(UTC)
        self._min_ready = owner.spec.min_ready_seconds or 0
        self._ordered = owner.spec.pod_management_policy != "Parallel"
        self._count = 1 if owner.spec.replicas is None else owner.spec.replicas
        self._start = identity.start(owner)
        self.wait: float | None = None
        by_number = {identity.ordinal(p, owner): p for p in found}
        numbers = range(self._start, self._start + self._count)
        self._replicas: dict[int, Pod | None] = {n: by_number.get(n) for n in numbers}
        self._condemned = sorted(((n, p) for n, p in by_number.items() if n not in numbers), reverse=True)

    async def run(self) -> None:
        if self._owner.metadata.deletion_timestamp:
            return
        self._note_waits()
        await self._fill()
        await self._shrink()
        if self._owner.spec.update_strategy.type != "OnDelete":
            await self._roll()

    # -- facts ------------------------------------------------------------------------------------------------------

    def _running(self, pod: Pod) -> bool:
        return pod.status.phase == "Running" and pod_facts.is_ready(pod)

    def _available(self, pod: Pod) -> bool:
        return self._running(pod) and pod_facts.is_available(pod, self._min_ready, self._now)

    def _healthy(self, pod: Pod) -> bool:
        return self._available(pod) and not pod.metadata.deletion_timestamp

    def _note_waits(self) -> None:
        waits = [pod_facts.available_in(p, self._min_ready, self._now) for p in self._found]
        self.wait = min((w + 1 for w in waits if w), default=None)

    def _partition(self) -> int:
        rolling = self._owner.spec.update_strategy.rolling_update
        return (rolling.partition or 0) if rolling else 0

    def _new_pod(self, number: int) -> Pod:
        """Below the partition (or what a plain update has not reached) the current revision, else the update."""
        strategy = self._owner.spec.update_strategy
        bound = -1
        if strategy.type != "OnDelete":
            rolling = strategy.rolling_update
            bound = self._partition() if rolling else (self._owner.status.current_replicas or 0)
        revision = self._current if number < self._start + bound else self._update
        owner: StatefulSet = history.apply(self._owner, revision)
        return identity.new_pod(owner, number, revision.metadata.name or "")

    # -- steps ------------------------------------------------------------------------------------------------------

    async def _fill(self) -> None:
        if not self._ordered:
            outcomes = await asyncio.gather(
                *(self._fill_one(n, p) for n, p in self._replicas.items()), return_exceptions=True
            )
            _raise_first(outcomes)
            return
        for number, pod in self._replicas.items():
            await self._fill_one(number, pod)

    async def _fill_one(self, number: int, pod: Pod | None) -> None:
        owner, control = self._owner, self._control
        if pod is None:
            await control.create(owner, self._new_pod(number), number)
            raise Wait
        if pod_facts.is_terminal(pod):
            control.warn_recreating(owner, pod)
            if not pod.metadata.deletion_timestamp:
                await control.delete(owner, pod)
            raise Wait
        if pod.metadata.deletion_timestamp:
            if self._ordered:
                raise Wait
            return
        if pod.status.phase in (None, "", "Pending"):
            await control.create_claims(owner, pod, number)
        if self._ordered and not self._available(pod):
            raise Wait
        if not identity.identity_matches(owner, pod, number):
            await control.repair(owner, pod, number)
        await control.keep_claims(owner, pod, number, condemned=False)

    async def _shrink(self) -> None:
        if not self._condemned:
            return
        everyone = [p for p in self._replicas.values() if p is not None] + [p for _, p in self._condemned[::-1]]
        first_unhealthy = next((p for p in everyone if not self._healthy(p)), None)
        for number, pod in self._condemned:
            if pod.metadata.deletion_timestamp:
                if self._ordered:
                    raise Wait
                continue
            unhealthy = not self._available(pod)
            if self._ordered and unhealthy and pod is not first_unhealthy:
                raise Wait
            await self._control.keep_claims(self._owner, pod, number, condemned=True)
            await self._control.delete(self._owner, pod)
            if self._ordered:
                raise Wait

    async def _roll(self) -> None:
        rolling = self._owner.spec.update_strategy.rolling_update
        most = 1
        if rolling is not None and rolling.max_unavailable is not None:
            most = max(1, scaled(rolling.max_unavailable, self._count, round_up=False))
        pods = [(n, p) for n, p in sorted(self._replicas.items()) if p is not None]
        unavailable = sum(1 for _, p in pods if not self._healthy(p))
        for number, pod in reversed(pods):
            if number < self._start + self._partition():
                break
            outdated = identity.revision_of(pod) != self._update.metadata.name
            if outdated and not pod.metadata.deletion_timestamp:
                # one that is down already costs nothing more
                if self._healthy(pod):
                    if unavailable >= most:
                        break
                    unavailable += 1
                await self._control.delete(self._owner, pod)
            elif not self._healthy(pod) and most == 1:
                break

    # -- status -----------------------------------------------------------------------------------------------------

    def status(self, collisions: int) -> StatefulSetStatus:
        current, update = self._current.metadata.name, self._update.metadata.name
        live = [p for p in self._found if not p.metadata.deletion_timestamp]
        at_current = sum(1 for p in live if identity.revision_of(p) == current)
        at_update = sum(1 for p in live if identity.revision_of(p) == update)
        ready = sum(1 for p in self._found if self._running(p))
        status = StatefulSetStatus(
            observed_generation=self._owner.metadata.generation,
            replicas=len(self._found),
            ready_replicas=ready or None,
            available_replicas=sum(1 for p in self._found if self._available(p)),
            current_replicas=at_current or None,
            updated_replicas=at_update or None,
            current_revision=current,
            update_revision=update,
            collision_count=collisions,
            conditions=self._owner.status.conditions,
        )
        complete = at_update == ready == len(self._found) == self._count
        if self._owner.spec.update_strategy.type != "OnDelete" and complete:
            status.current_replicas, status.current_revision = status.updated_replicas, update
        return status


def _raise_first(outcomes: Sequence[Any]) -> None:
    waiting = None
    for outcome in outcomes:
        if isinstance(outcome, Wait):
            waiting = outcome
        elif isinstance(outcome, BaseException):
            raise outcome
    if waiting is not None:
        raise waiting
