"""Pods and their storage: what keeps a pod pending, where volumes let it run, and what the scheduler writes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from api.codec import from_dict
from api.types.core_v1 import Event, Node, PersistentVolume, PersistentVolumeClaim, Pod
from api.types.storage_v1 import StorageClass
from api.volumes import BIND_COMPLETED, SELECTED_NODE
from client.events import EventRecorder
from client.fake import FakeApi
from scheduler import queue
from scheduler.scheduler import Scheduler
from tests.unit.scheduler.build import node, pod
from tests.unit.scheduler.test_loop import messages, stored, until


@pytest.fixture
def api() -> FakeApi:
    api = FakeApi()
    for name in ("a", "b", "c"):
        api.add(node(name))
    api.add(
        from_dict(StorageClass, {"metadata": {"name": "now"}, "provisioner": "x", "volumeBindingMode": "Immediate"})
    )
    for name, provisioner in (("made", "example.com/p"), ("static", "kubernetes.io/no-provisioner")):
        value = {
            "metadata": {"name": name},
            "provisioner": provisioner,
            "volumeBindingMode": "WaitForFirstConsumer",
        }
        api.add(from_dict(StorageClass, value))
    return api


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


def claim(name: str, storage_class: str, *, volume: str = "", size: str = "1Gi", **more: Any) -> PersistentVolumeClaim:
    value: dict[str, Any] = {
        "metadata": {"name": name, "namespace": "default", "uid": f"claim-{name}"},
        "spec": {
            "storageClassName": storage_class,
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": size}},
            **more,
        },
        "status": {"phase": "Pending"},
    }
    if volume:
        value["metadata"]["annotations"] = {BIND_COMPLETED: "yes"}
        value["spec"]["volumeName"] = volume
        value["status"]["phase"] = "Bound"
    return from_dict(PersistentVolumeClaim, value)


def volume(name: str, where: str, *, size: str = "1Gi", storage_class: str = "static") -> PersistentVolume:
    term = {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": [where]}]}
    value = {
        "metadata": {"name": name},
        "spec": {
            "storageClassName": storage_class,
            "capacity": {"storage": size},
            "accessModes": ["ReadWriteOnce"],
            "local": {"path": "/data"},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [term]}},
        },
        "status": {"phase": "Available"},
    }
    return from_dict(PersistentVolume, value)


def using(name: str, *claims: str, **spec: Any) -> Pod:
    volumes = [{"name": c, "persistentVolumeClaim": {"claimName": c}} for c in claims]
    return pod(name, volumes=volumes, **spec)


async def bind(api: FakeApi, name: str, to: str) -> None:
    """What the controller manager does."""
    found = await api.get(PersistentVolumeClaim, name, namespace="default")
    patch = {"metadata": {"annotations": {BIND_COMPLETED: "yes"}}, "spec": {"volumeName": to}}
    await api.patch(PersistentVolumeClaim, name, {**patch, "status": {"phase": "Bound"}}, namespace="default")
    assert found


REFUSALS = [
    ((), "db", 'persistentvolumeclaim "db" not found'),
    ((claim("db", "now"),), "db", "pod has unbound immediate PersistentVolumeClaims"),
    ((claim("db", "no-such-class"),), "db", "pod has unbound immediate PersistentVolumeClaims"),
]


@pytest.mark.parametrize(("objects", "name", "why"), REFUSALS)
async def test_what_no_node_can_help(
    api: FakeApi, scheduler: Scheduler, objects: tuple[Any, ...], name: str, why: str
) -> None:
    for obj in objects:
        api.add(obj)
    await api.create(using("web", name))
    await until(lambda: messages(api))
    helpless = (
        "no new claims to deallocate, preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling."
    )
    assert messages(api) == [f"Warning FailedScheduling: 0/3 nodes are available: {why}. {helpless}"]


async def test_a_bound_claim_wakes_its_pod_and_says_where_it_runs(api: FakeApi, scheduler: Scheduler) -> None:
    api.add(claim("db", "now"))
    api.add(volume("disk", "b"))
    await api.create(using("web", "db"))
    await until(lambda: messages(api))
    await bind(api, "db", "disk")
    await until(lambda: stored(api, "web").spec.node_name == "b")


async def test_a_volume_elsewhere_is_a_conflict(api: FakeApi, scheduler: Scheduler) -> None:
    api.add(volume("disk", "b"))
    api.add(claim("db", "static", volume="disk"))
    await api.create(using("web", "db", nodeSelector={"kubernetes.io/hostname": "a"}))
    await until(lambda: messages(api))
    assert (
        "1 node(s) didn't match PersistentVolume's node affinity, 2 node(s) didn't match Pod's node"
        in (messages(api)[0])
    )


async def test_existing_volumes_are_chosen_smallest_first_and_by_claim_ref(api: FakeApi, scheduler: Scheduler) -> None:
    api.add(volume("large", "c", size="9Gi"))
    api.add(volume("fitting", "c", size="2Gi"))
    api.add(volume("tiny", "a", size="1Mi"))
    api.add(claim("db", "static"))
    await api.create(using("web", "db"))

    def reserved() -> str:
        return next((v.metadata.name or "" for v in api.objects(PersistentVolume) if v.spec.claim_ref), "")

    await until(reserved)
    assert reserved() == "fitting"
    assert stored(api, "web").spec.node_name is None  # not before the claim is bound
    await bind(api, "db", "fitting")
    await until(lambda: stored(api, "web").spec.node_name == "c")


async def test_two_claims_of_a_pod_get_two_volumes_of_one_node(api: FakeApi, scheduler: Scheduler) -> None:
    for name, where in (("a1", "a"), ("b1", "b"), ("b2", "b"), ("c1", "c")):
        api.add(volume(name, where))
    api.add(claim("one", "static"))
    api.add(claim("two", "static"))
    await api.create(using("web", "one", "two"))

    def reserved() -> set[str]:
        return {v.metadata.name or "" for v in api.objects(PersistentVolume) if v.spec.claim_ref}

    await until(lambda: len(reserved()) == 2)
    assert reserved() == {"b1", "b2"}


async def test_none_to_be_had(api: FakeApi, scheduler: Scheduler) -> None:
    api.add(claim("db", "static"))
    await api.create(using("web", "db"))
    await until(lambda: messages(api))
    assert "3 node(s) didn't find available persistent volumes to bind" in messages(api)[0]
    api.add(volume("late", "a"))
    await until(lambda: any(v.spec.claim_ref for v in api.objects(PersistentVolume)))


async def test_a_volume_is_asked_for_on_the_chosen_node(api: FakeApi, scheduler: Scheduler) -> None:
    api.add(claim("db", "made"))
    await api.create(using("web", "db", nodeSelector={"kubernetes.io/hostname": "b"}))

    def selected() -> str:
        found = api.one(PersistentVolumeClaim, "db", "default")
        assert found is not None
        return (found.metadata.annotations or {}).get(SELECTED_NODE, "")

    await until(selected)
    assert selected() == "b"
    api.add(volume("new", "b", storage_class="made"))
    await bind(api, "db", "new")
    await until(lambda: stored(api, "web").spec.node_name == "b")


async def test_a_reset_node_lets_the_pod_go_elsewhere(api: FakeApi, scheduler: Scheduler) -> None:
    api.add(claim("db", "made"))
    await api.create(using("web", "db"))

    def selected() -> str:
        found = api.one(PersistentVolumeClaim, "db", "default")
        assert found is not None
        return (found.metadata.annotations or {}).get(SELECTED_NODE, "")

    await until(selected)
    reset = {"metadata": {"annotations": {SELECTED_NODE: None}}}
    await api.patch(PersistentVolumeClaim, "db", reset, namespace="default")
    await until(lambda: any("selectedNode annotation reset" in e.message for e in api.objects(Event) if e.message))
    await until(selected)


async def test_a_claim_for_one_pod_serves_one_pod(api: FakeApi, scheduler: Scheduler) -> None:
    api.add(volume("disk", "b"))
    api.add(claim("db", "static", volume="disk", accessModes=["ReadWriteOncePod"]))
    await api.create(using("one", "db"))
    await until(lambda: stored(api, "one").spec.node_name == "b")
    await api.create(using("two", "db"))
    why = "node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode"
    await until(lambda: any(f"3 {why}" in m for m in messages(api)))
    await api.delete(Pod, "one", namespace="default", grace_period_seconds=0)
    await until(lambda: stored(api, "two").spec.node_name == "b")


async def test_volumes_that_name_a_zone_by_labels_keep_their_pods_in_it(api: FakeApi, scheduler: Scheduler) -> None:
    zone = "topology.kubernetes.io/zone"
    for name, where in (("x", "east"), ("y", "west")):
        api.add(node(name, labels={zone: where}))
    for name in ("a", "b", "c"):  # without a zone they would be let pass
        await api.patch(Node, name, {"metadata": {"labels": {zone: "north"}}})
    disk = volume("disk", "x")
    disk.spec.node_affinity = None
    disk.metadata.labels = {"failure-domain.beta.kubernetes.io/zone": "west__south"}
    api.add(disk)
    api.add(claim("data", "static", volume="disk"))
    await api.create(using("web", "data"))
    await until(lambda: stored(api, "web").spec.node_name == "y")
    gone = volume("gone", "x")
    gone.spec.node_affinity = None
    gone.metadata.labels = {zone: "moon"}
    api.add(gone)
    api.add(claim("lost", "static", volume="gone"))
    await api.create(using("never", "lost"))
    await until(lambda: any("volume zone" in m for m in messages(api)))
    [said] = [m for m in messages(api) if "volume zone" in m]
    assert "0/5 nodes are available: 5 node(s) had no available volume zone. " in said
