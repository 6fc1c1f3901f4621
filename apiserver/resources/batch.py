"""Jobs and cron jobs; a job gets its selector here unless the user brings one."""

from __future__ import annotations

from api.types import batch_v1, meta_v1
from apiserver.defaults import batch as defaults
from apiserver.printers import workloads as rows
from apiserver.resources.base import BuiltIn
from apiserver.strategy import Context, Strategy
from apiserver.validation import batch as rules
from apiserver.validation.warnings import template_warnings

_NAME_LABELS = ("job-name", "batch.kubernetes.io/job-name")
_UID_LABELS = ("controller-uid", "batch.kubernetes.io/controller-uid")


class JobStrategy(BuiltIn):
    def __init__(self) -> None:
        super().__init__(
            batch_v1.Job,
            defaults=defaults.default_job,
            columns=rows.JOB,
            cells=rows.job_cells,
            create=rules.validate_job,
            update=rules.validate_job_update,
            status=rules.validate_job_status_update,
            generation_of=("spec",),
            fields={"status.successful": lambda job: str(job.status.succeeded or 0)},
            orphans_by_default=True,
        )

    def prepare_create(self, ctx: Context, obj: batch_v1.Job) -> None:
        super().prepare_create(ctx, obj)
        if not obj.spec.manual_selector:
            _generate_selector(obj)

    def warnings(self, ctx: Context, obj: batch_v1.Job, old: batch_v1.Job | None) -> list[str]:
        found = template_warnings(obj.spec.template, None if old is None else old.spec.template)
        completions, parallelism = obj.spec.completions or 0, obj.spec.parallelism or 0
        if obj.spec.completion_mode == "Indexed" and completions > 100_000 and parallelism > 10_000:
            found.append(
                "In Indexed Jobs with a number of completions higher than 100,000, the parallelism should be lower "
                "than or equal to 10,000 to keep the status within its size"
            )
        return found


def _generate_selector(job: batch_v1.Job) -> None:
    """Labels that only this job's pods have, and a selector for them; validation refuses contradicting ones."""
    uid, name = job.metadata.uid or "", job.metadata.name or ""
    labels = dict(job.spec.template.metadata.labels or {})
    for label in _NAME_LABELS:
        labels.setdefault(label, name)
    for label in _UID_LABELS:
        labels.setdefault(label, uid)
    job.spec.template.metadata.labels = labels
    selector = job.spec.selector or meta_v1.LabelSelector()
    selector.match_labels = {"batch.kubernetes.io/controller-uid": uid, **(selector.match_labels or {})}
    job.spec.selector = selector


class CronJobStrategy(BuiltIn):
    def __init__(self) -> None:
        super().__init__(
            batch_v1.CronJob,
            defaults=defaults.default_cron_job,
            columns=rows.CRON_JOB,
            cells=rows.cron_job_cells,
            create=rules.validate_cron_job,
            update=rules.validate_cron_job_update,
            generation_of=("spec",),
        )

    def warnings(self, ctx: Context, obj: batch_v1.CronJob, old: batch_v1.CronJob | None) -> list[str]:
        before = None if old is None else old.spec.job_template.spec.template
        found = template_warnings(obj.spec.job_template.spec.template, before, "spec.jobTemplate.spec.template")
        if "TZ" in obj.spec.schedule:
            found.append(
                "spec.schedule: CRON_TZ or TZ used in schedule is not officially supported, see "
                "https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/ for more details"
            )
        return found


def strategies() -> list[Strategy]:
    return [JobStrategy(), CronJobStrategy()]
