"""ReplicaSets: counts, adoption, which pods go first, what people are told."""

from __future__ import annotations

from datetime import UTC, datetime

from api import errors
from api.types.apps_v1 import ReplicaSet
from api.types.core_v1 import ContainerStatus, Pod, ReplicationController, ReplicationControllerSpec
from api.types.meta_v1 import ObjectMeta
from client.fake import FakeApi
from controller_manager import pods
from controller_manager.workloads.replicaset import ReplicaSetController
from controller_manager.workloads.replicationcontroller import ReplicationControllerController
from tests.support.controllers import running
from tests.unit.controller_manager.builders import LABELS, pod, replica_set, run_pods, template


def status(api: FakeApi) -> tuple[int, int | None, int | None, int | None]:
    rs = api.one(ReplicaSet, "web", "default")
    assert rs is not None
    return rs.status.replicas, rs.status.ready_replicas, rs.status.available_replicas, rs.status.observed_generation


async def test_it_makes_the_pods_and_reports_them() -> None:
    api = FakeApi()
    async with running(api, ReplicaSetController) as harness:
        rs = await api.create(replica_set(replicas=20))
        await harness.settle()
        made = api.objects(Pod)
        assert len(made) == 20
        assert all((p.metadata.name or "").startswith("web-") and p.metadata.labels == LABELS for p in made)
        ref = (made[0].metadata.owner_references or [])[0]
        assert (ref.kind, ref.uid, ref.controller, ref.block_owner_deletion) == (
            "ReplicaSet",
            rs.metadata.uid,
            True,
            True,
        )
        assert status(api) == (20, None, None, 1)
        await run_pods(api)
        await harness.settle()
        assert status(api) == (20, 20, 20, 1)
        assert harness.events("SuccessfulCreate")[0] == f"SuccessfulCreate: Created pod: {made[0].metadata.name}"
        creates = [a for a in api.writes("pods") if a.verb == "create"]
        assert len(creates) == 20


async def test_it_scales_down_and_replaces_deleted_and_failed_pods() -> None:
    api = FakeApi(replica_set(replicas=3))
    async with running(api, ReplicaSetController) as harness:
        await run_pods(api)
        victim = api.objects(Pod)[0].metadata.name or ""
        await api.delete(Pod, victim, namespace="default", grace_period_seconds=0)
        await harness.settle()
        assert len(api.objects(Pod)) == 3 and api.one(Pod, victim, "default") is None
        failed = api.objects(Pod)[0]
        failed.status.phase = "Failed"
        await api.update_status(failed)
        await harness.settle()
        assert len([p for p in api.objects(Pod) if pods.is_active(p)]) == 3
        await api.patch(ReplicaSet, "web", {"spec": {"replicas": 1}}, namespace="default")
        await harness.settle()
        assert len([p for p in api.objects(Pod) if pods.is_active(p)]) == 1
        assert len(harness.events("SuccessfulDelete")) == 2


async def test_a_terminating_pod_is_replaced_before_it_is_gone() -> None:
    api = FakeApi(replica_set(replicas=1))
    async with running(api, ReplicaSetController) as harness:
        await run_pods(api)
        await harness.settle()
        await api.delete(Pod, api.objects(Pod)[0].metadata.name or "", namespace="default")
        await harness.settle()
        assert len(api.objects(Pod)) == 2
        rs = api.one(ReplicaSet, "web", "default")
        assert rs is not None and (rs.status.replicas, rs.status.terminating_replicas) == (1, 1)


async def test_it_adopts_matching_orphans_and_releases_those_that_stop_matching() -> None:
    api = FakeApi(pod("orphan"), replica_set(replicas=1))
    async with running(api, ReplicaSetController) as harness:
        [adopted] = api.objects(Pod)
        assert (adopted.metadata.owner_references or [])[0].name == "web"
        await api.patch(Pod, "orphan", {"metadata": {"labels": {"app": "other"}}}, namespace="default")
        await harness.settle()
        released = api.one(Pod, "orphan", "default")
        assert released is not None and not released.metadata.owner_references
        assert len(api.objects(Pod)) == 2


async def test_it_adopts_nothing_that_another_controls_or_that_is_going() -> None:
    other = replica_set("other")
    other.metadata.uid = "other-uid"
    going = pod("going", finalizers=["x/y"], deletion_timestamp="2026-01-01T00:00:00Z")
    api = FakeApi(pod("theirs", other), going, replica_set(replicas=1))
    async with running(api, ReplicaSetController):
        assert len(api.objects(Pod)) == 3
        theirs = api.one(Pod, "theirs", "default")
        assert theirs is not None and (theirs.metadata.owner_references or [])[0].uid == "other-uid"


async def test_a_deleted_set_adopts_and_creates_nothing() -> None:
    rs = replica_set(replicas=2)
    rs.metadata.deletion_timestamp, rs.metadata.finalizers = "2026-01-01T00:00:00Z", ["foregroundDeletion"]
    api = FakeApi(pod("orphan"), rs)
    async with running(api, ReplicaSetController):
        [orphan] = api.objects(Pod)
        assert not orphan.metadata.owner_references


async def test_a_refusal_is_a_condition_and_an_event_and_only_one_pod_is_asked_for_at_a_time() -> None:
    api = FakeApi()
    tried = 0

    def refuse(_: object) -> None:
        nonlocal tried
        tried += 1
        if tried <= 3:
            raise errors.forbidden("pods", "web-x", "exceeded quota: q")

    api.on("create", "pods", refuse)
    seen: list[str] = []
    api.on("update", "replicasets", lambda a: seen.append(a.subresource))
    async with running(api, ReplicaSetController) as harness:
        await api.create(replica_set(replicas=10))
        await harness.settle()
        message = 'pods "web-x" is forbidden: exceeded quota: q'
        assert harness.events("FailedCreate") == [f"FailedCreate: Error creating: {message}"]
        rs = api.one(ReplicaSet, "web", "default")
        assert rs is not None and rs.status.conditions is None
        assert len(api.objects(Pod)) == 10
        assert tried == 3 + 10


async def test_min_ready_seconds_delays_availability() -> None:
    api = FakeApi(replica_set(replicas=1, min_ready_seconds=3600))
    async with running(api, ReplicaSetController) as harness:
        await run_pods(api)
        await harness.settle()
        assert status(api) == (1, 1, None, 1)


async def test_replication_controllers_follow_the_same_rules() -> None:
    rc = ReplicationController(
        metadata=ObjectMeta(name="web", namespace="default"),
        spec=ReplicationControllerSpec(replicas=2, selector=dict(LABELS), template=template()),
    )
    api = FakeApi(rc)
    async with running(api, ReplicationControllerController) as harness:
        await run_pods(api)
        await harness.settle()
        found = api.one(ReplicationController, "web", "default")
        assert found is not None and found.status.ready_replicas == 2
        assert (api.objects(Pod)[0].metadata.owner_references or [])[0].kind == "ReplicationController"


def names(found: list[Pod]) -> list[str]:
    return [p.metadata.name or "" for p in found]


def test_which_pods_go_first() -> None:
    restarted = pod("restarted", node="n2")
    restarted.status.container_statuses = [ContainerStatus(name="c", restart_count=3)]
    everyone = [
        pod("old", node="n3", ready_for=100_000),
        pod("young", node="n4", ready_for=10),
        restarted,
        pod("crowded-1", node="n1"),
        pod("crowded-2", node="n1"),
        pod("cheap", node="n5", annotations={pods.DELETION_COST: "-1"}),
        pod("not-ready", node="n6", ready=False),
        pod("pending", node="n7", phase="Pending", ready=False),
        pod("unassigned", node=None, phase="Pending", ready=False),
    ]
    for position, one in enumerate(everyone):
        one.metadata.uid = str(position)
    order = names(pods.first_to_delete(everyone, everyone, datetime.now(UTC)))
    assert order[:4] == ["unassigned", "pending", "not-ready", "cheap"]
    assert order[4:6] == ["crowded-1", "crowded-2"]
    assert order[6:] == ["young", "restarted", "old"]
