"""What can be said of a Job and its pods without asking anybody: indexes, failure and success policies, conditions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from api import time as api_time
from api.types.batch_v1 import Job, JobCondition
from api.types.core_v1 import ContainerStatus, Pod
from controller_manager import conditions

FINALIZER = "batch.kubernetes.io/job-tracking"
INDEX = "batch.kubernetes.io/job-completion-index"
INDEX_FAILURES = "batch.kubernetes.io/job-index-failure-count"
INDEX_IGNORED_FAILURES = "batch.kubernetes.io/job-index-ignored-failure-count"
OUR_NAME = "kubernetes.io/job-controller"


def is_indexed(job: Job) -> bool:
    return job.spec.completion_mode == "Indexed"


def is_finished(job: Job) -> bool:
    return conditions.is_true(job.status.conditions, "Complete") or conditions.is_true(job.status.conditions, "Failed")


def is_ours(job: Job) -> bool:
    return job.spec.managed_by in (None, "", OUR_NAME)


def only_replace_failed(job: Job) -> bool:
    """Whether a pod that is terminating is waited for (podReplacementPolicy: Failed)."""
    return job.spec.pod_replacement_policy == "Failed"


def has_finalizer(pod: Pod) -> bool:
    return FINALIZER in (pod.metadata.finalizers or ())


def without_finalizer(pod: Pod) -> Pod:
    """A copy that is not tracked any more."""
    kept = [name for name in pod.metadata.finalizers or () if name != FINALIZER]
    return msgspec.structs.replace(pod, metadata=msgspec.structs.replace(pod.metadata, finalizers=kept or None))


def failed(pod: Pod, job: Job) -> bool:
    """Terminating pods count at once, unless the job wants to know how they ended."""
    if pod.status.phase == "Failed":
        return True
    if only_replace_failed(job):
        return False
    return bool(pod.metadata.deletion_timestamp) and pod.status.phase != "Succeeded"


def index_of(pod: Pod) -> int:
    """The completion index, or -1."""
    text = (pod.metadata.annotations or {}).get(INDEX, "")
    return int(text) if text.isdecimal() else -1


# -- sets of indexes --------------------------------------------------------------------------------------------------


def parse_indexes(text: str | None, completions: int) -> set[int]:
    """`1,3-5` as a set; what lies beyond the completions is left out."""
    found: set[int] = set()
    for part in (text or "").split(","):
        first, _, last = part.partition("-")
        if first.isdecimal():
            found.update(range(int(first), int(last or first) + 1))
    return {i for i in found if i < completions}


def format_indexes(indexes: Iterable[int]) -> str:
    """A set as `1,3-5`; two neighbours are written `3,4`, as upstream does."""
    runs: list[list[int]] = []
    for index in sorted(indexes):
        if runs and runs[-1][-1] == index - 1:
            runs[-1].append(index)
        else:
            runs.append([index])
    parts = []
    for run in runs:
        if len(run) == 1:
            parts.append(str(run[0]))
        elif len(run) == 2:
            parts.append(f"{run[0]},{run[1]}")
        else:
            parts.append(f"{run[0]}-{run[-1]}")
    return ",".join(parts)


# -- policies ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Verdict:
    """What the pod failure policy says of a failed pod."""

    counts: bool = True
    action: str = ""  # FailJob, FailIndex, Ignore, Count, or "" if no rule matched
    message: str = ""


def judge_failure(job: Job, pod: Pod) -> Verdict:
    policy = job.spec.pod_failure_policy
    for number, rule in enumerate(policy.rules if policy else ()):
        message = ""
        if rule.on_exit_codes is not None:
            found = _exit_code_match(rule.on_exit_codes, pod)
            if found is not None:
                code = found.state.terminated.exit_code  # type: ignore[union-attr]
                message = (
                    f"Container {found.name} for pod {pod.metadata.namespace}/{pod.metadata.name} failed with exit "
                    f"code {code} matching {rule.action} rule at index {number}"
                )
        for pattern in rule.on_pod_conditions or ():
            condition = conditions.find(pod.status.conditions, pattern.type)
            if condition is not None and condition.status == (pattern.status or "True"):
                message = message or (
                    f"Pod {pod.metadata.namespace}/{pod.metadata.name} has condition {pattern.type} matching "
                    f"{rule.action} rule at index {number}"
                )
        if message:
            return Verdict(rule.action != "Ignore", rule.action, message)
    return Verdict()


def _exit_code_match(wanted: Any, pod: Pod) -> ContainerStatus | None:
    statuses: list[ContainerStatus] = [
        *(pod.status.init_container_statuses or ()),
        *(pod.status.container_statuses or ()),
    ]
    for status in statuses:
        ended = status.state.terminated if status.state else None
        if ended is None or ended.exit_code == 0 or wanted.container_name not in (None, "", status.name):
            continue
        listed = ended.exit_code in wanted.values
        if listed == (wanted.operator == "In"):
            return status
    return None


def success_rule(job: Job, succeeded: set[int]) -> str | None:
    """The message of the first success policy rule that is met."""
    policy = job.spec.success_policy
    for number, rule in enumerate(policy.rules if policy else ()):
        counted = succeeded
        if rule.succeeded_indexes is not None:
            wanted = parse_indexes(rule.succeeded_indexes, job.spec.completions or 0)
            counted = succeeded & wanted
            if rule.succeeded_count is None and counted == wanted:
                return f"Matched rules at index {number}"
        if rule.succeeded_count is not None and len(counted) >= rule.succeeded_count:
            return f"Matched rules at index {number}"
    return None


def index_failures(pod: Pod) -> int:
    text = (pod.metadata.annotations or {}).get(INDEX_FAILURES, "0")
    return int(text) if text.isdecimal() else 0


def failed_indexes(job: Job, pods: Iterable[Pod]) -> set[int]:
    """Indexes that will not be tried again (backoffLimitPerIndex, FailIndex)."""
    completions = job.spec.completions or 0
    found = parse_indexes(job.status.failed_indexes, completions)
    limit = job.spec.backoff_limit_per_index
    for pod in pods:
        index = index_of(pod)
        if not 0 <= index < completions or not has_finalizer(pod) or not failed(pod, job):
            continue
        verdict = judge_failure(job, pod)
        if verdict.action == "FailIndex" or (verdict.counts and limit is not None and index_failures(pod) >= limit):
            found.add(index)
    return found


# -- failures and time ------------------------------------------------------------------------------------------------


def restarts(pods: Sequence[Pod]) -> int:
    """Restarts inside running pods: with restartPolicy OnFailure they count against the backoff limit."""
    total = 0
    for pod in pods:
        if pod.status.phase in ("Running", "Pending"):
            statuses = [*(pod.status.init_container_statuses or ()), *(pod.status.container_statuses or ())]
            total += sum(s.restart_count for s in statuses)
    return total


def finished_at(pod: Pod) -> datetime | None:
    """When a pod's last container ended, else when it became not ready, else when its deletion was asked for."""
    ends = [
        s.state.terminated.finished_at
        for s in pod.status.container_statuses or ()
        if s.state and s.state.terminated and s.state.terminated.finished_at
    ]
    if ends:
        return max(map(api_time.parse, ends))
    ready = conditions.find(pod.status.conditions, "Ready")
    if ready is not None and ready.status == "False" and ready.last_transition_time:
        return api_time.parse(ready.last_transition_time)
    text = pod.metadata.deletion_timestamp or pod.metadata.creation_timestamp
    return api_time.parse(text) if text else None


def condition(type: str, status: str, reason: str | None, message: str | None) -> JobCondition:
    now = api_time.now()
    return JobCondition(
        type=type, status=status, reason=reason, message=message, last_probe_time=now, last_transition_time=now
    )
