"""StatefulSets: order, names, storage, revisions."""

from __future__ import annotations

from typing import Any

from api.types.apps_v1 import (
    ControllerRevision,
    RollingUpdateStatefulSetStrategy,
    StatefulSet,
    StatefulSetOrdinals,
    StatefulSetPersistentVolumeClaimRetentionPolicy,
    StatefulSetSpec,
    StatefulSetUpdateStrategy,
)
from api.types.core_v1 import PersistentVolumeClaim, Pod
from api.types.meta_v1 import LabelSelector, ObjectMeta
from client.fake import FakeApi
from controller_manager import pods
from controller_manager.garbage_collector import GarbageCollector
from controller_manager.workloads.statefulset import StatefulSetController
from tests.support.controllers import Harness, running
from tests.unit.controller_manager.builders import LABELS, ready_condition, run_pods, template


def stateful_set(replicas: int = 3, **spec: Any) -> StatefulSet:
    spec.setdefault(
        "update_strategy",
        StatefulSetUpdateStrategy(type="RollingUpdate", rolling_update=RollingUpdateStatefulSetStrategy(partition=0)),
    )
    spec.setdefault("pod_management_policy", "OrderedReady")
    return StatefulSet(
        metadata=ObjectMeta(name="db", namespace="default"),
        spec=StatefulSetSpec(
            replicas=replicas,
            selector=LabelSelector(match_labels=dict(LABELS)),
            service_name="db",
            template=template(),
            **spec,
        ),
    )


def claim() -> PersistentVolumeClaim:
    return PersistentVolumeClaim(metadata=ObjectMeta(name="data"))


def names(api: FakeApi, kind: Any = Pod) -> list[str]:
    return sorted(o.metadata.name for o in api.objects(kind))


def images(api: FakeApi) -> dict[str, str | None]:
    return {p.metadata.name or "": p.spec.containers[0].image for p in api.objects(Pod)}


def status(api: FakeApi) -> Any:
    found = api.one(StatefulSet, "db", "default")
    assert found is not None
    return found.status


async def to_the_end(api: FakeApi, harness: Harness) -> None:
    await harness.settle()
    while await run_pods(api):
        await harness.settle()


async def set_image(api: FakeApi, image: str) -> None:
    change = {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": image}]}}}}
    await api.patch(StatefulSet, "db", change, namespace="default")


async def test_pods_come_one_after_the_other_with_names_and_storage() -> None:
    api = FakeApi(stateful_set(volume_claim_templates=[claim()]))
    async with running(api, StatefulSetController) as harness:
        for count in (1, 2, 3):
            assert names(api) == [f"db-{n}" for n in range(count)]
            await run_pods(api)
            await harness.settle()
        pod = api.one(Pod, "db-1", "default")
        assert pod is not None
        assert (pod.spec.hostname, pod.spec.subdomain) == ("db-1", "db")
        labels = pod.metadata.labels or {}
        assert labels["statefulset.kubernetes.io/pod-name"] == "db-1"
        assert labels["apps.kubernetes.io/pod-index"] == "1"
        assert labels["controller-revision-hash"] == status(api).update_revision
        source = (pod.spec.volumes or [])[0].persistent_volume_claim
        assert source is not None and source.claim_name == "data-db-1"
        assert names(api, PersistentVolumeClaim) == ["data-db-0", "data-db-1", "data-db-2"]
        found = status(api)
        assert (found.replicas, found.ready_replicas, found.available_replicas, found.updated_replicas) == (3,) * 4
        assert found.current_revision == found.update_revision
        assert "SuccessfulCreate: create Pod db-0 in StatefulSet db successful" in harness.events()
        message = "SuccessfulCreate: create Claim data-db-0 Pod db-0 in StatefulSet db success"
        assert message in harness.events()


async def test_parallel_does_not_wait() -> None:
    api = FakeApi(stateful_set(pod_management_policy="Parallel"))
    async with running(api, StatefulSetController) as harness:
        assert names(api) == ["db-0", "db-1", "db-2"]
        await run_pods(api)
        await api.patch(StatefulSet, "db", {"spec": {"replicas": 0}}, namespace="default")
        await harness.settle()
        assert all(p.metadata.deletion_timestamp for p in api.objects(Pod))


async def test_scaling_down_starts_at_the_top_and_keeps_claims() -> None:
    api = FakeApi(stateful_set(volume_claim_templates=[claim()]))
    async with running(api, StatefulSetController) as harness:
        await to_the_end(api, harness)
        await api.patch(StatefulSet, "db", {"spec": {"replicas": 1}}, namespace="default")
        await harness.settle()
        assert [p.metadata.name for p in api.objects(Pod) if p.metadata.deletion_timestamp] == ["db-2"]
        await to_the_end(api, harness)
        assert names(api) == ["db-0"]
        assert len(api.objects(PersistentVolumeClaim)) == 3


async def test_a_pod_is_made_anew_under_its_name_only_when_the_old_one_is_gone() -> None:
    api = FakeApi(stateful_set(1))
    async with running(api, StatefulSetController) as harness:
        await to_the_end(api, harness)
        first = api.objects(Pod)[0].metadata.uid
        await api.delete(Pod, "db-0", namespace="default")
        await harness.settle()
        assert [p.metadata.uid for p in api.objects(Pod)] == [first]
        await to_the_end(api, harness)
        assert names(api) == ["db-0"] and api.objects(Pod)[0].metadata.uid != first


async def test_nothing_is_made_on_top_of_a_pod_whose_deletion_the_cache_does_not_know_yet() -> None:
    api = FakeApi(stateful_set(1))
    async with running(api, StatefulSetController) as harness:
        await to_the_end(api, harness)
        informer: Any = harness.context.informers.informer(Pod)
        apply, held = informer._apply, []
        informer._apply = held.append
        for replicas in (0, 2):
            await api.patch(StatefulSet, "db", {"spec": {"replicas": replicas}}, namespace="default")
            await harness.settle()
        assert names(api) == ["db-0"] and api.objects(Pod)[0].metadata.deletion_timestamp
        informer._apply = apply
        for event in held:
            apply(event)
        await api.delete(Pod, "db-0", namespace="default", grace_period_seconds=0)
        await to_the_end(api, harness)
        assert names(api) == ["db-0", "db-1"]


async def test_a_failed_pod_is_replaced() -> None:
    api = FakeApi(stateful_set(1))
    async with running(api, StatefulSetController) as harness:
        await to_the_end(api, harness)
        pod = api.objects(Pod)[0]
        pod.status.phase = "Failed"
        await api.update_status(pod)
        await to_the_end(api, harness)
        assert [p.status.phase for p in api.objects(Pod)] == ["Running"]
        message = "RecreatingFailedPod: StatefulSet default/db is recreating failed Pod db-0"
        assert message in harness.events()


async def test_an_update_goes_from_the_highest_one_at_a_time() -> None:
    api = FakeApi(stateful_set())
    async with running(api, StatefulSetController) as harness:
        await to_the_end(api, harness)
        await set_image(api, "web:2")
        await harness.settle()
        assert [p.metadata.name for p in api.objects(Pod) if p.metadata.deletion_timestamp] == ["db-2"]
        await run_pods(api)
        await harness.settle()
        assert images(api) == {"db-0": "web:1", "db-1": "web:1", "db-2": "web:2"}
        assert not any(p.metadata.deletion_timestamp for p in api.objects(Pod))
        await to_the_end(api, harness)
        assert set(images(api).values()) == {"web:2"}
        found = status(api)
        assert found.current_revision == found.update_revision and found.current_replicas == 3
        assert len(api.objects(ControllerRevision)) == 2


async def test_a_partition_holds_an_update_back_even_for_new_pods() -> None:
    strategy = StatefulSetUpdateStrategy(
        type="RollingUpdate", rolling_update=RollingUpdateStatefulSetStrategy(partition=2)
    )
    api = FakeApi(stateful_set(update_strategy=strategy))
    async with running(api, StatefulSetController) as harness:
        await to_the_end(api, harness)
        await set_image(api, "web:2")
        await to_the_end(api, harness)
        assert images(api) == {"db-0": "web:1", "db-1": "web:1", "db-2": "web:2"}
        assert status(api).current_revision != status(api).update_revision
        await api.delete(Pod, "db-0", namespace="default", grace_period_seconds=0)
        await to_the_end(api, harness)
        assert images(api)["db-0"] == "web:1"


async def test_max_unavailable_updates_several_at_once() -> None:
    rolling = RollingUpdateStatefulSetStrategy(partition=0, max_unavailable=2)
    strategy = StatefulSetUpdateStrategy(type="RollingUpdate", rolling_update=rolling)
    api = FakeApi(stateful_set(4, update_strategy=strategy, pod_management_policy="Parallel"))
    async with running(api, StatefulSetController) as harness:
        await to_the_end(api, harness)
        await set_image(api, "web:2")
        await harness.settle()
        going = sorted(p.metadata.name or "" for p in api.objects(Pod) if p.metadata.deletion_timestamp)
        assert going == ["db-2", "db-3"]


async def test_on_delete_leaves_it_to_the_user() -> None:
    api = FakeApi(stateful_set(2, update_strategy=StatefulSetUpdateStrategy(type="OnDelete")))
    async with running(api, StatefulSetController) as harness:
        await to_the_end(api, harness)
        await set_image(api, "web:2")
        await to_the_end(api, harness)
        assert set(images(api).values()) == {"web:1"}
        await api.delete(Pod, "db-0", namespace="default", grace_period_seconds=0)
        await to_the_end(api, harness)
        assert images(api) == {"db-0": "web:2", "db-1": "web:1"}


async def test_going_back_renumbers_the_old_revision() -> None:
    api = FakeApi(stateful_set(1))
    async with running(api, StatefulSetController) as harness:
        await to_the_end(api, harness)
        for image in ("web:2", "web:1"):
            await set_image(api, image)
            await to_the_end(api, harness)
        assert sorted(r.revision for r in api.objects(ControllerRevision)) == [2, 3]
        assert images(api) == {"db-0": "web:1"}


async def test_history_is_bounded() -> None:
    api = FakeApi(stateful_set(1, revision_history_limit=1))
    async with running(api, StatefulSetController) as harness:
        for number in range(5):
            await set_image(api, f"web:{number}")
            await to_the_end(api, harness)
        assert len(api.objects(ControllerRevision)) == 2


async def test_ordinals_may_start_anywhere() -> None:
    api = FakeApi(stateful_set(2, ordinals=StatefulSetOrdinals(start=5)))
    async with running(api, StatefulSetController) as harness:
        await to_the_end(api, harness)
        assert names(api) == ["db-5", "db-6"]


async def test_an_unready_pod_stops_the_line() -> None:
    api = FakeApi(stateful_set(2))
    async with running(api, StatefulSetController) as harness:
        await run_pods(api, ready=False)
        await harness.settle()
        assert names(api) == ["db-0"]
        pod = api.objects(Pod)[0]
        pod.status.conditions = [ready_condition(True)]
        await api.update_status(pod)
        await harness.settle()
        assert names(api) == ["db-0", "db-1"]


async def test_claims_go_with_what_the_retention_policy_ties_them_to() -> None:
    policy = StatefulSetPersistentVolumeClaimRetentionPolicy(when_deleted="Delete", when_scaled="Delete")
    wanted = stateful_set(2, volume_claim_templates=[claim()], persistent_volume_claim_retention_policy=policy)
    api = FakeApi(wanted)
    async with running(api, StatefulSetController, GarbageCollector) as harness:
        await to_the_end(api, harness)
        await api.patch(StatefulSet, "db", {"spec": {"replicas": 1}}, namespace="default")
        await to_the_end(api, harness)
        assert names(api, PersistentVolumeClaim) == ["data-db-0"]
        await api.delete(StatefulSet, "db", namespace="default", propagation="Background")
        await harness.settle()
        await run_pods(api)
        await harness.settle()
        assert names(api, PersistentVolumeClaim) == []
        assert not any(pods.is_active(p) for p in api.objects(Pod))
