"""One leader at a time; events that tell and do not flood."""

from __future__ import annotations

import asyncio

import pytest

from api import errors
from api.types.coordination_v1 import Lease
from api.types.core_v1 import Event, Pod
from api.types.meta_v1 import ObjectMeta
from client.events import EventRecorder
from client.fake import FakeApi
from client.leader import LeaderElector, LeadershipLost


def elector(api: FakeApi, identity: str, **timing: float) -> LeaderElector:
    timing = {"lease_duration": 1.0, "renew_deadline": 0.5, "retry_period": 0.05} | timing
    return LeaderElector(api, "test", identity, **timing)  # type: ignore[arg-type]


async def forever() -> None:
    await asyncio.Event().wait()


async def test_the_second_waits_and_takes_over_at_once_when_the_first_gives_the_lease_back() -> None:
    api = FakeApi()
    second_leads = asyncio.Event()

    async def lead_second() -> None:
        second_leads.set()
        await forever()

    first = elector(api, "one")
    one = asyncio.create_task(first.run(forever))
    while not first.is_leader:
        await asyncio.sleep(0.01)
    two = asyncio.create_task(elector(api, "two", lease_duration=100.0).run(lead_second))
    await asyncio.sleep(0.2)
    assert not second_leads.is_set()
    one.cancel()
    async with asyncio.timeout(5):
        await second_leads.wait()
    lease = api.one(Lease, "test", "kube-system")
    assert lease is not None
    assert (lease.spec.holder_identity, lease.spec.lease_transitions) == ("two", 1)
    two.cancel()
    await asyncio.gather(one, two, return_exceptions=True)


async def test_the_lease_is_given_back_to_an_apiserver_that_is_away_for_a_moment() -> None:
    api = FakeApi()
    first = elector(api, "one")
    one = asyncio.create_task(first.run(forever))
    while not first.is_leader:
        await asyncio.sleep(0.01)
    failures = [2]

    def away(_: object) -> None:
        if failures[0]:
            failures[0] -= 1
            raise errors.service_unavailable("restarting")

    api.on("update", "leases", away)
    one.cancel()
    await asyncio.gather(one, return_exceptions=True)
    lease = api.one(Lease, "test", "kube-system")
    assert lease is not None
    assert not lease.spec.holder_identity


async def test_a_leader_that_cannot_renew_stops_leading() -> None:
    api = FakeApi()
    stopped = asyncio.Event()

    async def lead() -> None:
        def away(_: object) -> None:
            raise errors.service_unavailable("gone")

        api.on("update", "leases", away)
        try:
            await forever()
        finally:
            stopped.set()

    with pytest.raises(LeadershipLost):
        await elector(api, "one", renew_deadline=0.2).run(lead)
    assert stopped.is_set()


async def test_what_the_leader_raises_is_raised() -> None:
    async def lead() -> None:
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        await elector(FakeApi(), "one").run(lead)


POD = Pod(metadata=ObjectMeta(name="p", namespace="d", uid="u"))


async def test_the_same_event_again_raises_the_count() -> None:
    api = FakeApi()
    recorder = EventRecorder(api, "kubelet", "n1")
    recorder.event(POD, "Normal", "Pulled", "already present")
    await recorder.flush()
    for _ in range(3):
        recorder.event(POD, "Normal", "Pulled", "already present")
    await recorder.flush()
    [event] = api.objects(Event)
    assert event.count == 4
    assert event.involved_object.uid == "u" and event.metadata.namespace == "d"
    assert (event.source.component, event.source.host) == ("kubelet", "n1")


async def test_similar_events_are_combined_after_ten() -> None:
    api = FakeApi()
    recorder = EventRecorder(api, "c")
    for number in range(14):
        recorder.event(POD, "Normal", "Created", f"created {number}")
        await recorder.flush()
    events = api.objects(Event)
    assert len(events) == 10
    assert events[-1].message == "(combined from similar events): created 13"
    assert events[-1].count == 5


async def test_one_object_cannot_flood() -> None:
    api = FakeApi()
    recorder = EventRecorder(api, "c")
    for number in range(60):
        recorder.event(POD, "Warning", f"Reason{number}", "message")
    await recorder.flush()
    assert len(api.objects(Event)) == 25


async def test_an_event_that_expired_is_created_anew() -> None:
    api = FakeApi()
    recorder = EventRecorder(api, "c")
    recorder.event(POD, "Normal", "R", "m")
    await recorder.flush()
    [event] = api.objects(Event)
    await api.delete(Event, event.metadata.name or "", namespace="d")
    recorder.event(POD, "Normal", "R", "m")
    await recorder.flush()
    [event] = api.objects(Event)
    assert event.count == 2
