"""Prometheus metrics of the client side, under upstream's names."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

_SECONDS = (1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0)

_adds = Counter("workqueue_adds", "Total number of adds handled by workqueue", ["name"])
_depth = Gauge("workqueue_depth", "Current depth of workqueue", ["name"])
_retries = Counter("workqueue_retries", "Total number of retries handled by workqueue", ["name"])
_queued = Histogram(
    "workqueue_queue_duration_seconds",
    "How long in seconds an item stays in workqueue before being requested.",
    ["name"],
    buckets=_SECONDS,
)
_worked = Histogram(
    "workqueue_work_duration_seconds",
    "How long in seconds processing an item from workqueue takes.",
    ["name"],
    buckets=_SECONDS,
)
leader = Gauge(
    "leader_election_master_status",
    "Gauge of if the reporting system is master of the relevant lease, 0 indicates backup, 1 indicates master.",
    ["name"],
)


class QueueMetrics:
    """The metrics of one queue, looked up once."""

    def __init__(self, name: str) -> None:
        self.adds = _adds.labels(name)
        self.depth = _depth.labels(name)
        self.retries = _retries.labels(name)
        self.queued = _queued.labels(name)
        self.worked = _worked.labels(name)

    def took(self, left: int, waited: float) -> None:
        self.depth.set(left)
        self.queued.observe(waited)
