"""A large Deployment on hollow nodes, through every real part above the kubelet; one table.

The processes share this machine with the hollow nodes, so the CPU seconds of each are shown beside the wall time.
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import time
from dataclasses import dataclass, field

import click
from rich.console import Console
from rich.table import Table

from api.codec import from_dict
from api.types.apps_v1 import Deployment
from api.types.core_v1 import Node, ServiceAccount
from bench.hollow.cluster import Cluster, cluster
from bench.hollow.nodes import HollowNodes
from client.api import Api

_PROCESSES = ("etcd", "apiserver", "scheduler", "controller-manager")
#: (nodes, replicas, seconds in which all run or None if there is no target)
CASES = ((100, 2_000, 10.0), (1_000, 10_000, None))
_MEMORY = 150.0  # MB
_PATIENCE = 600.0


@dataclass
class Result:
    running: float = 0.0
    """Seconds from the Deployment's creation until its last pod runs."""
    available: float = 0.0
    """Until the Deployment's own status says so."""
    scheduled: float = 0.0
    """Pods bound per second, between the first and the last."""
    behind: dict[str, int] = field(default_factory=dict)
    """By queue: keys that waited longer than 1 s in it; how many there were in all."""
    keys: int = 0
    longest: float = 0.0
    """No key waited longer than this: the bound of the histogram's bucket."""
    cpu: dict[str, float] = field(default_factory=dict)
    memory: dict[str, float] = field(default_factory=dict)


def deployment(replicas: int) -> Deployment:
    requests = {"cpu": "100m", "memory": "128Mi"}
    container = {"name": "main", "image": "registry.example.com/web:1", "resources": {"requests": requests}}
    labels = {"app": "web"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    spec = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}
    return from_dict(Deployment, {"metadata": {"name": "web", "namespace": "default"}, "spec": spec})


async def measure(nodes: int, replicas: int, profiled: str = "") -> Result:
    """Of one Deployment. `profiled` names a process whose profile is written to `<name>.prof` (py-spy's raw format)."""
    async with cluster() as made, made.client() as api:
        hollow = HollowNodes(api, nodes)
        task = asyncio.create_task(hollow.run())
        try:
            await hollow.ready.wait()
            await _nodes_are_ready(api, nodes)
            if profiled:
                output = ("--format=raw", f"--output={profiled}.prof")
                await asyncio.create_subprocess_exec(
                    "py-spy", "record", *output, f"--pid={made.pid(profiled)}", stdout=subprocess.DEVNULL
                )
            return await _deploy(made, api, hollow, replicas)
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def _nodes_are_ready(api: Api, count: int) -> None:
    while True:
        listed = (await api.list(Node)).items
        accounts = (await api.list(ServiceAccount, namespace="default")).items
        if accounts and sum(not node.spec.taints and bool(node.spec.pod_cidr) for node in listed) == count:
            return
        await asyncio.sleep(0.2)


async def _deploy(made: Cluster, api: Api, hollow: HollowNodes, replicas: int) -> Result:
    result = Result()
    bound: list[float] = []
    running: list[float] = []
    hollow.on_bound = lambda _: bound.append(time.perf_counter())
    hollow.on_running = lambda _: running.append(time.perf_counter())
    before = {name: made.usage(name).cpu for name in _PROCESSES}
    before["hollow nodes"] = time.process_time()
    waits = await _waits(made)
    start = time.perf_counter()
    await api.create(deployment(replicas))
    async with asyncio.timeout(_PATIENCE):
        while len(running) < replicas:
            await asyncio.sleep(0.05)
        while (await api.get(Deployment, "web", namespace="default")).status.available_replicas != replicas:
            await asyncio.sleep(0.05)
    result.available = time.perf_counter() - start
    result.running = running[-1] - start
    result.scheduled = (replicas - 1) / (bound[-1] - bound[0])
    for name in _PROCESSES:
        used = made.usage(name)
        result.cpu[name], result.memory[name] = used.cpu - before[name], used.memory
    result.cpu["hollow nodes"] = time.process_time() - before["hollow nodes"]
    _compare(result, waits, await _waits(made))
    return result


async def _waits(made: Cluster) -> dict[str, dict[float, float]]:
    """By queue and bucket: how many keys waited that long since the controller manager started."""
    waits: dict[str, dict[float, float]] = {}
    for metric in await made.metrics("controller-manager"):
        for sample in metric.samples:
            if sample.name == "workqueue_queue_duration_seconds_bucket":
                waits.setdefault(sample.labels["name"], {})[float(sample.labels["le"])] = sample.value
    return waits


def _compare(result: Result, before: dict[str, dict[float, float]], after: dict[str, dict[float, float]]) -> None:
    """What was waited between the two: before that, keys have waited for this process to become the leader."""
    buckets: dict[float, float] = {}
    for queue, counts in after.items():
        waits = {bound: count - before.get(queue, {}).get(bound, 0.0) for bound, count in counts.items()}
        for bound, count in waits.items():
            buckets[bound] = buckets.get(bound, 0.0) + count
        if late := int(waits[float("inf")] - waits[1.0]):
            result.behind[queue] = late
    result.keys = int(buckets[float("inf")])
    result.longest = min(bound for bound, count in buckets.items() if count == buckets[float("inf")])


def _rows(result: Result, seconds: float | None) -> list[tuple[str, str, str]]:
    late = ", ".join(f"{count} {queue}" for queue, count in sorted(result.behind.items()))
    return [
        ("created to all Running", f"{seconds:.0f} s" if seconds else "", f"{result.running:.1f} s"),
        ("created to available", "", f"{result.available:.1f} s"),
        ("scheduled and bound", "", f"{result.scheduled:,.0f} pods/s"),
        ("controller manager's memory, at most", f"{_MEMORY:.0f} MB", f"{result.memory['controller-manager']:.0f} MB"),
        ("keys that waited over 1 s in its queues", "0", f"{late or 0} of {result.keys:,}"),
        ("longest wait in its queues", "1 s", f"below {result.longest:g} s"),
        *((f"CPU: {name}", "", f"{cpu:.1f} s") for name, cpu in result.cpu.items()),
        *((f"memory: {name}", "", f"{memory:.0f} MB") for name, memory in result.memory.items()),
    ]


@click.command(help=__doc__)
@click.option("--cases", default=len(CASES), show_default=True, help="how many of the cases, smallest first")
@click.option("--profile", "profiled", default="", help="a process of the cluster to watch with py-spy")
@click.option("--case", "own", nargs=2, type=int, help="NODES REPLICAS, instead of the usual cases")
def main(cases: int, profiled: str, own: tuple[int, int] | None) -> None:
    table = Table("nodes", "replicas", "measured", "to reach", "here", title="a Deployment on hollow nodes")
    for nodes, replicas, seconds in [(*own, None)] if own else CASES[:cases]:
        for what, target, here in _rows(asyncio.run(measure(nodes, replicas, profiled)), seconds):
            table.add_row(f"{nodes:,}", f"{replicas:,}", what, target, here)
        table.add_section()
    Console().print(table)


if __name__ == "__main__":
    main()
