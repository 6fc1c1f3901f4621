"""Starting things: a pod's sandbox, and a container from its image to its postStart hook."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from api import errors
from api.types.node_v1 import RuntimeClass
from kubelet import cri, lifecycle, metrics, podutil
from kubelet.containers import Place
from kubelet.downward import Addresses
from kubelet.environment import ConfigError
from kubelet.node_conditions import network_problem
from kubelet.podutil import AnyContainer
from kubelet.sandbox import sandbox_config
from kubelet.view import active_sandbox, runs
from kubelet.volumes.image import ImageVolumes

if TYPE_CHECKING:
    from kubelet.pod_worker import PodWorker

RETRY = 10.0  # seconds, upstream's backOffPeriod
SHOWN_ERROR = 5.0  # seconds that ErrImagePull is shown before ImagePullBackOff


class StartFailure(Exception):
    """`reason` (if any) and str() become the container's waiting state; the next try is `retry` seconds away."""

    def __init__(self, reason: str, message: str, retry: float = RETRY) -> None:
        super().__init__(message)
        self.reason = reason
        self.retry = retry


class Starter:
    """The starting half of a pod worker."""

    def __init__(self, worker: PodWorker) -> None:
        self._worker = worker
        self._services = worker.services
        self._sandbox: cri.SandboxStatus | None = None
        self._handler: str | None = None

    async def sandbox(self, attempt: int) -> None:
        """Make the pod's sandbox; what is left of an earlier one is ended first. Raises StartFailure."""
        worker, services = self._worker, self._services
        snapshot = worker.snapshot
        if not podutil.is_host_network(worker.pod) and (problem := await services.runtime.network_ready()):
            message = f"network is not ready: {network_problem(problem)}"
            services.recorder.event(worker.pod, "Warning", "NetworkNotReady", message)
            raise StartFailure("NetworkNotReady", message)
        if snapshot and snapshot.sandboxes:
            services.recorder.event(
                worker.pod, "Normal", "SandboxChanged", "Pod sandbox changed, it will be killed and re-created."
            )
        try:
            if snapshot:
                await worker.killer().kill_all(snapshot, grace=podutil.spec_grace(worker.pod))
                for old in snapshot.sandboxes:
                    await services.runtime.stop_sandbox(old.id)
            config = sandbox_config(worker.pod, attempt, services.config, await self._runtime_handler())
            self._sandbox = await services.runtime.run_sandbox(config)
        except (cri.RuntimeFailure, ConfigError, OSError, errors.StatusError) as error:
            message = error.message if isinstance(error, errors.StatusError) else str(error)
            services.recorder.event(
                worker.pod, "Warning", "FailedCreatePodSandBox", f"Failed to create pod sandbox: {message}"
            )
            raise StartFailure("FailedCreatePodSandBox", message) from None

    async def container(
        self, container: AnyContainer, last: cri.ContainerStatus | None, after: list[asyncio.Task[None]]
    ) -> None:
        """Returns when the container runs and its hook is done. Raises StartFailure."""
        worker, services = self._worker, self._services
        pod = worker.pod
        try:
            image = await services.images.ensure(pod, container)
            image_volumes = await services.image_volumes.mount(pod, container)
        except cri.ImageError as error:
            reference = podutil.container_reference(pod, container.name)
            services.recorder.event(reference, "Warning", "Failed", f"Error: {error.reason}")
            raise StartFailure(error.reason, str(error), self._image_retry(container, error)) from None
        except cri.RuntimeFailure as error:
            raise StartFailure("ImageInspectError", str(error)) from None
        await worker.sandbox_ready.wait()
        await worker.volumes_ready.wait()
        if after:
            await asyncio.wait(after)
        sandbox = self._present_sandbox()
        if sandbox is None:
            raise StartFailure("", "", 0.0)  # gone again meanwhile: look anew
        await self._run(container, last, image, sandbox, image_volumes)

    async def _runtime_handler(self) -> str:
        """What the pod's RuntimeClass calls the runtime; "" for the default one. A class's handler never changes.
        Raises StatusError if there is no such class."""
        name = self._worker.pod.spec.runtime_class_name
        if name and self._handler is None:
            try:
                self._handler = (await self._services.api.get(RuntimeClass, name)).handler
            except errors.StatusError as error:
                if not errors.is_not_found(error):
                    raise
                raise errors.not_found("runtimeclass.node.k8s.io", name) from None
        return self._handler or ""

    def _present_sandbox(self) -> cri.SandboxStatus | None:
        known = active_sandbox(self._worker.snapshot)
        if self._sandbox is not None and (known is None or known.attempt <= self._sandbox.attempt):
            return self._sandbox
        return known

    def _image_retry(self, container: AnyContainer, error: cri.ImageError) -> float:
        if error.reason in ("ErrImageNeverPull", "InvalidImageName"):
            return RETRY
        needed = [
            container.image,
            *(v.image.reference for v in ImageVolumes.of(self._worker.pod, container) if v.image),
        ]
        left = max(self._services.images.retry_after(self._worker.pod, name) for name in needed if name)
        return left if error.reason == "ImagePullBackOff" else min(SHOWN_ERROR, left)

    async def _run(
        self,
        container: AnyContainer,
        last: cri.ContainerStatus | None,
        image: cri.ImageStatus,
        sandbox: cri.SandboxStatus,
        image_volumes: Mapping[str, Path],
    ) -> None:
        worker, services, pod = self._worker, self._services, self._worker.pod
        reference = podutil.container_reference(pod, container.name)

        def failed(reason: str, message: str) -> StartFailure:
            services.recorder.event(reference, "Warning", "Failed", f"Error: {message or reason}")
            return StartFailure(reason, message)

        ips = worker.services.config.node_ip if podutil.is_host_network(pod) else None
        addresses = Addresses((ips,) if ips else sandbox.ips, (services.config.node_ip,))
        try:
            if last is not None and last.state is cri.State.CREATED:
                await services.runtime.remove_container(last.id)
            config = await services.containers.make(
                pod,
                container,
                attempt=worker.next_attempt(container),
                image=image,
                place=Place(sandbox, addresses, {**services.volumes.paths(worker.uid), **image_volumes}),
                target_container_id=self._target(container),
            )
        except (ConfigError, OSError) as error:
            raise failed("CreateContainerConfigError", str(error)) from None
        except errors.StatusError as error:
            raise failed("CreateContainerConfigError", error.message) from None
        except cri.RuntimeFailure as error:
            raise failed("CreateContainerError", str(error)) from None
        try:
            handler = await self._runtime_handler()
            sandbox_as_made = sandbox_config(pod, sandbox.attempt, services.config, handler)
            container_id = await services.runtime.create_container(sandbox.id, sandbox_as_made, config)
        except (cri.RuntimeFailure, ConfigError, errors.StatusError) as error:
            raise failed("CreateContainerError", str(error)) from None
        services.recorder.event(reference, "Normal", "Created", f"Created container: {container.name}")
        hook = container.lifecycle.post_start if container.lifecycle else None
        if hook is not None:
            worker.hidden.add(container_id)
        try:
            try:
                await services.runtime.start_container(container_id)
            except cri.RuntimeFailure as error:
                raise failed("RunContainerError", str(error)) from None
            services.recorder.event(reference, "Normal", "Started", f"Started container {container.name}")
            metrics.started_containers.labels("container").inc()
            if hook is not None:
                try:
                    await lifecycle.run(services.runtime, hook, container_id, container, _ip(addresses))
                except lifecycle.HookFailure as error:
                    await self._hook_failed(container, container_id)
                    raise StartFailure("PostStartHookError", str(error)) from None
        finally:
            worker.hidden.discard(container_id)

    async def _hook_failed(self, container: AnyContainer, container_id: str) -> None:
        pod = self._worker.pod
        reference = podutil.container_reference(pod, container.name)
        self._services.recorder.event(reference, "Warning", "FailedPostStartHook", "PostStartHook failed")
        try:
            run = await self._services.runtime.container(container_id)
            await self._worker.killer().kill(run, grace=podutil.spec_grace(pod), message="FailedPostStartHook")
        except cri.RuntimeFailure as error:
            raise StartFailure("PostStartHookError", str(error)) from None

    def _target(self, container: AnyContainer) -> str:
        """The running container whose processes an ephemeral container asks to see."""
        wanted = getattr(container, "target_container_name", None)
        found = runs(self._worker.snapshot, wanted) if wanted else []
        return found[0].id if found and found[0].state is cri.State.RUNNING else ""


def _ip(addresses: Addresses) -> str:
    return addresses.pod_ips[0] if addresses.pod_ips else ""
