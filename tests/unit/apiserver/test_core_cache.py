"""The watch cache: fresh reads, a bounded past, slow watchers, and starting afresh after a gap."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from api import errors
from api.types.core_v1 import ConfigMap, Container, Pod, PodSpec
from api.types.meta_v1 import ObjectMeta
from apiserver import watching
from apiserver.pipeline.selection import selection
from apiserver.pipeline.watch import WatchQuery, watch
from apiserver.registry import Registry
from apiserver.resources import strategies
from apiserver.store.memory import MemoryStore


async def started(store: MemoryStore) -> tuple[Registry, asyncio.Task[None]]:
    table = strategies()
    registry = Registry(store, strategy_for=lambda resource: table[resource])
    await registry.start()
    return registry, asyncio.create_task(registry.feed.run())


@pytest_asyncio.fixture
async def store() -> MemoryStore:
    return MemoryStore()


@pytest_asyncio.fixture
async def registry(store: MemoryStore) -> AsyncIterator[Registry]:
    made, feeding = await started(store)
    yield made
    feeding.cancel()


def config(name: str) -> ConfigMap:
    return ConfigMap(metadata=ObjectMeta(name=name, namespace="default"), data={})


async def test_a_read_shows_what_another_server_has_just_written(registry: Registry, store: MemoryStore) -> None:
    other, feeding = await started(store)
    for number in range(20):
        made = await other.create(config(f"c{number}"))
        assert await registry.get(ConfigMap, f"c{number}", namespace="default") == made
    feeding.cancel()


async def test_concurrent_reads_share_their_questions_to_the_store(registry: Registry, store: MemoryStore) -> None:
    await registry.create(config("a"))
    asked = 0
    original = store.revision

    async def counted() -> int:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0.01)
        return await original()

    store.revision = counted  # type: ignore[method-assign]
    await asyncio.gather(*(registry.get(ConfigMap, "a", namespace="default") for _ in range(50)))
    assert asked <= 2


async def test_a_watcher_that_does_not_read_is_cut_off(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "_BUFFER_EVENTS", 10)
    endpoint = registry.endpoint(ConfigMap)
    watcher = await watch(endpoint, registry.feed, selection(endpoint, "", "", ""), WatchQuery())
    for number in range(30):
        await registry.create(config(f"c{number}"))
        await registry.feed.fresh()
    assert watcher not in endpoint.cache._watchers
    delivered = await watcher.next()
    assert delivered is not None and len(delivered) == 11
    assert await watcher.next() is None


async def test_the_past_is_bounded(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("apiserver.cache._WINDOW_EVENTS", 5)
    first = await registry.create(config("c"))
    for number in range(10):
        await registry.create(config(f"c{number}"))
    await registry.feed.fresh()
    endpoint = registry.endpoint(ConfigMap)
    old = WatchQuery(resource_version=first.metadata.resource_version or "")
    with pytest.raises(errors.StatusError) as caught:
        await watch(endpoint, registry.feed, selection(endpoint, "", "", ""), old)
    assert errors.is_expired(caught.value)
    assert caught.value.message.startswith(f"too old resource version: {first.metadata.resource_version} (")


async def test_pods_are_found_by_node_without_looking_at_all(registry: Registry) -> None:
    for number in range(6):
        spec = PodSpec(containers=[Container(name="c", image="x")], node_name=f"n{number % 2}")
        await registry.create(Pod(metadata=ObjectMeta(name=f"p{number}", namespace="default"), spec=spec))
    await registry.delete(Pod, "p0", namespace="default", grace_period_seconds=0)
    await registry.feed.fresh()
    endpoint = registry.endpoint(Pod)
    found = selection(endpoint, "", "", "spec.nodeName=n0").entries(endpoint)
    assert [entry.name for entry in found] == ["p2", "p4"]
    assert (
        endpoint.cache._index["n0"]
        == {entry.key for entry in endpoint.cache.range(endpoint.prefix)} - (endpoint.cache._index["n1"])
    )


async def test_after_a_gap_everything_starts_afresh(store: MemoryStore) -> None:
    registry, feeding = await started(store)
    await registry.create(config("before"))
    await registry.feed.fresh()
    endpoint = registry.endpoint(ConfigMap)
    watcher = await watch(endpoint, registry.feed, selection(endpoint, "", "", ""), WatchQuery(resource_version="1"))
    feeding.cancel()
    await asyncio.gather(feeding, return_exceptions=True)
    # While this server was cut off, others wrote on and the past was compacted away.
    other, feeding_other = await started(store)
    await other.delete(ConfigMap, "before", namespace="default")
    await other.create(config("after"))
    await other.create(config("after2"))
    await store.compact(await store.revision())
    again = asyncio.create_task(registry.feed.run())
    async with asyncio.timeout(5):
        with pytest.raises(errors.StatusError) as caught:
            while True:
                await watcher.next()
        assert errors.is_expired(caught.value)
        names = [item.metadata.name for item in await registry.list(ConfigMap)]
    assert names == ["after", "after2"]
    for task in (again, feeding_other):
        task.cancel()


async def test_a_window_reaches_back_before_the_server_started(store: MemoryStore) -> None:
    first, feeding = await started(store)
    made = await first.create(config("a"))
    await first.create(config("b"))
    feeding.cancel()
    second, feeding = await started(store)
    endpoint = second.endpoint(ConfigMap)
    resume = WatchQuery(resource_version=made.metadata.resource_version or "")
    async with asyncio.timeout(5):
        await second.feed.fresh()
        watcher = await watch(endpoint, second.feed, selection(endpoint, "", "", ""), resume)
        items = await watcher.next()
    assert items is not None
    assert [(item.type, item.entry.name) for item in items if item.entry] == [("ADDED", "b")]
    feeding.cancel()
