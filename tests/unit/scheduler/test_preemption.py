"""Who has to go for a more important pod."""

from __future__ import annotations

from typing import Any

from api.codec import from_dict
from api.types.core_v1 import Pod
from api.types.policy_v1 import PodDisruptionBudget
from scheduler.decision import Unfit
from scheduler.preemption import Plan, plan
from tests.unit.scheduler.build import Cluster, node, pod


def preempt(cluster: Cluster, given: Pod, *budgets: PodDisruptionBudget) -> Plan | str:
    info = cluster.reader.read(given)
    unfit = cluster.decider.decide(info)
    assert isinstance(unfit, Unfit)
    return plan(cluster.table, cluster.decider, info, unfit, budgets)


def victims(outcome: Plan | str) -> tuple[str, list[str]]:
    assert isinstance(outcome, Plan), outcome
    return outcome.node_name, sorted(v.name for v in outcome.victims)


def test_as_few_and_as_unimportant_as_possible() -> None:
    cluster = Cluster(node("a", cpu="4"), node("b", cpu="4"))
    cluster.place(pod("a1", cpu="2", priority=5), "a")
    cluster.place(pod("a2", cpu="2", priority=1), "a")
    cluster.place(pod("b1", cpu="4", priority=3), "b")
    assert victims(preempt(cluster, pod("p", cpu="2", priority=10))) == ("a", ["a2"])


def test_equal_priority_is_never_preempted() -> None:
    cluster = Cluster(node("a", cpu="1"))
    cluster.place(pod("x", cpu="1", priority=10), "a")
    assert preempt(cluster, pod("p", cpu="1", priority=10)) == (
        "0/1 nodes are available: 1 No preemption victims found for incoming pod."
    )


def test_where_it_cannot_help_nobody_is_killed() -> None:
    cluster = Cluster(node("a", cpu="1"), node("b", taints=[{"key": "k", "effect": "NoSchedule"}]))
    cluster.place(pod("x", cpu="1", priority=1), "a")
    assert preempt(cluster, pod("p", cpu="2", priority=10)) == (
        "0/2 nodes are available: 2 Preemption is not helpful for scheduling."
    )


def test_never() -> None:
    cluster = Cluster(node("a", cpu="1"))
    cluster.place(pod("x", cpu="1", priority=1), "a")
    outcome = preempt(cluster, pod("p", cpu="1", priority=10, preemptionPolicy="Never"))
    assert outcome == "not eligible due to preemptionPolicy=Never."


def budget(app: str, allowed: int) -> PodDisruptionBudget:
    value: dict[str, Any] = {
        "metadata": {"name": app, "namespace": "default"},
        "spec": {"selector": {"matchLabels": {"app": app}}},
        "status": {"disruptionsAllowed": allowed},
    }
    return from_dict(PodDisruptionBudget, value)


def test_disruption_budgets_are_kept_where_there_is_a_choice() -> None:
    cluster = Cluster(node("a", cpu="1"), node("b", cpu="1"))
    cluster.place(pod("kept", cpu="1", priority=1, labels={"app": "db"}), "a")
    cluster.place(pod("free", cpu="1", priority=2), "b")
    assert victims(preempt(cluster, pod("p", cpu="1", priority=10), budget("db", 0))) == ("b", ["free"])
    assert victims(preempt(cluster, pod("p", cpu="1", priority=10), budget("db", 1))) == ("a", ["kept"])


def test_trying_changes_nothing() -> None:
    cluster = Cluster(node("a", cpu="4"))
    for i in range(4):
        cluster.place(pod(str(i), cpu="1", priority=i, host_port=80 + i), "a")
    before = cluster.table.requested.copy()
    preempt(cluster, pod("p", cpu="2", priority=10))
    assert (cluster.table.requested == before).all()
    assert len(cluster.table.placed) == 4
