"""ReplicaSets: as many matching pods as asked for, no more and no fewer.

Invariants:
- the controller acts only on pods that it controls; matching orphans are adopted, its own that stop matching released;
- it never creates or deletes before it has seen the outcome of what it did last (expectations), so a stale cache makes
  no pod twice;
- creation starts slowly (1, 2, 4, ...), at most 500 per reconcile, and stops at the first refusal;
- deletion takes those pods first that lose the least (`pods.first_to_delete`);
- status says what the cache shows, `ReplicaFailure` why the last attempt failed.

ReplicationControllers follow the same rules; `replicationcontroller.py` says only in what they differ.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from api import errors
from api import time as api_time
from api.selectors import Selector, selector_from
from api.types.apps_v1 import ReplicaSet, ReplicaSetCondition, ReplicaSetStatus
from api.types.core_v1 import Pod
from client.controller import Controller
from client.expectations import Expectations
from client.store import Key, key_of
from controller_manager import conditions, pods, statuses
from controller_manager.context import Context
from controller_manager.expected_pods import ExpectedPods
from controller_manager.owners import INDEX, by_controller, candidates, claim, controller_of
from controller_manager.pod_control import PodControl, pod_from_template
from controller_manager.pod_events import PodEvents

#: Pods that one reconcile creates or deletes at most.
BURST = 500


class ReplicaSetController:
    kind: type[Any] = ReplicaSet
    condition_type: type[Any] = ReplicaSetCondition
    status_type: type[Any] = ReplicaSetStatus
    name = "replicaset"
    reports_terminating = True

    def __init__(self, context: Context) -> None:
        self._api = context.api
        self._sets = context.informers.informer(self.kind)
        self._pods = context.informers.informer(Pod)
        self._expectations = Expectations()
        control = PodControl(context.batcher, context.recorder(f"{self.name}-controller"))
        self._expected = ExpectedPods(control, self._expectations)
        self.controller: Controller[Key] = Controller(self.name, self.reconcile, workers=16)
        self._sets.add_index(INDEX, by_controller)
        self._sets.add_handler(
            on_add=lambda rs: self.controller.enqueue(key_of(rs)),
            on_update=self._set_updated,
            on_delete=self._set_deleted,
        )
        PodEvents(
            self._pods,
            self._sets,
            self.kind.__name__,
            self.controller,
            self._expectations,
            lambda rs, pod: self.selector(rs).matches(pod.metadata.labels),
            lambda rs: rs.spec.min_ready_seconds or 0,
        )

    async def run(self) -> None:
        await self.controller.run()

    def selector(self, rs: Any) -> Selector:
        return selector_from(rs.spec.selector)

    def _set_updated(self, old: Any, new: Any) -> None:
        self.controller.enqueue(key_of(new))

    def _set_deleted(self, rs: Any) -> None:
        self._expectations.forget(key_of(rs))
        self.controller.enqueue(key_of(rs))

    async def reconcile(self, key: Key) -> float | None:
        rs = self._sets.get(*key)
        if rs is None:
            self._expectations.forget(key)
            return None
        may_act = self._expectations.satisfied(key)
        selector = self.selector(rs)
        claimed = await claim(
            self._api, rs, candidates(self._pods, rs), lambda pod: selector.matches(pod.metadata.labels)
        )
        active = [pod for pod in claimed if pods.is_active(pod)]
        failure: errors.StatusError | None = None
        if may_act and not rs.metadata.deletion_timestamp:
            failure = await self._manage(rs, active)
        terminating = sum(1 for pod in claimed if pods.is_terminating(pod))
        now = datetime.now(UTC)
        status = self._status(rs, active, terminating, failure, now)
        await statuses.write(self._api, rs, status)
        if failure is not None:
            if errors.has_cause(failure, "NamespaceTerminating"):
                return None
            raise failure
        if not rs.spec.min_ready_seconds:
            return None
        waits = [pods.available_in(pod, rs.spec.min_ready_seconds, now) for pod in active]
        return min((wait for wait in waits if wait), default=None)

    # -- pods -----------------------------------------------------------------------------------------------------

    async def _manage(self, rs: Any, active: list[Pod]) -> errors.StatusError | None:
        missing = (rs.spec.replicas if rs.spec.replicas is not None else 1) - len(active)
        if missing > 0:
            return await self._expected.change(rs, [pod_from_template(rs.spec.template, rs)] * min(missing, BURST))
        if missing < 0:
            surplus = active
            if -missing < len(active):
                surplus = pods.first_to_delete(active, self._related(rs))[:-missing]
            return await self._expected.change(rs, [], surplus[:BURST])
        return None

    def _related(self, rs: Any) -> list[Pod]:
        """Pods of the sets that share this one's owner (the other ReplicaSets of its Deployment), and its own."""
        owner = controller_of(rs)
        siblings = self._sets.by_index(INDEX, owner.uid) if owner is not None else [rs]
        return [pod for sibling in siblings for pod in self._pods.by_index(INDEX, sibling.metadata.uid)]

    # -- status ---------------------------------------------------------------------------------------------------

    def _status(
        self, rs: Any, active: list[Pod], terminating: int, failure: errors.StatusError | None, now: datetime
    ) -> Any:
        wanted = list((rs.spec.template.metadata.labels or {}).items())
        min_ready = rs.spec.min_ready_seconds or 0
        ready = [pod for pod in active if pods.is_ready(pod)]
        available = len(ready)
        if min_ready:
            available = sum(1 for pod in ready if pods.is_available(pod, min_ready, now))
        status = self.status_type(
            replicas=len(active),
            fully_labeled_replicas=sum(1 for pod in active if _is_labeled(pod, wanted)) or None,
            ready_replicas=len(ready) or None,
            available_replicas=available or None,
            conditions=rs.status.conditions,
            observed_generation=rs.metadata.generation,
        )
        if self.reports_terminating:
            status.terminating_replicas = terminating
        old = conditions.find(rs.status.conditions, "ReplicaFailure")
        if failure is not None and old is None:
            surplus = len(active) > (rs.spec.replicas or 0)
            status.conditions = conditions.replaced(
                rs.status.conditions,
                self.condition_type(
                    type="ReplicaFailure",
                    status="True",
                    reason="FailedDelete" if surplus else "FailedCreate",
                    message=failure.message,
                    last_transition_time=api_time.now(),
                ),
            )
        elif failure is None and old is not None:
            status.conditions = conditions.without(rs.status.conditions, "ReplicaFailure")
        return status


def _is_labeled(pod: Pod, wanted: list[tuple[str, str]]) -> bool:
    labels = pod.metadata.labels or {}
    return all(labels.get(name) == value for name, value in wanted)
