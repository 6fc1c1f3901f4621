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

import asyncio
from datetime import UTC, datetime
from typing import Any

from api import codec, errors
from api import time as api_time
from api.selectors import Selector, selector_from
from api.types.apps_v1 import ReplicaSet, ReplicaSetCondition, ReplicaSetStatus
from api.types.core_v1 import Pod
from client.controller import Controller
from client.expectations import Expectations
from client.store import Key, key_of
from controller_manager import conditions, pods
from controller_manager.context import Context
from controller_manager.owners import INDEX, by_controller, candidates, claim, controller_of
from controller_manager.pod_control import PodControl, first_failure, pod_from_template, slow_start
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
        self._batcher = context.batcher
        self._sets = context.informers.informer(self.kind)
        self._pods = context.informers.informer(Pod)
        self._expectations = Expectations()
        self._pod_control = PodControl(context.batcher, context.recorder(f"{self.name}-controller"))
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
            failure = await self._manage(key, rs, active)
        terminating = sum(1 for pod in claimed if pods.is_terminating(pod))
        now = datetime.now(UTC)
        status = self._status(rs, active, terminating, failure, now)
        await self._write_status(rs, status)
        if failure is not None:
            if errors.has_cause(failure, "NamespaceTerminating"):
                return None
            raise failure
        if not rs.spec.min_ready_seconds:
            return None
        waits = [pods.available_in(pod, rs.spec.min_ready_seconds, now) for pod in active]
        return min((wait for wait in waits if wait), default=None)

    # -- pods -----------------------------------------------------------------------------------------------------

    async def _manage(self, key: Key, rs: Any, active: list[Pod]) -> errors.StatusError | None:
        missing = (rs.spec.replicas if rs.spec.replicas is not None else 1) - len(active)
        if missing > 0:
            return await self._create(key, rs, min(missing, BURST))
        if missing < 0:
            return await self._delete(key, rs, active, min(-missing, BURST))
        return None

    async def _create(self, key: Key, rs: Any, count: int) -> errors.StatusError | None:
        pod = pod_from_template(rs.spec.template, rs)
        self._expectations.expect_creations(key, count)

        async def create() -> None:
            try:
                await self._pod_control.create(pod, rs)
            except errors.StatusError:
                self._expectations.creation_observed(key)
                raise

        return await slow_start([create] * count, lambda n: self._expectations.creation_observed(key, n))

    async def _delete(self, key: Key, rs: Any, active: list[Pod], count: int) -> errors.StatusError | None:
        chosen = active
        if count < len(active):
            chosen = pods.first_to_delete(active, self._related(rs))[:count]
        self._expectations.expect_deletions(key, map(pods.key, chosen))

        async def delete(pod: Pod) -> None:
            try:
                await self._pod_control.delete(pod, rs)
            except errors.StatusError as error:
                self._expectations.deletion_observed(key, pods.key(pod))
                if not errors.is_not_found(error):
                    raise

        return first_failure(await asyncio.gather(*map(delete, chosen), return_exceptions=True))

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

    async def _write_status(self, rs: Any, status: Any) -> None:
        if status == rs.status:
            return
        changed = codec.deepcopy(rs)
        changed.status = status
        try:
            await self._api.update_status(changed)
        except errors.StatusError as error:
            if not errors.is_not_found(error):
                raise


def _is_labeled(pod: Pod, wanted: list[tuple[str, str]]) -> bool:
    labels = pod.metadata.labels or {}
    return all(labels.get(name) == value for name, value in wanted)
