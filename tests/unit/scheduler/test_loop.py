"""The whole scheduler against an API in memory: what is bound, what is said, and what wakes a waiting pod."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import pytest

from api.codec import deepcopy, from_dict
from api.errors import bad_request, service_unavailable
from api.types.core_v1 import Event, Namespace, Node, Pod
from client.events import EventRecorder
from client.fake import Action, FakeApi
from scheduler import queue
from scheduler.scheduler import Scheduler
from tests.unit.scheduler.build import node, pod


@pytest.fixture
def api() -> FakeApi:
    return FakeApi()


@pytest.fixture
async def scheduler(api: FakeApi, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Scheduler]:
    monkeypatch.setattr(queue, "INITIAL_BACKOFF_SECONDS", 0.01)
    made = Scheduler(api, EventRecorder(api, "default-scheduler"))
    running = asyncio.create_task(made.factory.run())
    loop = asyncio.create_task(made.run())
    yield made
    for task in (loop, running):
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


def stored(api: FakeApi, name: str) -> Pod:
    found = api.one(Pod, name, "default")
    assert found is not None
    return found


def messages(api: FakeApi) -> list[str]:
    return [f"{e.type} {e.reason}: {e.message}" for e in api.objects(Event)]


async def test_a_pod_is_bound_and_it_is_said(api: FakeApi, scheduler: Scheduler) -> None:
    api.add(node("a"))
    await api.create(pod("web"))
    await until(lambda: stored(api, "web").spec.node_name == "a")
    await until(lambda: messages(api))
    assert messages(api) == ["Normal Scheduled: Successfully assigned default/web to a"]


async def test_what_fits_nowhere_says_why_and_is_bound_when_a_node_comes(api: FakeApi, scheduler: Scheduler) -> None:
    api.add(node("small", cpu="1"))
    await api.create(pod("web", cpu="2"))
    await until(lambda: stored(api, "web").status.conditions)
    [condition] = stored(api, "web").status.conditions or []
    expected = (
        "0/1 nodes are available: 1 Insufficient cpu. "
        "no new claims to deallocate, preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."
    )
    assert (condition.type, condition.status, condition.reason) == ("PodScheduled", "False", "Unschedulable")
    assert condition.message == expected
    await until(lambda: messages(api))
    assert messages(api) == [f"Warning FailedScheduling: {expected}"]
    await api.create(node("large", cpu="4"))
    await until(lambda: stored(api, "web").spec.node_name == "large")


async def test_the_first_node_wakes_whoever_was_there_before_it(api: FakeApi, scheduler: Scheduler) -> None:
    await api.create(pod("web"))
    await until(lambda: stored(api, "web").status.conditions)
    await api.create(node("first"))
    await until(lambda: stored(api, "web").spec.node_name == "first")


async def test_a_pod_that_goes_makes_room(api: FakeApi, scheduler: Scheduler) -> None:
    api.add(node("a", cpu="1"))
    await api.create(pod("first", cpu="1"))
    await until(lambda: stored(api, "first").spec.node_name)
    await api.create(pod("second", cpu="1"))
    await until(lambda: stored(api, "second").status.conditions)
    await api.delete(Pod, "first", namespace="default", grace_period_seconds=0)
    await until(lambda: stored(api, "second").spec.node_name == "a")


async def test_an_uncordoned_node_is_used(api: FakeApi, scheduler: Scheduler) -> None:
    await api.create(node("a", unschedulable=True))
    await api.create(pod("web"))
    await until(lambda: stored(api, "web").status.conditions)
    await api.patch(Node, "a", {"spec": {"unschedulable": None}})
    await until(lambda: stored(api, "web").spec.node_name == "a")


async def test_a_binding_that_fails_is_tried_again_and_its_room_given_back(api: FakeApi, scheduler: Scheduler) -> None:
    failures = [0]

    def refuse(action: Action) -> None:
        if action.subresource == "binding" and failures[0] < 2:
            failures[0] += 1
            raise service_unavailable("the store is away")

    api.on("create", "pods", refuse)
    api.add(node("a", cpu="1"))
    await api.create(pod("web", cpu="1"))
    await until(lambda: stored(api, "web").spec.node_name == "a")
    assert failures == [2]
    assert int(scheduler.table.requested[0].sum()) == 1000


async def test_pods_that_are_not_ours_are_left_alone(api: FakeApi, scheduler: Scheduler) -> None:
    api.add(node("a"))
    other = pod("other", schedulerName="mine")
    gated = pod("gated", schedulingGates=[{"name": "wait"}])
    for given in (other, gated, pod("ours")):
        await api.create(given)
    await until(lambda: stored(api, "ours").spec.node_name)
    assert not stored(api, "other").spec.node_name
    assert not stored(api, "gated").spec.node_name
    opened = deepcopy(stored(api, "gated"))
    opened.spec.scheduling_gates = None
    await api.update(opened)
    await until(lambda: stored(api, "gated").spec.node_name == "a")


async def test_a_more_important_pod_takes_the_place_of_another(api: FakeApi, scheduler: Scheduler) -> None:
    api.add(node("a", cpu="1"))
    await api.create(pod("low", cpu="1", priority=1))
    await until(lambda: stored(api, "low").spec.node_name)
    await api.create(pod("high", cpu="1", priority=100))
    # The kubelet of this story: what is deleted has ended.
    await until(lambda: (p := api.one(Pod, "low", "default")) is None or p.metadata.deletion_timestamp)
    assert stored(api, "high").status.nominated_node_name == "a"
    if api.one(Pod, "low", "default") is not None:
        await api.delete(Pod, "low", namespace="default", grace_period_seconds=0)
    await until(lambda: stored(api, "high").spec.node_name == "a")
    uid = stored(api, "high").metadata.uid
    assert f"Normal Preempted: Preempted by pod {uid} on node a" in messages(api)


async def test_many_pods_never_overcommit(api: FakeApi, scheduler: Scheduler) -> None:
    for i in range(4):
        api.add(node(f"n{i}", cpu="5"))
    await asyncio.gather(*(api.create(pod(f"p{i}", cpu="1")) for i in range(30)))
    await until(lambda: sum(bool(p.spec.node_name) for p in api.objects(Pod)) == 20)
    await until(lambda: len(scheduler.queue) == 10)
    nodes = [p.spec.node_name for p in api.objects(Pod) if p.spec.node_name]
    assert {nodes.count(f"n{i}") for i in range(4)} == {5}


async def test_a_promised_node_is_taken_without_looking_further(api: FakeApi, scheduler: Scheduler) -> None:
    api.add(node("a", cpu="1"))
    api.add(node("b", cpu="16"))
    promised = pod("web", cpu="1")
    promised.status.nominated_node_name = "a"
    await api.create(promised)
    await until(lambda: stored(api, "web").spec.node_name)
    assert stored(api, "web").spec.node_name == "a"


async def test_a_promise_ends_when_somebody_else_has_bound_the_pod(api: FakeApi, scheduler: Scheduler) -> None:
    api.add(node("a", cpu="2"))
    big = pod("big", cpu="8", priority=10)
    big.status.nominated_node_name = "a"
    await api.create(big)
    await until(lambda: stored(api, "big").status.conditions)
    taken = deepcopy(stored(api, "big"))
    taken.spec.node_name, taken.status.nominated_node_name = "a", "a"
    await api.update(taken)
    await until(lambda: int(scheduler.table.requested[0].sum()) == 8000)
    await api.create(pod("later", cpu="1", priority=1))
    await until(lambda: stored(api, "later").status.conditions)
    # The pod that was promised the node is counted there for good, not only while others are decided.
    assert int(scheduler.table.requested[0].sum()) == 8000
    assert not stored(api, "later").spec.node_name


async def test_a_promise_that_nobody_can_keep_is_taken_back(api: FakeApi, scheduler: Scheduler) -> None:
    api.add(node("a", cpu="1"))
    hopeful = pod("web", cpu="2", priority=10)
    hopeful.status.nominated_node_name = "a"
    await api.create(hopeful)
    await until(lambda: stored(api, "web").status.conditions)
    assert not stored(api, "web").status.nominated_node_name


async def test_victims_say_why_they_end_before_they_do(api: FakeApi, scheduler: Scheduler) -> None:
    api.add(node("a", cpu="1"))
    await api.create(pod("low", cpu="1", priority=1))
    await until(lambda: stored(api, "low").spec.node_name)
    seen: list[str] = []
    api.on("patch", "pods", lambda action: seen.append(f"patch {action.name}"))
    api.on("delete", "pods", lambda action: seen.append(f"delete {action.name}"))
    await api.create(pod("high", cpu="1", priority=100))
    await until(lambda: "delete low" in seen)
    assert seen.index("patch low") < seen.index("delete low")


async def test_a_lesser_pod_loses_the_node_it_was_promised(api: FakeApi, scheduler: Scheduler) -> None:
    api.add(node("a", cpu="1"))
    await api.create(pod("low", cpu="1", priority=1))
    await until(lambda: stored(api, "low").spec.node_name)

    def never(action: Action) -> None:
        raise service_unavailable("the kubelet takes its time")

    api.on("delete", "pods", never)
    await api.create(pod("middle", cpu="1", priority=10))
    await until(lambda: stored(api, "middle").status.nominated_node_name == "a")
    await api.create(pod("high", cpu="1", priority=100))
    await until(lambda: stored(api, "high").status.nominated_node_name == "a")
    await until(lambda: not stored(api, "middle").status.nominated_node_name)


async def test_a_bound_pod_is_not_scheduled_again_before_the_informer_shows_it(
    api: FakeApi, scheduler: Scheduler
) -> None:
    api.add(node("a"))
    await api.create(pod("web"))
    await until(lambda: stored(api, "web").spec.node_name == "a")
    await until(lambda: messages(api))
    late = deepcopy(stored(api, "web"))
    late.spec.node_name = None
    scheduler._assumed.add(late.metadata.uid or "")
    scheduler._pod_added(late)
    assert len(scheduler.queue) == 0


async def test_what_the_apiserver_has_against_a_binding_is_said(api: FakeApi, scheduler: Scheduler) -> None:
    refused = [False]

    def refuse(action: Action) -> None:
        if action.subresource == "binding" and not refused[0]:
            refused[0] = True
            raise bad_request("not today")

    api.on("create", "pods", refuse)
    api.add(node("a"))
    await api.create(pod("web"))
    await until(lambda: any("FailedScheduling" in m for m in messages(api)))
    [why] = [m for m in messages(api) if "FailedScheduling" in m]
    assert why == 'Warning FailedScheduling: running Bind plugin "DefaultBinder": not today'
    await until(lambda: stored(api, "web").spec.node_name == "a")


async def test_a_namespace_that_gets_a_label_is_selected_from_then_on(api: FakeApi, scheduler: Scheduler) -> None:
    api.add(node("a", labels={"zone": "x"}))
    for name in ("default", "other"):
        api.add(from_dict(Namespace, {"metadata": {"name": name}}))
    await api.create(pod("there", namespace="other", labels={"app": "db"}))
    term = {
        "labelSelector": {"matchLabels": {"app": "db"}},
        "namespaceSelector": {"matchLabels": {"team": "ours"}},
        "topologyKey": "zone",
    }
    near = {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
    await api.create(pod("web", affinity=near))
    await until(lambda: stored(api, "web").status.conditions)
    await api.patch(Namespace, "other", {"metadata": {"labels": {"team": "ours"}}})
    await until(lambda: stored(api, "web").spec.node_name == "a")
