"""CronJobs and TTLs: what runs when, what is made up for, what is cleaned up."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from api.types.batch_v1 import CronJob, CronJobSpec, Job, JobSpec, JobTemplateSpec
from api.types.meta_v1 import ObjectMeta
from client.fake import FakeApi
from controller_manager.owners import controller_ref
from controller_manager.workloads import job_facts as facts
from controller_manager.workloads.cron import Schedule, UnknownZone
from controller_manager.workloads.cronjob import SCHEDULED, CronJobController
from controller_manager.workloads.ttl_after_finished import TtlAfterFinishedController
from tests.support.controllers import running
from tests.unit.controller_manager.builders import ago, template


def cron_job(schedule: str = "* * * * *", made_ago: float = 61, **spec: Any) -> CronJob:
    spec = {"successful_jobs_history_limit": 3, "failed_jobs_history_limit": 1} | spec
    return CronJob(
        metadata=ObjectMeta(name="tick", namespace="default", uid="cron", creation_timestamp=ago(made_ago)),
        spec=CronJobSpec(
            schedule=schedule,
            job_template=JobTemplateSpec(
                metadata=ObjectMeta(labels={"from": "cron"}), spec=JobSpec(template=template())
            ),
            **spec,
        ),
    )


def get(api: FakeApi) -> CronJob:
    found = api.one(CronJob, "tick", "default")
    assert found is not None
    return found


async def finish(api: FakeApi, job: Job, type: str = "Complete", seconds_ago: float = 0) -> None:
    live = api.one(Job, job.metadata.name or "", "default")
    assert live is not None
    ended = facts.condition(type, "True", "", "")
    ended.last_transition_time = ago(seconds_ago)
    live.status.conditions, live.status.completion_time = [ended], ago(seconds_ago)
    await api.update_status(live)


async def test_a_due_time_makes_one_job() -> None:
    api = FakeApi(cron_job(made_ago=600))
    async with running(api, CronJobController) as harness:
        [job] = api.objects(Job)
        stamp = (job.metadata.annotations or {})[SCHEDULED]
        minutes = int(datetime.fromisoformat(stamp).timestamp()) // 60
        assert job.metadata.name == f"tick-{minutes}" and job.metadata.labels == {"from": "cron"}
        assert (job.metadata.owner_references or [])[0].kind == "CronJob"
        [ref] = get(api).status.active or []
        assert ref.name == job.metadata.name and get(api).status.last_schedule_time == stamp
        assert harness.events("SuccessfulCreate") == [f"SuccessfulCreate: Created job {job.metadata.name}"]
        harness.controllers[0].controller.enqueue(("default", "tick"))
        await harness.settle()
        assert len(api.objects(Job)) == 1
        await finish(api, job)
        await harness.settle()
        assert not get(api).status.active and get(api).status.last_successful_time
        message = f"SawCompletedJob: Saw completed job: {job.metadata.name}, condition: Complete"
        assert message in harness.events()


async def test_nothing_happens_before_it_is_due_or_while_suspended() -> None:
    api = FakeApi(
        cron_job("0 0 1 1 *", made_ago=1),
    )
    async with running(api, CronJobController):
        assert api.objects(Job) == []
    api = FakeApi(cron_job(suspend=True))
    async with running(api, CronJobController):
        assert api.objects(Job) == []


def active_cron(policy: str) -> tuple[CronJob, Job]:
    cron = cron_job(concurrency_policy=policy)
    job = Job(metadata=ObjectMeta(name="tick-1", namespace="default", uid="j", owner_references=[controller_ref(cron)]))
    from api.types.core_v1 import ObjectReference

    cron.status.active = [ObjectReference(name="tick-1", uid="j", kind="Job", api_version="batch/v1")]
    return cron, job


async def test_concurrency_policies() -> None:
    api = FakeApi(*active_cron("Forbid"))
    async with running(api, CronJobController) as harness:
        assert [j.metadata.name for j in api.objects(Job)] == ["tick-1"]
        words = "Not starting job because prior execution is running and concurrency policy is Forbid"
        assert f"JobAlreadyActive: {words}" in harness.events()
    api = FakeApi(*active_cron("Replace"))
    async with running(api, CronJobController) as harness:
        [job] = api.objects(Job)
        assert job.metadata.name != "tick-1"
        assert "SuccessfulDelete: Deleted job tick-1" in harness.events()
    api = FakeApi(*active_cron("Allow"))
    async with running(api, CronJobController):
        assert len(api.objects(Job)) == 2


async def test_history_is_bounded() -> None:
    cron = cron_job("0 0 1 1 *", made_ago=1, successful_jobs_history_limit=1)
    jobs = []
    for number in range(3):
        job = Job(
            metadata=ObjectMeta(name=f"tick-{number}", namespace="default", owner_references=[controller_ref(cron)])
        )
        job.status.start_time = ago(100 - number)
        job.status.conditions = [facts.condition("Complete", "True", "", "")]
        jobs.append(job)
    api = FakeApi(cron, *jobs)
    async with running(api, CronJobController):
        assert [j.metadata.name for j in api.objects(Job)] == ["tick-2"]


async def test_a_time_that_is_too_long_ago_is_missed() -> None:
    hour_ago = datetime.now(UTC) - timedelta(minutes=30)
    cron = cron_job(f"{hour_ago.minute} {hour_ago.hour} * * *", made_ago=3600 * 3, starting_deadline_seconds=60)
    api = FakeApi(cron)
    async with running(api, CronJobController):
        assert api.objects(Job) == []


async def test_many_missed_times_are_one_job_and_a_warning() -> None:
    api = FakeApi(cron_job(made_ago=3600 * 24 * 10))
    async with running(api, CronJobController) as harness:
        assert len(api.objects(Job)) == 1
        assert len(harness.events("TooManyMissedTimes")) == 1


async def test_bad_schedules_and_zones_are_events() -> None:
    api = FakeApi(cron_job("not a schedule"))
    async with running(api, CronJobController) as harness:
        assert harness.events("UnparseableSchedule")
    api = FakeApi(cron_job(time_zone="Mars/Olympus"))
    async with running(api, CronJobController) as harness:
        [event] = harness.events("UnknownTimeZone")
        assert event.startswith('UnknownTimeZone: invalid timeZone: "Mars/Olympus"')


def test_schedules() -> None:
    noon = datetime(2026, 1, 1, 12, tzinfo=UTC)
    assert Schedule("@hourly").next(noon) == noon + timedelta(hours=1)
    assert Schedule("@every 90m").next(noon) == noon + timedelta(minutes=90)
    assert Schedule("0 9 * * *", "Europe/Berlin").next(noon) == datetime(2026, 1, 2, 8, tzinfo=UTC)
    assert Schedule("*/5 * * * *").latest(noon, noon + timedelta(minutes=12)) == (
        noon + timedelta(minutes=10),
        False,
    )
    latest, many = Schedule("* * * * *").latest(noon, noon + timedelta(days=30, seconds=30))
    assert latest == noon + timedelta(days=30) and many
    with pytest.raises(UnknownZone):
        Schedule("@daily", "Nowhere")
    with pytest.raises(ValueError, match="unrecognized descriptor"):
        Schedule("@fortnightly")


async def test_finished_jobs_go_after_their_ttl() -> None:
    old = Job(metadata=ObjectMeta(name="old", namespace="default"), spec=JobSpec(ttl_seconds_after_finished=10))
    young = Job(metadata=ObjectMeta(name="young", namespace="default"), spec=JobSpec(ttl_seconds_after_finished=1000))
    keep = Job(metadata=ObjectMeta(name="keep", namespace="default"))
    api = FakeApi(old, young, keep)
    async with running(api, TtlAfterFinishedController) as harness:
        for job in api.objects(Job):
            await finish(api, job, seconds_ago=60)
        await harness.settle()
        going = [j.metadata.name for j in api.objects(Job) if j.metadata.deletion_timestamp]
        assert going == ["old"]
