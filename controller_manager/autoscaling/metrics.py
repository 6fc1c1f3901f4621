"""Where metrics come from: metrics.k8s.io for resources, custom.metrics.k8s.io and external.metrics.k8s.io.

These groups are served by whoever registered for them; this file knows only their form.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from api import duration, errors
from api import time as api_time
from api.quantity import Quantity
from api.resource import Resource
from api.selectors import selector_from
from api.types.meta_v1 import LabelSelector
from client.api import Api
from client.writes import Kind


@dataclass(frozen=True)
class Sample:
    """`value` in thousandths, measured over `window` seconds up to `at`."""

    value: int
    at: datetime
    window: float


class NoMetrics(Exception):
    """The metrics that were asked for are not there."""


def _kind(group: str, version: str, plural: str) -> Kind[dict[str, Any]]:
    resource = Resource(group, version, "", plural, plural, type_ref=cast(Any, dict))
    return Kind(resource, dict)


class MetricsClient:
    """Raises NoMetrics for everything that goes wrong, with upstream's kind of message."""

    def __init__(self, api: Api) -> None:
        self._api = api

    async def resource(self, name: str, namespace: str, selector: str, container: str = "") -> dict[str, Sample]:
        """Usage by pod. Pods of which a container has no sample are left out."""
        try:
            found = await self._api.list(
                _kind("metrics.k8s.io", "v1beta1", "pods"), namespace=namespace, labels=selector
            )
        except errors.StatusError as error:
            raise NoMetrics(f"unable to fetch metrics from resource metrics API: {error.message}") from None
        samples: dict[str, Sample] = {}
        for pod in found.items:
            values = [
                (c.get("usage") or {}).get(name)
                for c in pod.get("containers") or ()
                if container in ("", c.get("name"))
            ]
            known = [Quantity(v).milli for v in values if v is not None]
            if not known or len(known) < len(values):
                continue
            total = sum(known)
            samples[pod["metadata"]["name"]] = Sample(
                total, api_time.parse(pod["timestamp"]), duration.parse(pod.get("window") or "0s")
            )
        if not found.items or not samples:
            raise NoMetrics("no metrics returned from resource metrics API")
        return samples

    async def pods(self, metric: str, namespace: str, selector: str, of: LabelSelector | None) -> dict[str, Sample]:
        """A custom metric by pod."""
        items = await self._custom(namespace, "pods", "*", metric, selector, of)
        return {
            item["describedObject"]["name"]: Sample(
                Quantity(item["value"]).milli,
                api_time.parse(item["timestamp"]),
                float(item.get("windowSeconds") or 60),
            )
            for item in items
        }

    async def object(self, metric: str, namespace: str, resource: str, name: str, of: LabelSelector | None) -> int:
        """A custom metric of one object, in thousandths."""
        items = await self._custom(namespace, resource, name, metric, "", of)
        if not items:
            raise NoMetrics(f"unable to get metric {metric}: no metrics returned from custom metrics API")
        return Quantity(items[0]["value"]).milli

    async def external(self, metric: str, namespace: str, of: LabelSelector | None) -> list[int]:
        """Values of all series of an external metric that match, in thousandths."""
        labels = str(selector_from(of)) if of is not None else ""
        try:
            found = await self._api.list(
                _kind("external.metrics.k8s.io", "v1beta1", metric), namespace=namespace, labels=labels
            )
        except errors.StatusError as error:
            raise NoMetrics(f"unable to fetch metrics from external metrics API: {error.message}") from None
        if not found.items:
            raise NoMetrics("no metrics returned from external metrics API")
        return [Quantity(item["value"]).milli for item in found.items]

    async def _custom(
        self, namespace: str, resource: str, name: str, metric: str, selector: str, of: LabelSelector | None
    ) -> list[dict[str, Any]]:
        kind = _kind("custom.metrics.k8s.io", "v1beta2", resource)
        try:
            found: Any = await self._api.get(kind, name, namespace=namespace, subresource=metric)
        except errors.StatusError as error:
            raise NoMetrics(f"unable to fetch metrics from custom metrics API: {error.message}") from None
        return list(found.get("items") or ())
