"""Jobs: exact counting, indexes, limits, policies, suspension."""

from __future__ import annotations

from typing import Any

import pytest

from api import errors
from api.types.batch_v1 import (
    Job,
    JobSpec,
    PodFailurePolicy,
    PodFailurePolicyOnExitCodesRequirement,
    PodFailurePolicyRule,
    SuccessPolicy,
    SuccessPolicyRule,
)
from api.types.core_v1 import ContainerState, ContainerStateTerminated, ContainerStatus, Pod
from api.types.meta_v1 import LabelSelector, ObjectMeta
from client.fake import FakeApi
from controller_manager import conditions
from controller_manager.workloads import job_facts as facts
from controller_manager.workloads.job import JobController
from tests.support.controllers import Harness, running
from tests.unit.controller_manager.builders import LABELS, ago, template


def job(**spec: Any) -> Job:
    spec = {"parallelism": 1, "completions": 1, "backoff_limit": 6} | spec
    if spec.get("pod_failure_policy") is not None:
        spec.setdefault("pod_replacement_policy", "Failed")
    made = Job(
        metadata=ObjectMeta(name="work", namespace="default"),
        spec=JobSpec(selector=LabelSelector(match_labels=dict(LABELS)), template=template(), **spec),
    )
    made.spec.template.spec.restart_policy = "Never"
    return made


def get(api: FakeApi) -> Job:
    found = api.one(Job, "work", "default")
    assert found is not None
    return found


def live(api: FakeApi) -> list[Pod]:
    return [p for p in api.objects(Pod) if p.status.phase not in ("Succeeded", "Failed")]


async def end(api: FakeApi, pod: Pod, phase: str = "Succeeded", code: int = 0, seconds_ago: float = 1000) -> None:
    now = api.one(Pod, pod.metadata.name or "", "default")
    assert now is not None
    now.status.phase = phase
    ended = ContainerStateTerminated(exit_code=code, finished_at=ago(seconds_ago))
    now.status.container_statuses = [ContainerStatus(name="c", state=ContainerState(terminated=ended))]
    await api.update_status(now)


def condition(api: FakeApi, type: str) -> tuple[str, str | None, str | None] | None:
    found: Any = conditions.find(get(api).status.conditions, type)
    return None if found is None else (found.status, found.reason, found.message)


async def kill(api: FakeApi, harness: Harness) -> None:
    """Kubelets stop the pods that are to go."""
    for pod in api.objects(Pod):
        if pod.metadata.deletion_timestamp and pod.status.phase not in ("Succeeded", "Failed"):
            await end(api, pod, "Failed", 143)
    await harness.settle()


async def test_it_runs_pods_until_enough_have_succeeded() -> None:
    api = FakeApi(job(completions=3, parallelism=2))
    async with running(api, JobController) as harness:
        for left in (2, 2, 1):
            assert len(live(api)) == left and get(api).status.active == left
            await end(api, live(api)[0])
            await harness.settle()
        status = get(api).status
        assert (status.succeeded, status.active, status.failed) == (3, None, None)
        assert condition(api, "SuccessCriteriaMet") == (
            "True",
            "CompletionsReached",
            "Reached expected number of succeeded pods",
        )
        assert condition(api, "Complete") == (
            "True",
            "CompletionsReached",
            "Reached expected number of succeeded pods",
        )
        assert status.completion_time and status.start_time
        assert "Completed: Job completed" in harness.events()
        assert not any(facts.has_finalizer(p) for p in api.objects(Pod))


async def test_a_pod_counts_once_though_the_pods_news_come_after_the_jobs() -> None:
    api = FakeApi(job(completions=3, parallelism=1))
    async with running(api, JobController) as harness:
        informer: Any = harness.context.informers.informer(Pod)
        apply, held = informer._apply, []
        informer._apply = lambda event: apply(event) if facts.has_finalizer(event.object) else held.append(event)
        await end(api, live(api)[0])
        await harness.settle()
        for annotation in ("a", "b"):  # the job is looked at again while the pods' cache is behind
            await api.patch(Job, "work", {"metadata": {"annotations": {annotation: ""}}}, namespace="default")
            await harness.settle()
            assert get(api).status.succeeded == 1
        informer._apply = apply
        assert held
        for event in held:
            apply(event)
        await harness.settle()
        assert get(api).status.succeeded == 1 and len(api.objects(Pod)) == 2


async def test_failures_count_and_end_the_job_at_its_limit() -> None:
    api = FakeApi(job(backoff_limit=1))
    async with running(api, JobController) as harness:
        await end(api, live(api)[0], "Failed", 1)
        await harness.settle()
        assert get(api).status.failed == 1 and len(live(api)) == 1
        await end(api, live(api)[0], "Failed", 1)
        await harness.settle()
        words = ("True", "BackoffLimitExceeded", "Job has reached the specified backoff limit")
        assert condition(api, "Failed") == words and condition(api, "FailureTarget") == words
        assert get(api).status.failed == 2 and live(api) == []
        assert "BackoffLimitExceeded: Job has reached the specified backoff limit" in harness.events()


async def test_a_failure_delays_the_next_pod() -> None:
    api = FakeApi(job())
    async with running(api, JobController) as harness:
        await end(api, live(api)[0], "Failed", 1, seconds_ago=0)
        await harness.settle()
        assert live(api) == [] and get(api).status.failed == 1


async def test_indexes_are_each_done_once() -> None:
    api = FakeApi(job(completions=4, parallelism=4, completion_mode="Indexed"))
    async with running(api, JobController) as harness:
        pods = {facts.index_of(p): p for p in api.objects(Pod)}
        assert sorted(pods) == [0, 1, 2, 3]
        two = pods[2]
        assert (two.metadata.name or "").startswith("work-2-") and two.spec.hostname == "work-2"
        env = (two.spec.containers[0].env or [])[0]
        assert env.name == "JOB_COMPLETION_INDEX" and env.value_from is not None
        assert (two.metadata.labels or {})[facts.INDEX] == "2"
        for index in (0, 1, 3):
            await end(api, pods[index])
        await harness.settle()
        assert get(api).status.completed_indexes == "0,1,3" and get(api).status.succeeded == 3
        await end(api, pods[2], "Failed", 1)
        await harness.settle()
        [again] = live(api)
        assert facts.index_of(again) == 2
        await end(api, again)
        await harness.settle()
        assert get(api).status.completed_indexes == "0-3"
        assert condition(api, "Complete") is not None


async def test_a_crash_between_counting_and_releasing_loses_and_doubles_nothing() -> None:
    api = FakeApi(job(completions=5, parallelism=5))
    async with running(api, JobController) as harness:
        pass
    crashes = 3

    def crash(action: Any) -> None:
        nonlocal crashes
        if crashes:
            crashes -= 1
            raise errors.internal("crash")

    for pod in api.objects(Pod):
        await end(api, pod)
    api.on("patch", "pods", crash)
    async with running(api, JobController) as harness:
        await harness.settle()
        assert get(api).status.succeeded == 5
        assert condition(api, "Complete") is not None
        assert len(api.objects(Pod)) == 5


async def test_a_deleted_pod_is_replaced_and_counted_as_failed() -> None:
    api = FakeApi(job())
    async with running(api, JobController) as harness:
        pod = live(api)[0]
        pod.spec.node_name = "n1"
        await api.update(pod)
        await api.delete(Pod, pod.metadata.name or "", namespace="default")
        await harness.settle()
        assert get(api).status.failed == 1


async def test_a_deadline_ends_the_job_and_its_pods() -> None:
    late = job(active_deadline_seconds=10)
    late.status.start_time = ago(60)
    api = FakeApi(late)
    async with running(api, JobController) as harness:
        await harness.settle()
        await kill(api, harness)
        assert condition(api, "Failed") == (
            "True",
            "DeadlineExceeded",
            "Job was active longer than specified deadline",
        )
        assert live(api) == []


async def test_the_final_condition_waits_for_the_pods_to_stop() -> None:
    api = FakeApi(job(completions=3, parallelism=3, backoff_limit=0))
    async with running(api, JobController) as harness:
        for pod in live(api):
            pod.spec.node_name = "n1"
            await api.update(pod)
        await harness.settle()
        await end(api, live(api)[0], "Failed", 1)
        await harness.settle()
        assert condition(api, "FailureTarget") is not None and condition(api, "Failed") is None
        assert get(api).status.terminating == 2 and all(p.metadata.deletion_timestamp for p in live(api))
        await kill(api, harness)
        assert condition(api, "Failed") is not None
        assert get(api).status.failed == 3


async def test_suspended_jobs_have_no_pods_and_no_start() -> None:
    api = FakeApi(job(parallelism=2, completions=2))
    async with running(api, JobController) as harness:
        await api.patch(Job, "work", {"spec": {"suspend": True}}, namespace="default")
        await harness.settle()
        assert live(api) == [] and get(api).status.start_time is None
        assert condition(api, "Suspended") == ("True", "JobSuspended", "Job suspended")
        await api.patch(Job, "work", {"spec": {"suspend": False}}, namespace="default")
        await harness.settle()
        assert condition(api, "Suspended") == ("False", "JobResumed", "Job resumed")
        assert get(api).status.start_time is not None
        assert {"Suspended: Job suspended", "Resumed: Job resumed"} <= set(harness.events())


async def test_parallelism_can_change() -> None:
    api = FakeApi(job(parallelism=4, completions=10))
    async with running(api, JobController) as harness:
        await api.patch(Job, "work", {"spec": {"parallelism": 1}}, namespace="default")
        await harness.settle()
        assert get(api).status.active == 1
        await api.patch(Job, "work", {"spec": {"parallelism": 3}}, namespace="default")
        await harness.settle()
        assert get(api).status.active == 3 or get(api).status.failed == 3


async def test_a_work_queue_is_done_when_one_succeeded_and_none_is_left() -> None:
    api = FakeApi(job(completions=None, parallelism=3))
    async with running(api, JobController) as harness:
        assert len(live(api)) == 3
        await end(api, live(api)[0])
        await harness.settle()
        assert len(live(api)) == 2 and condition(api, "Complete") is None
        for pod in live(api):
            await end(api, pod)
        await harness.settle()
        assert get(api).status.succeeded == 3 and condition(api, "Complete") is not None


def exit_rule(action: str, *codes: int) -> PodFailurePolicyRule:
    return PodFailurePolicyRule(
        action=action, on_exit_codes=PodFailurePolicyOnExitCodesRequirement(operator="In", values=list(codes))
    )


async def test_the_failure_policy_may_end_or_forgive() -> None:
    policy = PodFailurePolicy(rules=[exit_rule("Ignore", 3), exit_rule("FailJob", 42)])
    api = FakeApi(job(backoff_limit=0, pod_failure_policy=policy))
    async with running(api, JobController) as harness:
        await end(api, live(api)[0], "Failed", 3)
        await harness.settle()
        assert get(api).status.failed is None and len(live(api)) == 1
        last = live(api)[0]
        await end(api, last, "Failed", 42)
        await harness.settle()
        found = condition(api, "Failed")
        assert found is not None and found[1] == "PodFailurePolicy"
        who = f"Container c for pod default/{last.metadata.name}"
        assert found[2] == f"{who} failed with exit code 42 matching FailJob rule at index 1"


async def test_limits_may_count_by_index() -> None:
    api = FakeApi(
        job(completions=2, parallelism=2, completion_mode="Indexed", backoff_limit_per_index=1, backoff_limit=None)
    )
    async with running(api, JobController) as harness:
        for _ in range(2):
            for pod in live(api):
                if facts.index_of(pod) == 0:
                    await end(api, pod, "Failed", 1)
            await harness.settle()
        assert get(api).status.failed_indexes == "0"
        [one] = live(api)
        assert facts.index_of(one) == 1
        await end(api, one)
        await harness.settle()
        assert condition(api, "Failed") == ("True", "FailedIndexes", "Job has failed indexes")
        assert get(api).status.completed_indexes == "1"


async def test_the_success_policy_ends_the_job_early() -> None:
    policy = SuccessPolicy(rules=[SuccessPolicyRule(succeeded_indexes="0", succeeded_count=1)])
    api = FakeApi(job(completions=3, parallelism=3, completion_mode="Indexed", success_policy=policy))
    async with running(api, JobController) as harness:
        leader = next(p for p in live(api) if facts.index_of(p) == 0)
        await end(api, leader)
        await harness.settle()
        await kill(api, harness)
        assert condition(api, "SuccessCriteriaMet") == ("True", "SuccessPolicy", "Matched rules at index 0")
        assert condition(api, "Complete") == ("True", "SuccessPolicy", "Matched rules at index 0")
        assert live(api) == []


async def test_pods_of_a_vanished_job_lose_their_finalizer() -> None:
    api = FakeApi(job())
    async with running(api, JobController) as harness:
        await api.delete(Job, "work", namespace="default")
        await harness.settle()
        assert not any(facts.has_finalizer(p) for p in api.objects(Pod))


async def test_somebody_elses_job_is_left_alone() -> None:
    api = FakeApi(job(managed_by="example.com/other"))
    async with running(api, JobController):
        assert api.objects(Pod) == []


@pytest.mark.parametrize(
    ("indexes", "text"), [({0, 1, 2, 5}, "0-2,5"), ({1, 2}, "1,2"), (set(), ""), ({3, 7, 8, 9}, "3,7-9")]
)
def test_indexes_are_written_short(indexes: set[int], text: str) -> None:
    assert facts.format_indexes(indexes) == text
    assert facts.parse_indexes(text, 100) == indexes
