"""The loop: pods from the queue to decisions, decisions to bindings; and everything the informers have to say.

Invariants:
- A decision is counted at once in the table (assumed), so that the next pod sees it; a binding that fails is taken
  back and its pod tried again. A pod is never bound twice: the apiserver refuses a second binding.
- Deciding happens between two events of the loop, never across an await: the table does not change under it.
- Bindings, status and events go out in batches that a writer of their own sends, so that deciding never waits.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import time
from collections.abc import Callable
from typing import Any, TypeVar

from prometheus_client import Counter, Gauge, Histogram

from api import errors
from api import time as api_time
from api.pod_resources import is_resizing
from api.types.core_v1 import Node, Pod
from api.types.policy_v1 import PodDisruptionBudget
from client.api import Api
from client.events import EventRecorder
from client.informer import Factory
from client.writes import Bind, Delete, Patch, Write
from scheduler.decision import Decider, Unfit
from scheduler.framework import ClusterEvent
from scheduler.nodes import NodeTable
from scheduler.plugins import default_plugins
from scheduler.plugins.volume_binding import VolumeBinding
from scheduler.pods import PodInfo, PodReader, selects_namespaces
from scheduler.preemption import BY_SCHEDULER, DISRUPTION_TARGET, Plan, ineligible, plan
from scheduler.queue import Queued, SchedulingQueue
from scheduler.selectors import OwnerSelectors
from scheduler.volumes import BindingFailed, Choice, Volumes

log = logging.getLogger(__name__)
T = TypeVar("T")

ATTEMPTS = Counter("scheduler_schedule_attempts_total", "Attempts to schedule a pod, by their result.", ["result"])
DECISION_SECONDS = Histogram("scheduler_scheduling_algorithm_duration_seconds", "Seconds to choose a node.")
E2E_SECONDS = Histogram("scheduler_pod_scheduling_sli_duration_seconds", "Seconds from a pod's arrival to its binding.")
PENDING = Gauge("scheduler_pending_pods", "Pods that wait, by queue.", ["queue"])

#: Decisions between two looks at the event loop, so that bindings go out while a long queue is worked off.
_BURST = 50


class Scheduler:
    """Schedules pods whose `schedulerName` is `name`."""

    def __init__(self, api: Api, recorder: EventRecorder, *, name: str = "default-scheduler") -> None:
        self._api = api
        self._recorder = recorder
        self._name = name
        self.factory = Factory(api)
        self._pods = self.factory.informer(Pod, fields="status.phase!=Succeeded,status.phase!=Failed")
        self._nodes = self.factory.informer(Node)
        self._budgets = self.factory.informer(PodDisruptionBudget)
        self._selectors = OwnerSelectors(self.factory)
        self.table = NodeTable()
        self.queue = SchedulingQueue()
        self._reader = PodReader(self._selectors.namespaces_matching)
        self._selectors.on_namespace_labels_changed = self._namespaces_changed
        self._volumes = Volumes(api, self.factory)
        self._volumes.on_change = self.queue.move
        plugins = default_plugins(self._selectors.default_selector, self._volumes)
        self._volume_binding = next(p for p in plugins if isinstance(p, VolumeBinding))
        self._decider = Decider(self.table, plugins)
        self._tasks: asyncio.TaskGroup
        self._assumed: set[str] = set()
        self._reading_anew = False
        self._nominated: dict[str, tuple[PodInfo, str]] = {}
        self._writes: list[tuple[Write, Callable[[Any], None]]] = []
        self._written = asyncio.Event()
        self._pods.add_handler(on_add=self._pod_added, on_update=self._pod_updated, on_delete=self._pod_deleted)
        self._nodes.add_handler(on_add=self._node_added, on_update=self._node_updated, on_delete=self._node_deleted)
        for state in ("active", "backoff", "unschedulable"):
            PENDING.labels(state).set_function(functools.partial(self._pending, state))

    def _pending(self, state: str) -> float:
        return self.queue.counts()[state]

    @property
    def has_synced(self) -> bool:
        return self._pods.has_synced and self._nodes.has_synced and self._volumes.has_synced

    async def run(self) -> None:
        """Schedule until cancelled. `factory` must be running."""
        await self.factory.synced()
        async with asyncio.TaskGroup() as self._tasks:
            tasks = self._tasks
            tasks.create_task(self._decide_forever())
            tasks.create_task(self._write_forever())

    # -- deciding -------------------------------------------------------------------------------------------------

    async def _decide_forever(self) -> None:
        while True:
            self._schedule(await self.queue.pop())
            for _ in range(_BURST):
                queued = self.queue.pop_nowait()
                if queued is None:
                    break
                self._schedule(queued)
            await asyncio.sleep(0)

    def _schedule(self, queued: Queued) -> None:
        info = queued.info
        started = time.perf_counter()
        try:
            outcome = self._with_nominated(info, lambda: self._decider.decide(info, self._nomination(info)))
        except Exception:
            # A mistake about one pod must not keep all others from being scheduled.
            log.exception("cannot schedule %s/%s", info.namespace, info.name)
            ATTEMPTS.labels("error").inc()
            self.queue.retry(queued)
            return
        DECISION_SECONDS.observe(time.perf_counter() - started)
        if isinstance(outcome, Unfit):
            ATTEMPTS.labels("unschedulable").inc()
            self._refuse(queued, outcome)
        else:
            ATTEMPTS.labels("scheduled").inc()
            self._assume(queued, outcome)

    def _nomination(self, info: PodInfo) -> str:
        """The node on which others have to go for this pod, or ""."""
        known = self._nominated.get(info.uid)
        return known[1] if known else ""

    def _with_nominated(self, info: PodInfo, decide: Callable[[], T]) -> T:
        """Decide as if pods that preempted others, and are at least as important, already ran where they will."""
        others = [(p, n) for u, (p, n) in self._nominated.items() if u != info.uid and p.priority >= info.priority]
        for other, node in others:
            self.table.place(other, node)
        try:
            return decide()
        finally:
            for other, _ in others:
                self.table.remove_pod(other.uid)

    def _assume(self, queued: Queued, node: str) -> None:
        info = queued.info
        self.table.place(info, node)
        self._assumed.add(info.uid)
        self._nominated.pop(info.uid, None)
        choices = self._volume_binding.choose(self.table, info, node)
        if choices:
            self._volumes.assume(choices)
            self._tasks.create_task(self._bind_volumes(queued, node, choices))
        else:
            self._write(Bind(info.pod, node), lambda outcome: self._bound(queued, node, outcome))

    async def _bind_volumes(self, queued: Queued, node: str, choices: list[Choice]) -> None:
        """The pod keeps its place on the node while its volumes are bound or made."""
        try:
            await self._volumes.bind(choices, node)
        except BindingFailed as error:
            self._not_bound(queued, node, f'running PreBind plugin "{self._volume_binding.name}": {error}')
        else:
            self._write(Bind(queued.info.pod, node), lambda outcome: self._bound(queued, node, outcome))

    def _bound(self, queued: Queued, node: str, outcome: Any) -> None:
        info = queued.info
        # It stays assumed until the informer shows it on its node: until then it shows a pod that waits.
        if not isinstance(outcome, errors.StatusError):
            E2E_SECONDS.observe(time.monotonic() - queued.added)
            message = f"Successfully assigned {info.namespace}/{info.name} to {node}"
            self._recorder.event(info.pod, "Normal", "Scheduled", message)
        else:
            self._not_bound(queued, node, f'running Bind plugin "DefaultBinder": {outcome.message}')

    def _not_bound(self, queued: Queued, node: str, why: str) -> None:
        info = queued.info
        self._assumed.discard(info.uid)
        current = self._pods.get(info.namespace, info.name)
        if current is None or current.metadata.uid != info.pod.metadata.uid:
            self.table.remove_pod(info.uid)
            return
        if current.spec.node_name:
            self.table.place(self._reader.read(current), current.spec.node_name)
            return
        log.warning("cannot bind %s/%s to %s: %s", info.namespace, info.name, node, why)
        self.table.remove_pod(info.uid)
        # Whoever did not fit because of it may fit now.
        self.queue.move(ClusterEvent("Pod", "Delete", info.pod, None))
        queued.info = self._reader.read(current)
        if self._is_waiting(current):
            self._recorder.event(current, "Warning", "FailedScheduling", why)
            self._report(queued.info, "SchedulerError", why, None)
            self.queue.retry(queued)

    def _refuse(self, queued: Queued, unfit: Unfit) -> None:
        info = queued.info
        message = unfit.message()
        nominated = None
        if unfit.nodes:
            outcome: Plan | str = ineligible(self.table, info, unfit, self._nomination(info))
            if not outcome:
                budgets = self._budgets.list()
                outcome = self._with_nominated(info, lambda: plan(self.table, self._decider, info, unfit, budgets))
                # Where nobody can go for it, a node that it was promised before is of no use to it either.
                nominated = outcome.node_name if isinstance(outcome, Plan) else ""
            if isinstance(outcome, Plan):
                self._preempt(info, outcome)
            else:
                # What comes before is what upstream's DynamicResources says about pods without claims.
                message += f" no new claims to deallocate, preemption: {outcome}"
        if nominated == "":
            self._nominated.pop(info.uid, None)
        self._recorder.event(info.pod, "Warning", "FailedScheduling", message)
        self._report(info, "Unschedulable", message, nominated)
        self.queue.unschedulable(queued, unfit.refused_by)

    def _preempt(self, info: PodInfo, preemption: Plan) -> None:
        for uid, (other, node) in list(self._nominated.items()):
            if node == preemption.node_name and other.priority < info.priority:
                # It would find its place taken; let it look for another.
                del self._nominated[uid]
                lose = {"status": {"nominatedNodeName": None}}
                self._write(
                    Patch(Pod, other.name, lose, other.namespace, "strategic", "status"),
                    functools.partial(self._patched, other),
                )
        self._nominated[info.uid] = (info, preemption.node_name)
        for victim in preemption.victims:
            if victim.terminating:
                continue
            message = f"Preempted by pod {info.uid} on node {preemption.node_name}"
            self._recorder.event(victim.pod, "Normal", "Preempted", message)
            condition = {
                "type": DISRUPTION_TARGET,
                "status": "True",
                "reason": BY_SCHEDULER,
                "message": f"{self._name}: preempting to accommodate a higher priority pod",
                "lastTransitionTime": api_time.now(),
            }
            patch = {"status": {"conditions": [condition]}}
            # One after the other, since a batch has no order: a pod that ends at once must say why it did.
            self._write(
                Patch(Pod, victim.name, patch, victim.namespace, "strategic", "status"),
                functools.partial(self._delete_victim, victim),
            )

    def _delete_victim(self, victim: PodInfo, marked: Any) -> None:
        if isinstance(marked, errors.StatusError) and not errors.is_not_found(marked):
            log.warning("cannot mark %s/%s as preempted: %s", victim.namespace, victim.name, marked)
            return  # its preemptor is tried again, and with it this
        delete = Delete(Pod, victim.name, victim.namespace, uid=victim.pod.metadata.uid)
        self._write(delete, functools.partial(self._victim_deleted, victim))

    def _victim_deleted(self, victim: PodInfo, outcome: Any) -> None:
        if isinstance(outcome, errors.StatusError) and not errors.is_not_found(outcome):
            log.warning("cannot preempt %s/%s: %s", victim.namespace, victim.name, outcome)

    def _report(self, info: PodInfo, reason: str, message: str, nominated: str | None) -> None:
        """Say in the pod's status why it waits, and for which node: None leaves that as it is, "" takes it away."""
        conditions = info.pod.status.conditions or []
        known = next((c for c in conditions if c.type == "PodScheduled"), None)
        same = known is not None and (known.status, known.reason, known.message) == ("False", reason, message)
        promised = info.pod.status.nominated_node_name or ""
        if same and nominated in (None, promised):
            return
        changed = known is None or known.status != "False"
        condition = {
            "type": "PodScheduled",
            "status": "False",
            "reason": reason,
            "message": message,
            "observedGeneration": info.pod.metadata.generation,
            "lastTransitionTime": api_time.now() if changed or known is None else known.last_transition_time,
        }
        status: dict[str, Any] = {"conditions": [condition]}
        if nominated is not None and nominated != promised:
            status["nominatedNodeName"] = nominated or None
        patch = Patch(Pod, info.name, {"status": status}, info.namespace, "strategic", "status")
        self._write(patch, functools.partial(self._patched, info))

    def _patched(self, info: PodInfo, outcome: Any) -> None:
        if isinstance(outcome, errors.StatusError) and not errors.is_not_found(outcome):
            log.warning("cannot write the status of %s/%s: %s", info.namespace, info.name, outcome)

    # -- writing --------------------------------------------------------------------------------------------------

    def _write(self, write: Write, done: Callable[[Any], None]) -> None:
        self._writes.append((write, done))
        self._written.set()

    async def _write_forever(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            while True:
                await self._written.wait()
                self._written.clear()
                batch, self._writes = self._writes, []
                # Not awaited: a slow batch must not hold back the next, and each pod is in one of them only.
                tasks.create_task(self._send(batch))

    async def _send(self, batch: list[tuple[Write, Callable[[Any], None]]]) -> None:
        outcomes = await self._api.batch([write for write, _ in batch])
        for (_, done), outcome in zip(batch, outcomes, strict=True):
            done(outcome)

    # -- what the informers say -----------------------------------------------------------------------------------

    def _is_waiting(self, pod: Pod) -> bool:
        return (
            not pod.spec.node_name
            and (pod.spec.scheduler_name or "default-scheduler") == self._name
            and not pod.metadata.deletion_timestamp
            and not pod.spec.scheduling_gates
        )

    def _pod_added(self, pod: Pod) -> None:
        info = self._reader.read(pod)
        if pod.spec.node_name:
            self.queue.remove(info.uid)
            self._assumed.discard(info.uid)
            self._nominated.pop(info.uid, None)
            self.table.place(info, pod.spec.node_name)
            self.queue.move(ClusterEvent("Pod", "Add", None, pod))
        elif self._is_waiting(pod) and info.uid not in self._assumed:
            # What we have decided since is newer than what the informer shows.
            if promised := self._nomination(info) or pod.status.nominated_node_name:
                self._nominated[info.uid] = (info, promised)
            self.queue.add(info)
        elif info.uid not in self._assumed:
            self.queue.remove(info.uid)
            self._nominated.pop(info.uid, None)

    def _pod_updated(self, old: Pod, new: Pod) -> None:
        if old.metadata.uid != new.metadata.uid:
            self._pod_deleted(old)
            self._pod_added(new)
            return
        if old.spec.node_name and new.spec.node_name and not _scheduling_changed(old, new):
            return
        if new.spec.node_name and old.spec.node_name:
            self.table.place(self._reader.read(new), new.spec.node_name)
            self.queue.move(ClusterEvent("Pod", "Update", old, new))
        else:
            if old.status.nominated_node_name and not new.status.nominated_node_name:
                self._nominated.pop(new.metadata.uid or "", None)
            self._pod_added(new)

    def _pod_deleted(self, pod: Pod) -> None:
        """Deleted, or finished: the informer's selector lets finished pods go as deletions."""
        uid = pod.metadata.uid or f"{pod.metadata.namespace}/{pod.metadata.name}"
        self.queue.remove(uid)
        self._assumed.discard(uid)
        held = uid in self.table.placed or uid in self._nominated  # room on a node, if only assumed
        self._nominated.pop(uid, None)
        self.table.remove_pod(uid)
        if pod.spec.node_name or held:
            self.queue.move(ClusterEvent("Pod", "Delete", pod, None))

    def _node_added(self, node: Node) -> None:
        self.table.set_node(node)
        self.queue.move(ClusterEvent("Node", "Add", None, node))

    def _node_updated(self, old: Node, new: Node) -> None:
        before = self.table.static_generation
        self.table.set_node(new)
        if self.table.static_generation != before:
            self.queue.move(ClusterEvent("Node", "Update", old, new))

    def _node_deleted(self, node: Node) -> None:
        self.table.remove_node(node.metadata.name or "")
        self.queue.move(ClusterEvent("Node", "Delete", node, None))

    def _namespaces_changed(self) -> None:
        """What namespace selectors mean has changed; at a start or in a test run, for many namespaces at once."""
        if not self._reading_anew:
            self._reading_anew = True
            asyncio.get_running_loop().call_soon(self._read_anew)

    def _read_anew(self) -> None:
        self._reading_anew = False
        self._reader.forget_namespaces()
        for pod in self._pods.list():
            if selects_namespaces(pod):
                self._pod_added(pod)


def _scheduling_changed(old: Pod, new: Pod) -> bool:
    """Whether an update of a running pod changes what it counts for on its node."""
    return (
        old.metadata.labels != new.metadata.labels
        or old.metadata.deletion_timestamp != new.metadata.deletion_timestamp
        or (old.metadata.generation != new.metadata.generation and old.spec != new.spec)
        or is_resizing(old)
        or is_resizing(new)
    )
