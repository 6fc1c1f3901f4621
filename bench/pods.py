"""How soon pods are Ready: one by one, and a Deployment of twenty on one node. The image is on the node already.

Against any cluster that the kubeconfig's current context names. Run: `python -m bench.pods`.
"""

from __future__ import annotations

import asyncio
import statistics
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from cli.kubeconfig import Kubeconfig
from cli.rest import Client

Object = dict[str, Any]
IMAGE = "localhost:5000/pykube/toolbox"


def template(image: str, node: str) -> Object:
    container = {"name": "main", "image": image, "command": ["sleep", "infinity"]}
    spec = {
        "containers": [container],
        "terminationGracePeriodSeconds": 0,
        "nodeSelector": {"kubernetes.io/hostname": node},
    }
    return {"metadata": {"labels": {"app": "bench"}}, "spec": spec}


def is_ready(pod: Object) -> bool:
    conditions = pod.get("status", {}).get("conditions", ())
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


@asynccontextmanager
async def namespace(client: Client) -> AsyncIterator[str]:
    name = f"bench-{uuid.uuid4().hex[:6]}"
    await client.request("POST", "/api/v1/namespaces", body={"metadata": {"name": name}})
    try:
        while True:
            accounts = await client.get(f"/api/v1/namespaces/{name}/serviceaccounts")
            if accounts["items"]:
                break
            await asyncio.sleep(0.05)
        yield name
    finally:
        await client.request("DELETE", f"/api/v1/namespaces/{name}")


async def until_ready(client: Client, name: str, wanted: int, started: asyncio.Event) -> None:
    """Returns when `wanted` pods of the namespace are Ready at once."""
    path = f"/api/v1/namespaces/{name}/pods"
    version = (await client.get(path))["metadata"]["resourceVersion"]
    ready: set[str] = set()
    events = client.events(path, query={"resourceVersion": version})
    started.set()
    async for event in events:
        pod = event["object"]
        uid = pod["metadata"]["uid"]
        (ready.add if event["type"] != "DELETED" and is_ready(pod) else ready.discard)(uid)
        if len(ready) == wanted:
            return


async def one_pod(client: Client, name: str, image: str, node: str) -> float:
    started = asyncio.Event()
    waiting = asyncio.create_task(until_ready(client, name, 1, started))
    await started.wait()
    body = {"apiVersion": "v1", "kind": "Pod", **template(image, node)}
    body["metadata"]["name"] = f"one-{uuid.uuid4().hex[:6]}"
    begin = time.perf_counter()
    await client.request("POST", f"/api/v1/namespaces/{name}/pods", body=body)
    await waiting
    took = time.perf_counter() - begin
    path = f"/api/v1/namespaces/{name}/pods/{body['metadata']['name']}"
    await client.request("DELETE", path, body={"gracePeriodSeconds": 0})
    await asyncio.sleep(0.5)
    return took


async def deployment(client: Client, name: str, image: str, node: str, replicas: int) -> float:
    started = asyncio.Event()
    waiting = asyncio.create_task(until_ready(client, name, replicas, started))
    await started.wait()
    labels = {"app": "bench"}
    body = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "many"},
        "spec": {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template(image, node)},
    }
    path = f"/apis/apps/v1/namespaces/{name}/deployments"
    begin = time.perf_counter()
    await client.request("POST", path, body=body)
    await waiting
    took = time.perf_counter() - begin
    await client.request("DELETE", f"{path}/many")
    while (await client.get(f"/api/v1/namespaces/{name}/pods"))["items"]:
        await asyncio.sleep(0.5)
    return took


async def measure(image: str, node: str, repeats: int, replicas: int) -> Table:
    client = Client(Kubeconfig.load().rest_config({}))
    try:
        chosen = node or (await client.get("/api/v1/nodes"))["items"][0]["metadata"]["name"]
        async with namespace(client) as name:
            await one_pod(client, name, image, chosen)  # so that the image is there
            ones = [await one_pod(client, name, image, chosen) for _ in range(repeats)]
            many = [await deployment(client, name, image, chosen, replicas) for _ in range(3)]
    finally:
        await client.close()
    table = Table(
        "what", "median", "best", "worst", "target", "Kubernetes 1.20", title="pods, create to Ready (seconds)"
    )
    rows = (("one pod", ones, "0.40", "0.95"), (f"Deployment of {replicas}", many, "4", "14.2"))
    for what, times, target, theirs in rows:
        table.add_row(what, *(f"{t:.2f}" for t in (statistics.median(times), min(times), max(times))), target, theirs)
    return table


@click.command()
@click.option("--image", default=IMAGE, help="an image with `sleep`")
@click.option("--node", default="", help="where the pods run; default: the first node")
@click.option("--repeats", default=15, help="how often one pod is started")
@click.option("--replicas", default=20, help="of the Deployment")
def main(image: str, node: str, repeats: int, replicas: int) -> None:
    Console().print(asyncio.run(measure(image, node, repeats, replicas)))


if __name__ == "__main__":
    main()
