"""`DockerRuntime`: the kubelet's runtime interface (`kubelet.cri.Runtime`) on Docker. Its parts do the work.

    runtime = DockerRuntime(host="unix:///var/run/docker.sock", sandbox_image=..., state_dir=...)
    task_group.create_task(runtime.run())       # events, for as long as the kubelet lives

It keeps no state of its own that matters: whatever it must know after a restart is in the labels of containers.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import AsyncIterator, Collection, Sequence
from pathlib import Path
from typing import Any

from kubelet.cri import (
    ContainerConfig,
    ContainerNotFound,
    ContainerStatus,
    ExecResult,
    ImageAuth,
    ImageStatus,
    PodSnapshot,
    Resources,
    RuntimeEvent,
    RuntimeFailure,
    SandboxConfig,
    SandboxStatus,
    State,
)
from kubelet.runtime import cgroups, image_mount, labels, logs, netns, timestamps, wire
from kubelet.runtime.client import DockerClient
from kubelet.runtime.containers import Containers
from kubelet.runtime.context import Context
from kubelet.runtime.events import EventHub
from kubelet.runtime.images import Images
from kubelet.runtime.network import PodNetwork
from kubelet.runtime.sandboxes import Sandboxes
from kubelet.runtime.stats import Stats
from kubelet.runtime.streams import HijackedStream

EXEC_OUTPUT_LIMIT = 10 * 1024  # bytes kept of a probe's or hook's output, as upstream
LEFTOVER_AGE = 60.0  # seconds
CHECK_RETRY = 2.0  # seconds
LOST_EXEC = 137  # exit code of an exec whose end nobody saw


class UnfitRuntime(Exception):
    """This dockerd can't run pods, now or ever: str() tells its owner what to change."""


class DockerRuntime:
    def __init__(
        self,
        *,
        host: str,
        sandbox_image: str,
        state_dir: Path,
        bridge: str = "cbr0",
        cgroup_root: Path = cgroups.ROOT,
    ) -> None:
        self.cgroups = cgroups.detect(cgroup_root)
        self._host = host
        self._client = DockerClient(host)
        self._hub = EventHub(host, bridge)
        self._context = Context(
            client=self._client, hub=self._hub, cgroups=self.cgroups, state_dir=state_dir, bridge=bridge
        )
        self._network = PodNetwork(bridge=bridge, state_dir=state_dir)
        self.images = Images(self._client)
        self._sandboxes = Sandboxes(self._context, self._network, self.images, image=sandbox_image)
        self._containers = Containers(self._context, self.images)
        self._stats = Stats(self.cgroups)
        self._late: dict[str, tuple[str, Resources]] = {}  # container id -> limits to set once it runs

    async def run(self) -> None:
        """Follows Docker's events until cancelled; first of all fetches the sandbox's image if it is missing."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._hub.run())
                tasks.create_task(self._sandboxes.prefetch_image())
                tasks.create_task(self._check_driver())
        finally:
            await self.close()

    async def close(self) -> None:
        await self._network.close()
        self._client.close()

    # -- node -----------------------------------------------------------------------------------------------------
    async def version(self) -> tuple[str, str]:
        answer: dict[str, Any] = await self._client.call(lambda api: api.version())
        return "docker", str(answer["Version"])

    async def info(self) -> dict[str, Any]:
        """Docker's own `info`: where it keeps its data, which cgroup driver it uses. Raises UnfitRuntime."""
        answer: dict[str, Any] = await self._client.call(lambda api: api.info())
        if answer.get("CgroupDriver") == "systemd":
            raise UnfitRuntime("dockerd uses the systemd cgroup driver; run it with native.cgroupdriver=cgroupfs")
        return answer

    async def _check_driver(self) -> None:
        """Once dockerd answers: pods in cgroups that nobody looks into would have no limits, so better no kubelet."""
        while True:
            try:
                await self.info()
                return
            except RuntimeFailure:
                await asyncio.sleep(CHECK_RETRY)

    async def network_ready(self) -> str:
        return self._network.ready()

    async def set_pod_cidr(self, cidr: str) -> None:
        await self._sandboxes.set_pod_cidr(cidr)

    async def remove_network(self) -> None:
        """When this machine stops being a node, and has no pods any more."""
        await self._network.remove_bridge()

    def events(self) -> AsyncIterator[RuntimeEvent]:
        return self._hub.subscribe()

    async def list_pods(self) -> dict[str, PodSnapshot]:
        return await self._containers.snapshots()

    async def pod(self, uid: str) -> PodSnapshot | None:
        return (await self._containers.snapshots(uid)).get(uid)

    # -- sandboxes ------------------------------------------------------------------------------------------------
    async def run_sandbox(self, config: SandboxConfig) -> SandboxStatus:
        return await self._sandboxes.run(config)

    async def stop_sandbox(self, sandbox_id: str) -> None:
        await self._sandboxes.stop(sandbox_id)

    async def remove_sandbox(self, sandbox_id: str) -> None:
        await self._sandboxes.remove(sandbox_id)

    async def update_pod_resources(self, pod_uid: str, cgroup_parent: str, resources: Resources) -> None:
        try:
            self.cgroups.update(cgroup_parent, resources)
        except OSError as error:
            raise RuntimeFailure(f"failed to update the cgroup of pod {pod_uid}: {error}") from error

    async def remove_leftovers(self, known: Collection[str]) -> None:
        """Cgroups of pods without containers, unless they were made just now (another kubelet may be starting them)."""
        present = set(await self.list_pods()) | set(known)
        for parent in (cgroups.KUBEPODS, *cgroups.QOS):
            for name in self.cgroups.children(parent):
                uid = name.removeprefix("pod")
                path = f"{parent}/{name}"
                if name.startswith("pod") and uid not in present and self.cgroups.age(path) > LEFTOVER_AGE:
                    self.cgroups.remove(path)

    # -- containers -----------------------------------------------------------------------------------------------
    async def create_container(self, sandbox_id: str, sandbox: SandboxConfig, config: ContainerConfig) -> str:
        container_id = await self._containers.create(sandbox_id, sandbox, config, self._sandboxes.mounts(sandbox))
        if config.resources.hugepages or config.resources.memory_limit is not None:
            self._late[container_id] = (sandbox.cgroup_parent, config.resources)
        return container_id

    async def start_container(self, container_id: str) -> None:
        late = self._late.pop(container_id, None)
        await self._containers.start(container_id)
        if late is not None:
            self._containers.apply_late(late[0], container_id, late[1])

    async def stop_container(self, container_id: str, grace: int, signal: str = "") -> None:
        await self._containers.stop(container_id, grace, signal)

    async def remove_container(self, container_id: str) -> None:
        self._late.pop(container_id, None)
        await self._containers.remove(container_id)

    async def container(self, container_id: str) -> ContainerStatus:
        return await self._containers.status(container_id)

    async def update_container_resources(self, container_id: str, resources: Resources) -> None:
        await self._containers.update(container_id, resources)

    # -- exec and streams -----------------------------------------------------------------------------------------
    async def exec_sync(self, container_id: str, command: Sequence[str], timeout: float | None) -> ExecResult:
        exec_id, stream = await self._exec(container_id, command, stdin=False, stdout=True, stderr=True, tty=False)
        output = bytearray()

        async def run() -> int:
            async for _, data in stream.output():
                output.extend(data[: EXEC_OUTPUT_LIMIT - len(output)])
            return await stream.exit_code()

        try:
            async with asyncio.timeout(timeout):
                code = await run()
        except TimeoutError:
            await asyncio.shield(self._signal_exec(exec_id, signal.SIGKILL))
            raise TimeoutError(f"command {' '.join(command)!r} timed out after {timeout:g}s") from None
        finally:
            await stream.close()
        return ExecResult(exit_code=code, output=stream.error.encode() if stream.error else bytes(output))

    async def exec(
        self, container_id: str, command: Sequence[str], *, stdin: bool, stdout: bool, stderr: bool, tty: bool
    ) -> HijackedStream:
        _, stream = await self._exec(container_id, command, stdin=stdin, stdout=stdout, stderr=stderr, tty=tty)
        return stream

    async def _exec(
        self, container_id: str, command: Sequence[str], *, stdin: bool, stdout: bool, stderr: bool, tty: bool
    ) -> tuple[str, HijackedStream]:
        try:
            # stdout is always attached: it is where Docker says why a command can't be run.
            created = await self._client.call(
                lambda api: api.exec_create(
                    container_id, list(command), stdin=stdin, stdout=True, stderr=stderr and not tty, tty=tty
                )
            )
        except RuntimeFailure as error:
            if "is not running" in str(error):
                raise RuntimeFailure(f"container not running ({container_id})") from error
            raise
        exec_id = str(created["Id"])

        async def resize(width: int, height: int) -> None:
            for pause in (0.02, 0.1, 0.5):
                try:
                    await self._client.call(lambda api: api.exec_resize(exec_id, height=height, width=width))
                    return
                except RuntimeFailure:
                    await asyncio.sleep(pause)  # not started yet; when it has ended, nobody minds

        connection = await wire.hijack(self._host, wire.target("exec", exec_id, "start"), {"Detach": False, "Tty": tty})
        stream = HijackedStream(
            connection,
            tty=tty,
            exit_code=lambda: self._exec_exit_code(exec_id),
            resize=resize,
            hangup=lambda: self._signal_exec(exec_id, signal.SIGHUP),
            detects_failure=True,
        )
        return exec_id, stream

    async def _exec_exit_code(self, exec_id: str) -> int:
        """After the end of the output the process has ended, or has closed its output and goes on."""
        pause = 0.002
        while True:
            try:
                answer = await self._client.call(lambda api: api.exec_inspect(exec_id))
            except ContainerNotFound:
                return LOST_EXEC  # the container is gone, and all that ran in it
            if not answer["Running"]:
                code = answer["ExitCode"]
                return LOST_EXEC if code is None else int(code)
            await asyncio.sleep(pause)
            pause = min(pause * 2, 0.2)

    async def _signal_exec(self, exec_id: str, number: signal.Signals) -> None:
        """To the process and its group: runc makes every exec the leader of a session."""
        with contextlib.suppress(RuntimeFailure, ProcessLookupError, PermissionError):
            pid = int((await self._client.call(lambda api: api.exec_inspect(exec_id)))["Pid"])
            if pid > 1:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(pid, number)
                os.kill(pid, number)

    async def attach(self, container_id: str, *, stdin: bool, stdout: bool, stderr: bool, tty: bool) -> HijackedStream:
        query = {"stream": 1, "stdin": int(stdin), "stdout": int(stdout), "stderr": int(stderr)}
        inspected = await self._context.inspect(container_id)
        if not inspected["State"]["Running"]:
            raise RuntimeFailure(f"container not running ({container_id})")
        connection = await wire.hijack(self._host, wire.target("containers", container_id, "attach", query=query))

        async def resize(width: int, height: int) -> None:
            with contextlib.suppress(RuntimeFailure):
                await self._client.call(lambda api: api.resize(container_id, height=height, width=width))

        async def exit_code() -> int:
            return 0  # an attachment ends without a verdict; the pod's status has it

        # Whether Docker frames the output depends on the container, whatever the caller believes.
        return HijackedStream(connection, tty=bool(inspected["Config"]["Tty"]), exit_code=exit_code, resize=resize)

    async def dial(self, sandbox_id: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        pid = await self._context.pid_of(sandbox_id)
        failures: list[str] = []
        for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
            sock: socket.socket | None = None
            try:
                sock = await asyncio.to_thread(
                    netns.inside, pid, lambda family=family: socket.socket(family, socket.SOCK_STREAM)
                )
                sock.setblocking(False)
                await asyncio.get_running_loop().sock_connect(sock, (address, port))
                return await asyncio.open_connection(sock=sock)
            except OSError as error:
                if sock is not None:
                    sock.close()
                where = f"tcp4 {address}" if family == socket.AF_INET else f"tcp6 [{address}]"
                failures.append(f"dial {where}:{port}: connect: {os.strerror(error.errno or 0).lower()}")
        raise RuntimeFailure(
            f"failed to connect to localhost:{port} inside namespace of sandbox {sandbox_id}, "
            f"IPv4: {failures[0]} IPv6: {failures[1]}"
        )

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
        options = _log_options(follow, since, tail, timestamps, limit_bytes, stream)
        with self._hub.end_of(container_id) as maybe_ended:
            inspected = await self._context.inspect(container_id)
            path, alive = inspected.get("LogPath") or "", inspected["State"]["Status"] in ("created", "running")
            if not path:
                return

            async def running() -> bool:
                nonlocal alive
                if alive and maybe_ended.is_set():
                    try:
                        alive = await self._context.running(container_id)
                    except RuntimeFailure:
                        return True  # dockerd is away; the container may well live on, and write
                    maybe_ended.clear()
                return alive

            async for data in logs.read(Path(path), options, running=running):
                yield data

    # -- images ---------------------------------------------------------------------------------------------------
    async def image(self, image: str) -> ImageStatus | None:
        return await self.images.get(image)

    async def list_images(self) -> list[ImageStatus]:
        return await self.images.list()

    async def pull_image(self, image: str, auth: Sequence[ImageAuth] = ()) -> ImageStatus:
        return await self.images.pull(image, auth)

    async def remove_image(self, image_id: str) -> None:
        await self.images.remove(image_id)

    async def mount_image(self, image_id: str, target: Path) -> None:
        inspected: dict[str, Any] = await self._client.call(lambda api: api.inspect_image(image_id))
        try:
            image_mount.mount(inspected, target, self._context.state_dir)
        except OSError as error:
            raise RuntimeFailure(f"failed to mount image {image_id}: {error}") from error

    # -- statistics -----------------------------------------------------------------------------------------------
    async def pod_stats(self) -> dict[str, dict[str, object]]:
        entries = await self._context.list(f"{labels.TYPE}={labels.SANDBOX}")
        parents = {entry["Labels"][labels.POD_UID]: entry["Labels"].get(labels.CGROUP_PARENT, "") for entry in entries}
        snapshots = await self.list_pods()
        running = [
            (snapshot, parents[uid])
            for uid, snapshot in snapshots.items()
            if parents.get(uid) and any(box.state is State.RUNNING for box in snapshot.sandboxes)
        ]
        return await asyncio.to_thread(self._stats.pods, running, dict(self._containers.paths))


def _log_options(
    follow: bool, since: float | None, tail: int | None, show_timestamps: bool, limit_bytes: int | None, stream: str
) -> logs.Options:
    return logs.Options(
        follow=follow,
        since="" if since is None else timestamps.from_seconds(since),
        tail=tail,
        timestamps=show_timestamps,
        limit_bytes=limit_bytes,
        stream=stream.lower(),
    )
