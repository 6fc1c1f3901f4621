"""Garbage collection: background, foreground, orphans, absent owners, and references that lie."""

from __future__ import annotations

from typing import Any

from api.types.apiextensions_v1 import (
    CustomResourceDefinition,
    CustomResourceDefinitionCondition,
    CustomResourceDefinitionVersion,
)
from api.types.apps_v1 import Deployment, ReplicaSet
from api.types.coordination_v1 import Lease
from api.types.core_v1 import ConfigMap, Node, Pod
from api.types.meta_v1 import ObjectMeta, OwnerReference
from client.fake import FakeApi
from client.writes import Kind
from controller_manager.discovery import of_definition
from controller_manager.garbage_collector import GarbageCollector
from controller_manager.workloads.deployment import DeploymentController
from controller_manager.workloads.replicaset import ReplicaSetController
from tests.support.controllers import running
from tests.unit.controller_manager.builders import deployment, pod, replica_set

ALL = (DeploymentController, ReplicaSetController, GarbageCollector)


def owned(name: str, *owners: Any, block: bool = False) -> ConfigMap:
    refs = [
        OwnerReference(
            api_version=o.api_version,
            kind=o.kind,
            name=o.metadata.name,
            uid=o.metadata.uid,
            block_owner_deletion=block or None,
        )
        for o in owners
    ]
    return ConfigMap(metadata=ObjectMeta(name=name, namespace="default", owner_references=refs or None))


def names(api: FakeApi, kind: Any = ConfigMap) -> list[str]:
    return sorted(o.metadata.name for o in api.objects(kind))


async def test_in_the_background_everything_below_goes() -> None:
    api = FakeApi(deployment())
    async with running(api, *ALL) as harness:
        assert len(api.objects(Pod)) == 3
        await api.delete(Deployment, "web", namespace="default", propagation="Background")
        await harness.settle()
        assert api.objects(Deployment) == [] and api.objects(ReplicaSet) == [] and api.objects(Pod) == []


async def test_in_the_foreground_the_owner_goes_last() -> None:
    api = FakeApi(deployment())
    order: list[str] = []
    async with running(api, *ALL) as harness:
        informers = harness.context.informers
        for kind in (Deployment, ReplicaSet, Pod):
            informers.informer(kind).add_handler(on_delete=lambda o: order.append(o.kind))
        await api.delete(Deployment, "web", namespace="default", propagation="Foreground")
        await harness.settle()
        assert api.objects(Pod) == []
        assert order == ["Pod"] * 3 + ["ReplicaSet", "Deployment"]


async def test_a_dependent_with_a_finalizer_holds_the_owner_back() -> None:
    owner = ConfigMap(metadata=ObjectMeta(name="owner", namespace="default", uid="o"))
    held = owned("held", owner, block=True)
    held.metadata.finalizers = ["x/y"]
    api = FakeApi(owner, held, owned("free", owner))
    async with running(api, GarbageCollector) as harness:
        await api.delete(ConfigMap, "owner", namespace="default", propagation="Foreground")
        await harness.settle()
        assert names(api) == ["held", "owner"]
        await api.patch(ConfigMap, "held", {"metadata": {"finalizers": None}}, namespace="default")
        await harness.settle()
        assert names(api) == []


async def test_orphans_stay_without_their_reference() -> None:
    api = FakeApi(replica_set())
    async with running(api, ReplicaSetController, GarbageCollector) as harness:
        await api.delete(ReplicaSet, "web", namespace="default", propagation="Orphan")
        await harness.settle()
        assert api.objects(ReplicaSet) == []
        assert [p.metadata.owner_references for p in api.objects(Pod)] == [None] * 3


async def test_an_owner_that_never_was_or_has_another_uid_is_absent() -> None:
    live = ConfigMap(metadata=ObjectMeta(name="live", namespace="default", uid="new"))
    old = ConfigMap(metadata=ObjectMeta(name="live", namespace="default", uid="old"))
    never = ConfigMap(metadata=ObjectMeta(name="never", namespace="default", uid="never"))
    api = FakeApi(live, owned("of-old", old), owned("of-never", never), owned("of-live", live))
    async with running(api, GarbageCollector):
        assert names(api) == ["live", "of-live"]


async def test_one_living_owner_is_enough() -> None:
    live = ConfigMap(metadata=ObjectMeta(name="live", namespace="default", uid="live"))
    gone = ConfigMap(metadata=ObjectMeta(name="gone", namespace="default", uid="gone"))
    api = FakeApi(live, gone, owned("shared", live, gone))
    async with running(api, GarbageCollector) as harness:
        await api.delete(ConfigMap, "gone", namespace="default")
        await harness.settle()
        shared = api.one(ConfigMap, "shared", "default")
        assert shared is not None
        assert [r.uid for r in shared.metadata.owner_references or ()] == ["live"]


async def test_a_reference_that_lies_harms_only_its_author() -> None:
    live = ConfigMap(metadata=ObjectMeta(name="live", namespace="default", uid="live"))
    liar = owned("liar", live)
    (liar.metadata.owner_references or [])[0].name = "wrong"
    api = FakeApi(liar, live, owned("honest", live))
    async with running(api, GarbageCollector) as harness:
        assert names(api) == ["honest", "live"]
        await api.delete(ConfigMap, "live", namespace="default")
        await harness.settle()
        assert names(api) == []


async def test_a_cluster_scoped_owner_is_found_from_a_namespace() -> None:
    node = Node(metadata=ObjectMeta(name="n1", uid="n"))
    lease = Lease(
        metadata=ObjectMeta(
            name="n1",
            namespace="kube-node-lease",
            owner_references=[OwnerReference(api_version="v1", kind="Node", name="n1", uid="n")],
        )
    )
    api = FakeApi(node, lease)
    async with running(api, GarbageCollector) as harness:
        assert names(api, Lease) == ["n1"]
        await api.delete(Node, "n1")
        await harness.settle()
        assert names(api, Lease) == []


async def test_a_namespaced_owner_of_a_cluster_scoped_object_is_an_error_and_deletes_nothing() -> None:
    node = Node(metadata=ObjectMeta(name="n1"))
    node.metadata.owner_references = [OwnerReference(api_version="v1", kind="ConfigMap", name="c", uid="c")]
    api = FakeApi(node)
    async with running(api, GarbageCollector) as harness:
        assert names(api, Node) == ["n1"]
        [event] = harness.events("OwnerRefInvalidNamespace")
        assert event.endswith('does not exist in namespace ""')


def widgets() -> Any:
    """An established definition."""
    crd: Any = CustomResourceDefinition(metadata=ObjectMeta(name="widgets.example.com"))
    crd.spec.group, crd.spec.scope = "example.com", "Namespaced"
    crd.spec.names.plural, crd.spec.names.kind = "widgets", "Widget"
    crd.spec.versions = [CustomResourceDefinitionVersion(name="v1", served=True, storage=True)]
    crd.status.conditions = [CustomResourceDefinitionCondition(type="Established", status="True")]
    return crd


async def test_custom_resources_are_collected_as_well() -> None:
    crd = widgets()
    resource = of_definition(crd)
    assert resource is not None
    api = FakeApi(crd)
    async with running(api, GarbageCollector) as harness:
        kind = Kind(resource, dict)
        meta = {"name": "w", "namespace": "default"}
        widget = await api.create({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": meta}, kind=kind)
        ref = OwnerReference(api_version="example.com/v1", kind="Widget", name="w", uid=widget["metadata"]["uid"])
        child = ConfigMap(metadata=ObjectMeta(name="child", namespace="default", owner_references=[ref]))
        await api.create(child)
        await harness.settle()
        assert names(api) == ["child"]
        await api.delete(kind, "w", namespace="default")
        await harness.settle()
        assert names(api) == []


async def test_custom_resources_go_with_their_owner_though_they_were_defined_later() -> None:
    owner = ConfigMap(metadata=ObjectMeta(name="owner", namespace="default"))
    api = FakeApi(owner)
    async with running(api, GarbageCollector) as harness:
        crd = widgets()
        resource = of_definition(crd)
        assert resource is not None
        await api.create(crd)
        await harness.settle()
        [found] = api.objects(ConfigMap)
        refs = [{"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": found.metadata.uid}]
        kind = Kind(resource, dict)
        for name, owners in (("owned", refs), ("free", [])):
            meta = {"name": name, "namespace": "default", "ownerReferences": owners}
            await api.create({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": meta}, kind=kind)
        await harness.settle()
        await api.delete(ConfigMap, "owner", namespace="default")
        await harness.settle()
        left = await api.list(kind, namespace="default")
        assert [widget["metadata"]["name"] for widget in left.items] == ["free"]


async def test_a_circle_of_owners_can_be_deleted() -> None:
    a = ConfigMap(metadata=ObjectMeta(name="a", namespace="default", uid="a"))
    b = ConfigMap(metadata=ObjectMeta(name="b", namespace="default", uid="b"))
    first, second = owned("a", b, block=True), owned("b", a, block=True)
    first.metadata.uid, second.metadata.uid = "a", "b"
    api = FakeApi(first, second)
    async with running(api, GarbageCollector) as harness:
        assert names(api) == ["a", "b"]
        await api.delete(ConfigMap, "a", namespace="default", propagation="Foreground")
        await harness.settle()
        assert names(api) == []


async def test_pods_without_owners_are_nobodys_business() -> None:
    api = FakeApi(pod("alone"))
    async with running(api, GarbageCollector):
        assert names(api, Pod) == ["alone"] and api.writes() == []
