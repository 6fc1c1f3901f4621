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

from api import errors
from api.selectors import selector_from
from api.types.apps_v1 import ControllerRevision, DaemonSet
from api.types.core_v1 import Node, Pod
from client.controller import Controller
from client.expectations import Expectations
from client.store import Key, key_of
from controller_manager import pods as pod_facts
from controller_manager import statuses
from controller_manager.context import Context
from controller_manager.expected_pods import ExpectedPods
from controller_manager.owners import candidates, claim
from controller_manager.pod_control import PodControl
from controller_manager.pod_events import PodEvents
from controller_manager.workloads.daemonset_step import Step
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
        self._history = History(context.api, context.informers.informer(ControllerRevision), REVISION_LABEL)
        self._expectations = Expectations()
        self._expected = ExpectedPods(PodControl(context.batcher, self._recorder), self._expectations)
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
        hashed = (newest.metadata.labels or {}).get(REVISION_LABEL) or newest.metadata.name or ""
        found = await claim(
            self._api, owner, candidates(self._pods, owner), lambda pod: selector.matches(pod.metadata.labels)
        )
        step = Step(self, owner, found, hashed)
        failure = None
        if self._expectations.satisfied(key):
            failure = await step.place()
        if failure is None and self._expectations.satisfied(key) and owner.spec.update_strategy.type != "OnDelete":
            failure = await step.update()
        limit = owner.spec.revision_history_limit
        live = [newest.metadata.name, *(f"{key[1]}-{(p.metadata.labels or {}).get(REVISION_LABEL)}" for p in found)]
        await self._history.truncate(revisions, live, 10 if limit is None else limit)
        await statuses.write(self._api, owner, step.status(collisions))
        if failure is not None:
            raise failure
        return step.wait

    # -- writes -----------------------------------------------------------------------------------------------------

    async def change(self, owner: DaemonSet, creates: list[Pod], deletes: list[Pod]) -> errors.StatusError | None:
        """Create and delete; the first failure."""
        deletes = [p for p in deletes if not p.metadata.deletion_timestamp]
        if not creates and not deletes:
            return None
        return await self._expected.change(owner, creates[:BURST], deletes[:BURST])

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
