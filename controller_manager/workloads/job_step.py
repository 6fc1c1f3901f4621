"""One reconcile of a Job: count what ended, decide whether it is over, start or stop pods, write the status.

The order is what makes the counting exact; see the invariants in `job.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from api import codec, errors
from api import time as api_time
from api.types.batch_v1 import Job, JobCondition, UncountedTerminatedPods
from api.types.core_v1 import Pod
from controller_manager import conditions
from controller_manager import pods as pod_facts
from controller_manager.workloads import job_facts as facts
from controller_manager.workloads import job_pods

if TYPE_CHECKING:
    from controller_manager.workloads.job import JobController

#: Pods that are counted in one status write at most.
MAX_UNCOUNTED = 500
_FIRST_DELAY, _MAX_DELAY = 10.0, 600.0


class Step:
    """`ending` is the interim condition (FailureTarget or SuccessCriteriaMet) once the job's end is decided."""

    def __init__(self, controller: JobController, job: Job, found: Sequence[Pod], *, may_act: bool) -> None:
        self._control, self._before, self._may_act = controller, job, may_act
        self._job = codec.deepcopy(job)
        self._found = found
        self._now = datetime.now(UTC)
        self._wait: float | None = None
        self._completions = job.spec.completions
        self._parallelism = 1 if job.spec.parallelism is None else job.spec.parallelism
        self._active = [p for p in found if pod_facts.is_active(p)]
        self._terminating = [p for p in found if pod_facts.is_terminating(p)]
        uncounted = job.status.uncounted_terminated_pods or UncountedTerminatedPods()
        self._new_succeeded = set(uncounted.succeeded or ())
        self._new_failed = set(uncounted.failed or ())
        self._done = facts.parse_indexes(job.status.completed_indexes, self._completions or 0)
        self._failed_indexes: set[int] = set()

    async def run(self) -> float | None:
        job = self._job
        if not job.status.start_time and not job.spec.suspend:
            job.status.start_time = api_time.now()
        self._settle_counted()
        self._note_failures()
        if job.spec.backoff_limit_per_index is not None or job.spec.pod_failure_policy is not None:
            self._failed_indexes = facts.failed_indexes(job, self._found)
        succeeded_indexes = self._done | self._indexes_of_new_successes()
        ending = self._ending(succeeded_indexes)
        failure = None
        if ending is not None:
            failure = await self._stop_all()
        elif self._may_act and not job.metadata.deletion_timestamp:
            failure = await self._manage(succeeded_indexes)
        self._report(ending)
        await self._count(ending)
        if failure is not None and not errors.has_cause(failure, "NamespaceTerminating"):
            raise failure
        return self._wait

    # -- counting ---------------------------------------------------------------------------------------------------

    def _settle_counted(self) -> None:
        """Uncounted uids whose pod is gone or free of its finalizer become numbers."""
        held = {p.metadata.uid for p in self._found if facts.has_finalizer(p)}
        status = self._job.status
        settled = {uid for uid in self._new_succeeded if uid not in held}
        status.succeeded = (status.succeeded or 0) + len(settled) or None
        self._new_succeeded -= settled
        settled = {uid for uid in self._new_failed if uid not in held}
        status.failed = (status.failed or 0) + len(settled) or None
        self._new_failed -= settled
        self._put_uncounted()

    def _put_uncounted(self) -> None:
        uncounted = UncountedTerminatedPods(
            succeeded=sorted(self._new_succeeded) or None, failed=sorted(self._new_failed) or None
        )
        self._job.status.uncounted_terminated_pods = uncounted

    def _indexes_of_new_successes(self) -> set[int]:
        if not facts.is_indexed(self._job):
            return set()
        return {
            facts.index_of(p)
            for p in self._found
            if p.status.phase == "Succeeded"
            and facts.has_finalizer(p)
            and p.metadata.uid not in self._new_failed
            and 0 <= facts.index_of(p) < (self._completions or 0)
        }

    def _succeeded(self, indexes: set[int]) -> int:
        if facts.is_indexed(self._job):
            return len(indexes)
        fresh = {
            p.metadata.uid
            for p in self._found
            if p.status.phase == "Succeeded" and facts.has_finalizer(p) and p.metadata.uid not in self._new_failed
        }
        return (self._job.status.succeeded or 0) + len(self._new_succeeded | fresh)

    def _failed(self) -> int:
        fresh = {p.metadata.uid for p in self._found if self._is_new_failure(p)}
        return (self._job.status.failed or 0) + len(self._new_failed | fresh)

    def _is_new_failure(self, pod: Pod) -> bool:
        if not facts.has_finalizer(pod) or pod.metadata.uid in self._new_failed:
            return False
        if pod.status.phase == "Succeeded" or not facts.failed(pod, self._job):
            return False
        if facts.is_indexed(self._job) and not 0 <= facts.index_of(pod) < (self._completions or 0):
            return False
        return facts.judge_failure(self._job, pod).counts

    async def _count(self, ending: JobCondition | None) -> None:
        """Write down who ended, take off the finalizers, turn uids into numbers: safe to die after each write."""
        job = self._job
        over: list[Pod] = []
        for pod in self._found:
            if not facts.has_finalizer(pod):
                continue
            succeeded = pod.status.phase == "Succeeded"
            failed = facts.failed(pod, job) or (ending is not None and not pod_facts.is_active(pod))
            if not (succeeded or failed or job.metadata.deletion_timestamp):
                continue
            if not succeeded and not pod_facts.is_terminal(pod) and facts.only_replace_failed(job) and ending is None:
                continue
            if len(over) >= MAX_UNCOUNTED:
                self._wait = 0.0
                break
            over.append(pod)
            uid = pod.metadata.uid or ""
            if succeeded and uid not in self._new_failed:
                if facts.is_indexed(job):
                    if 0 <= facts.index_of(pod) < (self._completions or 0):
                        self._done.add(facts.index_of(pod))
                else:
                    self._new_succeeded.add(uid)
            elif self._is_new_failure(pod) or (failed and ending is not None and self._counts_at_end(pod)):
                self._new_failed.add(uid)
        if facts.is_indexed(job):
            job.status.succeeded = len(self._done) or None
            job.status.completed_indexes = facts.format_indexes(self._done) or None
        if self._failed_indexes or job.spec.backoff_limit_per_index is not None:
            job.status.failed_indexes = facts.format_indexes(self._failed_indexes)
        self._put_uncounted()
        self._finish(ending, over)
        written = await self._control.write_status(self._before, job)
        if not over:
            self._tell_the_end(written)
            return
        removed = set(await self._control.remove_finalizers(over))
        self._before, self._job = written, codec.deepcopy(written)
        job = self._job
        settled = self._new_succeeded & removed
        job.status.succeeded = (job.status.succeeded or 0) + len(settled) or None
        self._new_succeeded -= settled
        settled = self._new_failed & removed
        job.status.failed = (job.status.failed or 0) + len(settled) or None
        self._new_failed -= settled
        self._put_uncounted()
        self._finish(ending, [p for p in over if p.metadata.uid not in removed])
        self._tell_the_end(await self._control.write_status(self._before, job))

    def _counts_at_end(self, pod: Pod) -> bool:
        if pod.metadata.uid in self._new_failed:
            return False
        if facts.is_indexed(self._job) and not 0 <= facts.index_of(pod) < (self._completions or 0):
            return False
        return facts.judge_failure(self._job, pod).counts

    # -- the end ----------------------------------------------------------------------------------------------------

    def _ending(self, succeeded: set[int]) -> JobCondition | None:
        """The decision that was taken before, or the one to take now."""
        status = self._job.status
        for type in ("FailureTarget", "SuccessCriteriaMet"):
            found = conditions.find(status.conditions, type)
            if found is not None and found.status == "True":
                return found
        decided = self._failure() or self._success(succeeded)
        if decided is not None:
            status.conditions = conditions.replaced(status.conditions, decided)
        return decided

    def _failure(self) -> JobCondition | None:
        job = self._job
        for pod in self._found:
            if facts.has_finalizer(pod) and facts.failed(pod, job):
                verdict = facts.judge_failure(job, pod)
                if verdict.action == "FailJob":
                    return facts.condition("FailureTarget", "True", "PodFailurePolicy", verdict.message)
        limit = 6 if job.spec.backoff_limit is None else job.spec.backoff_limit
        past = self._failed() > limit
        if job.spec.template.spec.restart_policy == "OnFailure":
            again = facts.restarts(self._found)
            past = past or (again > 0 if limit == 0 else again >= limit)
        if past:
            message = "Job has reached the specified backoff limit"
            return facts.condition("FailureTarget", "True", "BackoffLimitExceeded", message)
        if self._past_deadline():
            message = "Job was active longer than specified deadline"
            return facts.condition("FailureTarget", "True", "DeadlineExceeded", message)
        if job.spec.max_failed_indexes is not None and len(self._failed_indexes) > job.spec.max_failed_indexes:
            message = "Job has exceeded the specified maximal number of failed indexes"
            return facts.condition("FailureTarget", "True", "MaxFailedIndexesExceeded", message)
        return None

    def _past_deadline(self) -> bool:
        job = self._job
        if job.spec.active_deadline_seconds is None or not job.status.start_time or job.spec.suspend:
            return False
        left = job.spec.active_deadline_seconds - (self._now - api_time.parse(job.status.start_time)).total_seconds()
        if left > 0:
            self._wait = left
        return left <= 0

    def _success(self, indexes: set[int]) -> JobCondition | None:
        job = self._job
        if facts.is_indexed(job):
            message = facts.success_rule(job, indexes)
            if message is not None:
                return facts.condition("SuccessCriteriaMet", "True", "SuccessPolicy", message)
        succeeded = self._succeeded(indexes)
        if self._completions is None:
            complete = succeeded > 0 and not self._active
        elif job.spec.backoff_limit_per_index is not None:
            complete = succeeded + len(self._failed_indexes) >= self._completions
            if complete and self._failed_indexes:
                return facts.condition("FailureTarget", "True", "FailedIndexes", "Job has failed indexes")
        else:
            complete = succeeded >= self._completions
        if complete and not job.spec.suspend:
            message = "Reached expected number of succeeded pods"
            return facts.condition("SuccessCriteriaMet", "True", "CompletionsReached", message)
        return None

    def _finish(self, ending: JobCondition | None, held: Sequence[Pod]) -> None:
        """The final condition, when no pod runs, none has to be counted, and none is held by its finalizer."""
        if ending is None or held or self._new_succeeded or self._new_failed:
            return
        if any(not pod_facts.is_terminal(p) for p in self._found):
            return
        status = self._job.status
        final = "Complete" if ending.type == "SuccessCriteriaMet" else "Failed"
        status.conditions = conditions.replaced(
            status.conditions, facts.condition(final, "True", ending.reason, ending.message)
        )
        status.active, status.ready, status.terminating = None, 0, 0
        if final == "Complete":
            status.completion_time = api_time.now()

    def _tell_the_end(self, written: Job) -> None:
        if not facts.is_finished(written):
            return
        failed = conditions.find(written.status.conditions, "Failed")
        if failed is not None:
            self._control.recorder.event(written, "Warning", failed.reason or "", failed.message or "")
        else:
            self._control.recorder.event(written, "Normal", "Completed", "Job completed")

    async def _stop_all(self) -> errors.StatusError | None:
        failure = await self._control.delete(self._job, self._active)
        self._terminating = [*self._terminating, *self._active]
        self._active = []
        return failure

    # -- pods -------------------------------------------------------------------------------------------------------

    async def _manage(self, succeeded: set[int]) -> errors.StatusError | None:
        job = self._job
        if job.spec.suspend:
            gone, self._active = self._active, []
            self._terminating = [*self._terminating, *gone]
            return await self._control.delete(job, gone)
        done = succeeded | self._failed_indexes
        active = len(self._active)
        if self._completions is None:
            wanted = active if self._succeeded(succeeded) > 0 else self._parallelism
        else:
            ended = len(done) if facts.is_indexed(job) else self._succeeded(succeeded)
            wanted = max(0, min(self._completions - ended, self._parallelism))
        redundant = [p for p in self._active if facts.is_indexed(job) and facts.index_of(p) in done]
        if active > wanted or redundant:
            gone = job_pods.surplus(job, self._active, done, active - wanted)
            self._active = [p for p in self._active if p not in gone]
            self._terminating = [*self._terminating, *gone]
            return await self._control.delete(job, gone)
        missing = wanted - active
        if facts.only_replace_failed(job):
            missing -= len(self._terminating)
        if missing <= 0:
            return None
        if job.spec.backoff_limit_per_index is None:
            delay = self._delay(self._control.failures.get(job.metadata.uid or "", []))
            if delay > 0:
                self._wait = delay if self._wait is None else min(self._wait, delay)
                return None
        made = self._make(done, missing)
        created, failure = await self._control.create(job, made)
        self._active = [*self._active, *created]
        return failure

    def _make(self, done: set[int], missing: int) -> list[Pod]:
        job = self._job
        if not facts.is_indexed(job):
            return [job_pods.new_pod(job)] * missing
        holding = self._terminating if facts.only_replace_failed(job) else []
        made = []
        for index in job_pods.missing_indexes(job, done, self._active, holding, missing):
            failures = None
            if job.spec.backoff_limit_per_index is not None:
                before = [p for p in self._found if facts.index_of(p) == index and facts.failed(p, job)]
                failures = max((facts.index_failures(p) + 1 for p in before), default=0)
                ends = [t for t in map(facts.finished_at, before) if t is not None]
                delay = self._delay(sorted(ends)[-1:] * failures)
                if delay > 0:
                    self._wait = delay if self._wait is None else min(self._wait, delay)
                    continue
            made.append(job_pods.new_indexed_pod(job, index, failures))
        return made

    def _note_failures(self) -> None:
        """Failures since the last success, by when the pods ended."""
        uid = self._job.metadata.uid or ""
        ended = [p for p in self._found if facts.has_finalizer(p)]
        fresh = [t for p in ended if self._is_new_failure(p) and (t := facts.finished_at(p)) is not None]
        good = [t for p in ended if p.status.phase == "Succeeded" and (t := facts.finished_at(p)) is not None]
        known = self._control.failures.get(uid, [])
        since = max(good, default=None)
        kept = sorted(t for t in [*known, *fresh] if since is None or t > since)
        if kept:
            self._control.failures[uid] = kept[-20:]
        else:
            self._control.failures.pop(uid, None)

    def _delay(self, failures: Sequence[datetime]) -> float:
        """Seconds until the next pod may start."""
        if not failures:
            return 0.0
        pause: float = min(_FIRST_DELAY * 2.0 ** (len(failures) - 1), _MAX_DELAY)
        return pause - (self._now - failures[-1]).total_seconds()

    # -- status -----------------------------------------------------------------------------------------------------

    def _report(self, ending: JobCondition | None) -> None:
        status, recorder = self._job.status, self._control.recorder
        status.active = len(self._active) or None
        status.ready = sum(1 for p in self._active if pod_facts.is_ready(p))
        status.terminating = len(self._terminating)
        if ending is not None:
            return
        suspended = conditions.is_true(status.conditions, "Suspended")
        if self._job.spec.suspend and not suspended:
            words = facts.condition("Suspended", "True", "JobSuspended", "Job suspended")
            status.conditions = conditions.replaced(status.conditions, words)
            status.start_time = None
            recorder.event(self._job, "Normal", "Suspended", "Job suspended")
        elif suspended and not self._job.spec.suspend:
            words = facts.condition("Suspended", "False", "JobResumed", "Job resumed")
            status.conditions = conditions.replaced(status.conditions, words)
            status.start_time = api_time.now()
            recorder.event(self._job, "Normal", "Resumed", "Job resumed")
