"""Scheduling throughput: pods a second that are decided and bound, every pod matched against all nodes.

The scheduler is the real one, with its queue, informers and writer; the API is in memory, so that the figure is the
scheduler's own. Run: `python -m bench.scheduler`.
"""

from __future__ import annotations

import asyncio
import contextlib
import time

import click
from rich.console import Console
from rich.table import Table

from api.codec import from_dict
from api.types.core_v1 import Node, Pod
from client.events import EventRecorder
from client.fake import FakeApi
from scheduler.scheduler import Scheduler

#: (nodes, pods, pods/s of Kubernetes 1.20 on 2 cores, which samples nodes; the target)
CASES = [(100, 2_000, 682, 2_000), (1_000, 5_000, 360, 2_000), (5_000, 10_000, 311, 2_000)]


def node(number: int) -> Node:
    resources = {"cpu": "32", "memory": "128Gi", "pods": "110"}
    labels = {"kubernetes.io/hostname": f"n{number}", "topology.kubernetes.io/zone": f"z{number % 3}"}
    return from_dict(
        Node,
        {"metadata": {"name": f"n{number}", "labels": labels}, "status": {"allocatable": resources}},
    )


def pod(number: int) -> Pod:
    requests = {"cpu": "100m", "memory": "128Mi"}
    container = {"name": "c", "image": "web:1", "resources": {"requests": requests}}
    metadata = {"name": f"p{number}", "namespace": "default", "labels": {"app": f"a{number % 20}"}}
    return from_dict(
        Pod, {"metadata": metadata, "spec": {"containers": [container], "schedulerName": "default-scheduler"}}
    )


async def measure(nodes: int, pods: int) -> tuple[float, float]:
    """Pods a second of the whole loop, and of the decisions alone."""
    api = FakeApi()
    for number in range(nodes):
        api.add(node(number))
    for number in range(pods):
        api.add(pod(number))
    scheduler = Scheduler(api, EventRecorder(api, "default-scheduler"))
    informers = asyncio.create_task(scheduler.factory.run())
    await scheduler.factory.synced()
    infos = [queued.info for queued in list(scheduler.queue._known.values())]
    started = time.perf_counter()
    loop = asyncio.create_task(scheduler.run())
    while sum(bool(p.spec.node_name) for p in scheduler._pods.list()) < pods:
        await asyncio.sleep(0.05)
    whole = pods / (time.perf_counter() - started)
    sample = infos[:500]
    started = time.perf_counter()
    for info in sample:
        scheduler._decider.decide(info)
    alone = len(sample) / (time.perf_counter() - started)
    for task in (loop, informers):
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    return whole, alone


@click.command()
@click.option("--cases", default=len(CASES), help="how many of the cases, smallest first")
def main(cases: int) -> None:
    table = Table("nodes", "pods", "pods/s", "decisions/s", "target", "Kubernetes 1.20", title="scheduling throughput")
    for nodes, pods, theirs, target in CASES[:cases]:
        whole, alone = asyncio.run(measure(nodes, pods))
        table.add_row(*(f"{value:,.0f}" for value in (nodes, pods, whole, alone, target, theirs)))
    Console().print(table)


if __name__ == "__main__":
    main()
