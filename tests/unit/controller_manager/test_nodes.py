"""Nodes: address ranges, silence, taints, eviction, and pods that nobody else would delete."""

from __future__ import annotations

from typing import Any

from api.types.coordination_v1 import Lease, LeaseSpec
from api.types.core_v1 import Node, NodeCondition, NodeSpec, NodeStatus, Pod, Taint, Toleration
from api.types.meta_v1 import ObjectMeta
from client.fake import FakeApi
from controller_manager import conditions, pods
from controller_manager.context import Context
from controller_manager.nodes import taints
from controller_manager.nodes.ipam import CidrSet, NodeIpamController
from controller_manager.nodes.lifecycle import NodeLifecycleController
from controller_manager.nodes.pod_gc import PodGcController
from controller_manager.nodes.taint_eviction import TaintEvictionController
from tests.support.controllers import running
from tests.unit.controller_manager.builders import ago, pod


def node(name: str = "n1", ready: str | None = "True", **spec: Any) -> Node:
    found = [NodeCondition(type="Ready", status=ready, last_heartbeat_time=ago(5))] if ready else None
    return Node(metadata=ObjectMeta(name=name), spec=NodeSpec(**spec), status=NodeStatus(conditions=found))


def get(api: FakeApi, name: str = "n1") -> Node:
    found = api.one(Node, name)
    assert found is not None
    return found


def keys(one: Node) -> set[tuple[str, str]]:
    return {(t.key.rpartition("/")[2], t.effect) for t in one.spec.taints or ()}


async def test_every_node_gets_a_range_of_its_own() -> None:
    api = FakeApi(node("old", pod_cidr="10.244.1.0/24", pod_cidrs=["10.244.1.0/24"]), node("a"), node("b"))
    async with running(api, NodeIpamController, cluster_cidr="10.244.0.0/22"):
        found = {n.metadata.name: n.spec.pod_cidrs for n in api.objects(Node)}
        assert found == {"old": ["10.244.1.0/24"], "a": ["10.244.0.0/24"], "b": ["10.244.2.0/24"]}
        assert get(api, "a").spec.pod_cidr == "10.244.0.0/24"


async def test_a_range_is_free_again_when_its_node_is_gone() -> None:
    api = FakeApi(node("a"), node("b"), node("c"))
    async with running(api, NodeIpamController, cluster_cidr="10.244.0.0/23") as harness:
        assert get(api, "c").spec.pod_cidr is None
        assert harness.events() == ["CIDRNotAvailable: Node c status is now: CIDRNotAvailable"]
        await api.delete(Node, "a")
        await harness.settle()
        assert get(api, "c").spec.pod_cidr == "10.244.0.0/24"


def test_ranges_do_not_overlap_with_what_is_taken() -> None:
    cidrs = CidrSet("10.244.0.0/16", 24)
    cidrs.occupy("10.244.0.0/23")
    cidrs.occupy("192.168.0.0/16")
    assert cidrs.take() == "10.244.2.0/24"
    cidrs.release("10.244.0.0/24")
    assert cidrs.take() == "10.244.3.0/24"


class Clock:
    def __init__(self) -> None:
        self.time = 1000.0

    def __call__(self) -> float:
        return self.time


def lifecycle(clock: Clock) -> Any:
    """The controller without its own timer: tests look at the nodes when they want to."""

    class Driven(NodeLifecycleController):
        def __init__(self, context: Context) -> None:
            super().__init__(context, clock)

        async def run(self) -> None:
            await self.controller.run()

    return Driven


async def test_a_silent_node_is_unknown_and_its_pods_are_not_ready() -> None:
    clock = Clock()
    api = FakeApi(node("n1"), node("n2"), pod("p", node="n1"), pod("q", node="n2"))
    async with running(api, lifecycle(clock)) as harness:
        [controller] = harness.controllers
        await controller.monitor()
        clock.time += 39
        await controller.monitor()
        assert conditions.is_true(get(api).status.conditions, "Ready")
        healthy = get(api, "n2")
        (healthy.status.conditions or [])[0].last_heartbeat_time = ago(0)
        await api.update_status(healthy)
        await harness.settle()
        await controller.monitor()
        clock.time += 2
        await controller.monitor()
        await harness.settle()
        silent = get(api)
        for type in ("Ready", "MemoryPressure", "DiskPressure", "PIDPressure"):
            found = conditions.find(silent.status.conditions, type)
            assert found is not None and found.status == "Unknown"
        ready: Any = conditions.find(silent.status.conditions, "Ready")
        assert (ready.reason, ready.message) == ("NodeStatusUnknown", "Kubelet stopped posting node status.")
        pressure: Any = conditions.find(silent.status.conditions, "DiskPressure")
        assert (pressure.reason, pressure.message) == ("NodeStatusNeverUpdated", "Kubelet never posted node status.")
        assert keys(silent) == {("unreachable", "NoSchedule"), ("unreachable", "NoExecute")}
        assert keys(get(api, "n2")) == set()
        states = {p.metadata.name: pods.is_ready(p) for p in api.objects(Pod)}
        assert states == {"p": False, "q": True}
        assert "NodeNotReady: Node n1 status is now: NodeNotReady" in harness.events()
        assert "NodeNotReady: Node is not ready" in harness.events()
        assert "RegisteredNode: Node n1 event: Registered Node n1 in Controller" in harness.events()


async def test_a_renewed_lease_is_a_sign_of_life() -> None:
    clock = Clock()
    lease = Lease(metadata=ObjectMeta(name="n1", namespace="kube-node-lease"), spec=LeaseSpec(renew_time="a"))
    api = FakeApi(node(), lease)
    async with running(api, lifecycle(clock)) as harness:
        [controller] = harness.controllers
        for _ in range(3):
            await controller.monitor()
            clock.time += 30
            live = api.one(Lease, "n1", "kube-node-lease")
            assert live is not None
            live.spec.renew_time = str(clock.time)
            await api.update(live)
            await harness.settle()
        await controller.monitor()
        assert conditions.is_true(get(api).status.conditions, "Ready")


async def test_a_node_that_comes_back_loses_its_taints() -> None:
    clock = Clock()
    tainted = node(taints=[Taint(key=taints.UNREACHABLE, effect=e) for e in ("NoSchedule", "NoExecute")])
    tainted.spec.taints = [*(tainted.spec.taints or []), Taint(key="mine", effect="NoExecute")]
    api = FakeApi(tainted)
    async with running(api, lifecycle(clock)) as harness:
        await harness.controllers[0].monitor()
        await harness.settle()
        assert keys(get(api)) == {("mine", "NoExecute")}


async def test_when_every_node_is_silent_nobody_is_evicted() -> None:
    clock = Clock()
    api = FakeApi(node("a"), node("b"))
    async with running(api, lifecycle(clock)) as harness:
        [controller] = harness.controllers
        await controller.monitor()
        clock.time += 50
        await controller.monitor()
        await harness.settle()
        assert keys(get(api, "a")) == keys(get(api, "b")) == {("unreachable", "NoSchedule")}


async def test_nodes_are_emptied_one_every_ten_seconds() -> None:
    clock = Clock()
    api = FakeApi(*(node(f"n{i}", "False" if i < 2 else "True") for i in range(6)))
    async with running(api, lifecycle(clock)) as harness:
        [controller] = harness.controllers

        async def evicted() -> int:
            await controller.monitor()
            await harness.settle()
            return sum(("not-ready", "NoExecute") in keys(n) for n in api.objects(Node))

        assert await evicted() == 1
        clock.time += 5
        assert await evicted() == 1
        clock.time += 5
        assert await evicted() == 2


async def test_conditions_and_cordons_become_taints() -> None:
    pressed = node(unschedulable=True)
    (pressed.status.conditions or []).append(NodeCondition(type="MemoryPressure", status="True"))
    api = FakeApi(pressed)
    async with running(api, lifecycle(Clock())) as harness:
        assert keys(get(api)) == {("memory-pressure", "NoSchedule"), ("unschedulable", "NoSchedule")}
        await api.patch(Node, "n1", {"spec": {"unschedulable": None}})
        await harness.settle()
        assert keys(get(api)) == {("memory-pressure", "NoSchedule")}


def tolerant(name: str, seconds: int | None = None, key: str = "k") -> Pod:
    made = pod(name)
    made.spec.tolerations = [Toleration(key=key, operator="Exists", effect="NoExecute", toleration_seconds=seconds)]
    return made


async def test_pods_are_evicted_when_their_tolerations_run_out() -> None:
    everyone = [
        pod("no"),
        tolerant("for-ever"),
        tolerant("soon", 0),
        tolerant("later", 3600),
        tolerant("other", None, "x"),
    ]
    api = FakeApi(node(), *everyone)
    async with running(api, TaintEvictionController) as harness:
        await api.patch(Node, "n1", {"spec": {"taints": [{"key": "k", "effect": "NoExecute"}]}})
        await harness.settle()
        going = {p.metadata.name for p in api.objects(Pod) if p.metadata.deletion_timestamp}
        assert going == {"no", "soon", "other"}
        target: Any = conditions.find((api.one(Pod, "no", "default") or Pod()).status.conditions, "DisruptionTarget")
        assert (target.status, target.reason, target.message) == (
            "True",
            "DeletionByTaintManager",
            "Taint manager: deleting due to NoExecute taint",
        )
        assert "TaintManagerEviction: Marking for deletion Pod default/no" in harness.events()
        await api.patch(Node, "n1", {"spec": {"taints": None}})
        await harness.settle()
        assert "TaintManagerEviction: Cancelling deletion of Pod default/later" in harness.events()


def collector(api: FakeApi, clock: Clock, **settings: Any) -> Any:
    class Driven(PodGcController):
        def __init__(self, context: Context) -> None:
            super().__init__(context, clock)

        async def run(self) -> None:
            return None

    return Driven


async def test_pods_of_a_vanished_node_are_failed_and_deleted_after_a_quarantine() -> None:
    clock = Clock()
    api = FakeApi(node(), pod("here"), pod("orphan", node="gone"))
    statuses: list[str | None] = []
    api.on("delete", "pods", lambda a: statuses.append((api.one(Pod, "orphan", "default") or Pod()).status.phase))
    async with running(api, collector(api, clock)) as harness:
        [controller] = harness.controllers
        await controller.collect()
        assert len(api.objects(Pod)) == 2
        clock.time += 41
        await controller.collect()
        assert [p.metadata.name for p in api.objects(Pod)] == ["here"]
        assert statuses == ["Failed"]


async def test_terminating_pods_that_were_never_scheduled_and_surplus_finished_ones_are_collected() -> None:
    unscheduled = pod("unscheduled", node=None, phase="Pending", deletion_timestamp=ago(1))
    unscheduled.metadata.deletion_grace_period_seconds = 30
    finished = [pod(f"done{i}", phase="Succeeded", creation_timestamp=ago(100 - i)) for i in range(4)]
    api = FakeApi(node(), unscheduled, *finished)
    async with running(api, collector(api, Clock()), terminated_pod_gc_threshold=2) as harness:
        await harness.controllers[0].collect()
        assert sorted(p.metadata.name or "" for p in api.objects(Pod)) == ["done2", "done3"]


def test_tolerations_match_as_upstreams_do() -> None:
    taint = Taint(key="k", value="v", effect="NoSchedule")
    assert taints.tolerates(Toleration(operator="Exists"), taint)
    assert taints.tolerates(Toleration(key="k", value="v"), taint)
    assert not taints.tolerates(Toleration(key="k", value="w"), taint)
    assert not taints.tolerates(Toleration(key="k", operator="Exists", effect="NoExecute"), taint)
    assert taints.tolerated([taint], [Toleration(key="k", operator="Exists")])
    assert not taints.tolerated([taint], None)
