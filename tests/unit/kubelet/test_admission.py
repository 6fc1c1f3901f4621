"""Whom a node refuses, and why."""

from __future__ import annotations

from typing import Any

import pytest

from api import codec
from api.quantity import Quantity
from api.types.core_v1 import Node, Pod
from kubelet.admission import admit
from kubelet.sysctls import Sysctls

NODE = codec.from_dict(
    Node,
    {
        "metadata": {"name": "n1", "labels": {"disk": "ssd", "cores": "8"}},
        "spec": {"taints": [{"key": "gone", "effect": "NoExecute"}, {"key": "full", "effect": "NoSchedule"}]},
    },
)
ALLOCATABLE = {"cpu": Quantity("2"), "memory": Quantity("1Gi"), "pods": Quantity(3), "example.com/gpu": Quantity(1)}
TOLERANT = [{"key": "gone", "operator": "Exists"}]


def pod(requests: dict[str, str] | None = None, ports: tuple[dict[str, Any], ...] = (), **spec: Any) -> Pod:
    container = {"name": "c", "resources": {"requests": requests or {}}, "ports": list(ports)}
    return codec.from_dict(Pod, {"metadata": {}, "spec": {"tolerations": TOLERANT, "containers": [container], **spec}})


def reason(new: Pod, *others: Pod) -> tuple[str, str]:
    refusal = admit(new, others, NODE, ALLOCATABLE)
    return (refusal.reason, refusal.message) if refusal else ("", "")


def test_what_fits_is_admitted() -> None:
    assert reason(pod({"cpu": "1", "memory": "512Mi"}), pod({"cpu": "1", "memory": "512Mi"})) == ("", "")


def test_resources_run_out() -> None:
    assert reason(pod({"cpu": "1500m"}), pod({"cpu": "1"})) == (
        "OutOfcpu",
        "Node didn't have enough resource: cpu, requested: 1500, used: 1000, capacity: 2000",
    )
    assert reason(pod({"memory": "2Gi"})) == (
        "OutOfmemory",
        f"Node didn't have enough resource: memory, requested: {2 << 30}, used: 0, capacity: {1 << 30}",
    )
    assert reason(pod({"example.com/gpu": "1"}), pod({"example.com/gpu": "1"}))[0] == "OutOfexample.com/gpu"
    assert reason(pod(), pod(), pod(), pod()) == (
        "OutOfpods",
        "Node didn't have enough resource: pods, requested: 1, used: 3, capacity: 3",
    )


def term(key: str, operator: str, *values: str) -> dict[str, Any]:
    requirement = {"key": key, "operator": operator, "values": list(values)}
    terms = {"nodeSelectorTerms": [{"matchExpressions": [requirement]}]}
    return {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}}


@pytest.mark.parametrize(
    ("spec", "admitted"),
    [
        ({"nodeSelector": {"disk": "ssd"}}, True),
        ({"nodeSelector": {"disk": "hdd"}}, False),
        (term("disk", "In", "ssd", "nvme"), True),
        (term("disk", "NotIn", "ssd"), False),
        (term("disk", "Exists"), True),
        (term("zone", "DoesNotExist"), True),
        (term("cores", "Gt", "4"), True),
        (term("cores", "Lt", "4"), False),
    ],
)
def test_node_affinity(spec: dict[str, Any], admitted: bool) -> None:
    found = reason(pod(**spec))
    message = "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector"
    assert found == (("", "") if admitted else ("NodeAffinity", message))


def test_host_ports_are_taken_once() -> None:
    web = {"containerPort": 80, "hostPort": 8080}
    assert reason(pod(ports=(web,)), pod(ports=(web,)))[0] == "NodePorts"
    assert reason(pod(ports=({**web, "protocol": "UDP"},)), pod(ports=(web,))) == ("", "")
    one, other = {**web, "hostIP": "127.0.0.1"}, {**web, "hostIP": "127.0.0.2"}
    assert reason(pod(ports=(one,)), pod(ports=(other,))) == ("", "")
    assert reason(pod(ports=(one,)), pod(ports=(web,)))[0] == "NodePorts"


def test_only_taints_that_would_evict_refuse() -> None:
    assert reason(pod(tolerations=[]))[0] == "TaintToleration"
    static = pod(tolerations=[])
    static.metadata.annotations = {"kubernetes.io/config.source": "file"}
    assert reason(static) == ("", "")


@pytest.mark.parametrize(
    ("name", "spec", "message"),
    [
        ("net.ipv4.tcp_syncookies", {}, ""),
        ("net/ipv4/tcp_syncookies", {}, ""),
        ("kernel.shm_rmid_forced", {}, ""),
        ("kernel.msgmax", {}, ""),
        ("net.core.somaxconn", {}, ""),
        ("kernel.msgmnb", {}, 'forbidden sysctl: "kernel.msgmnb" not allowlisted'),
        ("net/ipv4/ip_forward", {}, 'forbidden sysctl: "net.ipv4.ip_forward" not allowlisted'),
        (
            "net.ipv4.tcp_syncookies",
            {"hostNetwork": True},
            'forbidden sysctl: "net.ipv4.tcp_syncookies" not allowed with host net enabled',
        ),
        (
            "kernel.shm_rmid_forced",
            {"hostIPC": True},
            'forbidden sysctl: "kernel.shm_rmid_forced" not allowed with host ipc enabled',
        ),
    ],
)
def test_kernel_settings_that_are_not_a_pods_to_make(name: str, spec: dict[str, Any], message: str) -> None:
    asking = pod(securityContext={"sysctls": [{"name": name, "value": "1"}]}, **spec)
    refusal = Sysctls(["kernel.msgmax", "net.core.*"]).refuse(asking)
    assert ((refusal and refusal.message) or "") == message
    assert refusal is None or refusal.reason == "SysctlForbidden"
