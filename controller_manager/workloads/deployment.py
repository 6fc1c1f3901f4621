"""Deployments: one ReplicaSet per version of the pod template, and the moves from one version to the next.

Invariants:
- a ReplicaSet's name is the Deployment's and the hash of the template; equal templates share one ReplicaSet, so that
  going back is nothing but scaling (and a new revision number for the old set);
- during a rolling update there are never more than replicas + maxSurge pods, nor fewer than replicas - maxUnavailable
  available ones, as far as status can tell; Recreate starts the new version only when no old pod runs;
- a Deployment that is scaled in mid-rollout keeps the proportions of its ReplicaSets;
- a paused one is scaled and reported on, but not rolled out, and its pause does not count against its deadline;
- old ReplicaSets beyond revisionHistoryLimit are deleted once they are empty.

The steps of a rollout are in `deployment_rollout.py`, the arithmetic in `deployment_facts.py`.
"""

from __future__ import annotations

from typing import Any

from api import codec
from api.selectors import Selector, selector_from
from api.types.apps_v1 import Deployment, DeploymentStatus, ReplicaSet
from api.types.core_v1 import Pod
from client.controller import Controller
from client.store import Key, key_of
from controller_manager import conditions, pods
from controller_manager.context import Context
from controller_manager.owners import INDEX, by_controller, candidates, claim, controller_of
from controller_manager.workloads import deployment_facts as facts
from controller_manager.workloads.deployment_rollout import Rollout


class DeploymentController:
    def __init__(self, context: Context) -> None:
        self._api = context.api
        self._recorder = context.recorder("deployment-controller")
        self._deployments = context.informers.informer(Deployment)
        self._sets = context.informers.informer(ReplicaSet)
        self._pods = context.informers.informer(Pod)
        self.controller: Controller[Key] = Controller("deployment", self.reconcile, workers=16)
        self._sets.add_index(INDEX, by_controller)
        self._pods.add_index(INDEX, by_controller)
        self._deployments.add_handler(
            on_add=lambda d: self.controller.enqueue(key_of(d)),
            on_update=lambda _, d: self.controller.enqueue(key_of(d)),
            on_delete=lambda d: self.controller.enqueue(key_of(d)),
        )
        self._sets.add_handler(on_add=self._set_added, on_update=self._set_updated, on_delete=self._set_deleted)
        self._pods.add_handler(on_delete=self._pod_deleted)

    async def run(self) -> None:
        await self.controller.run()

    # -- events -----------------------------------------------------------------------------------------------------

    def _owner(self, rs: ReplicaSet) -> Deployment | None:
        ref = controller_of(rs)
        if ref is None or ref.kind != "Deployment":
            return None
        d = self._deployments.get(rs.metadata.namespace or "", ref.name)
        return d if d is not None and d.metadata.uid == ref.uid else None

    def _set_added(self, rs: ReplicaSet) -> None:
        owner = self._owner(rs)
        if owner is not None:
            self.controller.enqueue(key_of(owner))
        elif controller_of(rs) is None and not rs.metadata.deletion_timestamp:
            for d in self._deployments.list(rs.metadata.namespace or ""):
                if _selector(d).matches(rs.metadata.labels):
                    self.controller.enqueue(key_of(d))

    def _set_updated(self, old: ReplicaSet, new: ReplicaSet) -> None:
        former = self._owner(old)
        if former is not None:
            self.controller.enqueue(key_of(former))
        if controller_of(new) is not None or old.metadata.labels != new.metadata.labels or former is not None:
            self._set_added(new)

    def _set_deleted(self, rs: ReplicaSet) -> None:
        owner = self._owner(rs)
        if owner is not None:
            self.controller.enqueue(key_of(owner))

    def _pod_deleted(self, pod: Pod) -> None:
        """Recreate waits for the last old pod to be gone, of which no ReplicaSet tells."""
        ref = controller_of(pod)
        rs = self._sets.get(pod.metadata.namespace or "", ref.name) if ref and ref.kind == "ReplicaSet" else None
        owner = self._owner(rs) if rs is not None else None
        if owner is not None and not facts.is_rolling(owner):
            self.controller.enqueue(key_of(owner))

    # -- reconciling ------------------------------------------------------------------------------------------------

    async def reconcile(self, key: Key) -> float | None:
        cached = self._deployments.get(*key)
        if cached is None:
            return None
        d = codec.deepcopy(cached)
        selector = _selector(d)
        if selector.empty:
            message = "This deployment is selecting all pods. A non-empty selector is required."
            self._recorder.event(d, "Warning", "SelectingAll", message)
            if (d.status.observed_generation or 0) < (d.metadata.generation or 0):
                d.status.observed_generation = d.metadata.generation
                await self._api.update_status(d)
            return None
        claimed = await claim(self._api, d, candidates(self._sets, d), lambda rs: selector.matches(rs.metadata.labels))
        rollout = Rollout(self._api, self._recorder, d, claimed)
        if d.metadata.deletion_timestamp:
            await rollout.find_sets(create=False)
            await rollout.write_status(facts.calculate_status(d, rollout.sets, rollout.new))
            return None
        await self._check_paused(d)
        if d.spec.paused or await rollout.is_scaling():
            await rollout.find_sets(create=False)
            await rollout.scale()
            if d.spec.paused:
                await rollout.clean_up()
            await rollout.write_status(facts.calculate_status(d, rollout.sets, rollout.new))
            return None
        if facts.is_rolling(d):
            await self._rolling(rollout)
        else:
            await self._recreate(rollout)
        return await self._sync_progress(rollout)

    async def _rolling(self, rollout: Rollout) -> None:
        await rollout.find_sets(create=True)
        if await rollout.grow_new():
            return
        if await rollout.shrink_old():
            return
        if facts.is_complete(rollout.d, rollout.d.status):
            await rollout.clean_up()

    async def _recreate(self, rollout: Rollout) -> None:
        await rollout.find_sets(create=False)
        if await rollout.empty_old():
            return
        if self._old_pods_run(rollout):
            return
        if rollout.new is None:
            await rollout.find_sets(create=True)
        assert rollout.new is not None
        await rollout.resize(rollout.new, facts.replicas(rollout.d))
        if facts.is_complete(rollout.d, rollout.d.status):
            await rollout.clean_up()

    def _old_pods_run(self, rollout: Rollout) -> bool:
        if facts.actual(rollout.old) > 0:
            return True
        return any(
            not pods.is_terminal(pod) for rs in rollout.old for pod in self._pods.by_index(INDEX, rs.metadata.uid)
        )

    async def _check_paused(self, d: Deployment) -> None:
        if not facts.has_deadline(d):
            return
        condition = facts.progressing(d.status)
        if condition is not None and condition.reason == facts.TIMED_OUT:
            return
        marked = condition is not None and condition.reason == "DeploymentPaused"
        if d.spec.paused and not marked:
            words = ("DeploymentPaused", "Deployment is paused")
        elif not d.spec.paused and marked:
            words = ("DeploymentResumed", "Deployment is resumed")
        else:
            return
        facts.set_condition(d.status, facts.condition("Progressing", "Unknown", *words))
        updated = await self._api.update_status(d)
        d.metadata.resource_version = updated.metadata.resource_version

    # -- progress ---------------------------------------------------------------------------------------------------

    async def _sync_progress(self, rollout: Rollout) -> float | None:
        d = rollout.d
        status = facts.calculate_status(d, rollout.sets, rollout.new)
        if not facts.has_deadline(d):
            status.conditions = conditions.without(status.conditions, "Progressing")
        else:
            self._judge(rollout, status)
        failures = [rs for rs in ([rollout.new] if rollout.new else []) if _failure(rs) is not None]
        failures = failures or [rs for rs in rollout.sets if _failure(rs) is not None]
        if failures:
            failed: Any = _failure(failures[0])
            condition = facts.condition("ReplicaFailure", failed.status, failed.reason, failed.message)
            condition.last_transition_time = condition.last_update_time = failed.last_transition_time
            facts.set_condition(status, condition)
        else:
            status.conditions = conditions.without(status.conditions, "ReplicaFailure")
        if await rollout.write_status(status):
            return None
        return self._wait(d, status)

    def _judge(self, rollout: Rollout, status: DeploymentStatus) -> None:
        d, new = rollout.d, rollout.new
        current = facts.progressing(d.status)
        if (
            (status.replicas or 0) == (status.updated_replicas or 0)
            and current is not None
            and current.reason == facts.AVAILABLE
        ):
            return  # the last rollout is over; what happens to its pods now is no progress of a rollout
        who = f'ReplicaSet "{new.metadata.name}"' if new is not None else f'Deployment "{d.metadata.name}"'
        if facts.is_complete(d, status):
            words = ("True", facts.AVAILABLE, f"{who} has successfully progressed.")
            facts.set_condition(status, facts.condition("Progressing", *words))
        elif facts.has_progressed(d, status):
            condition = facts.condition("Progressing", "True", "ReplicaSetUpdated", f"{who} is progressing.")
            if current is not None:
                if current.status == "True":
                    condition.last_transition_time = current.last_transition_time
                status.conditions = conditions.without(status.conditions, "Progressing")
            facts.set_condition(status, condition)
        elif facts.is_late(d, status):
            words = ("False", facts.TIMED_OUT, f"{who} has timed out progressing.")
            facts.set_condition(status, facts.condition("Progressing", *words))

    def _wait(self, d: Deployment, status: DeploymentStatus) -> float | None:
        """Seconds until the progress deadline has to be looked at."""
        condition = facts.progressing(status)
        if not facts.has_deadline(d) or condition is None:
            return None
        if facts.is_complete(d, status) or condition.reason == facts.TIMED_OUT:
            return None
        return max(1.0, facts.seconds_left(d, condition) + 1)


def _selector(d: Deployment) -> Selector:
    return selector_from(d.spec.selector)


def _failure(rs: ReplicaSet) -> Any | None:
    return conditions.find(rs.status.conditions, "ReplicaFailure")
