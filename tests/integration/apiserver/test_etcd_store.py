"""The store on a real etcd: the same contract, and what happens when etcd is killed under it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from api.types.core_v1 import ConfigMap
from api.types.meta_v1 import ObjectMeta
from apiserver.registry import Registry
from apiserver.store import Exists, Rejected, Store, Unavailable
from apiserver.store.etcd import EtcdStore
from apiserver.store.revisions import of_etcd
from apiserver.watching import Watcher
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


async def test_creates_at_once_share_a_transaction_and_a_taken_key_is_nobody_elses_fault(etcd: Etcd) -> None:
    store = EtcdStore([etcd.endpoint])
    taken = await store.create("/registry/a/b/07", b"first")
    keys = [f"/registry/a/b/{number:02}" for number in range(20)]
    outcomes = await asyncio.gather(*(store.create(key, b"new") for key in keys), return_exceptions=True)
    (refused,) = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    assert isinstance(refused, Exists)
    assert refused.current == ("/registry/a/b/07", b"first", taken)
    before = of_etcd(await store.revision())
    await asyncio.gather(*(store.create(f"{key}-again", b"new") for key in keys))
    assert of_etcd(await store.revision()) - before < len(keys) / 2
    page = await store.list("/registry/a/b/")
    assert sorted(record.key for record in page.records) == sorted(keys + [f"{key}-again" for key in keys])
    await store.close()


async def test_what_shared_a_transaction_is_updated_and_deleted_by_its_own_revision(etcd: Etcd) -> None:
    store = EtcdStore([etcd.endpoint])
    values = {f"/registry/a/b/{number}": value for number, value in enumerate((b"a", b"\0b", b"\0\x7fc", b"", b"\0"))}
    made = await asyncio.gather(*(store.create(key, value) for key, value in values.items()))
    for revision, (key, value) in zip(made, values.items(), strict=True):
        assert (await store.get(key))[0] == (key, value, revision)
        later = await store.update(key, value + b"\0", revision=revision)
        assert (await store.get(key))[0] == (key, value + b"\0", later)
        assert await store.delete(key, revision=later) == await store.revision()
    await store.close()


async def test_a_client_resumes_between_two_objects_that_shared_a_transaction(etcd: Etcd) -> None:
    store = EtcdStore([etcd.endpoint])
    registry = Registry(store)
    await registry.start()
    feeding = asyncio.create_task(registry.feed.run())
    names = [f"m{number:02}" for number in range(30)]
    maps = [ConfigMap(metadata=ObjectMeta(name=name, namespace="default")) for name in names]
    made = await asyncio.gather(*(registry.create(one) for one in maps))
    versions = sorted((int(one.metadata.resource_version or 0), one.metadata.name) for one in made)
    await registry.feed.fresh()
    for position, (version, _) in enumerate(versions):
        watcher = Watcher(None)
        registry.cache(ConfigMap).watch(watcher, version)
        told: list[tuple[int, str]] = []
        while len(told) < len(versions) - position - 1:
            async with asyncio.timeout(30):
                told += [(item.revision, item.entry.name) for item in await watcher.next() or () if item.entry]
        assert told == versions[position + 1 :]
    feeding.cancel()
    await store.close()


async def test_creates_at_once_survive_a_killed_etcd_without_loss_or_repeat(etcd: Etcd) -> None:
    store = EtcdStore([etcd.endpoint], timeout=60)
    acknowledged: dict[str, int] = {}
    told: list[tuple[str, int]] = []
    numbers = iter(range(600))

    async def write() -> None:
        for number in numbers:
            key = f"/registry/a/b/{number:03}"
            acknowledged[key] = await store.create(key, str(number).encode())

    async def follow() -> None:
        async for batch in store.watch(1):
            told.extend((change.key, change.revision) for change in batch)
            if len(told) >= 600:
                return

    async with asyncio.timeout(120), asyncio.TaskGroup() as group:
        group.create_task(follow())
        writers = [group.create_task(write()) for _ in range(16)]
        for _ in range(3):
            await asyncio.sleep(0.15)
            etcd.kill()
            await asyncio.sleep(0.1)
            await etcd.start()
        await asyncio.gather(*writers)
    assert told == sorted(acknowledged.items(), key=lambda item: item[1])
    assert {record.key: record.revision for record in (await store.list("/registry/a/b/")).records} == acknowledged
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
