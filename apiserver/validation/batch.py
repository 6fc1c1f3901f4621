"""Jobs and cron jobs."""

from __future__ import annotations

import zoneinfo

from api import codec
from api.errors import FieldError, Path
from api.selectors import selector_from
from api.types import batch_v1
from apiserver.validation.common import immutable, label_selector, not_negative, semantic_equal
from apiserver.validation.cron import schedule_error
from apiserver.validation.templates import validate_pod_template_spec

_SPEC, _STATUS = Path("spec"), Path("status")
_UID_LABELS = ("controller-uid", "batch.kubernetes.io/controller-uid")
_NAME_LABELS = ("job-name", "batch.kubernetes.io/job-name")
_MAX_INDEXED_PARALLELISM = 100_000
_MAX_RULES = 20


def validate_job(job: batch_v1.Job) -> list[FieldError]:
    errors = _generated_selector(job)
    spec, at = job.spec, _SPEC.child("selector")
    if spec.selector is None:
        errors.append(FieldError.required(at))
    else:
        errors += label_selector(spec.selector, at)
        labels = spec.template.metadata.labels or {}
        try:
            if not selector_from(spec.selector).matches(labels):
                where = _SPEC.child("template").child("metadata").child("labels")
                detail = "`selector` does not match template `labels`"
                errors.append(FieldError.invalid(where, labels, detail))
        except ValueError:
            errors.append(FieldError.invalid(at, spec.selector, "invalid label selector"))
    return errors + _job_spec(spec, _SPEC)


def _generated_selector(job: batch_v1.Job) -> list[FieldError]:
    if job.spec.manual_selector or job.spec.selector is None:
        return []
    errors: list[FieldError] = []
    labels = job.spec.template.metadata.labels or {}
    at = _SPEC.child("template").child("metadata").child("labels")
    for keys, wanted in ((_UID_LABELS, job.metadata.uid or ""), (_NAME_LABELS, job.metadata.name or "")):
        for key in keys:
            value = labels.get(key)
            if value is None:
                errors.append(FieldError.required(at.key(key), f"must be '{wanted}'"))
            elif value != wanted:
                errors.append(FieldError.invalid(at, labels, f"must be '{wanted}'"))
    expected = dict.fromkeys(_UID_LABELS, job.metadata.uid or "") | dict.fromkeys(_NAME_LABELS, job.metadata.name or "")
    try:
        generated = selector_from(job.spec.selector).matches(expected)
    except ValueError:
        return errors  # said by the comparison with the template's labels
    if not generated:
        errors.append(FieldError.invalid(_SPEC.child("selector"), job.spec.selector, "`selector` not auto-generated"))
    return errors


def _job_spec(spec: batch_v1.JobSpec, path: Path) -> list[FieldError]:
    errors: list[FieldError] = []
    for field, value in (
        ("parallelism", spec.parallelism),
        ("completions", spec.completions),
        ("activeDeadlineSeconds", spec.active_deadline_seconds),
        ("backoffLimit", spec.backoff_limit),
        ("ttlSecondsAfterFinished", spec.ttl_seconds_after_finished),
        ("backoffLimitPerIndex", spec.backoff_limit_per_index),
        ("maxFailedIndexes", spec.max_failed_indexes),
    ):
        errors += not_negative(value, path.child(field))
    errors += _indexed(spec, path)
    if spec.managed_by is not None:
        at = path.child("managedBy")
        if "/" not in spec.managed_by:
            errors.append(
                FieldError.invalid(at, spec.managed_by, 'must be a domain-prefixed path (such as "acme.io/foo")')
            )
        if len(spec.managed_by) > 63:
            errors.append(FieldError.too_long(at, spec.managed_by, 63))
    errors += validate_pod_template_spec(spec.template, path.child("template"))
    restart = spec.template.spec.restart_policy
    at = path.child("template").child("spec").child("restartPolicy")
    if restart in (None, "", "Always"):
        errors.append(FieldError.required(at, 'valid values: "OnFailure", "Never"'))
    elif restart not in ("OnFailure", "Never"):
        errors.append(FieldError.not_supported(at, restart, ("OnFailure", "Never")))
    elif spec.pod_failure_policy is not None and restart != "Never":
        detail = 'only "Never" is supported when podFailurePolicy is specified'
        errors.append(FieldError.invalid(at, restart, detail))
    if spec.pod_failure_policy is not None:
        errors += _failure_policy(spec, path.child("podFailurePolicy"))
    if spec.success_policy is not None:
        errors += _success_policy(spec, path.child("successPolicy"))
    if spec.pod_replacement_policy is not None:
        at = path.child("podReplacementPolicy")
        valid = ("Failed",) if spec.pod_failure_policy is not None else ("Failed", "TerminatingOrFailed")
        if spec.pod_replacement_policy not in valid:
            errors.append(FieldError.not_supported(at, spec.pod_replacement_policy, valid))
    return errors


def _indexed(spec: batch_v1.JobSpec, path: Path) -> list[FieldError]:
    errors: list[FieldError] = []
    mode = spec.completion_mode
    if mode is not None and mode not in ("NonIndexed", "Indexed"):
        errors.append(FieldError.not_supported(path.child("completionMode"), mode, ("Indexed", "NonIndexed")))
    if mode == "Indexed":
        if spec.completions is None:
            errors.append(FieldError.required(path.child("completions"), "when completion mode is Indexed"))
        if (spec.parallelism or 0) > _MAX_INDEXED_PARALLELISM:
            detail = f"must be less than or equal to {_MAX_INDEXED_PARALLELISM} when completion mode is Indexed"
            errors.append(FieldError.invalid(path.child("parallelism"), spec.parallelism, detail))
    elif spec.backoff_limit_per_index is not None:
        detail = "requires indexed completion mode"
        errors.append(FieldError.invalid(path.child("backoffLimitPerIndex"), spec.backoff_limit_per_index, detail))
    if spec.max_failed_indexes is not None:
        if spec.backoff_limit_per_index is None:
            errors.append(FieldError.required(path.child("backoffLimitPerIndex"), "when maxFailedIndexes is specified"))
        if spec.completions is not None and spec.max_failed_indexes > spec.completions:
            detail = "must be less than or equal to completions"
            errors.append(FieldError.invalid(path.child("maxFailedIndexes"), spec.max_failed_indexes, detail))
    return errors


def _failure_policy(spec: batch_v1.JobSpec, path: Path) -> list[FieldError]:
    assert spec.pod_failure_policy is not None
    errors: list[FieldError] = []
    rules = spec.pod_failure_policy.rules
    at = path.child("rules")
    if len(rules) > _MAX_RULES:
        errors.append(FieldError.too_many(at, len(rules), _MAX_RULES))
    known = {c.name for c in (*spec.template.spec.containers, *(spec.template.spec.init_containers or ()))}
    actions = ("Count", "FailIndex", "FailJob", "Ignore")
    for index, rule in enumerate(rules):
        where = at.index(index)
        if not rule.action:
            errors.append(FieldError.required(where.child("action"), f"valid values: {list(actions)}"))
        elif rule.action not in actions:
            errors.append(FieldError.not_supported(where.child("action"), rule.action, actions))
        elif rule.action == "FailIndex" and spec.backoff_limit_per_index is None:
            detail = "requires the backoffLimitPerIndex to be set"
            errors.append(FieldError.invalid(where.child("action"), rule.action, detail))
        if rule.on_exit_codes is not None and rule.on_pod_conditions:
            detail = "specifying both OnExitCodes and OnPodConditions is not supported"
            errors.append(FieldError.invalid(where, rule, detail))
        if rule.on_exit_codes is None and not rule.on_pod_conditions:
            detail = "specifying one of OnExitCodes and OnPodConditions is required"
            errors.append(FieldError.invalid(where, rule, detail))
        if (codes := rule.on_exit_codes) is not None:
            below = where.child("onExitCodes")
            if codes.operator not in ("In", "NotIn"):
                errors.append(FieldError.not_supported(below.child("operator"), codes.operator, ("In", "NotIn")))
            if codes.container_name is not None and codes.container_name not in known:
                detail = "must be one of the container or initContainer names in the pod template"
                errors.append(FieldError.invalid(below.child("containerName"), codes.container_name, detail))
            if not codes.values:
                detail = "at least one value is required"
                errors.append(FieldError.invalid(below.child("values"), codes.values, detail))
            for position, code in enumerate(codes.values):
                if codes.operator == "In" and code == 0:
                    detail = "must not be 0 for the In operator"
                    errors.append(FieldError.invalid(below.child("values").index(position), code, detail))
    return errors


def _success_policy(spec: batch_v1.JobSpec, path: Path) -> list[FieldError]:
    assert spec.success_policy is not None
    errors: list[FieldError] = []
    if spec.completion_mode != "Indexed":
        errors.append(FieldError.invalid(path, spec.success_policy, "requires indexed completion mode"))
    at = path.child("rules")
    if not spec.success_policy.rules:
        errors.append(
            FieldError.required(at, "at least one rules must be specified when the successPolicy is specified")
        )
    for index, rule in enumerate(spec.success_policy.rules):
        if rule.succeeded_count is None and not rule.succeeded_indexes:
            detail = "at least one of succeededCount or succeededIndexes must be specified"
            errors.append(FieldError.required(at.index(index), detail))
        errors += not_negative(rule.succeeded_count, at.index(index).child("succeededCount"))
    return errors


def validate_job_update(new: batch_v1.Job, old: batch_v1.Job) -> list[FieldError]:
    if new.spec == old.spec:
        return []
    errors = _job_spec(new.spec, _SPEC)
    now, was = new.spec, old.spec
    elastic = (
        now.completion_mode == was.completion_mode == "Indexed"
        and now.completions is not None
        and now.completions == now.parallelism
        and was.completions == was.parallelism
    )
    if now.completions != was.completions and not elastic:
        detail = "field is immutable"
        if now.completion_mode == "Indexed" and now.completions is not None and was.completions is not None:
            detail = f"may only be modified in tandem with {_SPEC.child('parallelism')}"
        errors.append(FieldError.invalid(_SPEC.child("completions"), now.completions, detail))
    errors += immutable(now.selector, was.selector, _SPEC.child("selector"))
    errors += _template_update(new, old)
    for field, a, b in (
        ("completionMode", now.completion_mode, was.completion_mode),
        ("podFailurePolicy", now.pod_failure_policy, was.pod_failure_policy),
        ("backoffLimitPerIndex", now.backoff_limit_per_index, was.backoff_limit_per_index),
        ("managedBy", now.managed_by, was.managed_by),
        ("successPolicy", now.success_policy, was.success_policy),
    ):
        errors += immutable(a, b, _SPEC.child(field))
    return errors


def _template_update(new: batch_v1.Job, old: batch_v1.Job) -> list[FieldError]:
    """The template is fixed; only a suspended job that never started may still be told where to run."""
    template = new.spec.template
    if old.spec.suspend and not old.status.start_time:
        template = codec.deepcopy(template)
        before = old.spec.template
        template.metadata.labels, template.metadata.annotations = before.metadata.labels, before.metadata.annotations
        for name in ("node_selector", "tolerations", "scheduling_gates", "affinity"):
            setattr(template.spec, name, getattr(before.spec, name))
        for container, was in zip(template.spec.containers, before.spec.containers, strict=False):
            container.resources = was.resources
    if semantic_equal(template, old.spec.template):
        return []
    return [FieldError.invalid(_SPEC.child("template"), new.spec.template, "field is immutable")]


def validate_job_status_update(new: batch_v1.Job, old: batch_v1.Job) -> list[FieldError]:
    status = new.status
    errors: list[FieldError] = []
    for field, value in (
        ("active", status.active),
        ("succeeded", status.succeeded),
        ("failed", status.failed),
        ("ready", status.ready),
        ("terminating", status.terminating),
    ):
        errors += not_negative(value, _STATUS.child(field))
    true = {c.type for c in status.conditions or () if c.status == "True"}
    if "Complete" in true and "Failed" in true:
        detail = "cannot set Complete=True and Failed=true conditions"
        errors.append(FieldError.invalid(_STATUS.child("conditions"), status.conditions, detail))
    if status.completion_time and "Complete" not in true:
        detail = "cannot set completionTime when there is no Complete=True condition"
        errors.append(FieldError.invalid(_STATUS.child("completionTime"), status.completion_time, detail))
    return errors


def validate_cron_job(cron_job: batch_v1.CronJob) -> list[FieldError]:
    errors: list[FieldError] = []
    # The jobs' names get a suffix of eleven characters.
    if len(cron_job.metadata.name or "") > 52:
        detail = "must be no more than 52 characters"
        errors.append(FieldError.invalid(Path("metadata", "name"), cron_job.metadata.name, detail))
    return errors + _cron_job_spec(cron_job.spec, new=True)


def _cron_job_spec(spec: batch_v1.CronJobSpec, *, new: bool) -> list[FieldError]:
    errors: list[FieldError] = []
    at = _SPEC.child("schedule")
    if not spec.schedule:
        errors.append(FieldError.required(at))
    else:
        if problem := schedule_error(spec.schedule):
            errors.append(FieldError.invalid(at, spec.schedule, problem))
        if "TZ" in spec.schedule and (spec.time_zone is not None or new):
            detail = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"
            errors.append(FieldError.invalid(at, spec.schedule, detail))
    if spec.time_zone is not None:
        errors += _time_zone(spec.time_zone, _SPEC.child("timeZone"))
    errors += not_negative(spec.starting_deadline_seconds, _SPEC.child("startingDeadlineSeconds"))
    at = _SPEC.child("concurrencyPolicy")
    if not spec.concurrency_policy:
        errors.append(FieldError.required(at))
    elif spec.concurrency_policy not in ("Allow", "Forbid", "Replace"):
        errors.append(FieldError.not_supported(at, spec.concurrency_policy, ("Allow", "Forbid", "Replace")))
    errors += not_negative(spec.successful_jobs_history_limit, _SPEC.child("successfulJobsHistoryLimit"))
    errors += not_negative(spec.failed_jobs_history_limit, _SPEC.child("failedJobsHistoryLimit"))
    template = spec.job_template.spec
    path = _SPEC.child("jobTemplate").child("spec")
    errors += _job_spec(template, path)
    if template.selector is not None:
        detail = "`selector` will be auto-generated"
        errors.append(FieldError.invalid(path.child("selector"), template.selector, detail))
    if template.manual_selector:
        errors.append(FieldError.not_supported(path.child("manualSelector"), True, ("nil", "false")))
    return errors


def _time_zone(zone: str, path: Path) -> list[FieldError]:
    if not zone:
        return [FieldError.invalid(path, zone, "timeZone must be nil or non-empty string")]
    if zone.lower() == "local":
        detail = "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones"
        return [FieldError.invalid(path, zone, detail)]
    try:
        zoneinfo.ZoneInfo(zone)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return [FieldError.invalid(path, zone, f"unknown time zone {zone}")]
    return []


def validate_cron_job_update(new: batch_v1.CronJob, old: batch_v1.CronJob) -> list[FieldError]:
    if new.spec == old.spec:
        return []
    return _cron_job_spec(new.spec, new=new.spec.schedule != old.spec.schedule)
