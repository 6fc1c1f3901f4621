"""DaemonSets: one pod on every node that matches, as nodes come and go.

Invariants:
- a node that should run the daemon has one pod (during a surging update two), any other node none; a pod that is
  already there when a NoSchedule taint appears may stay;
- failed pods are replaced, with backoff per node, so that a broken daemon does not burn the API;
- a rolling update keeps at most maxUnavailable nodes without an available pod, or with maxSurge starts the new pod
  before the old one is stopped; OnDelete leaves it to the user;
- the template's versions are ControllerRevisions, as a StatefulSet's are.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

from api import codec, errors
from api.selectors import selector_from
from api.types.apps_v1 import ControllerRevision, DaemonSet, DaemonSetStatus
from api.types.core_v1 import Node, Pod
from client.controller import Controller
from client.expectations import Expectations
from client.store import Key, key_of
from controller_manager import pods as pod_facts
from controller_manager.context import Context
from controller_manager.int_or_percent import scaled
from controller_manager.owners import candidates, claim
from controller_manager.pod_control import PodControl, first_failure, slow_start
from controller_manager.pod_events import PodEvents
from controller_manager.workloads import daemonset_pods as daemon
from controller_manager.workloads.daemonset_update import Update
from controller_manager.workloads.history import REVISION_LABEL, History

BURST = 250
_FIRST_BACKOFF, _MAX_BACKOFF = 1.0, 900.0


class DaemonSetController:
    def __init__(self, context: Context) -> None:
        self._api = context.api
        self._recorder = context.recorder("daemonset-controller")
        self._sets = context.informers.informer(DaemonSet)
        self._pods = context.informers.informer(Pod)
        self._nodes = context.informers.informer(Node)
        self._history = History(context.api, context.informers.informer(ControllerRevision))
        self._expectations = Expectations()
        self._pod_control = PodControl(context.batcher, self._recorder)
        self._backoff: dict[tuple[str, str], tuple[float, float]] = {}  # (uid, node) -> (seconds, last failure)
        self.controller: Controller[Key] = Controller("daemonset", self.reconcile, workers=4)
        self._sets.add_handler(
            on_add=lambda ds: self.controller.enqueue(key_of(ds)),
            on_update=lambda _, ds: self.controller.enqueue(key_of(ds)),
            on_delete=self._deleted,
        )
        self._nodes.add_handler(
            on_add=lambda _: self._wake_all(), on_update=self._node_updated, on_delete=lambda _: self._wake_all()
        )
        PodEvents(
            self._pods,
            self._sets,
            "DaemonSet",
            self.controller,
            self._expectations,
            lambda owner, pod: selector_from(owner.spec.selector).matches(pod.metadata.labels),
            lambda owner: owner.spec.min_ready_seconds or 0,
            terminating_counts=False,
        )

    async def run(self) -> None:
        await self.controller.run()

    def _deleted(self, owner: DaemonSet) -> None:
        self._expectations.forget(key_of(owner))
        for known in [k for k in self._backoff if k[0] == owner.metadata.uid]:
            del self._backoff[known]

    def _wake_all(self) -> None:
        for owner in self._sets.list():
            self.controller.enqueue(key_of(owner))

    def _node_updated(self, old: Node, new: Node) -> None:
        before = (old.metadata.labels, _essence(old), old.spec.unschedulable)
        if before != (new.metadata.labels, _essence(new), new.spec.unschedulable):
            self._wake_all()

    async def reconcile(self, key: Key) -> float | None:
        owner = self._sets.get(*key)
        if owner is None:
            self._expectations.forget(key)
            return None
        selector = selector_from(owner.spec.selector)
        if selector.empty:
            message = "This daemon set is selecting all pods. A non-empty selector is required."
            self._recorder.event(owner, "Warning", "SelectingAll", message)
            return None
        if owner.metadata.deletion_timestamp:
            return None
        revisions = await self._history.list(owner, selector)
        newest, collisions = await self._history.newest(owner, revisions, owner.status.collision_count or 0)
        hashed = (newest.metadata.labels or {})["controller.kubernetes.io/hash"]
        found = await claim(
            self._api, owner, candidates(self._pods, owner), lambda pod: selector.matches(pod.metadata.labels)
        )
        step = _Step(self, owner, found, hashed)
        failure = None
        if self._expectations.satisfied(key):
            failure = await step.place()
        if failure is None and self._expectations.satisfied(key) and owner.spec.update_strategy.type != "OnDelete":
            failure = await step.update()
        limit = owner.spec.revision_history_limit
        live = [newest.metadata.name, *(f"{key[1]}-{(p.metadata.labels or {}).get(REVISION_LABEL)}" for p in found)]
        await self._history.truncate(revisions, live, 10 if limit is None else limit)
        await self._write_status(owner, step.status(collisions))
        if failure is not None:
            raise failure
        return step.wait

    async def _write_status(self, owner: DaemonSet, status: DaemonSetStatus) -> None:
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

    async def change(self, owner: DaemonSet, creates: list[Pod], deletes: list[Pod]) -> errors.StatusError | None:
        """Create and delete; the first failure."""
        key = key_of(owner)
        creates = creates[:BURST]
        deletes = [p for p in deletes if not p.metadata.deletion_timestamp][:BURST]
        if not creates and not deletes:
            return None
        self._expectations.expect_deletions(key, map(pod_facts.key, deletes))
        self._expectations.raise_expectations(key, creations=len(creates))

        def creating(pod: Pod) -> Callable[[], object]:
            async def create() -> None:
                try:
                    await self._pod_control.create(pod, owner)
                except errors.StatusError:
                    self._expectations.creation_observed(key)
                    raise

            return create

        async def delete(pod: Pod) -> None:
            try:
                await self._pod_control.delete(pod, owner)
            except errors.StatusError as error:
                self._expectations.deletion_observed(key, pod_facts.key(pod))
                if not errors.is_not_found(error):
                    raise

        failure = await slow_start(
            [creating(p) for p in creates], lambda n: self._expectations.creation_observed(key, n)
        )
        outcomes = await asyncio.gather(*map(delete, deletes), return_exceptions=True)
        return failure or first_failure(outcomes)

    def failed(self, owner: DaemonSet, node: str, pod: Pod) -> float:
        """Seconds to wait before this failed pod is deleted; 0: now."""
        loop = asyncio.get_running_loop()
        key = (owner.metadata.uid or "", node)
        seconds, since = self._backoff.get(key, (0.0, 0.0))
        if loop.time() < since + seconds:
            return since + seconds - loop.time()
        if seconds and loop.time() - since > 2 * _MAX_BACKOFF:
            seconds = 0.0
        self._backoff[key] = (min(max(seconds * 2, _FIRST_BACKOFF), _MAX_BACKOFF), loop.time())
        message = f"Found failed daemon pod {pod_facts.key(pod)} on node {node}, will try to kill it"
        self._recorder.event(owner, "Warning", "FailedDaemonPod", message)
        return 0.0

    def succeeded(self, owner: DaemonSet, node: str, pod: Pod) -> None:
        message = f"Found succeeded daemon pod {pod_facts.key(pod)} on node {node}, will try to delete it"
        self._recorder.event(owner, "Normal", "SucceededDaemonPod", message)

    @property
    def nodes(self) -> list[Node]:
        return self._nodes.list()


def _essence(node: Node) -> list[tuple[str, str | None, str]]:
    return sorted((t.key, t.value, t.effect) for t in node.spec.taints or ())


class _Step:
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
        if old and new and self._available(new[0]):
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
