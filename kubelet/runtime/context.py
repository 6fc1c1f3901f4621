"""What the parts of the Docker runtime share: client, events, cgroups, and a few questions that all of them ask."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kubelet.cri import ContainerNotFound, RuntimeFailure
from kubelet.runtime import capabilities, labels
from kubelet.runtime.cgroups import Cgroups
from kubelet.runtime.client import DockerClient
from kubelet.runtime.events import EventHub

_CONFLICT = re.compile(r'already in use by container "?([0-9a-f]{12,64})')
_IN_PROGRESS = re.compile(r"removal of container .* is already in progress")
RECHECK = 5.0  # seconds after which a waiter looks for itself, should an event have been lost


class Context:
    def __init__(self, *, client: DockerClient, hub: EventHub, cgroups: Cgroups, state_dir: Path, bridge: str) -> None:
        self.client = client
        self.hub = hub
        self.cgroups = cgroups
        self.state_dir = state_dir
        self.bridge = bridge
        self.granted = capabilities.grantable()
        self.device_rules = cgroups.device_rules()
        # Starting a container is CPU-bound in dockerd, the shim and runc: beyond two per core each only gets slower.
        self.starting = asyncio.Semaphore(2 * (os.cpu_count() or 1))

    async def inspect(self, container_id: str) -> dict[str, Any]:
        """Raises ContainerNotFound."""
        inspected: dict[str, Any] = await self.client.call(lambda api: api.inspect_container(container_id))
        return inspected

    async def running(self, container_id: str) -> bool:
        try:
            return bool((await self.inspect(container_id))["State"]["Running"])
        except ContainerNotFound:
            return False

    async def list(self, *wanted: str) -> list[dict[str, Any]]:
        """Docker's list entries, of any state, whose labels match all of `wanted` ("key" or "key=value")."""
        own = [f"{labels.BRIDGE}={self.bridge}", *wanted]
        entries: list[dict[str, Any]] = await self.client.call(
            lambda api: api.containers(all=True, filters={"label": own})
        )
        return [entry for entry in entries if labels.is_pod(entry.get("Labels") or {}, self.bridge)]

    async def create(self, body: dict[str, Any], name: str) -> str:
        """The new id. A container of that name that a crash has left behind makes way. Raises RuntimeFailure."""

        def request(api: Any) -> str:
            return str(api.create_container_from_config(body, name)["Id"])

        try:
            return await self.client.call(request)
        except ContainerNotFound as error:  # the image, or the container whose namespaces it should share
            raise RuntimeFailure(str(error)) from error
        except RuntimeFailure as error:
            conflict = _CONFLICT.search(str(error))
            if conflict is None:
                raise
            await self.remove(conflict[1])
            return await self.client.call(request)

    async def start(self, container_id: str) -> None:
        async with self.starting:
            await self.client.call(lambda api: api.start(container_id))

    async def remove(self, container_id: str) -> None:
        """Kill and remove; idempotent."""
        try:
            await self.client.call(lambda api: api.remove_container(container_id, force=True, v=True))
        except ContainerNotFound:
            return
        except RuntimeFailure as error:
            if not _IN_PROGRESS.search(str(error)):
                raise

    async def kill(self, container_id: str, signal: str) -> None:
        """A container that has ended, or is gone, is fine."""
        try:
            await self.client.call(lambda api: api.kill(container_id, signal))
        except ContainerNotFound:
            return
        except RuntimeFailure as error:
            if "is not running" not in str(error):
                raise

    async def signal_and_wait(self, container_id: str, signal: str, seconds: float) -> bool:
        """Whether it has ended within the time. Raises RuntimeFailure if that can't be told when the time is over."""
        loop = asyncio.get_running_loop()
        with self.hub.end_of(container_id) as maybe_ended:
            await self.kill(container_id, signal)
            deadline = loop.time() + seconds
            while True:
                left = deadline - loop.time()
                try:
                    if not await self.running(container_id):
                        return True
                except RuntimeFailure:
                    if left <= 0:
                        raise
                if left <= 0:
                    return False
                try:
                    async with asyncio.timeout(min(left, RECHECK)):
                        await maybe_ended.wait()
                except TimeoutError:
                    pass
                maybe_ended.clear()

    def pid(self, container_id: str, cgroup_parent: str) -> int | None:
        """The container's first process, from its cgroup, which is quicker than an inspect; None if it has none."""
        processes = self.cgroups.processes(f"{cgroup_parent}/{container_id}")
        return processes[0] if processes else None

    async def pid_of(self, container_id: str) -> int:
        """Raises RuntimeFailure if it does not run."""
        inspected = await self.inspect(container_id)
        pid = int(inspected["State"]["Pid"])
        if not pid:
            raise RuntimeFailure(f"container not running ({container_id})")
        return pid

    async def off_loop(self, action: Callable[[], None]) -> None:
        """Work on files, in a thread."""
        await asyncio.to_thread(action)
