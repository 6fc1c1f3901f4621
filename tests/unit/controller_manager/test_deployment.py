"""Deployments: rolling updates within their limits, proportions, history, deadlines, and upstream's words."""

from __future__ import annotations

from typing import Any

from api import errors, names
from api.types.apps_v1 import Deployment, DeploymentStrategy, ReplicaSet
from api.types.core_v1 import Pod
from client.fake import FakeApi
from controller_manager import conditions, pods
from controller_manager.workloads import deployment_facts as facts
from controller_manager.workloads.deployment import DeploymentController
from controller_manager.workloads.replicaset import ReplicaSetController
from tests.support.controllers import Harness, running
from tests.unit.controller_manager.builders import deployment, pod, ready_condition, run_pods, template

BOTH = (DeploymentController, ReplicaSetController)


def web(api: FakeApi) -> Deployment:
    d = api.one(Deployment, "web", "default")
    assert d is not None
    return d


def condition(api: FakeApi, type: str = "Progressing") -> tuple[str, str | None, str | None]:
    found = conditions.find(web(api).status.conditions, type)
    assert found is not None
    return found.status, found.reason, found.message


def sizes(api: FakeApi) -> dict[str, int]:
    return {rs.spec.template.spec.containers[0].image or "": facts.replicas(rs) for rs in api.objects(ReplicaSet)}


async def roll_to_the_end(api: FakeApi, harness: Harness) -> None:
    await harness.settle()
    while await run_pods(api):
        await harness.settle()


async def set_image(api: FakeApi, image: str) -> None:
    change = {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": image}]}}}}
    await api.patch(Deployment, "web", change, namespace="default")


async def test_it_makes_a_replica_set_and_becomes_available() -> None:
    api = FakeApi()
    async with running(api, *BOTH) as harness:
        d = await api.create(deployment())
        await harness.settle()
        [rs] = api.objects(ReplicaSet)
        hashed = (rs.metadata.labels or {})[facts.HASH_LABEL]
        assert rs.metadata.name == f"web-{hashed}"
        assert (rs.spec.selector.match_labels or {})[facts.HASH_LABEL] == hashed
        assert (rs.spec.template.metadata.labels or {})[facts.HASH_LABEL] == hashed
        assert (rs.metadata.owner_references or [])[0].uid == d.metadata.uid
        assert rs.metadata.annotations == {
            facts.REVISION: "1",
            facts.DESIRED_REPLICAS: "3",
            facts.MAX_REPLICAS: "4",
        }
        assert (web(api).metadata.annotations or {})[facts.REVISION] == "1"
        assert condition(api, "Available")[:2] == ("False", "MinimumReplicasUnavailable")
        assert condition(api) == ("True", "ReplicaSetUpdated", f'ReplicaSet "{rs.metadata.name}" is progressing.')
        assert harness.events("ScalingReplicaSet") == [
            f"ScalingReplicaSet: Scaled up replica set {rs.metadata.name} from 0 to 3"
        ]
        await run_pods(api)
        await harness.settle()
        status = web(api).status
        assert (status.replicas, status.updated_replicas, status.ready_replicas, status.available_replicas) == (3,) * 4
        assert status.unavailable_replicas is None and status.observed_generation == 1
        assert condition(api, "Available")[:2] == ("True", "MinimumReplicasAvailable")
        assert condition(api)[1:] == (
            "NewReplicaSetAvailable",
            f'ReplicaSet "{rs.metadata.name}" has successfully progressed.',
        )


async def test_a_rolling_update_stays_within_surge_and_unavailability() -> None:
    api = FakeApi(deployment(replicas=10, surge=3, unavailable=2))
    async with running(api, *BOTH) as harness:
        await roll_to_the_end(api, harness)
        await set_image(api, "web:2")
        most, least = 0, 10
        steps = 0
        while True:
            await harness.settle()
            everyone = [p for p in api.objects(Pod) if pods.is_active(p)]
            most = max(most, len(everyone))
            least = min(least, sum(1 for p in everyone if pods.is_ready(p)))
            if not await run_pods(api):
                break
            steps += 1
        assert most <= 13 and least >= 8 and steps > 1
        assert sizes(api) == {"web:1": 0, "web:2": 10}
        assert (web(api).metadata.annotations or {})[facts.REVISION] == "2"


async def test_recreate_waits_for_the_old_pods_to_be_gone() -> None:
    api = FakeApi(deployment(strategy=DeploymentStrategy(type="Recreate")))
    async with running(api, *BOTH) as harness:
        await roll_to_the_end(api, harness)
        await set_image(api, "web:2")
        await harness.settle()
        assert sizes(api) == {"web:1": 0}
        assert all(p.metadata.deletion_timestamp for p in api.objects(Pod))
        await run_pods(api)
        await harness.settle()
        assert sizes(api) == {"web:1": 0, "web:2": 3}
        await roll_to_the_end(api, harness)
        assert condition(api)[1] == "NewReplicaSetAvailable"


async def test_going_back_reuses_the_replica_set_under_a_new_revision() -> None:
    api = FakeApi(deployment())
    async with running(api, *BOTH) as harness:
        await roll_to_the_end(api, harness)
        await set_image(api, "web:2")
        await roll_to_the_end(api, harness)
        await set_image(api, "web:1")
        await roll_to_the_end(api, harness)
        first, second = sorted(api.objects(ReplicaSet), key=lambda rs: rs.spec.template.spec.containers[0].image or "")
        assert (facts.replicas(first), facts.revision(first)) == (3, 3)
        assert (first.metadata.annotations or {})[facts.REVISION_HISTORY] == "1"
        assert (facts.replicas(second), facts.revision(second)) == (0, 2)
        assert (web(api).metadata.annotations or {})[facts.REVISION] == "3"


async def test_history_beyond_the_limit_is_deleted() -> None:
    api = FakeApi(deployment(revision_history_limit=1))
    async with running(api, *BOTH) as harness:
        for number in range(1, 5):
            await set_image(api, f"web:{number}")
            await roll_to_the_end(api, harness)
        assert sizes(api) == {"web:3": 0, "web:4": 3}


async def test_annotations_are_copied_but_for_those_of_tools_and_sizes() -> None:
    d = deployment()
    d.metadata.annotations = {"kubernetes.io/change-cause": "first", facts.LAST_APPLIED: "{}"}
    api = FakeApi(d)
    async with running(api, *BOTH) as harness:
        [rs] = api.objects(ReplicaSet)
        assert (rs.metadata.annotations or {})["kubernetes.io/change-cause"] == "first"
        assert facts.LAST_APPLIED not in (rs.metadata.annotations or {})
        await api.patch(Deployment, "web", {"metadata": {"annotations": {"note": "x"}}}, namespace="default")
        await harness.settle()
        [rs] = api.objects(ReplicaSet)
        assert (rs.metadata.annotations or {})["note"] == "x"


async def test_a_paused_deployment_is_scaled_but_not_rolled_out() -> None:
    api = FakeApi(deployment())
    async with running(api, *BOTH) as harness:
        await roll_to_the_end(api, harness)
        await api.patch(Deployment, "web", {"spec": {"paused": True, "replicas": 5}}, namespace="default")
        await set_image(api, "web:2")
        await harness.settle()
        assert sizes(api) == {"web:1": 5}
        assert condition(api) == ("Unknown", "DeploymentPaused", "Deployment is paused")
        await api.patch(Deployment, "web", {"spec": {"paused": False}}, namespace="default")
        await roll_to_the_end(api, harness)
        assert sizes(api) == {"web:1": 0, "web:2": 5}


async def test_scaling_in_mid_rollout_keeps_proportions() -> None:
    api = FakeApi(deployment(replicas=10, surge=3, unavailable=2))
    async with running(api, *BOTH) as harness:
        await roll_to_the_end(api, harness)
        await set_image(api, "broken")
        await harness.settle()
        # the example of the documentation: 8 old, 5 new; to 15 replicas gives 11 and 7
        assert sizes(api) == {"web:1": 8, "broken": 5}
        await api.patch(Deployment, "web", {"spec": {"replicas": 15}}, namespace="default")
        await harness.settle()
        assert sizes(api) == {"web:1": 11, "broken": 7}


async def test_a_rollout_that_does_not_progress_in_time_is_late() -> None:
    api = FakeApi(deployment(progress_deadline_seconds=1))
    async with running(api, *BOTH) as harness:
        [rs] = api.objects(ReplicaSet)
        d = web(api)
        old: Any = conditions.find(d.status.conditions, "Progressing")
        old.last_update_time = "2026-01-01T00:00:00Z"
        await api.update_status(d)
        await harness.settle()
        assert condition(api) == (
            "False",
            "ProgressDeadlineExceeded",
            f'ReplicaSet "{rs.metadata.name}" has timed out progressing.',
        )
        await run_pods(api)
        await harness.settle()
        assert condition(api)[:2] == ("True", "NewReplicaSetAvailable")


async def test_a_finished_rollout_does_not_become_late_when_pods_fail() -> None:
    api = FakeApi(deployment(progress_deadline_seconds=1))
    async with running(api, *BOTH) as harness:
        await roll_to_the_end(api, harness)
        broken = api.objects(Pod)[0]
        broken.status.conditions = [ready_condition(False)]
        await api.update_status(broken)
        await harness.settle()
        assert condition(api)[1] == "NewReplicaSetAvailable"
        assert web(api).status.unavailable_replicas == 1


async def test_unhealthy_old_pods_go_first() -> None:
    api = FakeApi(deployment(replicas=4, surge=0, unavailable=1))
    async with running(api, *BOTH) as harness:
        await roll_to_the_end(api, harness)
        for broken in api.objects(Pod)[:1]:
            broken.status.conditions = [ready_condition(False)]
            await api.update_status(broken)
        await harness.settle()
        await set_image(api, "web:2")
        await harness.settle()
        ready = [p for p in api.objects(Pod) if pods.is_active(p) and pods.is_ready(p)]
        assert len(ready) == 3
        assert sizes(api) == {"web:1": 3, "web:2": 1}


async def test_a_name_collision_makes_another_hash() -> None:
    d = deployment()
    taken = names.pod_template_hash(d.spec.template, None)
    other = ReplicaSet()
    other.metadata.name, other.metadata.namespace = f"web-{taken}", "default"
    other.spec.selector.match_labels = {"app": "other"}
    other.spec.template = template("other:1", {"app": "other"})
    other.spec.replicas = 0
    api = FakeApi(other, d)
    async with running(api, *BOTH):
        assert web(api).status.collision_count == 1
        [mine] = [rs for rs in api.objects(ReplicaSet) if rs.metadata.owner_references]
        assert mine.metadata.name == f"web-{names.pod_template_hash(d.spec.template, 1)}"


async def test_a_refused_replica_set_is_a_condition_and_an_event() -> None:
    api = FakeApi()
    refusals = 1

    def refuse(_: object) -> None:
        nonlocal refusals
        if refusals:
            refusals -= 1
            raise errors.forbidden("replicasets.apps", "x", "no")

    api.on("create", "replicasets", refuse)
    async with running(api, *BOTH) as harness:
        await api.create(deployment())
        await harness.settle()
        [event] = harness.events("ReplicaSetCreateError")
        assert "Failed to create new replica set" in event and "is forbidden: no" in event
        assert condition(api)[:2] == ("True", "ReplicaSetUpdated")


async def test_replica_failures_show_in_the_deployment() -> None:
    api = FakeApi(deployment())
    async with running(api, DeploymentController) as harness:
        [rs] = api.objects(ReplicaSet)
        from api.types.apps_v1 import ReplicaSetCondition

        rs.status.conditions = [
            ReplicaSetCondition(type="ReplicaFailure", status="True", reason="FailedCreate", message="quota")
        ]
        await api.update_status(rs)
        await harness.settle()
        assert condition(api, "ReplicaFailure") == ("True", "FailedCreate", "quota")


async def test_an_empty_selector_does_nothing_but_warn() -> None:
    d = deployment()
    d.spec.selector.match_labels = None
    api = FakeApi(d)
    async with running(api, *BOTH) as harness:
        assert api.objects(ReplicaSet) == []
        assert harness.events() == [
            "SelectingAll: This deployment is selecting all pods. A non-empty selector is required."
        ]


async def test_orphaned_replica_sets_are_adopted() -> None:
    api = FakeApi(deployment())
    async with running(api, *BOTH) as harness:
        [rs] = api.objects(ReplicaSet)
        rs.metadata.owner_references = None
        await api.update(rs)
        await harness.settle()
        [rs] = api.objects(ReplicaSet)
        assert (rs.metadata.owner_references or [])[0].name == "web"


async def test_a_settled_deployment_is_left_alone() -> None:
    api = FakeApi(deployment())
    async with running(api, *BOTH) as harness:
        await roll_to_the_end(api, harness)
        revision = api.fake.revision
        for controller in harness.controllers:
            controller.controller.enqueue(("default", "web"))
        await harness.settle()
        assert api.fake.revision == revision
        api.add(pod("stranger", labels={"app": "stranger"}))
        await harness.settle()
        assert api.fake.revision == revision + 1


def test_limits_are_never_both_zero() -> None:
    assert facts.fenceposts(deployment(replicas=1, surge="0%", unavailable="25%")) == (0, 1)
    assert facts.fenceposts(deployment(replicas=10, surge="25%", unavailable="25%")) == (3, 2)


def test_the_history_of_revisions_is_bounded() -> None:
    text = ""
    for number in range(1000):
        text = facts._with_history(text, str(number))
    assert len(text) <= 2000 and text.endswith(",999")
