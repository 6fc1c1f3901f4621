"""The store on a real etcd: the same contract, and what happens when etcd is killed under it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from apiserver.store import Exists, Rejected, Store, Unavailable
from apiserver.store.etcd import EtcdStore
from tests.support.etcd import Etcd, running_etcd
from tests.support.ports import free_port
from tests.support.store_behaviour import StoreBehaviour


@pytest_asyncio.fixture
async def etcd() -> AsyncIterator[Etcd]:
    async with running_etcd() as member:
        yield member


class TestEtcdStore(StoreBehaviour):
    @pytest_asyncio.fixture
    async def store(self, etcd: Etcd) -> AsyncIterator[Store]:
        made = EtcdStore([etcd.endpoint])
        yield made
        await made.close()


async def test_writes_and_watches_survive_a_killed_etcd_without_loss_or_repeat(etcd: Etcd) -> None:
    """Acknowledged writes are all there, each change is told once, and nothing is applied twice."""
    store = EtcdStore([etcd.endpoint], timeout=20)
    acknowledged: dict[str, int] = {}
    told: list[tuple[str, int]] = []

    async def write() -> None:
        for number in range(300):
            key = f"/registry/a/b/{number:03}"
            try:
                acknowledged[key] = await store.create(key, str(number).encode())
            except Exists:
                pytest.fail("a retried create took its own effect for somebody else's")

    async def follow() -> None:
        async for batch in store.watch(1):
            told.extend((change.key, change.revision) for change in batch)
            if len(told) >= 300:
                return

    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        group.create_task(follow())
        writer = group.create_task(write())
        for _ in range(3):
            await asyncio.sleep(0.15)
            etcd.kill()
            await asyncio.sleep(0.1)
            await etcd.start()
        await writer
    assert told == [(key, acknowledged[key]) for key in sorted(acknowledged)]
    page = await store.list("/registry/a/b/")
    assert {record.key: record.revision for record in page.records} == acknowledged
    await store.close()


async def test_another_endpoint_takes_over(etcd: Etcd) -> None:
    store = EtcdStore([f"http://127.0.0.1:{free_port()}", etcd.endpoint])
    revision = await store.create("/registry/a/b/x", b"1")
    assert await store.revision() == revision
    await store.close()


async def test_without_any_etcd_a_call_ends_in_time() -> None:
    store = EtcdStore([f"http://127.0.0.1:{free_port()}"], timeout=0.5)
    with pytest.raises(Unavailable):
        await store.revision()
    await store.close()


async def test_two_servers_compact_once_an_interval(etcd: Etcd) -> None:
    one, two = EtcdStore([etcd.endpoint]), EtcdStore([etcd.endpoint])
    turn_one = await one.compaction_turn(0, 0)
    turn_two = await two.compaction_turn(0, 0)  # the other was first: learns the turn
    assert turn_one[0] == turn_two[0] == 1
    revision = await one.create("/registry/a/b/x", b"1")
    await one.update("/registry/a/b/x", b"2", revision=revision)
    turn_one = await one.compaction_turn(*turn_one)
    turn_two = await two.compaction_turn(*turn_two)
    assert turn_one[0] == turn_two[0] == 2
    await one.close()
    await two.close()


async def test_what_etcd_will_never_take_is_refused_at_once(etcd: Etcd) -> None:
    store = EtcdStore([etcd.endpoint])
    for size in (1_600_000, 3_000_000):  # etcd has two limits, with an error of its own each
        with pytest.raises(Rejected):
            await store.create("/registry/a/b/x", b"x" * size)
    await store.close()
