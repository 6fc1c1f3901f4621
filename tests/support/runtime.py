"""A container runtime in memory for tests of the kubelet: everything works at once, and what a test wants happens.

runtime.exit("web", 1)            the container ends
runtime.lose("web")               ... is removed behind the kubelet's back
runtime.fail("run_sandbox", ...)  the next call fails
runtime.hold("pull_image")        calls wait until the returned event is set
"""

from __future__ import annotations

import asyncio
import itertools
from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from kubelet.cri import (
    ContainerConfig,
    ContainerNotFound,
    ContainerStatus,
    ExecResult,
    ExecStream,
    ImageAuth,
    ImageError,
    ImageStatus,
    PodSnapshot,
    Resources,
    RuntimeEvent,
    SandboxConfig,
    SandboxStatus,
    State,
)


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f000Z")


class FakeRuntime:
    """See `kubelet.cri.Runtime`, which it implements."""

    def __init__(self, *images: str) -> None:
        self.images = {name: ImageStatus(f"sha256:{name}", (name,), (), 1000, "") for name in images}
        self.registry: dict[str, ImageStatus] = {}
        self.sandboxes: dict[str, SandboxStatus] = {}
        self.containers: dict[str, ContainerStatus] = {}
        self.configs: dict[str, ContainerConfig] = {}
        self.sandbox_configs: dict[str, SandboxConfig] = {}
        self.calls: list[tuple[str, str]] = []
        self.stops: list[tuple[str, int]] = []  # container name, grace
        self.stubborn: set[str] = set()  # names of containers that ignore everything but a kill
        self.exec_results: dict[str, ExecResult | Exception] = {}  # first word of the command
        self.log_text: dict[str, bytes] = {}  # container name
        self.cidr = "10.244.0.0/24"
        self.resources: dict[str, Resources] = {}
        self.stats: dict[str, dict[str, object]] = {}
        self._failures: dict[str, list[Exception]] = defaultdict(list)
        self._gates: dict[str, asyncio.Event] = {}
        self._ids = itertools.count(1)
        self._subscribers: list[asyncio.Queue[RuntimeEvent]] = []

    # -- what tests do --------------------------------------------------------------------------------------------

    def fail(self, method: str, *errors: Exception) -> None:
        self._failures[method].extend(errors)

    def hold(self, method: str) -> asyncio.Event:
        gate = self._gates[method] = asyncio.Event()
        return gate

    def running(self, name: str) -> ContainerStatus:
        return next(c for c in self.containers.values() if c.name == name and c.state is State.RUNNING)

    def is_running(self, name: str) -> bool:
        return any(c.name == name and c.state is State.RUNNING for c in self.containers.values())

    def config(self, name: str) -> ContainerConfig:
        """What the newest run of a container was created with."""
        return [config for config in self.configs.values() if config.name == name][-1]

    def exit(self, name: str, code: int, *, reason: str = "", tell: bool = True) -> None:
        self._end(self.running(name).id, code, reason, tell)

    def lose(self, name: str) -> None:
        run = self.running(name)
        del self.containers[run.id]
        self.tell(run.pod_uid, run.id, "died")
        self.tell(run.pod_uid, run.id, "removed")

    def kill_sandbox(self, name: str) -> None:
        sandbox = next(s for s in self.sandboxes.values() if s.name == name and s.state is State.RUNNING)
        self._stop_sandbox(sandbox.id)
        self.tell(sandbox.uid, sandbox.id, "died")

    def tell(self, pod_uid: str, container_id: str, action: str) -> None:
        for queue in self._subscribers:
            queue.put_nowait(RuntimeEvent(pod_uid, container_id, action))

    def called(self, method: str) -> list[str]:
        return [argument for name, argument in self.calls if name == method]

    async def _enter(self, method: str, argument: str = "") -> None:
        self.calls.append((method, argument))
        if gate := self._gates.get(method):
            await gate.wait()
        if self._failures[method]:
            raise self._failures[method].pop(0)
        await asyncio.sleep(0)

    def _end(self, id: str, code: int, reason: str = "", tell: bool = True) -> None:
        run = self.containers[id]
        reason = reason or ("Completed" if code == 0 else "Error")
        self.containers[id] = replace(run, state=State.EXITED, exit_code=code, reason=reason, finished_at=now())
        if tell:
            self.tell(run.pod_uid, id, "died")

    def _stop_sandbox(self, id: str) -> None:
        for run in list(self.containers.values()):
            if run.sandbox_id == id and run.state is State.RUNNING:
                self._end(run.id, 137)
        self.sandboxes[id] = replace(self.sandboxes[id], state=State.EXITED)

    # -- node -----------------------------------------------------------------------------------------------------

    async def version(self) -> tuple[str, str]:
        await self._enter("version")
        return "docker", "26.1.5"

    async def network_ready(self) -> str:
        return "" if self.cidr else "container runtime network not ready: cni config uninitialized"

    async def set_pod_cidr(self, cidr: str) -> None:
        self.cidr = cidr

    async def events(self) -> AsyncIterator[RuntimeEvent]:
        queue: asyncio.Queue[RuntimeEvent] = asyncio.Queue()
        self._subscribers.append(queue)
        try:
            while True:
                yield await queue.get()
        finally:
            self._subscribers.remove(queue)

    async def list_pods(self) -> dict[str, PodSnapshot]:
        await self._enter("list_pods")
        return {uid: snapshot for uid in {s.uid for s in self.sandboxes.values()} if (snapshot := self._snapshot(uid))}

    async def pod(self, uid: str) -> PodSnapshot | None:
        await self._enter("pod", uid)
        return self._snapshot(uid)

    def _snapshot(self, uid: str) -> PodSnapshot | None:
        sandboxes = sorted((s for s in self.sandboxes.values() if s.uid == uid), key=lambda s: -s.attempt)
        containers = sorted((c for c in self.containers.values() if c.pod_uid == uid), key=lambda c: -c.attempt)
        if not sandboxes and not containers:
            return None
        first = sandboxes[0]
        return PodSnapshot(uid, first.namespace, first.name, tuple(sandboxes), tuple(containers))

    # -- sandboxes ------------------------------------------------------------------------------------------------

    async def run_sandbox(self, config: SandboxConfig) -> SandboxStatus:
        await self._enter("run_sandbox", config.name)
        number = next(self._ids)
        status = SandboxStatus(
            id=f"sandbox{number}",
            namespace=config.namespace,
            name=config.name,
            uid=config.uid,
            attempt=config.attempt,
            state=State.RUNNING,
            created_at=now(),
            ips=() if config.host_network else (f"10.244.0.{number}",),
            host_network=config.host_network,
            labels=config.labels,
            annotations=config.annotations,
        )
        self.sandboxes[status.id] = status
        self.sandbox_configs[status.id] = config
        return status

    async def stop_sandbox(self, sandbox_id: str) -> None:
        await self._enter("stop_sandbox", sandbox_id)
        if sandbox_id in self.sandboxes:
            self._stop_sandbox(sandbox_id)

    async def remove_sandbox(self, sandbox_id: str) -> None:
        await self._enter("remove_sandbox", sandbox_id)
        self.sandboxes.pop(sandbox_id, None)
        self.containers = {id: c for id, c in self.containers.items() if c.sandbox_id != sandbox_id}

    async def update_pod_resources(self, pod_uid: str, cgroup_parent: str, resources: Resources) -> None:
        await self._enter("update_pod_resources", pod_uid)
        self.resources[pod_uid] = resources

    async def remove_leftovers(self, known: Collection[str]) -> None:
        await self._enter("remove_leftovers", " ".join(sorted(known)))

    # -- containers -----------------------------------------------------------------------------------------------

    async def create_container(self, sandbox_id: str, sandbox: SandboxConfig, config: ContainerConfig) -> str:
        await self._enter("create_container", config.name)
        id = f"container{next(self._ids)}"
        self.configs[id] = config
        self.containers[id] = ContainerStatus(
            id=id,
            sandbox_id=sandbox_id,
            pod_uid=sandbox.uid,
            name=config.name,
            attempt=config.attempt,
            state=State.CREATED,
            created_at=now(),
            started_at="",
            finished_at="",
            exit_code=0,
            reason="",
            message="",
            image=config.image,
            image_id=config.image_id,
            labels=config.labels,
            annotations=config.annotations,
        )
        return id

    async def start_container(self, container_id: str) -> None:
        run = self.containers[container_id]
        await self._enter("start_container", run.name)
        self.containers[container_id] = replace(run, state=State.RUNNING, started_at=now())
        self.tell(run.pod_uid, container_id, "started")

    async def stop_container(self, container_id: str, grace: int, signal: str = "") -> None:
        if container_id not in self.containers:
            raise ContainerNotFound(container_id)
        name = self.containers[container_id].name
        self.stops.append((name, grace))
        await self._enter("stop_container", name)
        if name in self.stubborn:
            await asyncio.sleep(grace)
        if self.containers[container_id].state is State.RUNNING:
            self._end(container_id, 137 if name in self.stubborn else 143)

    async def remove_container(self, container_id: str) -> None:
        await self._enter("remove_container", container_id)
        self.containers.pop(container_id, None)

    async def container(self, container_id: str) -> ContainerStatus:
        if container_id not in self.containers:
            raise ContainerNotFound(container_id)
        return self.containers[container_id]

    async def update_container_resources(self, container_id: str, resources: Resources) -> None:
        await self._enter("update_container_resources", container_id)
        self.resources[self.containers[container_id].name] = resources

    # -- exec and streams -----------------------------------------------------------------------------------------

    async def exec_sync(self, container_id: str, command: Sequence[str], timeout: float | None) -> ExecResult:
        await self._enter("exec_sync", " ".join(command))
        result = self.exec_results.get(command[0], ExecResult(0, b""))
        if isinstance(result, Exception):
            raise result
        return result

    async def exec(
        self, container_id: str, command: Sequence[str], *, stdin: bool, stdout: bool, stderr: bool, tty: bool
    ) -> ExecStream:
        raise NotImplementedError

    async def attach(self, container_id: str, *, stdin: bool, stdout: bool, stderr: bool, tty: bool) -> ExecStream:
        raise NotImplementedError

    async def dial(self, sandbox_id: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        raise NotImplementedError

    async def logs(
        self,
        container_id: str,
        *,
        follow: bool,
        since: float | None,
        tail: int | None,
        timestamps: bool,
        limit_bytes: int | None,
        stream: str = "",
    ) -> AsyncIterator[bytes]:
        yield self.log_text.get(self.containers[container_id].name, b"")

    # -- images ---------------------------------------------------------------------------------------------------

    async def image(self, image: str) -> ImageStatus | None:
        await self._enter("image", image)
        return self.images.get(image)

    async def list_images(self) -> list[ImageStatus]:
        return list(self.images.values())

    async def pull_image(self, image: str, auth: Sequence[ImageAuth] = ()) -> ImageStatus:
        await self._enter("pull_image", image)
        if image not in self.registry:
            raise ImageError("ErrImagePull", f'failed to resolve reference "{image}": {image}: not found')
        self.images[image] = self.registry[image]
        return self.registry[image]

    async def remove_image(self, image_id: str) -> None:
        self.images = {name: image for name, image in self.images.items() if image.id != image_id}

    async def mount_image(self, image_id: str, target: Path) -> None:
        await self._enter("mount_image", image_id)
        target.mkdir(parents=True, exist_ok=True)

    async def pod_stats(self) -> dict[str, dict[str, object]]:
        return self.stats
