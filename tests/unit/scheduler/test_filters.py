"""Where a pod may not run, and in which words it is said."""

from __future__ import annotations

from typing import Any

import pytest

from api.codec import from_dict
from api.types.core_v1 import Pod
from tests.unit.scheduler.build import Cluster, node, pod

TAINT = {"key": "dedicated", "value": "db", "effect": "NoSchedule"}


def test_no_nodes() -> None:
    assert Cluster().why(pod("p")) == "no nodes available to schedule pods"


def test_reasons_are_counted_per_node_and_sorted() -> None:
    cluster = Cluster(node("a", taints=[TAINT]), node("b", cpu="1"), node("c", cpu="1", memory="1Gi"))
    assert cluster.why(pod("p", cpu="2", memory="2Gi")) == (
        "0/3 nodes are available: 1 Insufficient memory, 1 node(s) had untolerated taint(s), 2 Insufficient cpu."
    )


def test_resources_are_counted_exactly() -> None:
    cluster = Cluster(node("a", cpu="1", pods="3"))
    cluster.schedule(pod("1", cpu="700m"))
    assert cluster.why(pod("2", cpu="301m")) == "0/1 nodes are available: 1 Insufficient cpu."
    cluster.schedule(pod("3", cpu="300m"))
    cluster.schedule(pod("4"))
    assert cluster.why(pod("5")) == "0/1 nodes are available: 1 Too many pods."


def test_a_removed_pod_gives_back_what_it_had() -> None:
    cluster = Cluster(node("a", cpu="1"))
    info = cluster.place(pod("1", cpu="1", host_port=80), "a")
    cluster.table.remove_pod(info.uid)
    assert cluster.decide(pod("2", cpu="1", host_port=80)) == "a"
    assert not cluster.table.requested.any()


def test_init_containers_count_by_their_largest_and_sidecars_beside_all() -> None:
    cluster = Cluster(node("a", cpu="2"))
    resources = {"resources": {"requests": {"cpu": "1500m"}}}
    init = [{"name": "i", "image": "x", **resources}]
    cluster.schedule(pod("1", cpu="1", initContainers=init))
    assert cluster.why(pod("2", cpu="501m")) == "0/1 nodes are available: 1 Insufficient cpu."
    sidecar = [{"name": "s", "image": "x", "restartPolicy": "Always", **resources}]
    assert Cluster(node("a", cpu="2")).why(pod("3", cpu="1", initContainers=sidecar)).endswith("Insufficient cpu.")


def test_extended_resources() -> None:
    cluster = Cluster(node("a"), node("b", extra={"example.com/gpu": "2"}))
    assert cluster.schedule(pod("1", requests={"example.com/gpu": "2"})) == "b"
    assert cluster.why(pod("2", requests={"example.com/gpu": "1"})) == (
        "0/2 nodes are available: 2 Insufficient example.com/gpu."
    )


def test_cordoned_nodes() -> None:
    cluster = Cluster(node("a", unschedulable=True))
    assert cluster.why(pod("p")) == "0/1 nodes are available: 1 node(s) were unschedulable."
    key = "node.kubernetes.io/unschedulable"
    assert cluster.decide(pod("p", tolerations=[{"key": key, "operator": "Exists", "effect": "NoSchedule"}])) == "a"


@pytest.mark.parametrize(
    "toleration",
    [
        {"key": "dedicated", "operator": "Equal", "value": "db", "effect": "NoSchedule"},
        {"key": "dedicated", "operator": "Exists"},
        {"operator": "Exists"},
    ],
)
def test_tolerations_that_match(toleration: dict[str, str]) -> None:
    assert Cluster(node("a", taints=[TAINT])).decide(pod("p", tolerations=[toleration])) == "a"


@pytest.mark.parametrize(
    "toleration",
    [
        {"key": "dedicated", "operator": "Equal", "value": "web"},
        {"key": "other", "operator": "Exists"},
        {"key": "dedicated", "operator": "Exists", "effect": "NoExecute"},
    ],
)
def test_tolerations_that_do_not(toleration: dict[str, str]) -> None:
    why = Cluster(node("a", taints=[TAINT])).why(pod("p", tolerations=[toleration]))
    assert why == "0/1 nodes are available: 1 node(s) had untolerated taint(s)."


def affinity(*expressions: dict[str, Any], fields: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    term: dict[str, Any] = {"matchExpressions": list(expressions)}
    if fields:
        term = {"matchFields": fields}
    required = {"nodeSelectorTerms": [term]}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}


@pytest.mark.parametrize(
    ("expression", "fits"),
    [
        ({"key": "disk", "operator": "In", "values": ["ssd", "nvme"]}, {"a"}),
        ({"key": "disk", "operator": "NotIn", "values": ["ssd"]}, {"b", "c"}),
        ({"key": "disk", "operator": "Exists"}, {"a", "b"}),
        ({"key": "disk", "operator": "DoesNotExist"}, {"c"}),
        ({"key": "cores", "operator": "Gt", "values": ["4"]}, {"b"}),
        ({"key": "cores", "operator": "Lt", "values": ["5"]}, {"a"}),
    ],
)
def test_node_affinity_operators(expression: dict[str, Any], fits: set[str]) -> None:
    cluster = Cluster(
        node("a", labels={"disk": "ssd", "cores": "4"}), node("b", labels={"disk": "hdd", "cores": "16"}), node("c")
    )
    chosen = {cluster.decide(pod("p", affinity=affinity(expression))) for _ in range(30)}
    assert chosen == fits


def test_node_selector() -> None:
    cluster = Cluster(node("a", labels={"zone": "x"}), node("b"))
    assert cluster.decide(pod("p", nodeSelector={"zone": "x"})) == "a"
    assert cluster.why(pod("p", nodeSelector={"zone": "y"})) == (
        "0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector."
    )


def test_a_pod_pinned_to_a_node_by_name_says_so_of_the_others() -> None:
    cluster = Cluster(node("a", cpu="1"), node("b"), node("c"))
    fields = [{"key": "metadata.name", "operator": "In", "values": ["a"]}]
    pinned = affinity(fields=fields)
    assert cluster.decide(pod("p", affinity=pinned)) == "a"
    assert cluster.why(pod("p", cpu="2", affinity=pinned)) == (
        "0/3 nodes are available: 1 Insufficient cpu, 2 node(s) didn't satisfy plugin(s) [NodeAffinity]."
    )


def test_host_ports() -> None:
    cluster = Cluster(node("a"))
    cluster.schedule(pod("1", host_port=8080))
    assert cluster.why(pod("2", host_port=8080)) == (
        "0/1 nodes are available: 1 node(s) didn't have free ports for the requested pod ports."
    )
    assert cluster.decide(pod("3", host_port=8081)) == "a"


def spread(when: str = "DoNotSchedule", skew: int = 1, key: str = "zone", **more: Any) -> list[dict[str, Any]]:
    selector = {"matchLabels": {"app": "web"}}
    return [{"maxSkew": skew, "topologyKey": key, "whenUnsatisfiable": when, "labelSelector": selector, **more}]


def test_topology_spread_keeps_the_skew() -> None:
    cluster = Cluster(
        node("a", labels={"zone": "x"}), node("b", labels={"zone": "x"}), node("c", labels={"zone": "y"}), node("d")
    )
    zones = {"a": "x", "b": "x", "c": "y"}
    chosen = [
        zones[cluster.schedule(pod(str(i), labels={"app": "web"}, topologySpreadConstraints=spread()))]
        for i in range(6)
    ]
    assert sorted(chosen) == ["x", "x", "x", "y", "y", "y"]


def test_topology_spread_says_why() -> None:
    cluster = Cluster(node("a", labels={"zone": "x"}), node("b", labels={"zone": "y"}, cpu="1"), node("c"))
    cluster.schedule(pod("1", cpu="2", labels={"app": "web"}, topologySpreadConstraints=spread()))
    assert cluster.why(pod("2", cpu="2", labels={"app": "web"}, topologySpreadConstraints=spread())) == (
        "0/3 nodes are available: 1 Insufficient cpu, 1 node(s) didn't match pod topology spread constraints, "
        "1 node(s) didn't match pod topology spread constraints (missing required label)."
    )


def test_min_domains() -> None:
    cluster = Cluster(node("a", labels={"zone": "x"}))
    constraint = spread(minDomains=2)
    cluster.schedule(pod("1", labels={"app": "web"}, topologySpreadConstraints=constraint))
    why = cluster.why(pod("2", labels={"app": "web"}, topologySpreadConstraints=constraint))
    assert why == "0/1 nodes are available: 1 node(s) didn't match pod topology spread constraints."


def near(kind: str, key: str = "zone", app: str = "web") -> dict[str, Any]:
    term = {"labelSelector": {"matchLabels": {"app": app}}, "topologyKey": key}
    return {kind: {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}


def zoned() -> Cluster:
    return Cluster(node("a", labels={"zone": "x"}), node("b", labels={"zone": "x"}), node("c", labels={"zone": "y"}))


def test_pod_affinity() -> None:
    cluster = zoned()
    assert cluster.why(pod("p", affinity=near("podAffinity"))) == (
        "0/3 nodes are available: 3 node(s) didn't match pod affinity rules."
    )
    cluster.place(pod("web", labels={"app": "web"}), "c")
    assert cluster.decide(pod("p", affinity=near("podAffinity"))) == "c"


def test_the_first_of_a_group_that_wants_to_be_together_may_start_anywhere() -> None:
    cluster = zoned()
    first = cluster.schedule(pod("1", labels={"app": "web"}, affinity=near("podAffinity", "kubernetes.io/hostname")))
    assert {
        cluster.schedule(pod(str(i), labels={"app": "web"}, affinity=near("podAffinity", "kubernetes.io/hostname")))
        for i in range(5)
    } == {first}


def test_pod_anti_affinity_both_ways() -> None:
    cluster = zoned()
    cluster.place(pod("web", labels={"app": "web"}), "a")
    assert cluster.decide(pod("p", affinity=near("podAntiAffinity"))) == "c"
    cluster.place(pod("lonely", affinity=near("podAntiAffinity", app="noisy")), "c")
    chosen = {cluster.decide(pod("n", labels={"app": "noisy"})) for _ in range(20)}
    assert chosen <= {"a", "b"}
    cluster.place(pod("lonely2", affinity=near("podAntiAffinity", app="noisy")), "b")
    assert cluster.why(pod("n", labels={"app": "noisy"})) == (
        "0/3 nodes are available: 3 node(s) didn't satisfy existing pods anti-affinity rules."
    )


def test_other_namespaces_do_not_count() -> None:
    cluster = zoned()
    for name in "abc":
        cluster.place(pod("web", labels={"app": "web"}, namespace="elsewhere"), name)
    chosen = {cluster.decide(pod("p", affinity=near("podAntiAffinity"))) for _ in range(40)}
    assert chosen == {"a", "b", "c"}


def test_nodes_that_change_and_go() -> None:
    cluster = Cluster(node("a"), node("b"))
    cluster.table.set_node(node("a", taints=[TAINT]))
    assert cluster.decide(pod("p")) == "b"
    cluster.table.remove_node("b")
    assert cluster.why(pod("p")) == "0/1 nodes are available: 1 node(s) had untolerated taint(s)."
    cluster.table.set_node(node("a"))
    assert cluster.decide(pod("p")) == "a"


def test_pods_of_a_node_that_is_not_known_yet_count_when_it_appears() -> None:
    cluster = Cluster()
    cluster.place(pod("early", cpu="3"), "late")
    cluster.table.set_node(node("late", cpu="4"))
    assert cluster.why(pod("p", cpu="2")) == "0/1 nodes are available: 1 Insufficient cpu."


def test_many_nodes_grow_the_table_without_losing_anything() -> None:
    cluster = Cluster(node("first", labels={"zone": "x"}, taints=[TAINT]))
    cluster.place(pod("web", labels={"app": "web"}, affinity=near("podAntiAffinity")), "first")
    before = cluster.why(pod("p", labels={"app": "web"}, affinity=near("podAffinity")))
    assert before.startswith("0/1 ")
    for i in range(100):
        cluster.table.set_node(node(f"n{i}", labels={"zone": "y"}))
    assert cluster.decide(pod("p", labels={"app": "web"})) != "first"
    assert cluster.why(pod("p", affinity=near("podAffinity"))) == (
        "0/101 nodes are available: 1 node(s) had untolerated taint(s), 100 node(s) didn't match pod affinity rules."
    )


def test_a_node_is_counted_for_the_first_reason_of_a_plugin() -> None:
    cluster = Cluster(node("a", labels={"zone": "x"}))
    cluster.place(pod("there", labels={"app": "web"}), "a")
    near = {
        "requiredDuringSchedulingIgnoredDuringExecution": [
            {"labelSelector": {"matchLabels": {"app": "db"}}, "topologyKey": "zone"}
        ]
    }
    far = {
        "requiredDuringSchedulingIgnoredDuringExecution": [
            {"labelSelector": {"matchLabels": {"app": "web"}}, "topologyKey": "zone"}
        ]
    }
    affine = pod("p", affinity={"podAffinity": near, "podAntiAffinity": far})
    assert cluster.why(affine) == "0/1 nodes are available: 1 node(s) didn't match pod affinity rules."
    constraint = {
        "maxSkew": 1,
        "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"app": "web"}},
    }
    cluster.table.set_node(node("b", labels={"zone": "y"}))
    cluster.place(pod("again", labels={"app": "web"}), "a")
    spread = pod(
        "q",
        labels={"app": "web"},
        nodeSelector={"zone": "x"},
        topologySpreadConstraints=[
            {**constraint, "topologyKey": "zone", "nodeAffinityPolicy": "Ignore"},
            {**constraint, "topologyKey": "kubernetes.io/hostname", "nodeAffinityPolicy": "Ignore"},
        ],
    )
    assert cluster.why(spread) == (
        "0/2 nodes are available: 1 node(s) didn't match Pod's node affinity/selector, "
        "1 node(s) didn't match pod topology spread constraints."
    )


def test_a_pod_that_is_resized_counts_for_what_its_node_still_holds() -> None:
    cluster = Cluster(node("a", cpu="4"))
    shrinking = pod("p", cpu="1")
    shrinking.spec.node_name = "a"
    three = {"cpu": "3"}
    held = {"containerStatuses": [{"name": "c", "allocatedResources": three, "resources": {"requests": three}}]}
    shrinking.status = from_dict(Pod, {"status": held}).status
    info = cluster.place(shrinking, "a")
    assert info.requests == {"cpu": 3000}
    assert cluster.why(pod("q", cpu="2")) == "0/1 nodes are available: 1 Insufficient cpu."
    # What can never be had on this node is not counted.
    growing = pod("p", cpu="100")
    growing.spec.node_name, growing.metadata.uid = "a", shrinking.metadata.uid
    refused = {"type": "PodResizePending", "status": "True", "reason": "Infeasible"}
    growing.status = from_dict(Pod, {"status": {**held, "conditions": [refused]}}).status
    assert cluster.place(growing, "a").requests == {"cpu": 3000}
    assert cluster.schedule(pod("q", cpu="1")) == "a"
