"""Containers of pods: made, started, stopped, looked at. They join the namespaces of their sandbox."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from kubelet.cri import (
    ContainerConfig,
    ContainerNotFound,
    ContainerStatus,
    ImageStatus,
    LinuxUser,
    Mount,
    PodSnapshot,
    Resources,
    RuntimeFailure,
    SandboxConfig,
    SandboxStatus,
    State,
)
from kubelet.runtime import labels, spec, status, timestamps
from kubelet.runtime.context import Context
from kubelet.runtime.disk import Paths
from kubelet.runtime.images import Images

KILL_TIMEOUT = 30.0  # seconds until a SIGKILL that does nothing is an error
DEFAULT_STOP_SIGNAL = "SIGTERM"


class Containers:
    def __init__(self, context: Context, images: Images) -> None:
        self._context = context
        self._images = images
        # id -> (state in Docker's list, status): what can't change as long as the state does not.
        self._known: dict[str, tuple[str, ContainerStatus]] = {}
        self._users: dict[str, LinuxUser] = {}
        self.paths: dict[str, Paths] = {}

    async def create(
        self, sandbox_id: str, sandbox: SandboxConfig, config: ContainerConfig, mounts: Iterable[Mount]
    ) -> str:
        taken = {mount.container_path for mount in config.mounts}
        wanted = [mount for mount in mounts if mount.container_path not in taken] + list(config.mounts)
        for mount in config.mounts:
            _make_missing(mount)
        body = spec.container_body(
            sandbox_id,
            sandbox,
            config,
            labels=labels.container_labels(
                sandbox_id, sandbox, config, bridge=self._context.bridge, created_at=timestamps.now()
            ),
            mounts=wanted,
            granted=self._context.granted,
            device_rules=self._context.device_rules,
            api_version=self._context.client.api_version,
        )
        return await self._context.create(body, labels.container_name(sandbox, config))

    async def start(self, container_id: str) -> None:
        await self._context.start(container_id)

    def apply_late(self, cgroup_parent: str, container_id: str, resources: Resources) -> None:
        """Limits that Docker's API has no field for, into the running container's cgroup."""
        path = f"{cgroup_parent}/{container_id}"
        if not self._context.cgroups.exists(path):
            return  # it has ended already
        try:
            if resources.hugepages:
                self._context.cgroups.set_hugepages(path, dict(resources.hugepages))
            if resources.memory_limit is not None:
                self._context.cgroups.kill_as_one(path)
        except FileNotFoundError:
            return
        except OSError as error:
            raise RuntimeFailure(f"cannot set the container's limits: {error}") from error

    async def stop(self, container_id: str, grace: int, signal: str) -> None:
        try:
            inspected = await self._context.inspect(container_id)
        except ContainerNotFound:
            return
        if not inspected["State"]["Running"]:
            return
        signal = signal or inspected["Config"].get("StopSignal") or DEFAULT_STOP_SIGNAL
        if grace > 0 and await self._context.signal_and_wait(container_id, signal, grace):
            return
        if not await self._context.signal_and_wait(container_id, "SIGKILL", KILL_TIMEOUT):
            raise RuntimeFailure(f"container {container_id} survived SIGKILL for {KILL_TIMEOUT:.0f} s")

    async def remove(self, container_id: str) -> None:
        await self._context.remove(container_id)
        self._known.pop(container_id, None)

    async def update(self, container_id: str, resources: Resources) -> None:
        """Straight into the cgroup: Docker's own call can neither lift a limit nor go below its minimum of memory."""
        inspected = await self._context.inspect(container_id)
        parent = (inspected["Config"]["Labels"] or {}).get(labels.CGROUP_PARENT, "")
        path = f"{parent}/{container_id}"
        if not inspected["State"]["Running"] or not self._context.cgroups.exists(path):
            raise RuntimeFailure(f"container not running ({container_id})")
        try:
            self._context.cgroups.update(path, resources)
        except OSError as error:
            raise RuntimeFailure(f"failed to update the container's cgroup: {error}") from error

    # -- looking ----------------------------------------------------------------------------------------------------
    async def status(self, container_id: str) -> ContainerStatus:
        return await self._status(await self._context.inspect(container_id), {})

    async def _status(self, inspected: dict[str, Any], images: dict[str, ImageStatus | None]) -> ContainerStatus:
        self.paths[inspected["Id"]] = Paths.of(inspected)
        image_id = str(inspected["Image"])
        if image_id not in images:
            images[image_id] = await self._images.get(image_id)
        return status.container_status(
            inspected,
            image=images[image_id],
            oom_killed=inspected["Id"] in self._context.hub.oom_killed,
            user=self._user(inspected),
        )

    def _user(self, inspected: dict[str, Any]) -> LinuxUser | None:
        """Whom the first process is, which may change itself later: what was seen first is kept."""
        container_id, pid = inspected["Id"], int(inspected["State"]["Pid"] or 0)
        if container_id not in self._users and pid and inspected["State"]["Running"]:
            found = status.linux_user(Path("/proc", str(pid), "status"))
            if found is not None:
                self._users[container_id] = found
        return self._users.get(container_id)

    async def snapshots(self, uid: str = "") -> dict[str, PodSnapshot]:
        """All pods, or one: one list, and an inspect for each container whose state has changed since the last time."""
        entries = await self._context.list(f"{labels.POD_UID}={uid}" if uid else labels.POD_UID)
        images: dict[str, ImageStatus | None] = {}
        sandboxes = [entry for entry in entries if entry["Labels"][labels.TYPE] == labels.SANDBOX]
        others = [entry for entry in entries if entry["Labels"][labels.TYPE] == labels.CONTAINER]
        found = await asyncio.gather(*(self._entry_status(entry, images) for entry in others))
        if not uid:
            alive = {entry["Id"] for entry in others}
            self._known = {key: value for key, value in self._known.items() if key in alive}
            self.paths = {key: value for key, value in self.paths.items() if key in alive}
            self._users = {key: value for key, value in self._users.items() if key in alive}
        groups: dict[str, tuple[dict[str, str], list[SandboxStatus], list[ContainerStatus]]] = {}
        for entry in entries:
            groups.setdefault(entry["Labels"][labels.POD_UID], (entry["Labels"], [], []))
        for entry in sandboxes:
            groups[entry["Labels"][labels.POD_UID]][1].append(status.sandbox_status(entry))
        for item in found:
            if item is not None:
                groups[item.pod_uid][2].append(item)
        return {
            pod_uid: PodSnapshot(
                uid=pod_uid,
                namespace=own[labels.POD_NAMESPACE],
                name=own[labels.POD_NAME],
                sandboxes=tuple(sorted(boxes, key=lambda item: (item.attempt, item.created_at), reverse=True)),
                containers=tuple(sorted(inside, key=lambda item: (item.attempt, item.created_at), reverse=True)),
            )
            for pod_uid, (own, boxes, inside) in groups.items()
        }

    async def _entry_status(
        self, entry: dict[str, Any], images: dict[str, ImageStatus | None]
    ) -> ContainerStatus | None:
        container_id, state = entry["Id"], entry["State"]
        known = self._known.get(container_id)
        if known is not None and known[0] == state and state in ("running", "exited"):
            return known[1]
        try:
            found = await self._status(await self._context.inspect(container_id), images)
        except ContainerNotFound:
            return None
        if (found.state is State.RUNNING) == (state == "running"):
            self._known[container_id] = (state, found)
        return found


def _make_missing(mount: Mount) -> None:
    """As CRI runtimes do, a host path that does not exist becomes a directory."""
    path = Path(mount.host_path)
    try:
        if not path.exists():
            path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RuntimeFailure(
            f'failed to generate container spec: failed to mkdir "{path}": {error.strerror}'
        ) from error
