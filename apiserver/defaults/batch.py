"""Defaults of the batch group."""

from __future__ import annotations

from api.types import batch_v1
from apiserver.defaults.pods import default_pod_template

_MAX_INT32 = 2**31 - 1


def default_job(job: batch_v1.Job) -> None:
    spec = job.spec
    default_job_spec(spec)
    # For a non-parallel job, both can be left unset and mean one.
    if spec.completions is None and spec.parallelism is None:
        spec.completions = 1
    if spec.parallelism is None:
        spec.parallelism = 1
    if spec.backoff_limit is None:
        # With a limit per index the total is unlimited unless the user says otherwise.
        spec.backoff_limit = _MAX_INT32 if spec.backoff_limit_per_index is not None else 6
    if not job.metadata.labels and spec.template.metadata.labels:
        job.metadata.labels = dict(spec.template.metadata.labels)
    if spec.completion_mode is None:
        spec.completion_mode = "NonIndexed"
    if spec.suspend is None:
        spec.suspend = False
    if spec.pod_failure_policy is not None:
        for rule in spec.pod_failure_policy.rules:
            for pattern in rule.on_pod_conditions or ():
                if not pattern.status:
                    pattern.status = "True"
    if spec.manual_selector is None:
        spec.manual_selector = False
    if spec.pod_replacement_policy is None:
        spec.pod_replacement_policy = "Failed" if spec.pod_failure_policy is not None else "TerminatingOrFailed"


def default_job_spec(spec: batch_v1.JobSpec) -> None:
    """What a job and the template of a cron job have in common."""
    default_pod_template(spec.template)


def default_cron_job(cron_job: batch_v1.CronJob) -> None:
    spec = cron_job.spec
    if not spec.concurrency_policy:
        spec.concurrency_policy = "Allow"
    if spec.suspend is None:
        spec.suspend = False
    if spec.successful_jobs_history_limit is None:
        spec.successful_jobs_history_limit = 3
    if spec.failed_jobs_history_limit is None:
        spec.failed_jobs_history_limit = 1
    default_job_spec(spec.job_template.spec)
