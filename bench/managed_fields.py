"""What field ownership costs per write, in microseconds of CPU: `python -m bench.managed_fields`.

No server, no store: only what `apiserver.pipeline.ownership` adds to a create, an update, an apply of a typical pod.
The budget of a create is 60 µs (4,000 creates a second leave 250 µs for everything).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import msgspec

from api import codec
from api.resources import resource_for
from api.types import core_v1
from apiserver.endpoint import Endpoint
from apiserver.feed import Feed
from apiserver.pipeline.ownership import Owners, keep_timestamps
from apiserver.resources.pods import PodStrategy
from apiserver.store.memory import MemoryStore

POD = {
    "metadata": {
        "name": "web-5d8f9c7b6-x7k2p",
        "generateName": "web-5d8f9c7b6-",
        "namespace": "default",
        "labels": {"app": "web", "pod-template-hash": "5d8f9c7b6"},
        "ownerReferences": [
            {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-5d8f9c7b6", "uid": "1-2-3", "controller": True}
        ],
    },
    "spec": {
        "containers": [
            {
                "name": "web",
                "image": "nginx:1.27",
                "ports": [{"containerPort": 80, "name": "http"}],
                "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
                "resources": {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "100m", "memory": "64Mi"}},
                "readinessProbe": {"httpGet": {"path": "/", "port": 80}},
                "volumeMounts": [{"name": "data", "mountPath": "/data"}],
            }
        ],
        "volumes": [{"name": "data", "emptyDir": {}}],
    },
}
RUNNING = {
    "phase": "Running",
    "podIP": "10.244.1.2",
    "podIPs": [{"ip": "10.244.1.2"}],
    "hostIP": "172.30.0.2",
    "startTime": "2026-01-01T00:00:00Z",
    "conditions": [
        {"type": name, "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}
        for name in ("Initialized", "Ready", "ContainersReady", "PodScheduled")
    ],
    "containerStatuses": [{"name": "web", "ready": True, "restartCount": 0, "image": "nginx:1.27", "imageID": "x"}],
}


def measure(what: Callable[[], Any], *, seconds: float = 0.5) -> float:
    """Microseconds per call, the best of three."""
    calls = 0
    until = time.perf_counter() + seconds / 5
    while time.perf_counter() < until:
        what()
        calls += 1
    best = float("inf")
    for _ in range(3):
        started = time.process_time()
        for _ in range(calls):
            what()
        best = min(best, (time.process_time() - started) / calls)
    return best * 1e6


def main() -> None:
    store = MemoryStore()
    strategy = PodStrategy()
    endpoint = Endpoint(resource_for(core_v1.Pod), strategy, store, Feed(store))
    resource, status = Owners(endpoint, ""), Owners(endpoint, "status")
    pod: Any = codec.from_dict(core_v1.Pod, POD)
    strategy.default(pod)

    def create() -> None:
        pod.metadata.managed_fields = None
        resource.create(pod, "kube-controller-manager")

    def create_unlike_any() -> None:
        resource._seen.clear()
        create()

    rows = [
        ("create, its spec seen before", measure(create)),
        ("create, first of its spec", measure(create_unlike_any)),
    ]
    running = codec.deepcopy(pod)
    running.status = codec.from_dict(core_v1.PodStatus, RUNNING)

    def start() -> None:
        running.metadata.managed_fields = pod.metadata.managed_fields
        status.update(running, pod, "kubelet")
        keep_timestamps(running, pod)

    rows.append(("status: Pending to Running", measure(start)))
    changed = codec.deepcopy(running)
    changed.status.conditions[1].status = "False"

    def flip() -> None:
        changed.metadata.managed_fields = None
        status.update(changed, running, "kubelet")
        keep_timestamps(changed, running)

    rows.append(("status: one condition flips", measure(flip)))
    same = codec.deepcopy(running)

    def nothing() -> None:
        same.metadata.managed_fields = None
        status.update(same, running, "kubelet")
        keep_timestamps(same, running)

    rows.append(("status: nothing changed", measure(nothing)))
    labelled = codec.deepcopy(running)
    labelled.metadata.labels["x"] = "y"

    def label() -> None:
        labelled.metadata.managed_fields = None
        resource.update(labelled, running, "kubectl-label")

    rows.append(("one label added", measure(label)))
    config = {"apiVersion": "v1", "kind": "Pod", **POD}
    applied = resource.apply(running, config, "me", force=True, exists=True)
    rows.append(
        ("apply, nothing changed", measure(lambda: resource.apply(applied, config, "me", force=False, exists=True)))
    )
    rows.append(("encode with / without", measure(lambda: codec.encode(running))))
    bare = codec.deepcopy(running)
    bare.metadata.managed_fields = None
    rows.append(("", measure(lambda: codec.encode(bare))))
    full, small = codec.encode(running), codec.encode(bare)
    decoder = msgspec.json.Decoder(core_v1.Pod)
    rows.append(("decode with / without", measure(lambda: decoder.decode(full))))
    rows.append(("", measure(lambda: decoder.decode(small))))
    for name, cost in rows:
        print(f"{name:32}{cost:8.1f} µs")
    print(f"{'size with / without':32}{len(full):8} / {len(small)} bytes")


if __name__ == "__main__":
    main()
