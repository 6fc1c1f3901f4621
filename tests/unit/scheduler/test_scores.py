"""Which of the nodes that fit is taken."""

from __future__ import annotations

from collections import Counter

from api.selectors import selector_from
from tests.unit.scheduler.build import Cluster, node, pod


def test_emptier_nodes_first() -> None:
    cluster = Cluster(node("a"), node("b"))
    cluster.place(pod("big", cpu="3", memory="6Gi"), "a")
    assert cluster.decide(pod("p", cpu="100m")) == "b"


def test_pods_of_one_owner_spread_by_default() -> None:
    cluster = Cluster(*(node(n) for n in "abc"), default_selector=selector_from({"app": "web"}))
    cluster.place(pod("big", cpu="1", memory="2Gi"), "a")
    chosen = Counter(cluster.schedule(pod(str(i), labels={"app": "web"})) for i in range(6))
    assert chosen == {"a": 2, "b": 2, "c": 2}


def test_preferred_node_affinity() -> None:
    cluster = Cluster(node("a", labels={"disk": "ssd"}), node("b"))
    cluster.place(pod("some", cpu="500m"), "a")
    term = {"matchExpressions": [{"key": "disk", "operator": "Exists"}]}
    preferred = [{"weight": 100, "preference": term}]
    affinity = {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": preferred}}
    assert cluster.decide(pod("p", affinity=affinity)) == "a"


def test_preferred_taints_are_avoided_not_refused() -> None:
    taint = {"key": "old", "effect": "PreferNoSchedule"}
    cluster = Cluster(node("a", taints=[taint]), node("b"))
    assert cluster.decide(pod("p")) == "b"
    assert Cluster(node("a", taints=[taint])).decide(pod("p")) == "a"


def test_preferred_pod_affinity_and_anti_affinity() -> None:
    cluster = Cluster(node("a"), node("b"))
    cluster.place(pod("web", labels={"app": "web"}), "a")
    term = {"labelSelector": {"matchLabels": {"app": "web"}}, "topologyKey": "kubernetes.io/hostname"}
    preferred = {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 50, "podAffinityTerm": term}]}
    assert cluster.decide(pod("p", affinity={"podAffinity": preferred})) == "a"
    assert cluster.decide(pod("p", affinity={"podAntiAffinity": preferred})) == "b"


def test_nodes_that_have_the_image() -> None:
    images = [{"names": ["localhost:5000/big:v1"], "sizeBytes": 900_000_000}]
    cluster = Cluster(node("a", images=images), node("b"))
    assert cluster.decide(pod("p", image="localhost:5000/big:v1")) == "a"


def test_equal_nodes_all_get_their_share() -> None:
    cluster = Cluster(*(node(f"n{i}") for i in range(4)))
    assert len({cluster.decide(pod("p")) for _ in range(60)}) == 4
