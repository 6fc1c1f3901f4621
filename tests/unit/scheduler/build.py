"""Nodes and pods in a line each."""

from __future__ import annotations

import itertools
from typing import Any

from api.codec import from_dict
from api.selectors import Selector
from api.types.core_v1 import Node, Pod
from client.fake import FakeApi
from client.informer import Factory
from scheduler.decision import Decider, Unfit
from scheduler.nodes import NodeTable
from scheduler.plugins import default_plugins
from scheduler.pods import PodInfo, PodReader
from scheduler.volumes import Volumes

_uids = itertools.count()


def node(
    name: str,
    *,
    cpu: str = "4",
    memory: str = "8Gi",
    pods: str = "110",
    labels: dict[str, str] | None = None,
    taints: list[dict[str, str]] | None = None,
    extra: dict[str, str] | None = None,
    images: list[dict[str, Any]] | None = None,
    unschedulable: bool = False,
) -> Node:
    allocatable = {"cpu": cpu, "memory": memory, "pods": pods, **(extra or {})}
    value = {
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, **(labels or {})}},
        "spec": {"taints": taints or [], "unschedulable": unschedulable},
        "status": {"allocatable": allocatable, "capacity": allocatable, "images": images or []},
    }
    return from_dict(Node, value)


def pod(
    name: str,
    *,
    cpu: str | None = None,
    memory: str | None = None,
    requests: dict[str, str] | None = None,
    labels: dict[str, str] | None = None,
    namespace: str = "default",
    priority: int | None = None,
    host_port: int | None = None,
    image: str = "web:1",
    **spec: Any,
) -> Pod:
    asked = {k: v for k, v in {"cpu": cpu, "memory": memory, **(requests or {})}.items() if v is not None}
    container: dict[str, Any] = {"name": "c", "image": image, "resources": {"requests": asked}}
    if host_port:
        container["ports"] = [{"containerPort": 80, "hostPort": host_port, "protocol": "TCP"}]
    value = {
        "metadata": {"name": name, "namespace": namespace, "labels": labels or {}, "uid": f"uid-{next(_uids)}"},
        "spec": {"containers": [container], "schedulerName": "default-scheduler", **spec},
    }
    if priority is not None:
        value["spec"]["priority"] = priority
    return from_dict(Pod, value)


def _no_storage() -> Volumes:
    api = FakeApi()
    return Volumes(api, Factory(api))


class Cluster:
    """A table with the default plugins; `place` and `decide` as the loop does them."""

    def __init__(self, *nodes: Node, default_selector: Selector | None = None) -> None:
        self.table = NodeTable()
        self.reader = PodReader(lambda selector: frozenset({"default"}))
        self.decider = Decider(self.table, default_plugins(lambda info: default_selector, _no_storage()), seed=1)
        for n in nodes:
            self.table.set_node(n)

    def place(self, given: Pod, node_name: str) -> PodInfo:
        info = self.reader.read(given)
        self.table.place(info, node_name)
        return info

    def decide(self, given: Pod) -> str | Unfit:
        return self.decider.decide(self.reader.read(given))

    def schedule(self, given: Pod) -> str:
        chosen = self.decide(given)
        assert isinstance(chosen, str), chosen.message()
        self.place(given, chosen)
        return chosen

    def why(self, given: Pod) -> str:
        outcome = self.decide(given)
        assert isinstance(outcome, Unfit), outcome
        return outcome.message()
