"""Jobs: counted exactly, limited, suspended, and finished in every way that upstream knows."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.cluster.harness import CommandFailed, Space, until
from tests.cluster.workloads import condition, job, live, reasons


def finished(space: Space, name: str, how: str, timeout: float = 90) -> dict[str, Any]:
    """The Job once it has the condition `how`; fails at once if it ended in another way."""

    def ended() -> dict[str, Any]:
        found = space.get("job", name)
        other = "Failed" if how == "Complete" else "Complete"
        if condition(found, other):
            pytest.fail(f"{name} is {other}: {found['status']}")
        return found if condition(found, how) else {}

    return until(ended, f"{name} is {how}", timeout=timeout)


def test_completions_with_parallelism_are_counted_exactly(space: Space) -> None:
    space.apply(job("work", "sleep 0.5", completions=7, parallelism=3))
    most = 0

    def complete() -> dict[str, Any]:
        nonlocal most
        most = max(
            most, len([p for p in live(space, "job-name=work") if p["status"]["phase"] in ("Pending", "Running")])
        )
        found = space.get("job", "work")
        return found if condition(found, "Complete") else {}

    status = until(complete, "complete", timeout=90)["status"]
    assert status["succeeded"] == 7
    assert status.get("failed", 0) == 0
    assert status.get("active", 0) == 0
    assert status["completionTime"] >= status["startTime"]
    assert status.get("uncountedTerminatedPods") in (None, {})
    assert most == 3
    assert condition({"status": status}, "SuccessCriteriaMet")["reason"] == "CompletionsReached"
    pods = space.pods("batch.kubernetes.io/job-name=work")
    assert len(pods) == 7
    assert not any(p["metadata"].get("finalizers") for p in pods), "no pod is held any longer"
    assert {"SuccessfulCreate", "Completed"} <= reasons(space, "work")
    assert "Complete" in space.kubectl("get", "job", "work")


def test_limits_on_failures_time_and_their_exact_reasons(space: Space) -> None:
    space.apply(job("fails", "exit 3", backoffLimit=1))
    space.apply(job("slow", "sleep 600", activeDeadlineSeconds=2))
    restarting = {"restartPolicy": "OnFailure"}
    space.apply(job("again", "exit 1", backoffLimit=1, template_spec=restarting))
    slow = finished(space, "slow", "Failed")
    assert condition(slow, "Failed")["reason"] == "DeadlineExceeded"
    assert condition(slow, "Failed")["message"] == "Job was active longer than specified deadline"
    until(lambda: not live(space, "job-name=slow"), "its pods are stopped")
    fails = finished(space, "fails", "Failed")
    assert fails["status"]["failed"] == 2
    assert condition(fails, "Failed")["reason"] == "BackoffLimitExceeded"
    assert condition(fails, "Failed")["message"] == "Job has reached the specified backoff limit"
    again = finished(space, "again", "Failed")
    assert condition(again, "Failed")["reason"] == "BackoffLimitExceeded"


def test_indexed_jobs(space: Space) -> None:
    indexed: dict[str, Any] = {"completionMode": "Indexed", "completions": 4, "parallelism": 4}
    space.apply(job("all", "echo index $JOB_COMPLETION_INDEX", **indexed))
    # Index 2 fails for good, with its own limit; the others succeed and are not disturbed.
    per_index: dict[str, Any] = {**indexed, "backoffLimitPerIndex": 1, "maxFailedIndexes": 3}
    space.apply(job("some", "test $JOB_COMPLETION_INDEX != 2", **per_index))
    # Enough that index 1 succeeds: the ones still running are stopped.
    policy = {"rules": [{"succeededIndexes": "1"}]}
    space.apply(job("leader", "test $JOB_COMPLETION_INDEX = 1 || sleep 600", **indexed, successPolicy=policy))
    done = finished(space, "all", "Complete")
    assert done["status"]["completedIndexes"] == "0-3"
    pods = {
        p["metadata"]["annotations"]["batch.kubernetes.io/job-completion-index"]: p for p in space.pods("job-name=all")
    }
    assert set(pods) == {"0", "1", "2", "3"}
    assert pods["3"]["spec"]["hostname"] == "all-3"
    assert pods["3"]["metadata"]["name"].startswith("all-3-")
    assert pods["3"]["metadata"]["labels"]["batch.kubernetes.io/job-completion-index"] == "3"
    assert space.kubectl("logs", pods["2"]["metadata"]["name"]).strip() == "index 2"
    some = finished(space, "some", "Failed")
    assert (some["status"]["completedIndexes"], some["status"]["failedIndexes"]) == ("0,1,3", "2")
    assert condition(some, "Failed")["reason"] == "FailedIndexes"
    leader = finished(space, "leader", "Complete")
    assert leader["status"]["completedIndexes"] == "1"
    assert condition(leader, "SuccessCriteriaMet")["reason"] == "SuccessPolicy"
    until(lambda: not live(space, "job-name=leader,batch.kubernetes.io/job-completion-index!=1"), "the rest is stopped")


def test_pod_failure_policy(space: Space) -> None:
    def policy(action: str, code: int) -> dict[str, Any]:
        on = {"containerName": "main", "operator": "In", "values": [code]}
        return {"rules": [{"action": action, "onExitCodes": on}]}

    space.apply(job("fatal", "exit 42", backoffLimit=5, podFailurePolicy=policy("FailJob", 42)))
    # Ignored failures do not count: far more of them than the limit allows.
    script = "test $(date +%s) -ge $(( START + 4 )) || exit 7"
    ignoring = job("ignoring", script, backoffLimit=0, podFailurePolicy=policy("Ignore", 7))
    ignoring["spec"]["template"]["spec"]["containers"][0]["env"] = [{"name": "START", "value": str(int(time.time()))}]
    space.apply(ignoring)
    fatal = finished(space, "fatal", "Failed")
    found = condition(fatal, "Failed")
    assert found["reason"] == "PodFailurePolicy"
    assert "exit code 42 matching FailJob rule at index 0" in found["message"]
    assert fatal["status"]["failed"] == 1
    done = finished(space, "ignoring", "Complete")
    assert done["status"].get("failed", 0) == 0
    assert done["status"]["succeeded"] == 1


def test_suspend_and_resume(space: Space) -> None:
    space.apply(job("paused", "sleep 600", suspend=True, parallelism=2, completions=2))
    held = until(lambda: condition(space.get("job", "paused"), "Suspended"), "suspended")
    assert held["reason"] == "JobSuspended"
    assert not space.pods("job-name=paused")
    space.kubectl("patch", "job", "paused", "-p", '{"spec": {"suspend": false}}')
    until(lambda: len(live(space, "job-name=paused")) == 2, "resumed")
    assert condition(space.get("job", "paused"), "Suspended")["reason"] == "JobResumed"
    space.kubectl("patch", "job", "paused", "-p", '{"spec": {"suspend": true}}')
    until(lambda: not live(space, "job-name=paused"), "its pods are gone again")
    until(lambda: not space.get("job", "paused")["status"].get("active"), "none is active")
    assert {"Suspended", "Resumed"} <= reasons(space, "paused")
    assert "Suspended" in space.kubectl("get", "job", "paused")


def test_ttl_takes_the_job_and_its_pods(space: Space) -> None:
    space.apply(job("short", "true", ttlSecondsAfterFinished=2))
    until(lambda: space.pods("job-name=short"), "it runs")
    until(lambda: not space.get("jobs")["items"] and not space.pods("job-name=short"), "both are gone", timeout=60)


def test_a_manual_selector_and_one_that_is_refused(space: Space) -> None:
    mine = job("mine", "true", manualSelector=True, selector={"matchLabels": {"task": "x"}})
    mine["spec"]["template"]["metadata"] = {"labels": {"task": "x"}}
    space.apply(mine)
    finished(space, "mine", "Complete")
    assert len(space.pods("task=x")) == 1
    bad = job("bad", "true", selector={"matchLabels": {"task": "other"}})
    with pytest.raises(CommandFailed) as refused:
        space.apply(bad)
    assert "`selector` not auto-generated" in refused.value.stderr
