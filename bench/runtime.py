"""What each call of the container runtime costs, without a kubelet or a cluster around it: one pod, and twenty at once.

Needs a dockerd and `make images`. Run: `python -m bench.runtime`. What `bench.pods` shows on top of this is the rest of
the system: API server, scheduler, kubelet.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
import uuid
from collections import defaultdict
from collections.abc import Awaitable
from pathlib import Path
from typing import TypeVar

import click
from rich.console import Console
from rich.table import Table

from kubelet import cri
from kubelet.runtime.docker import DockerRuntime

T = TypeVar("T")
PAUSE = "localhost:5000/pykube/pause:1.0"
IMAGE = "localhost:5000/pykube/toolbox:latest"
BRIDGE, CIDR = "pkbench0", "10.98.9.0/25"


class Bench:
    def __init__(self, runtime: DockerRuntime, image: cri.ImageStatus) -> None:
        self._runtime = runtime
        self._image = image
        self.times: dict[str, list[float]] = defaultdict(list)  # seconds

    async def timed(self, what: str, call: Awaitable[T]) -> T:
        begin = time.perf_counter()
        result = await call
        self.times[what].append(time.perf_counter() - begin)
        return result

    async def pod(self) -> tuple[cri.SandboxStatus, str]:
        uid = uuid.uuid4().hex
        config = cri.SandboxConfig(
            namespace="bench",
            name=f"p-{uid[:8]}",
            uid=uid,
            attempt=0,
            hostname="bench",
            cgroup_parent=f"/kubepods/besteffort/pod{uid}",
            resources=cri.Resources(cpu_shares=2),
        )
        container = cri.ContainerConfig(
            name="main",
            attempt=0,
            image_id=self._image.id,
            image=IMAGE,
            command=("sleep", "infinity"),
            security=cri.SecurityConfig(seccomp_profile="unconfined"),
        )
        sandbox = await self.timed("sandbox (create, start, network)", self._runtime.run_sandbox(config))
        created = await self.timed("create container", self._runtime.create_container(sandbox.id, config, container))
        await self.timed("start container", self._runtime.start_container(created))
        await self.timed("its status", self._runtime.pod(uid))
        return sandbox, created

    async def one(self) -> None:
        sandbox, container = await self.timed("one pod", self.pod())
        await self.timed("exec", self._runtime.exec_sync(container, ["true"], 10))
        await self.timed("statistics", self._runtime.pod_stats())
        await self.timed("stop container (kill)", self._runtime.stop_container(container, 0))
        await self.timed("remove pod", self._runtime.remove_sandbox(sandbox.id))

    async def many(self, count: int) -> None:
        pods = await self.timed(
            f"{count} pods at once", asyncio.gather(*(Bench(self._runtime, self._image).pod() for _ in range(count)))
        )
        await self.timed("list all pods", self._runtime.list_pods())
        await self.timed(
            f"remove {count} pods", asyncio.gather(*(self._runtime.remove_sandbox(sandbox.id) for sandbox, _ in pods))
        )

    def table(self) -> Table:
        table = Table("runtime call", "median", "worst", title="Container runtime")
        for what, times in self.times.items():
            table.add_row(what, f"{statistics.median(times) * 1000:.0f} ms", f"{max(times) * 1000:.0f} ms")
        return table


async def measure(host: str, repeats: int, count: int) -> Table:
    with tempfile.TemporaryDirectory() as state:
        runtime = DockerRuntime(host=host, sandbox_image=PAUSE, state_dir=Path(state), bridge=BRIDGE)
        running = asyncio.create_task(runtime.run())
        try:
            await runtime.set_pod_cidr(CIDR)
            image = await runtime.image(IMAGE)
            if image is None:
                raise click.ClickException(f"{IMAGE} is missing: make images")
            bench = Bench(runtime, image)
            for _ in range(repeats):
                await bench.one()
            await bench.many(count)
            return bench.table()
        finally:
            await runtime.remove_network()
            running.cancel()
            await asyncio.wait([running])


@click.command()
@click.option("--host", default="unix:///var/run/docker.sock", help="dockerd")
@click.option("--repeats", default=10, help="of the single pod")
@click.option("--count", default=20, help="pods at once")
def main(host: str, repeats: int, count: int) -> None:
    """What each call of the container runtime costs."""
    Console().print(asyncio.run(measure(host, repeats, count)))


if __name__ == "__main__":
    main()
