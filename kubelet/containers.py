"""From a container in a pod's spec to what the runtime is asked to create: environment, mounts, limits, security.

What a later kubelet must know to end the container properly, even when the pod is gone from the API, goes into its
annotations.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from api import codec
from api.types.core_v1 import LifecycleHandler, Pod, Volume, VolumeMount
from kubelet import cri, network, podutil, resources, security
from kubelet.actions import HASH, container_hash
from kubelet.config import Config
from kubelet.downward import Addresses
from kubelet.environment import ConfigError, Environment
from kubelet.expansion import expand_env, expand_strict
from kubelet.layout import Layout
from kubelet.podutil import AnyContainer
from kubelet.volumes import sub_path
from kubelet.volumes.base import VolumeError

RESOURCES = "io.pykube.container.resources"  # JSON of a ResourceRequirements: what it was created with
TERMINATION_PATH = "io.kubernetes.container.terminationMessagePath"  # of the node
TERMINATION_POLICY = "io.kubernetes.container.terminationMessagePolicy"
GRACE = "io.kubernetes.pod.terminationGracePeriod"  # seconds
PRE_STOP = "io.kubernetes.container.preStopHandler"  # JSON of a LifecycleHandler

MAX_TERMINATION_MESSAGE = 4096  # bytes
MAX_FALLBACK_MESSAGE = 2048
FALLBACK_LINES = 80

_PROPAGATION = {"HostToContainer": "rslave", "Bidirectional": "rshared"}


@dataclass(frozen=True, slots=True)
class Place:
    """Where a container is going to be."""

    sandbox: cri.SandboxStatus
    addresses: Addresses
    volumes: Mapping[str, Path]  # by volume name


class ContainerFactory:
    def __init__(
        self,
        config: Config,
        layout: Layout,
        environment: Environment,
        memory_capacity: Callable[[], int],
    ) -> None:
        """`memory_capacity` in bytes, of the node."""
        self._config = config
        self._layout = layout
        self._environment = environment
        self.memory_capacity = memory_capacity

    async def make(
        self,
        pod: Pod,
        container: AnyContainer,
        *,
        attempt: int,
        image: cri.ImageStatus,
        place: Place,
        target_container_id: str = "",
    ) -> cri.ContainerConfig:
        """Raises ConfigError in upstream's words; StatusError if the API server can't be asked."""
        env = await self._environment.make(pod, container, place.addresses, place.volumes)
        variables = dict(env)
        lifecycle = container.lifecycle
        log_file = self._layout.new_termination_log(podutil.uid(pod), container.name)
        return cri.ContainerConfig(
            name=container.name,
            attempt=attempt,
            image_id=image.id,
            image=container.image or "",
            command=tuple(expand_env(word, variables) for word in container.command or ()),
            args=tuple(expand_env(word, variables) for word in container.args or ()),
            working_dir=container.working_dir or "",
            env=tuple(env),
            mounts=(
                *self._mounts(pod, container, place, variables),
                *self._own_mounts(pod, container, place, log_file),
            ),
            devices=self._devices(container, place),
            resources=resources.container_resources(pod, container, memory_capacity=self.memory_capacity()),
            security=security.security_config(pod, container, image, self._config.root_dir),
            stdin=bool(container.stdin),
            stdin_once=bool(container.stdin_once),
            tty=bool(container.tty),
            stop_signal=(lifecycle.stop_signal if lifecycle else None) or "",
            target_container_id=target_container_id,
            labels={},
            annotations={
                HASH: container_hash(container),
                TERMINATION_PATH: str(log_file),
                TERMINATION_POLICY: container.termination_message_policy or "File",
                RESOURCES: codec.encode(container.resources).decode(),
                GRACE: str(podutil.spec_grace(pod)),
                **({PRE_STOP: codec.encode(lifecycle.pre_stop).decode()} if lifecycle and lifecycle.pre_stop else {}),
            },
        )

    def _own_mounts(self, pod: Pod, container: AnyContainer, place: Place, log_file: Path) -> list[cri.Mount]:
        """/etc/hosts, unless the container brings its own, and the file for its last words."""
        own: list[cri.Mount] = []
        if not any(mount.mount_path == "/etc/hosts" for mount in container.volume_mounts or ()):
            hosts = self._layout.hosts(podutil.uid(pod))
            content = network.hosts_file(pod, place.addresses.pod_ips, self._config)
            if not hosts.exists() or hosts.read_text() != content:
                hosts.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
                hosts.write_text(content)  # in place: running containers of the pod see it, too
                hosts.chmod(0o644)
            own.append(cri.Mount(str(hosts), "/etc/hosts"))
        own.append(cri.Mount(str(log_file), container.termination_message_path or "/dev/termination-log"))
        return own

    def _mounts(self, pod: Pod, container: AnyContainer, place: Place, variables: Mapping[str, str]) -> list[cri.Mount]:
        volumes = {volume.name: volume for volume in pod.spec.volumes or ()}
        mounts: list[cri.Mount] = []
        for index, mount in enumerate(container.volume_mounts or ()):
            source = place.volumes.get(mount.name)
            if source is None:
                raise ConfigError(f'cannot find volume "{mount.name}" to mount into container "{container.name}"')
            source = self._sub_path(pod, container, mount, index, source, variables)
            target = mount.mount_path if mount.mount_path.startswith("/") else "/" + mount.mount_path
            read_only = bool(mount.read_only) or _read_only_volume(volumes[mount.name])
            propagation = _PROPAGATION.get(mount.mount_propagation or "", "rprivate")
            mounts.append(cri.Mount(str(source), target, read_only, propagation))
        return mounts

    def _sub_path(
        self,
        pod: Pod,
        container: AnyContainer,
        mount: VolumeMount,
        index: int,
        source: Path,
        variables: Mapping[str, str],
    ) -> Path:
        relative = mount.sub_path or ""
        if mount.sub_path_expr:
            try:
                relative = expand_strict(mount.sub_path_expr, variables)
            except ValueError as error:
                raise ConfigError(str(error)) from None
        if not relative:
            return source
        if relative.startswith("/"):
            raise ConfigError(f"error SubPath `{relative}` must not be an absolute path")
        if ".." in relative.split("/"):
            raise ConfigError(f"unable to provision SubPath `{relative}`: must not contain '..'")
        target = self._layout.sub_path(podutil.uid(pod), mount.name, container.name, index)
        try:
            return sub_path.prepare(source, relative, target)
        except (VolumeError, OSError) as error:
            raise ConfigError(
                f'failed to prepare subPath for volumeMount "{mount.name}" of container "{container.name}": {error}'
            ) from None

    def _devices(self, container: AnyContainer, place: Place) -> tuple[cri.Device, ...]:
        devices: list[cri.Device] = []
        for device in container.volume_devices or ():
            source = place.volumes.get(device.name)
            if source is None:
                raise ConfigError(f'cannot find volume "{device.name}" to pass into container "{container.name}"')
            devices.append(cri.Device(os.path.realpath(source), device.device_path))
        return tuple(devices)


def _read_only_volume(volume: Volume) -> bool:
    """Nobody but the kubelet writes what follows the API."""
    follows = (volume.config_map, volume.secret, volume.downward_api, volume.projected, volume.image)
    claim, nfs = volume.persistent_volume_claim, volume.nfs
    return any(source is not None for source in follows) or bool((claim and claim.read_only) or (nfs and nfs.read_only))


def pre_stop_of(run: cri.ContainerStatus) -> LifecycleHandler | None:
    """The preStop hook that the container was created with."""
    text = run.annotations.get(PRE_STOP)
    return codec.decode(text, LifecycleHandler) if text else None


def grace_of(run: cri.ContainerStatus) -> int:
    """Seconds the container was created to have for its end; for pods whose spec nobody has any more."""
    text = run.annotations.get(GRACE, "")
    return int(text) if text.isdigit() else podutil.DEFAULT_GRACE


async def termination_message(runtime: cri.Runtime, run: cri.ContainerStatus) -> str:
    """The last words of a container that has ended: its file, or the end of its log if it failed and asks for that."""
    path = run.annotations.get(TERMINATION_PATH)
    message = ""
    if path:
        try:
            with Path(path).open("rb") as file:  # noqa: ASYNC230 (a local file of at most 4 KiB)
                message = file.read(MAX_TERMINATION_MESSAGE).decode(errors="replace")
        except OSError:
            message = ""
    fallback = run.annotations.get(TERMINATION_POLICY) == "FallbackToLogsOnError"
    if not message and fallback and run.exit_code != 0:
        collected = bytearray()
        try:
            async for chunk in runtime.logs(
                run.id, follow=False, since=None, tail=FALLBACK_LINES, timestamps=False, limit_bytes=None
            ):
                collected += chunk
        except cri.RuntimeFailure:
            return ""
        message = bytes(collected[-MAX_FALLBACK_MESSAGE:]).decode(errors="replace")
    return message
