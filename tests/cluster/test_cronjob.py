"""CronJobs on the minute, and what happens to runs that overlap, are late, or have ended.

Schedules have no seconds, so each test waits for minutes to turn; they share those minutes.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.cluster.harness import CommandFailed, Space, until
from tests.cluster.workloads import job, reasons


def cron(name: str, script: str, schedule: str = "* * * * *", **spec: Any) -> dict[str, Any]:
    run = {"spec": job(name, script)["spec"]}
    spec = {"schedule": schedule, "jobTemplate": run, **spec}
    return {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": name}, "spec": spec}


def jobs_of(space: Space, name: str) -> list[dict[str, Any]]:
    owned = [
        j
        for j in space.get("jobs")["items"]
        if any(o["name"] == name and o["kind"] == "CronJob" for o in j["metadata"].get("ownerReferences", ()))
    ]
    return sorted(owned, key=lambda j: j["metadata"]["name"])


def test_schedules_policies_history_and_suspension(space: Space) -> None:
    # A zone in which it is another hour than here: the schedule names the hour of there.
    now = datetime.now(UTC)
    elsewhere = (now.hour + 9) % 24  # Tokyo has no summer time
    hours = f"{elsewhere},{(elsewhere + 1) % 24}"
    wrong = f"{(elsewhere + 4) % 24}"
    history = {"successfulJobsHistoryLimit": 1, "failedJobsHistoryLimit": 1}
    space.apply(
        cron("each", "date", **history),
        cron("fails", "exit 1", **history),
        cron("zoned", "true", f"* {hours} * * *", timeZone="Asia/Tokyo"),
        cron("zoned-elsewhere", "true", f"* {wrong} * * *", timeZone="Asia/Tokyo"),
        cron("forbid", "sleep 600", concurrencyPolicy="Forbid"),
        cron("replace", "sleep 600", concurrencyPolicy="Replace"),
        cron("allow", "sleep 600", concurrencyPolicy="Allow"),
        cron("suspended", "true", suspend=True),
        cron("late", "true", suspend=True, startingDeadlineSeconds=100),
        cron("too-late", "true", suspend=True, startingDeadlineSeconds=10),
    )
    space.kubectl("patch", "cronjob", "fails", "-p", '{"spec":{"jobTemplate":{"spec":{"backoffLimit":0}}}}')
    first = until(lambda: jobs_of(space, "each"), "the first run", timeout=75)[0]
    assert first["metadata"]["name"] == f"each-{int(time.time()) // 60}"
    scheduled = first["metadata"]["annotations"]["batch.kubernetes.io/cronjob-scheduled-timestamp"]
    assert scheduled.endswith(":00Z")
    replaced = until(lambda: jobs_of(space, "replace"), "a run to be replaced", timeout=10)[0]
    until(lambda: jobs_of(space, "zoned"), "a run at the hour of Tokyo", timeout=10)
    until(lambda: len(jobs_of(space, "forbid")) == 1 and len(jobs_of(space, "allow")) == 1, "one run each", timeout=10)
    assert space.get("cronjob", "each")["status"]["lastScheduleTime"] == scheduled
    until(lambda: space.get("cronjob", "each")["status"].get("lastSuccessfulTime"), "its success is told", timeout=30)
    assert space.get("cronjob", "forbid")["status"]["active"][0]["kind"] == "Job"
    # By hand, from the template.
    space.kubectl("create", "job", "by-hand", "--from=cronjob/each")
    space.kubectl("wait", "--for=condition=Complete", "job/by-hand", "--timeout=30s")
    # Suspended over the minute, then let go: a run is made up for within its deadline only.
    time.sleep(max(0.0, 12 - time.time() % 60))
    for name in ("late", "too-late"):
        space.kubectl("patch", "cronjob", name, "-p", '{"spec": {"suspend": false}}')
    until(lambda: jobs_of(space, "late"), "the missed run", timeout=10)
    assert not jobs_of(space, "too-late")
    # The next minute.
    until(lambda: len(jobs_of(space, "allow")) == 2, "a second run beside the first", timeout=75)
    assert len(jobs_of(space, "forbid")) == 1
    until(lambda: "JobAlreadyActive" in reasons(space, "forbid"), "it is told why not", timeout=10)

    def only_the_new() -> bool:
        found = jobs_of(space, "replace")
        return len(found) == 1 and found[0]["metadata"]["uid"] != replaced["metadata"]["uid"]

    until(only_the_new, "the new run took the old one's place", timeout=20)

    def limited(name: str, reason: str) -> bool:
        found = [j for j in jobs_of(space, name) if any(c["type"] == reason for c in j["status"].get("conditions", ()))]
        return len(found) == 1 and found[0]["metadata"]["name"] != first["metadata"]["name"]

    until(lambda: limited("each", "Complete"), "one success is kept", timeout=30)
    until(lambda: limited("fails", "Failed"), "one failure is kept", timeout=30)
    assert not jobs_of(space, "suspended")
    assert not jobs_of(space, "zoned-elsewhere")
    assert {"SuccessfulCreate", "SawCompletedJob"} <= reasons(space, "each")
    space.kubectl("delete", "cronjob", "allow")
    until(lambda: not [j for j in space.get("jobs")["items"] if j["metadata"]["name"].startswith("allow-")], "runs go")


def test_schedules_that_are_none(space: Space) -> None:
    for bad, why in (
        ("* * * *", "spec.schedule"),
        ("TZ=UTC * * * * *", "TZ or CRON_TZ"),
        ("61 * * * *", "spec.schedule"),
    ):
        with pytest.raises(CommandFailed) as refused:
            space.apply(cron("bad", "true", bad))
        assert why in refused.value.stderr
    with pytest.raises(CommandFailed) as refused:
        space.apply(cron("bad", "true", timeZone="Nowhere/Else"))
    assert "unknown time zone" in refused.value.stderr
