"""DaemonSets: one on each node that matches, updates within their limits."""

from __future__ import annotations

from typing import Any

from api.types.apps_v1 import (
    ControllerRevision,
    DaemonSet,
    DaemonSetSpec,
    DaemonSetUpdateStrategy,
    RollingUpdateDaemonSet,
)
from api.types.core_v1 import Node, NodeCondition, NodeSpec, NodeStatus, Pod, Taint, Toleration
from api.types.meta_v1 import LabelSelector, ObjectMeta
from client.fake import FakeApi
from controller_manager.workloads.daemonset import DaemonSetController
from controller_manager.workloads.daemonset_pods import node_of
from tests.support.controllers import Harness, running
from tests.unit.controller_manager.builders import LABELS, pod, ready_condition, template


def node(name: str, labels: dict[str, str] | None = None, taints: list[Taint] | None = None) -> Node:
    ready = NodeCondition(type="Ready", status="True")
    return Node(
        metadata=ObjectMeta(name=name, labels=labels),
        spec=NodeSpec(taints=taints),
        status=NodeStatus(conditions=[ready]),
    )


def daemon_set(surge: Any = 0, unavailable: Any = 1, **spec: Any) -> DaemonSet:
    rolling = RollingUpdateDaemonSet(max_surge=surge, max_unavailable=unavailable)
    spec.setdefault("update_strategy", DaemonSetUpdateStrategy(type="RollingUpdate", rolling_update=rolling))
    return DaemonSet(
        metadata=ObjectMeta(name="agent", namespace="default"),
        spec=DaemonSetSpec(selector=LabelSelector(match_labels=dict(LABELS)), template=template(), **spec),
    )


async def schedule(api: FakeApi) -> int:
    """What scheduler and kubelets do for daemon pods."""
    changed = 0
    for one in api.objects(Pod):
        name = one.metadata.name or ""
        if one.metadata.deletion_timestamp:
            await api.delete(Pod, name, namespace="default", grace_period_seconds=0)
            changed += 1
        elif one.status.phase != "Running":
            one.spec.node_name = node_of(one)
            one = await api.update(one)
            one.status.phase, one.status.conditions = "Running", [ready_condition(True, 0)]
            await api.update_status(one)
            changed += 1
    return changed


async def to_the_end(api: FakeApi, harness: Harness) -> None:
    await harness.settle()
    while await schedule(api):
        await harness.settle()


def places(api: FakeApi) -> list[str]:
    return sorted(node_of(p) or "" for p in api.objects(Pod) if not p.metadata.deletion_timestamp)


def status(api: FakeApi) -> Any:
    found = api.one(DaemonSet, "agent", "default")
    assert found is not None
    return found.status


async def set_image(api: FakeApi, image: str) -> None:
    change = {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": image}]}}}}
    await api.patch(DaemonSet, "agent", change, namespace="default")


async def test_every_node_has_one_also_those_that_come_later() -> None:
    api = FakeApi(node("a"), node("b"), daemon_set())
    async with running(api, DaemonSetController) as harness:
        assert places(api) == ["a", "b"]
        made = api.objects(Pod)[0]
        assert made.spec.node_name is None
        tolerated = {(t.key, t.effect) for t in made.spec.tolerations or ()}
        assert ("node.kubernetes.io/unschedulable", "NoSchedule") in tolerated
        assert ("node.kubernetes.io/not-ready", "NoExecute") in tolerated
        assert ("node.kubernetes.io/network-unavailable", "NoSchedule") not in tolerated
        await api.create(node("c"))
        await to_the_end(api, harness)
        assert places(api) == ["a", "b", "c"]
        found = status(api)
        assert (found.desired_number_scheduled, found.current_number_scheduled, found.number_ready) == (3, 3, 3)
        assert (found.number_available, found.updated_number_scheduled, found.number_unavailable) == (3, 3, None)


async def test_selectors_and_taints_decide_where() -> None:
    tainted = [Taint(key="dedicated", effect="NoSchedule")]
    owner = daemon_set()
    owner.spec.template.spec.node_selector = {"disk": "ssd"}
    api = FakeApi(node("a", {"disk": "ssd"}), node("b"), node("c", {"disk": "ssd"}, tainted), owner)
    async with running(api, DaemonSetController) as harness:
        await to_the_end(api, harness)
        assert places(api) == ["a"]
        change = {"spec": {"template": {"spec": {"tolerations": [{"key": "dedicated", "operator": "Exists"}]}}}}
        await api.patch(DaemonSet, "agent", change, namespace="default")
        await to_the_end(api, harness)
        assert places(api) == ["a", "c"]
        await api.patch(Node, "a", {"metadata": {"labels": {"disk": "hdd"}}})
        await to_the_end(api, harness)
        assert places(api) == ["c"]


async def test_a_no_schedule_taint_lets_running_pods_stay_and_no_execute_does_not() -> None:
    api = FakeApi(node("a"), daemon_set())
    async with running(api, DaemonSetController) as harness:
        await to_the_end(api, harness)
        await api.patch(Node, "a", {"spec": {"taints": [{"key": "k", "effect": "NoSchedule"}]}})
        await harness.settle()
        assert places(api) == ["a"] and status(api).number_misscheduled == 1
        await api.patch(Node, "a", {"spec": {"taints": [{"key": "k", "effect": "NoExecute"}]}})
        await harness.settle()
        assert places(api) == []


async def test_surplus_and_failed_pods_are_deleted() -> None:
    owner = daemon_set()
    owner.metadata.uid = "ds"
    extra = pod("extra", owner, node="a", creation_timestamp="2026-01-02T00:00:00Z")
    first = pod("first", owner, node="a", creation_timestamp="2026-01-01T00:00:00Z")
    api = FakeApi(node("a"), owner, extra, first)
    async with running(api, DaemonSetController) as harness:
        going = [p.metadata.name for p in api.objects(Pod) if p.metadata.deletion_timestamp]
        assert "extra" in going
        await to_the_end(api, harness)
        [left] = api.objects(Pod)
        left.status.phase = "Failed"
        await api.update_status(left)
        await harness.settle()
        [event] = harness.events("FailedDaemonPod")
        assert event.endswith("on node a, will try to kill it")


async def test_a_rolling_update_takes_down_max_unavailable_nodes_at_a_time() -> None:
    api = FakeApi(*(node(f"n{i}") for i in range(5)), daemon_set(unavailable=2))
    async with running(api, DaemonSetController) as harness:
        await to_the_end(api, harness)
        await set_image(api, "web:2")
        await harness.settle()
        assert sum(bool(p.metadata.deletion_timestamp) for p in api.objects(Pod)) == 2
        await to_the_end(api, harness)
        assert {p.spec.containers[0].image for p in api.objects(Pod)} == {"web:2"}
        assert len(api.objects(ControllerRevision)) == 2
        # A revision and the pods made from it have one label in common.
        [newest] = [r for r in api.objects(ControllerRevision) if r.revision == 2]
        hashed = (newest.metadata.labels or {})["controller-revision-hash"]
        assert newest.metadata.name == f"agent-{hashed}"
        assert list(newest.data["spec"]["template"]) == ["$patch", "metadata", "spec"]
        assert {(p.metadata.labels or {})["controller-revision-hash"] for p in api.objects(Pod)} == {hashed}


async def test_a_surging_update_starts_the_new_pod_first() -> None:
    api = FakeApi(*(node(f"n{i}") for i in range(3)), daemon_set(surge=1, unavailable=0))
    async with running(api, DaemonSetController) as harness:
        await to_the_end(api, harness)
        await set_image(api, "web:2")
        await harness.settle()
        assert len(api.objects(Pod)) == 4 and not any(p.metadata.deletion_timestamp for p in api.objects(Pod))
        await to_the_end(api, harness)
        assert len(api.objects(Pod)) == 3
        assert {p.spec.containers[0].image for p in api.objects(Pod)} == {"web:2"}


async def test_on_delete_leaves_it_to_the_user() -> None:
    api = FakeApi(node("a"), daemon_set(update_strategy=DaemonSetUpdateStrategy(type="OnDelete")))
    async with running(api, DaemonSetController) as harness:
        await to_the_end(api, harness)
        await set_image(api, "web:2")
        await to_the_end(api, harness)
        assert [p.spec.containers[0].image for p in api.objects(Pod)] == ["web:1"]
        assert status(api).updated_number_scheduled is None


async def test_the_users_tolerations_stay() -> None:
    owner = daemon_set()
    owner.spec.template.spec.tolerations = [Toleration(key="mine", operator="Exists")]
    api = FakeApi(node("a"), owner)
    async with running(api, DaemonSetController):
        assert "mine" in {t.key for t in api.objects(Pod)[0].spec.tolerations or ()}


async def test_a_settled_daemon_set_is_left_alone() -> None:
    api = FakeApi(node("a"), daemon_set())
    async with running(api, DaemonSetController) as harness:
        await to_the_end(api, harness)
        before = api.fake.revision
        harness.controllers[0].controller.enqueue(("default", "agent"))
        await harness.settle()
        assert api.fake.revision == before


async def become_unready(api: FakeApi, *nodes: str) -> None:
    for one in api.objects(Pod):
        if node_of(one) in nodes:
            one.status.conditions = [ready_condition(False, 0)]
            await api.update_status(one)


async def test_what_serves_nobody_is_replaced_beside_the_surge() -> None:
    api = FakeApi(*(node(f"n{i}") for i in range(4)), daemon_set(surge=1, unavailable=0))
    async with running(api, DaemonSetController) as harness:
        await to_the_end(api, harness)
        await become_unready(api, "n2", "n3")
        await harness.settle()
        await set_image(api, "web:2")
        await harness.settle()
        new = {node_of(p) for p in api.objects(Pod) if p.spec.containers[0].image == "web:2"}
        assert len(new) == 3 and {"n2", "n3"} < new
        # and their old pods are not kept until the new ones are available
        going = {node_of(p) for p in api.objects(Pod) if p.metadata.deletion_timestamp}
        assert going == {"n2", "n3"}
        await to_the_end(api, harness)
        assert {p.spec.containers[0].image for p in api.objects(Pod)} == {"web:2"}
