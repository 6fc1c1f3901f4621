"""Where metrics come from: metrics.k8s.io for resources, custom.metrics.k8s.io and external.metrics.k8s.io.

These groups are served by whoever registered for them; this file knows only their form. All values are thousandths.
Source: k8s.io/metrics; the paths of custom metrics are `<resource>/<name or *>/<metric>`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from api import duration, errors
from api import time as api_time
from api.quantity import Quantity
from api.resource import Resource
from api.selectors import selector_from
from api.types.apiregistration_v1 import APIService
from api.types.autoscaling_v2 import CrossVersionObjectReference
from api.types.meta_v1 import LabelSelector
from client.api import Api
from client.informer import Informer
from client.writes import Kind
from controller_manager.autoscaling.targets import Kinds

_DEFAULT_WINDOW = 60.0
_CUSTOM = "custom.metrics.k8s.io"
_CUSTOM_VERSIONS = ("v1beta2", "v1beta1")
"""Best first, as upstream's client prefers them."""


@dataclass(frozen=True)
class Sample:
    """`value` in thousandths, measured over `window` seconds up to `at`."""

    value: int
    at: datetime
    window: float


class NoMetrics(Exception):
    """The metrics that were asked for are not there."""


def metric_kind(group: str, version: str, plural: str) -> Kind[dict[str, Any]]:
    """What a metric is listed as."""
    return Kind(Resource(group, version, "", plural, plural, type_ref=cast(Any, dict)), dict)


class MetricsClient:
    """Raises NoMetrics for everything that goes wrong, in upstream's words."""

    def __init__(self, api: Api, kinds: Kinds, services: Informer[APIService]) -> None:
        self._api, self._kinds, self._services = api, kinds, services

    async def resource(self, name: str, namespace: str, selector: str, container: str = "") -> dict[str, Sample]:
        """Usage by pod, of one container or of all. Pods of which a container has no sample are left out."""
        try:
            found = await self._api.list(
                metric_kind("metrics.k8s.io", "v1beta1", "pods"), namespace=namespace, labels=selector
            )
        except errors.StatusError as error:
            raise NoMetrics(f"unable to fetch metrics from resource metrics API: {error.message}") from None
        if not found.items:
            raise NoMetrics("no metrics returned from resource metrics API")
        samples: dict[str, Sample] = {}
        for pod in found.items:
            usages = _usages(pod, name, container)
            if usages and None not in usages:
                total = sum(Quantity(value).milli for value in usages if value is not None)
                at, window = api_time.parse(pod["timestamp"]), duration.parse(pod.get("window") or "0s")
                samples[pod["metadata"]["name"]] = Sample(total, at, window)
        return samples

    async def pods(self, metric: str, namespace: str, selector: str, of: LabelSelector | None) -> dict[str, Sample]:
        """A custom metric by pod."""
        items = await self._custom(namespace, f"pods/*/{metric}", of, selector)
        return {
            item["describedObject"]["name"]: Sample(
                Quantity(item["value"]).milli, api_time.parse(item["timestamp"]), _window(item)
            )
            for item in items
        }

    async def object(
        self, metric: str, namespace: str, ref: CrossVersionObjectReference, of: LabelSelector | None
    ) -> int:
        """A custom metric of one object. A Namespace is always the autoscaler's own, whatever `ref` says."""
        group = (ref.api_version or "").rpartition("/")[0]
        if (group, ref.kind) == ("", "Namespace"):
            path = f"metrics/{metric}"
        else:
            resource = self._kinds.find(ref.api_version, ref.kind)
            if resource is None:
                words = f'no matches for kind "{ref.kind}" in group "{group}"'
                raise NoMetrics(
                    "unable to fetch metrics from custom metrics API: "
                    f"unable to map kind {f'{ref.kind}.{group}' if group else ref.kind} to resource: {words}"
                )
            path = f"{resource.group_resource}/{ref.name}/{metric}"
        items = await self._custom(namespace, path, of)
        return Quantity(items[0]["value"]).milli

    async def external(self, metric: str, namespace: str, of: LabelSelector | None) -> list[int]:
        """Values of all series of an external metric that match."""
        kind = metric_kind("external.metrics.k8s.io", "v1beta1", metric)
        try:
            found = await self._api.list(kind, namespace=namespace, labels=_text(of))
        except errors.StatusError as error:
            raise NoMetrics(f"unable to fetch metrics from external metrics API: {error.message}") from None
        if not found.items:
            raise NoMetrics("no metrics returned from external metrics API")
        return [Quantity(item["value"]).milli for item in found.items]

    async def _custom(
        self, namespace: str, path: str, of: LabelSelector | None, selector: str = ""
    ) -> list[dict[str, Any]]:
        version = next((v for v in _CUSTOM_VERSIONS if self._services.get("", f"{v}.{_CUSTOM}") is not None), None)
        if version is None:
            why = f"no custom metrics API ({_CUSTOM}) registered"
            raise NoMetrics(f"unable to fetch metrics from custom metrics API: {why}")
        query = {"metricLabelSelector": _text(of)} if _text(of) else {}
        try:
            found = await self._api.list(
                metric_kind(_CUSTOM, version, path), namespace=namespace, labels=selector, query=query
            )
        except errors.StatusError as error:
            raise NoMetrics(f"unable to fetch metrics from custom metrics API: {error.message}") from None
        if not found.items:
            raise NoMetrics("no metrics returned from custom metrics API")
        return found.items


def _usages(pod: Mapping[str, Any], resource: str, container: str) -> list[Any]:
    """What each container that counts uses, None where nobody knows. Raises NoMetrics if `container` is not there."""
    containers = pod.get("containers") or ()
    if container:
        containers = [c for c in containers if c.get("name") == container]
        if not containers:
            where = f"{pod['metadata'].get('namespace', '')}/{pod['metadata']['name']}"
            words = f"container {container} not present in metrics for pod {where}"
            raise NoMetrics(f"failed to get container metrics: {words}")
    return [(c.get("usage") or {}).get(resource) for c in containers]


def _window(item: Mapping[str, Any]) -> float:
    """v1beta1 calls it `window`, v1beta2 `windowSeconds`."""
    value = item.get("windowSeconds", item.get("window"))
    return _DEFAULT_WINDOW if value is None else float(value)


def _text(selector: LabelSelector | None) -> str:
    return "" if selector is None else str(selector_from(selector))
