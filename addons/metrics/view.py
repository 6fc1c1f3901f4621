"""The API's objects, made from samples and the labels of what they are about. Source: k8s.io/metrics v1beta1."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec

from addons.metrics.samples import Samples, Used
from api import duration
from api import time as api_time
from api.resource import Resource
from api.resources import RESOURCES
from api.selectors import FieldSelector, Selector
from api.types.core_v1 import Node
from api.types.meta_v1 import ObjectMeta
from client.informer import Informer
from client.writes import Kind

API_VERSION = "metrics.k8s.io/v1beta1"
Object = dict[str, Any]


class Labelled(msgspec.Struct, kw_only=True):
    """A pod, of which only the metadata is read."""

    metadata: ObjectMeta = msgspec.field(default_factory=ObjectMeta)


def labelled(kind: str) -> Kind[Labelled]:
    resource: Resource = next(r for r in RESOURCES if r.kind == kind and r.group == "")
    return Kind(resource, Labelled)


class View:
    def __init__(self, samples: Samples, nodes: Informer[Node], pods: Informer[Labelled]) -> None:
        self._samples = samples
        self._nodes = nodes
        self._pods = pods

    def nodes(self, labels: Selector, fields: FieldSelector) -> Iterator[Object]:
        for node in sorted(self._nodes.list(), key=lambda n: n.metadata.name or ""):
            if labels.matches(node.metadata.labels) and fields.matches({"metadata.name": node.metadata.name or ""}):
                found = self.node(node.metadata.name or "")
                if found is not None:
                    yield found

    def node(self, name: str) -> Object | None:
        node, sample = self._nodes.get("", name), self._samples.node(name)
        if node is None or sample is None:
            return None
        used, at, window = sample
        return _metrics("NodeMetrics", node.metadata, at, window) | {"usage": used.usage()}

    def pods(self, namespace: str, labels: Selector, fields: FieldSelector) -> Iterator[Object]:
        """`namespace` "": of all."""
        found = []
        for of, name, containers, at, window in self._samples.pods():
            pod = self._pods.get(of, name) if namespace in ("", of) else None
            if pod is None or not labels.matches(pod.metadata.labels):
                continue
            if fields.matches({"metadata.name": name, "metadata.namespace": of}):
                found.append(_pod(pod.metadata, containers, at, window))
        yield from sorted(found, key=lambda p: (p["metadata"]["namespace"], p["metadata"]["name"]))

    def pod(self, namespace: str, name: str) -> Object | None:
        pod = self._pods.get(namespace, name)
        for of, named, containers, at, window in self._samples.pods():
            if pod is not None and (of, named) == (namespace, name):
                return _pod(pod.metadata, containers, at, window)
        return None


def _pod(meta: ObjectMeta, containers: dict[str, Used], at: float, window: float) -> Object:
    listed = [{"name": name, "usage": used.usage()} for name, used in sorted(containers.items())]
    return _metrics("PodMetrics", meta, at, window) | {"containers": listed}


def _metrics(kind: str, meta: ObjectMeta, at: float, window: float) -> Object:
    metadata: Object = {"name": meta.name, "creationTimestamp": api_time.now()}
    if meta.namespace:
        metadata["namespace"] = meta.namespace
    if meta.labels:
        metadata["labels"] = meta.labels
    moment = api_time.format_time(datetime.fromtimestamp(at, UTC))
    length = duration.format(round(window, 3))
    return {"kind": kind, "apiVersion": API_VERSION, "metadata": metadata, "timestamp": moment, "window": length}
