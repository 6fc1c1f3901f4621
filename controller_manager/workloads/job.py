"""Jobs: pods that run to completion, counted exactly.

Invariants:
- a pod counts once, and is never lost: it carries a finalizer until the status holds its uid as uncounted (KEP-2307);
  only then the finalizer goes, and only when that is seen the uid becomes a number. A controller that dies anywhere in
  between leaves enough behind to go on;
- a job is looked at only in a version that has this controller's own last write, and a pod whose finalizer it took off
  counts as free of it even while the cache says otherwise: the two caches are fed apart, and nothing is counted twice;
- failures delay the next pods exponentially (10 s to 10 min) and end the job at its backoff limit, deadline, failed
  indexes or by its failure policy; success by count, by index, or by its success policy;
- a job that has ended says first that it will (FailureTarget, SuccessCriteriaMet), then stops its pods, and gets its
  final condition when none of them is left;
- suspended jobs have no pods, and their clock stands still.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime

from api import errors
from api.selectors import Selector, selector_from
from api.types.batch_v1 import Job
from api.types.core_v1 import Pod
from client.controller import Controller
from client.expectations import Expectations
from client.store import Key, key_of
from client.writes import Patch
from controller_manager import pods as pod_facts
from controller_manager.context import Context
from controller_manager.owners import candidates, claim, controller_of
from controller_manager.pod_control import PodControl, first_failure, slow_start
from controller_manager.pod_events import PodEvents
from controller_manager.workloads import job_facts as facts
from controller_manager.workloads.job_step import Step

BURST = 500


class JobController:
    def __init__(self, context: Context) -> None:
        self._api, self._batcher = context.api, context.batcher
        self.recorder = context.recorder("job-controller")
        self._jobs = context.informers.informer(Job)
        self._pods = context.informers.informer(Pod)
        self._expectations = Expectations()
        self._pod_control = PodControl(context.batcher, self.recorder)
        self._written: dict[Key, int] = {}
        self._released: set[str] = set()  # uids of pods without finalizer, of which the cache does not know it yet
        self.failures: dict[str, list[datetime]] = {}  # by job uid: failures since the last success
        self.controller: Controller[Key] = Controller("job", self.reconcile, workers=8)
        self.orphans: Controller[Key] = Controller("job_orphan_pod", self.release, workers=4)
        self._jobs.add_handler(
            on_add=lambda j: self.controller.enqueue(key_of(j)),
            on_update=lambda _, j: self.controller.enqueue(key_of(j)),
            on_delete=self._deleted,
        )
        self._events = PodEvents(
            self._pods,
            self._jobs,
            "Job",
            self.controller,
            self._expectations,
            lambda job, pod: _selector(job).matches(pod.metadata.labels),
            terminating_counts=False,
        )
        self._pods.add_handler(
            on_add=self._pod_seen,
            on_update=lambda _, new: self._pod_seen(new),
            on_delete=lambda pod: self._released.discard(pod.metadata.uid or ""),
        )

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self.controller.run())
            group.create_task(self.orphans.run())

    def _deleted(self, job: Job) -> None:
        self._expectations.forget(key_of(job))
        self._written.pop(key_of(job), None)
        self.failures.pop(job.metadata.uid or "", None)
        for pod in self._pods.by_index("controller", job.metadata.uid):
            self.orphans.enqueue(key_of(pod))

    def _pod_seen(self, pod: Pod) -> None:
        if not facts.has_finalizer(pod):
            self._released.discard(pod.metadata.uid or "")
            return
        ref = controller_of(pod)
        ours = ref is not None and ref.kind == "Job"
        if (ref is None or ours) and self._events.owner_of(pod) is None:
            self.orphans.enqueue(key_of(pod))

    async def release(self, key: Key) -> float | None:
        """Take the finalizer off a pod whose job is gone."""
        pod = self._pods.get(*key)
        if pod is None or not facts.has_finalizer(pod):
            return None
        ref = controller_of(pod)
        if ref is not None:
            try:
                job = await self._api.get(Job, ref.name, namespace=key[0])
                if job.metadata.uid == ref.uid:
                    return None
            except errors.StatusError as error:
                if not errors.is_not_found(error):
                    raise
        await self.remove_finalizers([pod])
        return None

    async def reconcile(self, key: Key) -> float | None:
        job = self._jobs.get(*key)
        if job is None:
            self._expectations.forget(key)
            return None
        if not facts.is_ours(job):
            return None
        if int(job.metadata.resource_version or 0) < self._written.get(key, 0):
            return None  # the event that brings our own last write comes back here
        selector = _selector(job)
        found = await claim(
            self._api, job, candidates(self._pods, job), lambda pod: selector.matches(pod.metadata.labels)
        )
        found = [facts.without_finalizer(p) if p.metadata.uid in self._released else p for p in found]
        if facts.is_finished(job):
            await self.remove_finalizers([p for p in found if facts.has_finalizer(p)])
            return None
        step = Step(self, job, found, may_act=self._expectations.satisfied(key))
        return await step.run()

    # -- what a step does -------------------------------------------------------------------------------------------

    async def write_status(self, job: Job, changed: Job) -> Job:
        """Nothing is written if nothing changed."""
        if changed.status == job.status:
            return job
        written = await self._api.update_status(changed)
        self._written[key_of(job)] = int(written.metadata.resource_version or 0)
        return written

    async def remove_finalizers(self, found: Sequence[Pod]) -> list[str]:
        """Uids of the pods that have no finalizer any more. Raises the first failure after trying all."""

        async def remove(pod: Pod) -> str:
            kept = facts.without_finalizer(pod).metadata.finalizers
            change = {
                "metadata": {
                    "uid": pod.metadata.uid,
                    "resourceVersion": pod.metadata.resource_version,
                    "finalizers": kept,
                }
            }
            try:
                await self._batcher.write(Patch(Pod, pod.metadata.name or "", change, pod.metadata.namespace or ""))
            except errors.StatusError as error:
                if not errors.is_not_found(error):
                    raise
            uid = pod.metadata.uid or ""
            cached = self._pods.get(pod.metadata.namespace or "", pod.metadata.name or "")
            if cached is not None and cached.metadata.uid == uid and facts.has_finalizer(cached):
                self._released.add(uid)
            return uid

        outcomes = await asyncio.gather(*map(remove, found), return_exceptions=True)
        removed = [o for o in outcomes if isinstance(o, str)]
        failure = first_failure(outcomes)
        if failure is not None and not errors.is_conflict(failure):
            raise failure
        return removed

    async def create(self, job: Job, made: Sequence[Pod]) -> tuple[list[Pod], errors.StatusError | None]:
        """The pods that were created, and why not all of them were."""
        key = key_of(job)
        made = made[:BURST]
        created: list[Pod] = []
        if not made:
            return [], None
        self._expectations.expect_creations(key, len(made))

        def creating(pod: Pod) -> Callable[[], object]:
            async def create() -> None:
                try:
                    created.append(await self._pod_control.create(pod, job))
                except errors.StatusError:
                    self._expectations.creation_observed(key)
                    raise

            return create

        failure = await slow_start(
            [creating(pod) for pod in made], lambda n: self._expectations.creation_observed(key, n)
        )
        return created, failure

    async def delete(self, job: Job, found: Sequence[Pod]) -> errors.StatusError | None:
        key = key_of(job)
        found = [p for p in found if not p.metadata.deletion_timestamp][:BURST]
        if not found:
            return None
        self._expectations.expect_deletions(key, map(pod_facts.key, found))

        async def delete(pod: Pod) -> None:
            try:
                await self._pod_control.delete(pod, job)
            except errors.StatusError as error:
                if not errors.is_not_found(error):
                    raise
            finally:
                # the tracking finalizer keeps the pod there: its end is news of its own, not the answer to this
                self._expectations.deletion_observed(key, pod_facts.key(pod))

        return first_failure(await asyncio.gather(*map(delete, found), return_exceptions=True))


def _selector(job: Job) -> Selector:
    return selector_from(job.spec.selector)
