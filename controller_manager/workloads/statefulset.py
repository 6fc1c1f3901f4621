"""StatefulSets: pods with a name, a place in line and storage of their own.

Invariants:
- at most one pod of a name exists at any time: a pod is made anew only when its predecessor is gone from the API;
- nothing is decided before the cache shows what was done last: the pod that was made, the pod that was deleted;
- OrderedReady: pod n is made when all below it are running, ready and available; scaling down goes from the highest,
  one at a time, and waits for each to be gone; Parallel does without the waiting, for scaling only;
- a claim is made before the pod that needs it, and outlives it unless the retention policy says otherwise;
- a rolling update goes from the highest to the partition, never over maxUnavailable (default 1) at a time; OnDelete
  leaves it to the user; pods below the partition are made at the current revision, the others at the update revision;
- the update revision becomes the current one when every pod has it and is ready.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from api import codec, errors
from api.selectors import selector_from
from api.types.apps_v1 import ControllerRevision, StatefulSet, StatefulSetStatus
from api.types.core_v1 import PersistentVolumeClaim, Pod
from client.controller import Controller
from client.expectations import Expectations
from client.store import Key, key_of
from controller_manager import pods as pod_facts
from controller_manager.context import Context
from controller_manager.int_or_percent import scaled
from controller_manager.owners import candidates, claim
from controller_manager.pod_events import PodEvents
from controller_manager.workloads import history
from controller_manager.workloads import statefulset_pods as identity
from controller_manager.workloads.history import History


class _Wait(Exception):
    """The next step has to wait for an event."""


class StatefulSetController:
    def __init__(self, context: Context) -> None:
        self._api, self._batcher = context.api, context.batcher
        self._recorder = context.recorder("statefulset-controller")
        self._sets = context.informers.informer(StatefulSet)
        self._pods = context.informers.informer(Pod)
        self._claims = context.informers.informer(PersistentVolumeClaim)
        self._history = History(context.api, context.informers.informer(ControllerRevision))
        self._expectations = Expectations()
        self._deleted_pods: set[str] = set()  # uids of pods that we deleted and that the cache shows as if they stayed
        self.controller: Controller[Key] = Controller("statefulset", self.reconcile, workers=8)
        self._sets.add_handler(
            on_add=lambda s: self.controller.enqueue(key_of(s)),
            on_update=lambda _, s: self.controller.enqueue(key_of(s)),
            on_delete=self._deleted,
        )
        PodEvents(
            self._pods,
            self._sets,
            "StatefulSet",
            self.controller,
            self._expectations,
            lambda owner, pod: selector_from(owner.spec.selector).matches(pod.metadata.labels),
            lambda owner: owner.spec.min_ready_seconds or 0,
            terminating_counts=False,
        )
        self._pods.add_handler(
            on_update=lambda _, new: self._pod_goes(new) if new.metadata.deletion_timestamp else None,
            on_delete=self._pod_goes,
        )

    async def run(self) -> None:
        await self.controller.run()

    def _pod_goes(self, pod: Pod) -> None:
        self._deleted_pods.discard(pod.metadata.uid or "")

    def _deleted(self, owner: StatefulSet) -> None:
        self._expectations.forget(key_of(owner))
        self.controller.enqueue(key_of(owner))

    async def reconcile(self, key: Key) -> float | None:
        owner = self._sets.get(*key)
        if owner is None:
            return None
        if not self._expectations.satisfied(key):
            return None  # the event that meets them comes back here
        selector = selector_from(owner.spec.selector)
        if selector.empty:
            return None
        revisions = await self._history.list(owner, selector)
        found = await claim(
            self._api,
            owner,
            candidates(self._pods, owner),
            lambda pod: selector.matches(pod.metadata.labels) and identity.ordinal(pod, owner) >= 0,
        )
        collisions = owner.status.collision_count or 0
        if any(pod.metadata.uid in self._deleted_pods for pod in found):
            return None  # so does the event that shows the deletion
        update, collisions = await self._history.newest(owner, revisions, collisions)
        current = next((r for r in revisions if r.metadata.name == owner.status.current_revision), update)
        step = _Step(self, owner, found, current, update)
        failure: errors.StatusError | None = None
        try:
            await step.run()
        except _Wait:
            pass
        except errors.StatusError as error:
            failure = error
        await self._write_status(owner, step.status(collisions))
        live = [current.metadata.name, update.metadata.name, *map(identity.revision_of, found)]
        limit = owner.spec.revision_history_limit
        await self._history.truncate(revisions, live, 10 if limit is None else limit)
        if failure is not None:
            raise failure
        return step.wait

    async def _write_status(self, owner: StatefulSet, status: StatefulSetStatus) -> None:
        if status == owner.status:
            return
        changed = codec.deepcopy(owner)
        changed.status = status
        try:
            await self._api.update_status(changed)
        except errors.StatusError as error:
            if not errors.is_not_found(error):
                raise

    # -- writes -----------------------------------------------------------------------------------------------------

    async def create(self, owner: StatefulSet, pod: Pod, number: int) -> None:
        await self.create_claims(owner, pod, number)
        key = key_of(owner)
        self._expectations.raise_expectations(key, creations=1)
        if self._expectations.satisfied(key):
            self._expectations.expect_creations(key, 1)
        try:
            await self._api.create(pod)
        except errors.StatusError as error:
            self._expectations.creation_observed(key)
            if errors.is_already_exists(error):
                return
            self._tell(owner, pod, "create", error)
            raise
        self._tell(owner, pod, "create")

    async def delete(self, owner: StatefulSet, pod: Pod) -> None:
        try:
            await self._api.delete(
                Pod, pod.metadata.name or "", namespace=pod.metadata.namespace or "", uid=pod.metadata.uid
            )
        except errors.StatusError as error:
            if errors.is_not_found(error):
                return
            self._tell(owner, pod, "delete", error)
            raise
        cached = self._pods.get(pod.metadata.namespace or "", pod.metadata.name or "")
        if cached is not None and cached.metadata.uid == pod.metadata.uid and not cached.metadata.deletion_timestamp:
            self._deleted_pods.add(pod.metadata.uid or "")
        self._tell(owner, pod, "delete")

    def _tell(self, owner: StatefulSet, pod: Pod, verb: str, error: errors.StatusError | None = None) -> None:
        what = f"{verb} Pod {pod.metadata.name} in StatefulSet {owner.metadata.name}"
        if error is None:
            self._recorder.event(owner, "Normal", f"Successful{verb.title()}", f"{what} successful")
        elif not errors.has_cause(error, "NamespaceTerminating"):
            self._recorder.event(owner, "Warning", f"Failed{verb.title()}", f"{what} failed error: {error.message}")

    def warn_recreating(self, owner: StatefulSet, pod: Pod) -> None:
        name = f"{owner.metadata.namespace}/{owner.metadata.name}"
        failed = pod.status.phase == "Failed"
        self._recorder.event(
            owner,
            "Warning" if failed else "Normal",
            "RecreatingFailedPod" if failed else "RecreatingTerminatedPod",
            f"StatefulSet {name} is recreating {'failed' if failed else 'terminated'} Pod {pod.metadata.name}",
        )

    async def create_claims(self, owner: StatefulSet, pod: Pod, number: int) -> None:
        for wanted in identity.claims(owner, number):
            known = self._claims.get(wanted.metadata.namespace or "", wanted.metadata.name or "")
            if known is not None:
                if known.metadata.deletion_timestamp:
                    raise errors.conflict("persistentvolumeclaims", wanted.metadata.name or "", "it is being deleted")
                continue
            what = f"create Claim {wanted.metadata.name} Pod {pod.metadata.name} in StatefulSet {owner.metadata.name}"
            if identity.retention(owner)[0]:
                wanted.metadata.owner_references = identity.claim_owners(owner, None, wanted, condemned=False)
            try:
                await self._api.create(wanted)
            except errors.StatusError as error:
                if errors.is_already_exists(error):
                    continue
                self._recorder.event(owner, "Warning", "FailedCreate", f"{what} failed error: {error.message}")
                raise
            self._recorder.event(owner, "Normal", "SuccessfulCreate", f"{what} success")

    async def keep_claims(self, owner: StatefulSet, pod: Pod, number: int, *, condemned: bool) -> None:
        """Owner references of the pod's claims as the retention policy wants them."""
        for wanted in identity.claims(owner, number):
            known = self._claims.get(wanted.metadata.namespace or "", wanted.metadata.name or "")
            references = None
            if known is not None:
                references = identity.claim_owners(owner, pod, known, condemned=condemned)
            if known is None or references is None:
                continue
            changed = codec.deepcopy(known)
            changed.metadata.owner_references = references or None
            await self._api.update(changed)

    async def repair(self, owner: StatefulSet, pod: Pod, number: int) -> None:
        """Labels that somebody took away."""
        changed = codec.deepcopy(pod)
        identity.give_identity(owner, changed, number)
        await self._api.update(changed)


class _Step:
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
            raise _Wait
        if pod_facts.is_terminal(pod):
            control.warn_recreating(owner, pod)
            if not pod.metadata.deletion_timestamp:
                await control.delete(owner, pod)
            raise _Wait
        if pod.metadata.deletion_timestamp:
            if self._ordered:
                raise _Wait
            return
        if pod.status.phase in (None, "", "Pending"):
            await control.create_claims(owner, pod, number)
        if self._ordered and not self._available(pod):
            raise _Wait
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
                    raise _Wait
                continue
            unhealthy = not self._available(pod)
            if self._ordered and unhealthy and pod is not first_unhealthy:
                raise _Wait
            await self._control.keep_claims(self._owner, pod, number, condemned=True)
            await self._control.delete(self._owner, pod)
            if self._ordered:
                raise _Wait

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
        if isinstance(outcome, _Wait):
            waiting = outcome
        elif isinstance(outcome, BaseException):
            raise outcome
    if waiting is not None:
        raise waiting
