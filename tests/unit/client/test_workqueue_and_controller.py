"""Keys are worked on once, one at a time, and come back when they have to."""

from __future__ import annotations

import asyncio

import pytest

from api import errors
from client.controller import Controller
from client.expectations import TIMEOUT, Expectations
from client.workqueue import ShutDown, WorkQueue


async def test_a_key_added_twice_is_taken_once_and_not_by_two_workers() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a")
    queue.add("a")
    assert await queue.get() == "a"
    queue.add("a")
    assert len(queue) == 0
    queue.done("a")
    assert await queue.get() == "a"
    queue.done("a")
    assert not queue.busy


async def test_the_earliest_delay_wins() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add_after("a", 60)
    queue.add_after("a", 0.01)
    queue.add_after("a", 60)
    async with asyncio.timeout(5):
        assert await queue.get() == "a"


async def test_a_cancelled_waiter_does_not_swallow_a_key() -> None:
    queue: WorkQueue[str] = WorkQueue()
    first, second = asyncio.create_task(queue.get()), asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.add("a")
    first.cancel()
    async with asyncio.timeout(5):
        assert await second == "a"


async def test_shut_down_ends_waiting_workers() -> None:
    queue: WorkQueue[str] = WorkQueue()
    worker = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.shut_down()
    with pytest.raises(ShutDown):
        await worker


async def test_backoff_doubles_until_forgotten() -> None:
    queue: WorkQueue[str] = WorkQueue(base=100, cap=250)
    loop = asyncio.get_running_loop()
    for expected in (100, 200, 250):
        queue.add_rate_limited("a")
        timer = queue._timers.pop("a")
        assert round(timer.when() - loop.time()) == expected
        timer.cancel()
    assert queue.num_requeues("a") == 3
    queue.forget("a")
    assert queue.num_requeues("a") == 0


async def test_a_controller_tries_again_after_failures_and_when_asked() -> None:
    seen: list[str] = []
    finished = asyncio.Event()

    async def reconcile(key: str) -> float | None:
        seen.append(key)
        if len(seen) == 1:
            raise errors.conflict("pods", key)
        if len(seen) == 2:
            raise RuntimeError("a bug")
        if len(seen) == 3:
            return 0.001
        finished.set()
        return None

    controller = Controller("test", reconcile, workers=2)
    task = asyncio.create_task(controller.run())
    controller.enqueue("a")
    async with asyncio.timeout(5):
        await finished.wait()
    assert seen == ["a"] * 4
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def test_expectations_hold_back_until_seen_or_expired() -> None:
    now = 0.0
    expectations = Expectations(lambda: now)
    assert expectations.satisfied("rs")
    expectations.expect_creations("rs", 2)
    expectations.creation_observed("rs")
    assert not expectations.satisfied("rs")
    expectations.creation_observed("rs")
    assert expectations.satisfied("rs")
    expectations.expect_deletions("rs", ["a", "b"])
    expectations.deletion_observed("rs", "a")
    expectations.deletion_observed("rs", "a")
    expectations.deletion_observed("rs", "stranger")
    assert not expectations.satisfied("rs")
    now = TIMEOUT + 1
    assert expectations.satisfied("rs")
