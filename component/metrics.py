"""Metrics of the process. Components define theirs with prometheus-client where they belong, under upstream's names."""

from __future__ import annotations

from prometheus_client import REGISTRY, Gauge
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

_build_info = Gauge(
    "kubernetes_build_info",
    "A metric with a constant '1' value labeled by version and git version of the component.",
    ["major", "minor", "git_version"],
)


def build_info(version: str) -> None:
    """`v1.36.0+pykube`"""
    major, minor, *_ = version.removeprefix("v").split(".")
    _build_info.labels(major, minor, version).set(1)


def exposition() -> tuple[bytes, str]:
    """The /metrics page and its content type."""
    return generate_latest(REGISTRY), CONTENT_TYPE_LATEST
