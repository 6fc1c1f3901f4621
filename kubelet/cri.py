"""What the kubelet asks of a container runtime, shaped like CRI (runtime.v1): sandboxes, containers, images, exec.

One implementation exists, on Docker (`kubelet.runtime`), and a fake one for unit tests (`tests/support/runtime.py`).
All identity lives in labels that the runtime persists, so that a restarted kubelet finds its pods again. Everything is
async; errors are `RuntimeFailure`s with messages fit for a container's `state.waiting.message`.
"""

from __future__ import annotations

import asyncio
import enum
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol


class RuntimeFailure(Exception):
    """The runtime refused or failed; str() is shown to users in events and container states."""


class ContainerNotFound(RuntimeFailure):
    """No such sandbox or container (any more)."""


class ImageError(RuntimeFailure):
    """`reason` is upstream's: ErrImagePull, ErrImageNeverPull, InvalidImageName, RegistryUnavailable."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class State(enum.Enum):
    CREATED = "created"
    RUNNING = "running"
    EXITED = "exited"


@dataclass(frozen=True, slots=True)
class PortMapping:
    host_port: int
    container_port: int
    protocol: str = "TCP"
    host_ip: str = ""


@dataclass(frozen=True, slots=True)
class DNSConfig:
    servers: tuple[str, ...] = ()
    searches: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Resources:
    """Limits as cgroups take them. None: not limited (or, for shares, the runtime's default)."""

    cpu_shares: int | None = None
    cpu_quota: int | None = None  # microseconds per `cpu_period`
    cpu_period: int = 100_000  # microseconds
    memory_limit: int | None = None  # bytes
    pids_limit: int | None = None
    oom_score_adj: int | None = None
    hugepages: Mapping[str, int] = field(default_factory=dict)  # page size ("2MB") -> bytes


@dataclass(frozen=True, slots=True)
class SandboxConfig:
    namespace: str
    name: str
    uid: str
    attempt: int
    hostname: str
    cgroup_parent: str  # e.g. /kubepods/burstable/pod<uid>; made by the runtime with `resources`
    resources: Resources
    host_network: bool = False
    host_pid: bool = False
    host_ipc: bool = False
    share_process_namespace: bool = False
    dns: DNSConfig | None = None  # None: the node's own resolv.conf
    port_mappings: tuple[PortMapping, ...] = ()
    sysctls: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    shm_size: int | None = None  # bytes
    runtime_handler: str = ""  # a RuntimeClass's; "": the runtime's default


@dataclass(frozen=True, slots=True)
class Mount:
    host_path: str
    container_path: str
    read_only: bool = False
    propagation: str = "rprivate"  # rprivate, rslave, rshared


@dataclass(frozen=True, slots=True)
class Device:
    host_path: str
    container_path: str
    permissions: str = "rwm"


@dataclass(frozen=True, slots=True)
class SecurityConfig:
    user: str = ""  # "uid", "uid:gid" or "" for the image's
    supplemental_groups: tuple[int, ...] = ()
    privileged: bool = False
    read_only_rootfs: bool = False
    no_new_privileges: bool = False
    add_capabilities: tuple[str, ...] = ()
    drop_capabilities: tuple[str, ...] = ()
    seccomp_profile: str = ""  # "", "unconfined" or the profile's JSON
    apparmor_profile: str = ""
    masked_paths: tuple[str, ...] | None = None
    readonly_paths: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class ContainerConfig:
    name: str
    attempt: int  # restart count of this container
    image_id: str
    image: str = ""  # as the pod's spec names it; statuses show it
    command: tuple[str, ...] = ()  # entrypoint; empty: the image's
    args: tuple[str, ...] = ()
    working_dir: str = ""
    env: tuple[tuple[str, str], ...] = ()
    mounts: tuple[Mount, ...] = ()
    devices: tuple[Device, ...] = ()
    resources: Resources = field(default_factory=Resources)
    security: SecurityConfig = field(default_factory=SecurityConfig)
    stdin: bool = False
    stdin_once: bool = False
    tty: bool = False
    stop_signal: str = ""
    target_container_id: str = ""  # join this container's PID namespace (ephemeral containers)
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)  # spec hash, grace period, termination message ...


@dataclass(frozen=True, slots=True)
class SandboxStatus:
    id: str
    namespace: str
    name: str
    uid: str
    attempt: int
    state: State
    created_at: str  # RFC 3339 with nanoseconds, as all times here
    ips: tuple[str, ...]
    host_network: bool
    labels: Mapping[str, str]
    annotations: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class LinuxUser:
    uid: int
    gid: int
    supplemental_groups: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ContainerStatus:
    id: str  # as shown in containerStatuses: without the "docker://" prefix
    sandbox_id: str
    pod_uid: str
    name: str
    attempt: int
    state: State
    created_at: str
    started_at: str
    finished_at: str
    exit_code: int
    reason: str  # "", "Completed", "Error", "OOMKilled", "ContainerCannotRun"
    message: str
    image: str
    image_id: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    user: LinuxUser | None = None  # of the first process, once it was seen running


@dataclass(frozen=True, slots=True)
class PodSnapshot:
    """All that the runtime holds of one pod."""

    uid: str
    namespace: str
    name: str
    sandboxes: tuple[SandboxStatus, ...]  # newest first
    containers: tuple[ContainerStatus, ...]  # newest attempt first


@dataclass(frozen=True, slots=True)
class ImageStatus:
    id: str
    repo_tags: tuple[str, ...]
    repo_digests: tuple[str, ...]
    size: int  # bytes
    user: str  # the image's USER


@dataclass(frozen=True, slots=True)
class ImageAuth:
    username: str = ""
    password: str = ""
    identity_token: str = ""
    server: str = ""


@dataclass(frozen=True, slots=True)
class ExecResult:
    exit_code: int
    output: bytes  # stdout and stderr, at most 10 KiB as in upstream's probes


@dataclass(frozen=True, slots=True)
class RuntimeEvent:
    """Something happened to a pod's sandbox or container (created, started, died, oom, removed)."""

    pod_uid: str
    container_id: str
    action: str


class ExecStream(Protocol):
    """A running exec or attach. `output` yields ("stdout" | "stderr", data) until the process ends."""

    @property
    def error(self) -> str:
        """Once the output has ended: why the command could not be run at all, "" if it ran."""
        ...

    def output(self) -> AsyncIterator[tuple[str, bytes]]: ...
    async def write(self, data: bytes) -> None: ...
    async def close_stdin(self) -> None: ...
    async def resize(self, width: int, height: int) -> None: ...
    async def exit_code(self) -> int: ...
    async def close(self) -> None: ...


class Runtime(Protocol):
    # -- node -----------------------------------------------------------------------------------------------------
    async def version(self) -> tuple[str, str]:
        """("docker", "26.1.5"); raises RuntimeFailure while the runtime is away."""
        ...

    async def network_ready(self) -> str:
        """ "" if pods can get addresses, else why not (the node has no pod CIDR yet)."""
        ...

    async def set_pod_cidr(self, cidr: str) -> None: ...

    def events(self) -> AsyncIterator[RuntimeEvent]:
        """Until cancelled; reconnects by itself and then yields one event with pod_uid "": all may have changed."""
        ...

    async def list_pods(self) -> dict[str, PodSnapshot]:
        """Everything this kubelet ever made and that still exists, by pod UID. Cheap: it may be asked every second."""
        ...

    async def pod(self, uid: str) -> PodSnapshot | None: ...

    # -- sandboxes ------------------------------------------------------------------------------------------------
    async def run_sandbox(self, config: SandboxConfig) -> SandboxStatus:
        """Create and start the sandbox with cgroup, network (address, veth) and namespaces; all or nothing."""
        ...

    async def stop_sandbox(self, sandbox_id: str) -> None:
        """Kill what runs in it and release its address. Idempotent."""
        ...

    async def remove_sandbox(self, sandbox_id: str) -> None:
        """Idempotent; also removes its containers and, with the last sandbox of the pod, the pod's cgroup."""
        ...

    async def update_pod_resources(self, pod_uid: str, cgroup_parent: str, resources: Resources) -> None: ...

    async def remove_leftovers(self, known: Collection[str]) -> None:
        """Take away what pods that have no containers any more left behind when a kubelet died at the wrong moment
        (cgroups); `known` are the UIDs of pods that may be about to start."""
        ...

    # -- containers -----------------------------------------------------------------------------------------------
    async def create_container(self, sandbox_id: str, sandbox: SandboxConfig, config: ContainerConfig) -> str:
        """The new container's id."""
        ...

    async def start_container(self, container_id: str) -> None: ...
    async def stop_container(self, container_id: str, grace: int, signal: str = "") -> None:
        """Signal, wait up to `grace` seconds, kill; returns when it has ended."""
        ...

    async def remove_container(self, container_id: str) -> None: ...
    async def container(self, container_id: str) -> ContainerStatus: ...
    async def update_container_resources(self, container_id: str, resources: Resources) -> None: ...

    # -- exec and streams -----------------------------------------------------------------------------------------
    async def exec_sync(self, container_id: str, command: Sequence[str], timeout: float | None) -> ExecResult:
        """Raises TimeoutError after `timeout` seconds (the process is killed)."""
        ...

    async def exec(
        self, container_id: str, command: Sequence[str], *, stdin: bool, stdout: bool, stderr: bool, tty: bool
    ) -> ExecStream: ...
    async def attach(self, container_id: str, *, stdin: bool, stdout: bool, stderr: bool, tty: bool) -> ExecStream: ...
    async def dial(self, sandbox_id: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """To localhost:port inside the pod's network namespace."""
        ...

    def logs(
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
        """`since` in seconds of the epoch. Ends when the container has ended and all is read (follow) or at once."""
        ...

    # -- images ---------------------------------------------------------------------------------------------------
    async def image(self, image: str) -> ImageStatus | None: ...
    async def list_images(self) -> list[ImageStatus]: ...
    async def pull_image(self, image: str, auth: Sequence[ImageAuth] = ()) -> ImageStatus:
        """Raises ImageError."""
        ...

    async def remove_image(self, image_id: str) -> None: ...
    async def mount_image(self, image_id: str, target: Path) -> None:
        """The image's files at `target`, read-only, with the image's id as the mount's source; whoever asked unmounts
        it. Idempotent."""
        ...

    # -- statistics -----------------------------------------------------------------------------------------------
    async def pod_stats(self) -> dict[str, dict[str, object]]:
        """By pod UID: cpu, memory, process and network counters of the pod and of each container, read from cgroups."""
        ...
