"""Who has to go for a more important pod."""

from __future__ import annotations

from typing import Any

from api.codec import from_dict
from api.types.core_v1 import Pod, PodStatus
from api.types.policy_v1 import PodDisruptionBudget
from scheduler.decision import Unfit
from scheduler.preemption import Plan, ineligible, plan
from tests.unit.scheduler.build import Cluster, node, pod


def preempt(cluster: Cluster, given: Pod, *budgets: PodDisruptionBudget, nominated: str = "") -> Plan | str:
    info = cluster.reader.read(given)
    unfit = cluster.decider.decide(info)
    assert isinstance(unfit, Unfit)
    return ineligible(cluster.table, info, unfit, nominated) or plan(
        cluster.table, cluster.decider, info, unfit, budgets
    )


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


def leaving(name: str, **kwargs: Any) -> Pod:
    """A victim of an earlier preemption that still ends."""
    victim = pod(name, **kwargs)
    victim.metadata.deletion_timestamp = "2026-01-01T00:00:00Z"
    victim.status = from_dict(
        PodStatus,
        {"conditions": [{"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler"}]},
    )
    return victim


def test_who_has_made_room_waits_for_it_before_killing_more() -> None:
    cluster = Cluster(node("a", cpu="1"), node("b", cpu="1"))
    cluster.place(leaving("x", cpu="1", priority=5), "a")
    cluster.place(pod("y", cpu="1", priority=1), "b")
    important = pod("p", cpu="1", priority=10)
    waits = "not eligible due to a terminating pod on the nominated node."
    assert preempt(cluster, important, nominated="a") == waits
    assert victims(preempt(cluster, important, nominated="b")) == ("b", ["y"])
    # A node that can never take it is nothing to wait for.
    cluster.table.set_node(node("a", cpu="1", taints=[{"key": "k", "effect": "NoSchedule"}]))
    assert victims(preempt(cluster, important, nominated="a")) == ("b", ["y"])


def test_what_would_still_be_in_the_way_is_said() -> None:
    cluster = Cluster(node("a", cpu="2"))
    cluster.place(pod("low", cpu="1", priority=1), "a")
    cluster.place(pod("high", cpu="1", priority=100), "a")
    assert preempt(cluster, pod("p", cpu="2", priority=10)) == "0/1 nodes are available: 1 Insufficient cpu."


def test_a_budget_with_an_empty_selector_protects_nobody() -> None:
    cluster = Cluster(node("a", cpu="1"), node("b", cpu="1"))
    cluster.place(pod("cheap", cpu="1", priority=1, labels={"app": "db"}), "a")
    cluster.place(pod("dear", cpu="1", priority=2), "b")
    everything = from_dict(
        PodDisruptionBudget,
        {"metadata": {"name": "all", "namespace": "default"}, "spec": {"selector": {}}, "status": {}},
    )
    assert victims(preempt(cluster, pod("p", cpu="1", priority=10), everything)) == ("a", ["cheap"])
