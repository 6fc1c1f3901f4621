"""A runtime of its own bridge and state for each test, pods by the line, and a count of what is left behind."""

from __future__ import annotations

import asyncio
import os
import subprocess
import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from kubelet import cri
from kubelet.runtime.docker import DockerRuntime

HOST = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
PAUSE = "localhost:5000/pykube/pause:1.0"
TOOLBOX = "localhost:5000/pykube/toolbox:latest"
BRIDGE = "pktest0"
CIDR = "10.98.7.0/26"
KUBEPODS = "/kubepods/besteffort"


@dataclass
class RunningPod:
    runtime: DockerRuntime
    sandbox: cri.SandboxStatus
    config: cri.SandboxConfig
    container: str = ""

    @property
    def ip(self) -> str:
        return self.sandbox.ips[0]

    async def add(self, *command: str, name: str = "main", start: bool = True, **settings: Any) -> str:
        image = await self.runtime.image(TOOLBOX)
        assert image is not None, f"{TOOLBOX} is missing: make images"
        settings.setdefault("security", cri.SecurityConfig(seccomp_profile="unconfined"))
        settings.setdefault("attempt", 0)
        config = cri.ContainerConfig(name=name, image_id=image.id, image=TOOLBOX, command=command, **settings)
        self.container = await self.runtime.create_container(self.sandbox.id, self.config, config)
        if start:
            await self.runtime.start_container(self.container)
        return self.container

    async def sh(self, script: str, container: str = "") -> str:
        done = await self.runtime.exec_sync(container or self.container, ["sh", "-c", script], 20)
        assert done.exit_code == 0, done
        return done.output.decode()

    async def ended(self, container: str = "") -> cri.ContainerStatus:
        async with asyncio.timeout(30):
            while True:
                status = await self.runtime.container(container or self.container)
                if status.state is cri.State.EXITED:
                    return status
                await asyncio.sleep(0.02)

    async def log(self, container: str = "", **options: Any) -> bytes:
        settings: dict[str, Any] = {
            "follow": False, "since": None, "tail": None, "timestamps": False, "limit_bytes": None,
        } | options  # fmt: skip
        return b"".join([data async for data in self.runtime.logs(container or self.container, **settings)])


class Pods:
    """Makes pods and, at the end, removes them."""

    def __init__(self, runtime: DockerRuntime) -> None:
        self.runtime = runtime
        self._made: list[RunningPod] = []

    def config(self, **settings: Any) -> cri.SandboxConfig:
        uid = f"test-{uuid.uuid4()}"
        defaults: dict[str, Any] = {
            "namespace": "runtime-test",
            "name": f"pod-{uid[:8]}",
            "uid": uid,
            "attempt": 0,
            "hostname": "web-0",
            "cgroup_parent": f"{KUBEPODS}/pod{uid}",
            "resources": cri.Resources(cpu_shares=2),
        }
        return cri.SandboxConfig(**(defaults | settings))

    async def sandbox(self, **settings: Any) -> RunningPod:
        config = self.config(**settings)
        pod = RunningPod(self.runtime, await self.runtime.run_sandbox(config), config)
        self._made.append(pod)
        return pod

    async def run(self, *command: str, sandbox: dict[str, Any] | None = None, **settings: Any) -> RunningPod:
        pod = await self.sandbox(**(sandbox or {}))
        await pod.add(*(command or ("sleep", "1000")), **settings)
        return pod

    async def remove_all(self) -> None:
        await asyncio.gather(*(self.runtime.remove_sandbox(pod.sandbox.id) for pod in self._made))
        self._made.clear()


@pytest.fixture
async def runtime(tmp_path: Path) -> AsyncIterator[DockerRuntime]:
    async with started(tmp_path) as runtime:
        yield runtime


class started:
    """A runtime that runs: `async with started(state_dir) as runtime`."""

    def __init__(self, state_dir: Path) -> None:
        self._state_dir = state_dir

    async def __aenter__(self) -> DockerRuntime:
        self.runtime = DockerRuntime(host=HOST, sandbox_image=PAUSE, state_dir=self._state_dir, bridge=BRIDGE)
        self._task = asyncio.create_task(self.runtime.run())
        await self.runtime.set_pod_cidr(CIDR)
        return self.runtime

    async def __aexit__(self, *exc: object) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])


@pytest.fixture
async def pods(runtime: DockerRuntime) -> AsyncIterator[Pods]:
    pods = Pods(runtime)
    try:
        yield pods
    finally:
        await pods.remove_all()


def leftovers() -> dict[str, list[str]]:
    """What these tests make outside of the test's own directory."""
    ask = ["docker", "ps", "-aq", "--filter", f"label=io.pykube.bridge={BRIDGE}"]
    bridge = Path("/sys/class/net") / BRIDGE / "brif"
    cgroups = [path for path in Path("/sys/fs/cgroup").glob(f"**{KUBEPODS}/podtest*") if path.is_dir()]
    return {
        "containers": subprocess.run(ask, capture_output=True, text=True, check=True).stdout.split(),
        "veths": [port.name for port in bridge.iterdir()] if bridge.exists() else [],
        "cgroups": [str(path) for path in cgroups],
        "host ports": subprocess.run(
            ["nft", "list", "table", "ip", "pykube_hostports"], capture_output=True, text=True, check=False
        ).stdout.splitlines(),
    }


async def remove_network() -> None:
    with tempfile.TemporaryDirectory() as state_dir:
        async with started(Path(state_dir)) as runtime:
            await runtime.remove_network()


@pytest.fixture(scope="module", autouse=True)
def nothing_left(one_at_a_time: None) -> Iterator[None]:
    """Every container, veth, cgroup and host port that the tests of a file made is gone after them."""
    before = leftovers()
    yield
    after = leftovers()
    asyncio.run(remove_network())
    assert after == before
    assert not (Path("/sys/class/net") / BRIDGE).exists()


__all__ = ["BRIDGE", "CIDR", "PAUSE", "TOOLBOX", "Pods", "RunningPod", "leftovers", "replace", "started"]
