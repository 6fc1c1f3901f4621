"""Ending containers: the preStop hook, the signal, the grace, and the order between main containers and sidecars."""

from __future__ import annotations

import asyncio
import logging

from api.types.core_v1 import LifecycleHandler, Pod
from kubelet import cri, lifecycle, podutil
from kubelet.services import Services
from kubelet.view import active_sandbox

log = logging.getLogger(__name__)

MINIMUM = 2  # seconds between SIGTERM and SIGKILL, whatever the grace is and however long the hook took


class Killer:
    """Ends containers of one pod. Cancelling leaves them as they are at that moment: a next one goes on."""

    def __init__(self, services: Services, pod: Pod, ip: str) -> None:
        self._services = services
        self._pod = pod
        self._ip = ip

    async def kill(
        self,
        run: cri.ContainerStatus,
        *,
        grace: int,
        message: str = "",
        turn: asyncio.Event | None = None,
        quiet: bool = False,
    ) -> None:
        """Returns when the container has ended. Its hook runs at once, the signal waits for `turn` within the grace."""
        name = run.name
        if not quiet:
            reference = podutil.container_reference(self._pod, name)
            text = message or f"Stopping container {name}"
            self._services.recorder.event(reference, "Normal", "Killing", text)
        left = float(grace)
        container = podutil.find_container(self._pod, name)
        hook = container.lifecycle.pre_stop if container and container.lifecycle else None
        loop = asyncio.get_running_loop()
        if hook is not None and grace > 0 and not quiet:
            began = loop.time()
            await self._pre_stop(run, hook, left)
            left -= loop.time() - began
        if turn is not None and left > 0:
            began = loop.time()
            try:
                async with asyncio.timeout(left):
                    await turn.wait()
            except TimeoutError:
                pass
            left -= loop.time() - began
        try:
            await self._services.runtime.stop_container(run.id, max(MINIMUM, round(left)))
        except cri.ContainerNotFound:
            pass

    async def _pre_stop(self, run: cri.ContainerStatus, hook: LifecycleHandler, seconds: float) -> None:
        container = podutil.find_container(self._pod, run.name)
        assert container is not None
        try:
            async with asyncio.timeout(seconds):
                await lifecycle.run(self._services.runtime, hook, run.id, container, self._ip)
        except TimeoutError:
            log.info("preStop hook of %s/%s did not end within its grace", podutil.key(self._pod), run.name)
        except lifecycle.HookFailure as error:
            log.info("preStop hook of %s/%s: %s", podutil.key(self._pod), run.name, error)
            reference = podutil.container_reference(self._pod, run.name)
            self._services.recorder.event(reference, "Warning", "FailedPreStopHook", "PreStopHook failed")

    async def kill_all(self, snapshot: cri.PodSnapshot, *, grace: int, quiet: bool = False) -> None:
        """End every running container: the main ones together, then sidecars in the reverse order of their start.

        Raises RuntimeFailure if the runtime can't end one of them.
        """
        try:
            await self._kill_all(snapshot, grace, quiet)
        except BaseExceptionGroup as group:
            # One cause is enough to tell; whoever asked looks again at what is left.
            first = group.exceptions[0]
            raise first if isinstance(first, cri.RuntimeFailure) else group from None

    async def _kill_all(self, snapshot: cri.PodSnapshot, grace: int, quiet: bool) -> None:
        running = [run for run in snapshot.containers if run.state is not cri.State.EXITED]
        sidecars = [c.name for c in self._pod.spec.init_containers or () if podutil.is_sidecar(c)]
        async with asyncio.TaskGroup() as group:
            before: list[asyncio.Task[None]] = []
            for run in running:
                if run.name not in sidecars:
                    before.append(group.create_task(self.kill(run, grace=grace, quiet=quiet)))
            for name in reversed(sidecars):
                for run in (r for r in running if r.name == name):
                    turn = asyncio.Event()
                    group.create_task(_when_done(list(before), turn))
                    before.append(group.create_task(self.kill(run, grace=grace, turn=turn, quiet=quiet)))


async def _when_done(tasks: list[asyncio.Task[None]], event: asyncio.Event) -> None:
    if tasks:
        await asyncio.wait(tasks)
    event.set()


def pod_ip(pod: Pod, snapshot: cri.PodSnapshot | None, node_ip: str) -> str:
    """Where probes and hooks reach the pod."""
    if podutil.is_host_network(pod):
        return node_ip
    sandbox = active_sandbox(snapshot)
    return sandbox.ips[0] if sandbox and sandbox.ips else ""
