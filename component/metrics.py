"""Metrics of the process. Components define theirs with prometheus-client where they belong, under upstream's names."""

from __future__ import annotations

from prometheus_client import REGISTRY, Gauge
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from api.version import GIT_VERSION

_major, _minor, *_ = GIT_VERSION.removeprefix("v").split(".")
Gauge(
    "kubernetes_build_info",
    "A metric with a constant '1' value labeled by version and git version of the component.",
    ["major", "minor", "git_version"],
).labels(_major, _minor, GIT_VERSION).set(1)


def exposition() -> tuple[bytes, str]:
    """The /metrics page and its content type."""
    return generate_latest(REGISTRY), CONTENT_TYPE_LATEST
