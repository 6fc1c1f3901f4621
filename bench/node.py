"""What one node does: a pod, twenty, a hundred from create to Ready, and what its kubelet takes when nothing happens.

The image is on the node already. Against any cluster that the kubeconfig's current context names.
Run: `python -m bench.node`.
"""

from __future__ import annotations

import asyncio
import re
import statistics
import time

import click
from rich.console import Console
from rich.table import Table

from bench.pods import IMAGE, deployment, namespace, one_pod
from cli.kubeconfig import Kubeconfig
from cli.rest import Client

SETTLE = 30.0
"""Seconds after the last pod has gone until the node counts as idle."""


async def process(client: Client, node: str) -> tuple[float, float]:
    """(seconds of CPU so far, resident bytes) of a node's kubelet, by its own metrics."""
    page = await client.raw("GET", f"/api/v1/nodes/{node}/proxy/metrics")

    def value(name: str) -> float:
        found = re.search(rb"^%s ([0-9.e+]+)$" % name.encode(), page, re.MULTILINE)
        if found is None:
            raise click.ClickException(f"the kubelet of {node} has no metric {name}")
        return float(found[1])

    return value("process_cpu_seconds_total"), value("process_resident_memory_bytes")


async def idle(client: Client, node: str, seconds: float) -> tuple[float, float]:
    """(percent of a core, megabytes) while nothing is asked of the node."""
    await asyncio.sleep(SETTLE)
    before, _ = await process(client, node)
    began = time.perf_counter()
    await asyncio.sleep(seconds)
    after, memory = await process(client, node)
    return 100 * (after - before) / (time.perf_counter() - began), memory / 1e6


async def measure(image: str, node: str, pods: int, seconds: float) -> Table:
    client = Client(Kubeconfig.load().rest_config({}))
    try:
        chosen = node or (await client.get("/api/v1/nodes"))["items"][0]["metadata"]["name"]
        async with namespace(client) as name:
            await one_pod(client, name, image, chosen)  # so that the image is there
            one = statistics.median([await one_pod(client, name, image, chosen) for _ in range(7)])
            twenty = await deployment(client, name, image, chosen, 20)
            many = await deployment(client, name, image, chosen, pods)
        cpu, memory = await idle(client, chosen, seconds)
    finally:
        await client.close()
    table = Table("what", "measured", "target", title=f"one node ({chosen})")
    table.add_row("one pod, create to Ready (median of 7)", f"{one:.2f} s", "0.40 s")
    table.add_row("Deployment of 20, create to all Ready", f"{twenty:.1f} s", "4 s")
    table.add_row(f"Deployment of {pods}, create to all Ready", f"{many:.1f} s", "25 s")
    table.add_row("kubelet, idle: CPU", f"{cpu:.1f} % of a core", "2 %")
    table.add_row("kubelet, idle: memory (resident)", f"{memory:.0f} MB", "80 MB")
    return table


@click.command()
@click.option("--image", default=IMAGE, help="an image with `sleep`")
@click.option("--node", default="", help="where the pods run; default: the first node")
@click.option("--pods", default=100, help="how many are started at once")
@click.option("--seconds", default=60.0, help="how long the idle kubelet is watched")
def main(image: str, node: str, pods: int, seconds: float) -> None:
    Console().print(asyncio.run(measure(image, node, pods, seconds)))


if __name__ == "__main__":
    main()
