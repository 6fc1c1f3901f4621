"""May this pod run on this node? Asked once, when the pod comes: the scheduler may have been late, or not involved.

Reasons and messages are upstream's (`predicateAdmitHandler`): OutOfcpu, NodeAffinity, NodePorts, ...
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from api import pod_resources
from api.quantity import Quantity
from api.types.core_v1 import Node, NodeSelectorTerm, Pod
from kubelet import podutil

_COUNTED = ("cpu", "memory", "ephemeral-storage")


@dataclass(frozen=True, slots=True)
class Refusal:
    reason: str
    message: str


def admit(pod: Pod, others: Iterable[Pod], node: Node | None, allocatable: Mapping[str, Quantity]) -> Refusal | None:
    """`others`: pods that are here and have not ended. None if the pod may run."""
    present = list(others)
    return (
        _resources(pod, present, allocatable)
        or (_affinity(pod, node) if node else None)
        or _ports(pod, present)
        or (_taints(pod, node) if node else None)
    )


def _resources(pod: Pod, others: list[Pod], allocatable: Mapping[str, Quantity]) -> Refusal | None:
    pods = allocatable.get("pods", Quantity(0)).value
    if len(others) + 1 > pods:
        return _insufficient("pods", 1, len(others), pods)
    used: pod_resources.Amounts = {}
    for other in others:
        pod_resources.add(used, pod_resources.pod_requests(other))
    for name, wanted in pod_resources.pod_requests(pod).items():
        if wanted <= Quantity(0) or (name not in _COUNTED and name not in allocatable and "/" not in name):
            continue
        there, taken = allocatable.get(name, Quantity(0)), used.get(name, Quantity(0))
        if wanted + taken > there:
            return _insufficient(name, *(_units(name, amount) for amount in (wanted, taken, there)))
    return None


def _insufficient(name: str, requested: int, used: int, capacity: int) -> Refusal:
    return Refusal(
        f"OutOf{name}",
        f"Node didn't have enough resource: {name}, requested: {requested}, used: {used}, capacity: {capacity}",
    )


def _units(name: str, amount: Quantity) -> int:
    return amount.milli if name == "cpu" else amount.value


def _affinity(pod: Pod, node: Node) -> Refusal | None:
    labels = node.metadata.labels or {}
    affinity = pod.spec.affinity.node_affinity if pod.spec.affinity else None
    required = affinity.required_during_scheduling_ignored_during_execution if affinity else None
    plain = all(labels.get(key) == value for key, value in (pod.spec.node_selector or {}).items())
    if plain and (required is None or any(_matches(term, node) for term in required.node_selector_terms)):
        return None
    return Refusal("NodeAffinity", "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector")


def _matches(term: NodeSelectorTerm, node: Node) -> bool:
    if not term.match_expressions and not term.match_fields:
        return False
    fields = {"metadata.name": node.metadata.name or ""}
    return all(
        _requirement(values, r.key, r.operator, r.values or [])
        for values, requirements in (
            (node.metadata.labels or {}, term.match_expressions),
            (fields, term.match_fields),
        )
        for r in requirements or ()
    )


def _requirement(values: Mapping[str, str], key: str, operator: str, wanted: list[str]) -> bool:
    value = values.get(key)
    match operator:
        case "In":
            return value is not None and value in wanted
        case "NotIn":
            return value is None or value not in wanted
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case "Gt" | "Lt":
            try:
                number, bound = int(value or ""), int(wanted[0])
            except (ValueError, IndexError):
                return False
            return number > bound if operator == "Gt" else number < bound
    return False


def _host_ports(pod: Pod) -> set[tuple[str, str, int]]:
    containers = (*(c for c in pod.spec.init_containers or () if podutil.is_sidecar(c)), *pod.spec.containers)
    return {
        (p.host_ip or "0.0.0.0", p.protocol or "TCP", p.host_port)
        for c in containers
        for p in c.ports or ()
        if p.host_port
    }


def _ports(pod: Pod, others: list[Pod]) -> Refusal | None:
    wanted = _host_ports(pod)
    if not wanted:
        return None
    for other in others:
        for ip, protocol, port in _host_ports(other):
            for own_ip, own_protocol, own_port in wanted:
                clash = own_ip == ip or "0.0.0.0" in (own_ip, ip)
                if clash and own_protocol == protocol and own_port == port:
                    return Refusal(
                        "NodePorts",
                        "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports",
                    )
    return None


def _taints(pod: Pod, node: Node) -> Refusal | None:
    """NoExecute only; static pods run whatever the taints are."""
    if podutil.is_static(pod):
        return None
    for taint in node.spec.taints or ():
        if taint.effect != "NoExecute":
            continue
        tolerations = pod.spec.tolerations or ()
        if not any(podutil.tolerates(t, taint.key, taint.value or "", taint.effect) for t in tolerations):
            message = "Predicate TaintToleration failed: node(s) had taints that the pod didn't tolerate"
            return Refusal("TaintToleration", message)
    return None
