"""The kubelet's own metrics, under upstream's names."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

probes = Counter(
    "prober_probe",
    "Cumulative number of a liveness, readiness or startup probe for a container by result.",
    ["probe_type", "result", "container", "pod", "namespace", "pod_uid"],
)
running_pods = Gauge("kubelet_running_pods", "Number of pods that have a running pod sandbox")
running_containers = Gauge("kubelet_running_containers", "Number of containers currently running", ["container_state"])
pod_start = Histogram(
    "kubelet_pod_start_duration_seconds",
    "Duration in seconds from kubelet seeing a pod for the first time to the pod starting to run",
    buckets=(0.1, 0.2, 0.4, 0.6, 0.8, 1, 2, 3, 5, 10, 20, 30, 60, 120, 300),
)
evictions = Counter("kubelet_evictions", "Cumulative number of pod evictions by eviction signal", ["eviction_signal"])
started_containers = Counter(
    "kubelet_started_containers", "Cumulative number of containers started", ["container_type"]
)
