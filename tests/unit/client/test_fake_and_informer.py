"""The informer against the in-memory API: nothing missed, nothing twice, whatever happens to the watch."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import pytest

from api import errors
from api.types.core_v1 import ConfigMap, Container, Pod, PodSpec
from api.types.meta_v1 import ObjectMeta
from client.fake import FakeApi
from client.informer import Factory, Informer


def config_map(name: str, namespace: str = "default", **data: str) -> ConfigMap:
    return ConfigMap(metadata=ObjectMeta(name=name, namespace=namespace, labels={"app": name}), data=data or None)


@contextlib.asynccontextmanager
async def running(informer: Informer[ConfigMap]) -> AsyncIterator[list[str]]:
    seen: list[str] = []
    informer.add_handler(
        on_add=lambda o: seen.append(f"+{o.metadata.name}"),
        on_update=lambda a, b: seen.append(f"~{b.metadata.name}"),
        on_delete=lambda o: seen.append(f"-{o.metadata.name}"),
    )
    task = asyncio.create_task(informer.run())
    await informer.synced()
    try:
        yield seen
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_it_tells_of_every_change_in_order() -> None:
    api = FakeApi(config_map("a"))
    async with running(Informer(api, ConfigMap)) as seen:
        b = await api.create(config_map("b"))
        b.data = {"k": "v"}
        await api.update(b)
        await api.delete(ConfigMap, "a", namespace="default")
        await settle()
    assert seen == ["+a", "+b", "~b", "-a"]


async def test_it_finds_by_namespace_label_and_index() -> None:
    api = FakeApi(config_map("a", x="1"), config_map("b", "other", x="1"))
    informer = Informer(api, ConfigMap)
    informer.add_index("x", lambda o: [o.data["x"]] if o.data else [])
    async with running(informer):
        assert [o.metadata.name for o in informer.by_index("x", "1")] == ["a", "b"]
        assert [o.metadata.name for o in informer.list("other")] == ["b"]
        await api.patch(ConfigMap, "a", {"data": {"x": "2"}}, namespace="default")
        await settle()
        assert [o.metadata.name for o in informer.by_index("x", "1")] == ["b"]
        assert [o.metadata.name for o in informer.by_index("x", "2")] == ["a"]


async def test_after_410_it_lists_again_and_tells_only_the_difference() -> None:
    api = FakeApi(config_map("kept"), config_map("changed"), config_map("gone"))
    async with running(Informer(api, ConfigMap)) as seen:
        await settle()
        seen.clear()
        api.compact()
        await api.delete(ConfigMap, "gone", namespace="default")
        await api.patch(ConfigMap, "changed", {"data": {"x": "2"}}, namespace="default")
        await api.create(config_map("new"))
        await asyncio.sleep(0.3)
    assert sorted(seen) == ["+new", "-gone", "~changed"]


async def test_an_object_deleted_and_created_anew_during_a_gap_is_two_objects() -> None:
    api = FakeApi(config_map("a"))
    async with running(Informer(api, ConfigMap)) as seen:
        await settle()
        seen.clear()
        api.compact()
        await api.delete(ConfigMap, "a", namespace="default")
        await api.create(config_map("a"))
        await asyncio.sleep(0.3)
    assert seen == ["-a", "+a"]


async def test_while_the_apiserver_is_away_it_waits_and_then_goes_on() -> None:
    api = FakeApi(config_map("a"))
    failures = 2

    def away(_: object) -> None:
        nonlocal failures
        if failures:
            failures -= 1
            raise errors.service_unavailable("connection refused")

    api.on("list", "configmaps", away)
    async with running(Informer(api, ConfigMap)) as seen:
        await settle()
        assert seen == ["+a"]
    assert failures == 0


async def test_a_selector_change_is_an_add_or_a_delete() -> None:
    api = FakeApi(config_map("a"))
    async with running(Informer(api, ConfigMap, labels="app=a")) as seen:
        await settle()
        await api.patch(ConfigMap, "a", {"metadata": {"labels": {"app": "b"}}}, namespace="default")
        await api.patch(ConfigMap, "a", {"metadata": {"labels": {"app": "a"}}}, namespace="default")
        await settle()
    assert seen == ["+a", "-a", "+a"]


async def test_a_factory_shares_informers_and_starts_late_ones() -> None:
    api = FakeApi(config_map("a"))
    factory = Factory(api)
    first = factory.informer(ConfigMap)
    assert factory.informer(ConfigMap) is first
    task = asyncio.create_task(factory.run())
    await factory.synced()
    late = factory.informer(Pod)
    await late.synced()
    assert len(first.store) == 1
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_late_informer_that_cannot_list_holds_up_nobody_who_does_not_ask_for_it() -> None:
    api = FakeApi(config_map("a"))

    def refuse(_: object) -> None:
        raise errors.not_found("pods", "")

    api.on("list", "pods", refuse)
    factory = Factory(api)
    factory.informer(ConfigMap)
    task = asyncio.create_task(factory.run())
    await factory.synced()
    factory.informer(Pod)
    async with asyncio.timeout(5):
        await factory.synced(late=False)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await factory.synced()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_the_fake_deletes_pods_gracefully_and_honours_finalizers() -> None:
    spec = PodSpec(containers=[Container(name="c")], node_name="n1", termination_grace_period_seconds=30)
    api = FakeApi(Pod(metadata=ObjectMeta(name="p", namespace="d", finalizers=["x/y"]), spec=spec))
    await api.delete(Pod, "p", namespace="d")
    pod = api.one(Pod, "p", "d")
    assert pod is not None and pod.metadata.deletion_timestamp and pod.metadata.deletion_grace_period_seconds == 30
    await api.delete(Pod, "p", namespace="d", grace_period_seconds=0)
    pod = api.one(Pod, "p", "d")
    assert pod is not None and pod.metadata.deletion_grace_period_seconds == 0
    pod.metadata.finalizers = None
    await api.update(pod)
    assert api.one(Pod, "p", "d") is None


async def test_the_fake_refuses_stale_writes() -> None:
    api = FakeApi()
    old = await api.create(config_map("a"))
    await api.patch(ConfigMap, "a", {"data": {"x": "1"}}, namespace="default")
    old.data = {"x": "2"}
    with pytest.raises(errors.StatusError) as caught:
        await api.update(old)
    assert errors.is_conflict(caught.value)
    with pytest.raises(errors.StatusError) as caught:
        await api.delete(ConfigMap, "a", namespace="default", uid="other")
    assert errors.is_conflict(caught.value)


async def test_a_server_that_ends_watches_at_once_is_asked_ever_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    class Hasty(FakeApi):
        async def watch(self, kind: Any, **_: Any) -> AsyncGenerator[Any, None]:
            for event in ():
                yield event

    naps: list[float] = []
    enough = asyncio.Event()
    nap = asyncio.sleep

    async def sleep(seconds: float) -> None:
        if seconds:
            naps.append(seconds)
        if len(naps) == 4:
            enough.set()
        await nap(0)

    monkeypatch.setattr("client.informer.asyncio.sleep", sleep)
    async with running(Informer(Hasty(config_map("a")), ConfigMap)), asyncio.timeout(10):
        await enough.wait()
    assert 0 < naps[0] < naps[1] < naps[2] < naps[3]
