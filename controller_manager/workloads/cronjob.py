"""CronJobs: a Job at each time of a schedule.

Invariants:
- the Job of a scheduled time has a name made of that time, so that it is made at most once, whoever tries;
- of several missed times only the last is made up for, and only within startingDeadlineSeconds;
- Forbid skips a time while a Job runs, Replace deletes the running one first;
- `status.active` names the Jobs that run, and finished ones beyond the history limits are deleted, oldest first.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

from api import codec, errors
from api import time as api_time
from api.types.batch_v1 import CronJob, Job
from api.types.core_v1 import ObjectReference
from api.types.meta_v1 import ObjectMeta
from client.controller import Controller
from client.store import Key, key_of
from controller_manager import conditions
from controller_manager.context import Context
from controller_manager.owners import INDEX, by_controller, controller_of, controller_ref
from controller_manager.workloads.cron import Schedule, UnknownZone
from controller_manager.workloads.job_facts import is_finished

SCHEDULED = "batch.kubernetes.io/cronjob-scheduled-timestamp"
_SLACK = 0.1


class CronJobController:
    def __init__(self, context: Context) -> None:
        self._api = context.api
        self._recorder = context.recorder("cronjob-controller")
        self._cron_jobs = context.informers.informer(CronJob)
        self._jobs = context.informers.informer(Job)
        self.controller: Controller[Key] = Controller("cronjob", self.reconcile, workers=5)
        self._jobs.add_index(INDEX, by_controller)
        self._cron_jobs.add_handler(
            on_add=lambda c: self.controller.enqueue(key_of(c)),
            on_update=lambda _, c: self.controller.enqueue(key_of(c)),
        )
        self._jobs.add_handler(
            on_add=self._job_changed, on_update=lambda _, new: self._job_changed(new), on_delete=self._job_changed
        )

    async def run(self) -> None:
        await self.controller.run()

    def _job_changed(self, job: Job) -> None:
        ref = controller_of(job)
        if ref is not None and ref.kind == "CronJob":
            self.controller.enqueue((job.metadata.namespace or "", ref.name))

    async def reconcile(self, key: Key) -> float | None:
        cached = self._cron_jobs.get(*key)
        if cached is None:
            return None
        cron = codec.deepcopy(cached)
        jobs = self._jobs.by_index(INDEX, cron.metadata.uid)
        await self._clean_up(cron, jobs)
        await self._refresh_active(cron, jobs)
        failure: errors.StatusError | None = None
        wait: float | None = None
        try:
            wait = await self._start(cron)
        except errors.StatusError as error:
            failure = error
        if cron.status != cached.status:
            await self._api.update_status(cron)
        if failure is not None:
            raise failure
        return wait

    # -- what ran ---------------------------------------------------------------------------------------------------

    async def _refresh_active(self, cron: CronJob, jobs: list[Job]) -> None:
        active = {ref.uid: ref for ref in cron.status.active or ()}
        known = {job.metadata.uid for job in jobs}
        for job in jobs:
            uid, name = job.metadata.uid, job.metadata.name
            if uid not in active:
                if not is_finished(job) and not self._just_made(cron, job):
                    message = f"Saw a job that the controller did not create or forgot: {name}"
                    self._recorder.event(cron, "Warning", "UnexpectedJob", message)
            elif is_finished(job):
                del active[uid]
                ended = "Complete" if conditions.is_true(job.status.conditions, "Complete") else "Failed"
                message = f"Saw completed job: {name}, condition: {ended}"
                self._recorder.event(cron, "Normal", "SawCompletedJob", message)
            if conditions.is_true(job.status.conditions, "Complete") and job.status.completion_time:
                last = cron.status.last_successful_time
                if not last or api_time.parse(job.status.completion_time) > api_time.parse(last):
                    cron.status.last_successful_time = job.status.completion_time
        for uid, ref in list(active.items()):
            if uid in known:
                continue
            try:
                live = await self._api.get(Job, ref.name or "", namespace=cron.metadata.namespace or "")
                gone = live.metadata.uid != uid
            except errors.StatusError as error:
                if not errors.is_not_found(error):
                    raise
                gone = True
            if gone:
                del active[uid]
                self._recorder.event(cron, "Normal", "MissingJob", f"Active job went missing: {ref.name}")
        cron.status.active = list(active.values()) or None

    def _just_made(self, cron: CronJob, job: Job) -> bool:
        """Made by us, and the status that says so has not arrived yet."""
        last = cron.status.last_schedule_time
        stamp = (job.metadata.annotations or {}).get(SCHEDULED)
        return bool(stamp) and (not last or api_time.parse(stamp or "") > api_time.parse(last))

    async def _clean_up(self, cron: CronJob, jobs: list[Job]) -> None:
        for type, limit in (
            ("Complete", cron.spec.successful_jobs_history_limit),
            ("Failed", cron.spec.failed_jobs_history_limit),
        ):
            if limit is None:
                continue
            ended = [j for j in jobs if conditions.is_true(j.status.conditions, type)]
            ended.sort(key=lambda j: (j.status.start_time or "", j.metadata.name or ""))
            for job in ended[: max(0, len(ended) - limit)]:
                await self._delete(cron, job.metadata.name or "")

    async def _delete(self, cron: CronJob, name: str) -> None:
        try:
            await self._api.delete(Job, name, namespace=cron.metadata.namespace or "", propagation="Background")
        except errors.StatusError as error:
            if errors.is_not_found(error):
                return
            self._recorder.event(cron, "Warning", "FailedDelete", f"Deleted job: {error.message}")
            raise
        cron.status.active = [r for r in cron.status.active or () if r.name != name] or None
        self._recorder.event(cron, "Normal", "SuccessfulDelete", f"Deleted job {name}")

    # -- what is due ------------------------------------------------------------------------------------------------

    async def _start(self, cron: CronJob) -> float | None:
        if cron.metadata.deletion_timestamp or cron.spec.suspend:
            return None
        try:
            schedule = Schedule(cron.spec.schedule, cron.spec.time_zone)
        except UnknownZone as error:
            message = f'invalid timeZone: "{cron.spec.time_zone}": {error}'
            self._recorder.event(cron, "Warning", "UnknownTimeZone", message)
            return None
        except ValueError as error:
            message = f'unparseable schedule: "{cron.spec.schedule}" : {error}'
            self._recorder.event(cron, "Warning", "UnparseableSchedule", message)
            return None
        now = datetime.now(UTC)
        due = self._due(cron, schedule, now)
        upcoming = schedule.next(now)
        wait = (upcoming - now).total_seconds() + _SLACK if upcoming is not None else None
        if due is None:
            return wait
        deadline = cron.spec.starting_deadline_seconds
        if deadline is not None and due + timedelta(seconds=deadline) < now:
            message = f"Missed scheduled time to start a job: {format_datetime(due.astimezone(UTC))}"
            self._recorder.event(cron, "Warning", "MissSchedule", message)
            return wait
        name = f"{cron.metadata.name}-{int(due.timestamp()) // 60}"
        if any(ref.name == name for ref in cron.status.active or ()):
            return wait
        if cron.spec.concurrency_policy == "Forbid" and cron.status.active:
            message = "Not starting job because prior execution is running and concurrency policy is Forbid"
            self._recorder.event(cron, "Normal", "JobAlreadyActive", message)
            return wait
        if cron.spec.concurrency_policy == "Replace":
            for ref in list(cron.status.active or ()):
                await self._delete(cron, ref.name or "")
        await self._create(cron, name, due)
        return wait

    def _due(self, cron: CronJob, schedule: Schedule, now: datetime) -> datetime | None:
        earliest = api_time.parse(cron.status.last_schedule_time or cron.metadata.creation_timestamp or api_time.now())
        deadline = cron.spec.starting_deadline_seconds
        if deadline is not None:
            earliest = max(earliest, now - timedelta(seconds=deadline))
        latest, many = schedule.latest(earliest, now) if earliest < now else (None, False)
        if many:
            message = "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew"
            self._recorder.event(cron, "Warning", "TooManyMissedTimes", message)
        return latest

    async def _create(self, cron: CronJob, name: str, due: datetime) -> None:
        template = codec.deepcopy(cron.spec.job_template)
        stamp = due.isoformat().replace("+00:00", "Z")
        job = Job(
            metadata=ObjectMeta(
                name=name,
                namespace=cron.metadata.namespace,
                labels=template.metadata.labels,
                annotations={**(template.metadata.annotations or {}), SCHEDULED: stamp},
                owner_references=[controller_ref(cron)],
            ),
            spec=template.spec,
        )
        try:
            made = await self._api.create(job)
        except errors.StatusError as error:
            if errors.has_cause(error, "NamespaceTerminating"):
                return
            if not errors.is_already_exists(error):
                self._recorder.event(cron, "Warning", "FailedCreate", f"Error creating job: {error.message}")
                raise
            made = await self._api.get(Job, name, namespace=cron.metadata.namespace or "")
            ref = controller_of(made)
            if ref is None or ref.uid != cron.metadata.uid:
                return
        else:
            self._recorder.event(cron, "Normal", "SuccessfulCreate", f"Created job {name}")
        reference = ObjectReference(
            api_version="batch/v1",
            kind="Job",
            namespace=made.metadata.namespace,
            name=name,
            uid=made.metadata.uid,
            resource_version=made.metadata.resource_version,
        )
        if not is_finished(made):
            cron.status.active = [*(cron.status.active or ()), reference]
        cron.status.last_schedule_time = api_time.format_time(due)
