"""The gRPC face over the real pipeline, through the real client."""

from __future__ import annotations

import asyncio

import pytest

from api import errors
from api.resources import RESOURCES
from api.types.core_v1 import ConfigMap, Namespace, Pod
from api.types.meta_v1 import ObjectMeta
from client.api import Api


def config(name: str, namespace: str = "default", **data: str) -> ConfigMap:
    return ConfigMap(metadata=ObjectMeta(name=name, namespace=namespace), data=data)


async def test_a_written_object_is_read_back_with_what_the_server_adds(api: Api) -> None:
    made = await api.create(config("a", x="1"))
    assert made.metadata.uid and made.metadata.creation_timestamp and made.metadata.resource_version
    assert await api.get(ConfigMap, "a", namespace="default") == made


async def test_a_stale_update_is_refused_in_upstreams_words(api: Api) -> None:
    old = await api.create(config("a", x="1"))
    old.data = {"x": "2"}
    new = await api.update(old)
    assert new.metadata.resource_version != old.metadata.resource_version
    with pytest.raises(errors.StatusError) as caught:
        await api.update(old)
    assert errors.is_conflict(caught.value)
    assert caught.value.message == (
        'Operation cannot be fulfilled on configmaps "a": the object has been modified; '
        "please apply your changes to the latest version and try again"
    )


async def test_an_update_that_changes_nothing_writes_nothing(api: Api) -> None:
    old = await api.create(config("a", x="1"))
    assert (await api.update(old)).metadata.resource_version == old.metadata.resource_version


async def test_a_watch_from_a_list_has_neither_gap_nor_repeat(api: Api) -> None:
    await api.create(config("before"))
    listed = await api.list(ConfigMap, namespace="default")
    assert [item.metadata.name for item in listed.items] == ["before"]
    seen = []
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:

        async def follow() -> None:
            async for event in api.watch(ConfigMap, namespace="default", resource_version=listed.resource_version):
                seen.append((event.type, event.object.metadata.name))
                if len(seen) == 3:
                    return

        group.create_task(follow())
        await api.create(config("after"))
        await api.patch(ConfigMap, "after", {"data": {"k": "v"}}, namespace="default", type="merge")
        await api.delete(ConfigMap, "after", namespace="default")
    assert seen == [("ADDED", "after"), ("MODIFIED", "after"), ("DELETED", "after")]


async def test_finalizers_hold_a_deleted_object_until_the_last_is_removed(api: Api) -> None:
    made = config("held")
    made.metadata.finalizers = ["example.com/wait"]
    await api.create(made)
    await api.delete(ConfigMap, "held", namespace="default")
    held = await api.get(ConfigMap, "held", namespace="default")
    assert held.metadata.deletion_timestamp and held.metadata.deletion_grace_period_seconds == 0
    await api.patch(ConfigMap, "held", {"metadata": {"finalizers": None}}, namespace="default", type="merge")
    with pytest.raises(errors.StatusError) as caught:
        await api.get(ConfigMap, "held", namespace="default")
    assert errors.is_not_found(caught.value)


async def test_deleting_in_the_foreground_adds_the_finalizer(api: Api) -> None:
    await api.create(config("owner"))
    await api.delete(ConfigMap, "owner", namespace="default", propagation="Foreground")
    assert (await api.get(ConfigMap, "owner", namespace="default")).metadata.finalizers == ["foregroundDeletion"]


async def test_generate_name_makes_a_name(api: Api) -> None:
    made = await api.create(ConfigMap(metadata=ObjectMeta(generate_name="x-", namespace="default")))
    assert made.metadata.name is not None and made.metadata.name.startswith("x-") and len(made.metadata.name) == 7


@pytest.mark.parametrize("resource", [r for r in RESOURCES if "watch" in r.verbs], ids=lambda r: r.group_resource)
async def test_every_kind_can_be_listed(api: Api, resource) -> None:  # type: ignore[no-untyped-def]
    listed = await api.list(resource.type)
    assert int(listed.resource_version) > 0


async def test_selectors_and_namespaces_narrow_a_list(api: Api) -> None:
    for name, namespace, tier in (("a", "one", "x"), ("b", "one", "y"), ("a", "two", "x")):
        obj = config(name, namespace)
        obj.metadata.labels = {"tier": tier}
        await api.create(obj)
    assert len((await api.list(ConfigMap)).items) == 3
    assert len((await api.list(ConfigMap, labels="tier=x")).items) == 2
    only = await api.list(ConfigMap, namespace="one", labels="tier in (x)", fields="metadata.name!=b")
    assert [(i.metadata.namespace, i.metadata.name) for i in only.items] == [("one", "a")]
    with pytest.raises(errors.StatusError) as caught:
        await api.list(ConfigMap, fields="spec.foo=1")
    assert caught.value.code == 400
    assert await api.list(Pod) and await api.list(Namespace)
