"""Pod sandboxes: a waiting process that owns the pod's namespaces, its cgroup, its address and its host ports.

Making one is all or nothing. Its order is chosen so that a crash at any point leaves only what the labels of a
container tell of: the address is in the label before the container exists, the veth is named after its id, the cgroup
after the pod. `set_pod_cidr` puts right what a crash left half done.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kubelet.cri import (
    ContainerNotFound,
    DNSConfig,
    Mount,
    PortMapping,
    RuntimeFailure,
    SandboxConfig,
    SandboxStatus,
    State,
)
from kubelet.runtime import labels, spec, timestamps
from kubelet.runtime.context import Context
from kubelet.runtime.hostports import HostPorts
from kubelet.runtime.images import Images
from kubelet.runtime.ipam import AddressesExhausted
from kubelet.runtime.network import PodNetwork

log = logging.getLogger(__name__)

PREFETCH_RETRY = 2.0  # seconds
KILL_TIMEOUT = 30.0  # seconds until a SIGKILL that does nothing is an error


def resolv_conf(dns: DNSConfig) -> str:
    """resolv.conf(5), in the order in which upstream's runtimes write it."""
    lines = [f"search {' '.join(dns.searches)}"] if dns.searches else []
    lines += [f"nameserver {server}" for server in dns.servers]
    if dns.options:
        lines.append(f"options {' '.join(dns.options)}")
    return "".join(f"{line}\n" for line in lines)


class Sandboxes:
    def __init__(self, context: Context, network: PodNetwork, images: Images, *, image: str) -> None:
        self._context = context
        self._network = network
        self._images = images
        self._image = image
        self._host_ports = HostPorts(network.bridge)
        self._fetching = asyncio.Lock()

    # -- start and adoption -----------------------------------------------------------------------------------------
    async def set_pod_cidr(self, cidr: str) -> None:
        """Make the bridge and take over the sandboxes that exist. Idempotent."""
        if self._network.ipam is not None and str(self._network.ipam.network) == cidr:
            return
        entries = await self._context.list(f"{labels.TYPE}={labels.SANDBOX}")
        # A sandbox that has ended holds no address: its namespace is gone. One not yet started may be about to.
        alive = [entry for entry in entries if entry["State"] in ("created", "running", "paused")]
        addressed = {entry["Id"]: entry["Labels"] for entry in alive if entry["Labels"].get(labels.POD_IP)}
        await self._network.set_cidr(cidr, held=tuple(own[labels.POD_IP] for own in addressed.values()))
        await self._adopt(addressed)

    async def _adopt(self, addressed: Mapping[str, Mapping[str, str]]) -> None:
        plugs: dict[str, tuple[int, str]] = {}
        ports: dict[str, tuple[str, tuple[PortMapping, ...]]] = {}
        for sandbox_id, own in addressed.items():
            pid = self._context.pid(sandbox_id, own.get(labels.CGROUP_PARENT, ""))
            if pid is not None:
                plugs[sandbox_id] = (pid, own[labels.POD_IP])
                ports[sandbox_id] = (own[labels.POD_IP], labels.port_mappings(own))
        await self._network.reconcile(plugs)
        await self._host_ports.replace(ports)

    # -- one sandbox ------------------------------------------------------------------------------------------------
    async def run(self, config: SandboxConfig) -> SandboxStatus:
        context = self._context
        address = "" if config.host_network else self._allocate()
        created_at = timestamps.now()
        creation: asyncio.Task[str] | None = None
        first = not context.cgroups.exists(config.cgroup_parent)
        try:
            context.cgroups.ensure(config.cgroup_parent, config.resources)
            self._write_files(config)
            own = labels.sandbox_labels(config, ip=address, bridge=context.bridge, created_at=created_at)
            body = spec.sandbox_body(config, image=self._image, labels=own, granted=context.granted)
            # Shielded, as is the undoing: a cancelled start must leave nothing behind that nobody knows the id of.
            creation = asyncio.create_task(self._create(body, labels.sandbox_name(config)))
            sandbox_id = await asyncio.shield(creation)
            await context.start(sandbox_id)
            if address:
                pid = context.pid(sandbox_id, config.cgroup_parent) or await context.pid_of(sandbox_id)
                await self._network.attach(sandbox_id, pid, address)
                await self._host_ports.set(sandbox_id, address, config.port_mappings)
        except BaseException as error:
            await asyncio.shield(self._undo(config, creation, address, first=first))
            if isinstance(error, OSError):
                raise RuntimeFailure(f"failed to create the pod's cgroup or files: {error}") from error
            raise
        return SandboxStatus(
            id=sandbox_id,
            namespace=config.namespace,
            name=config.name,
            uid=config.uid,
            attempt=config.attempt,
            state=State.RUNNING,
            created_at=created_at,
            ips=(address,) if address else (),
            host_network=config.host_network,
            labels=dict(config.labels),
            annotations=dict(config.annotations),
        )

    def _allocate(self) -> str:
        if self._network.ipam is None:
            raise RuntimeFailure(self._network.ready())
        try:
            return self._network.ipam.allocate()
        except AddressesExhausted as error:
            raise RuntimeFailure(f"failed to setup network for pod: {error}") from error

    async def _create(self, body: dict[str, Any], name: str) -> str:
        try:
            return await self._context.create(body, name)
        except RuntimeFailure as error:
            if "No such image" not in str(error):
                raise
        await self.fetch_image()
        return await self._context.create(body, name)

    async def fetch_image(self) -> None:
        """Have the sandbox's image here. Raises RuntimeFailure."""
        async with self._fetching:
            try:
                if await self._images.get(self._image) is None:
                    await self._images.pull(self._image)
            except RuntimeFailure as error:
                raise RuntimeFailure(f'failed to get sandbox image "{self._image}": {error}') from error

    async def prefetch_image(self) -> None:
        """Before the first pod asks for it, so that it need not wait; keeps trying until it is there."""
        while True:
            try:
                return await self.fetch_image()
            except RuntimeFailure as error:
                log.info("%s", error)
                await asyncio.sleep(PREFETCH_RETRY)

    async def _undo(
        self, config: SandboxConfig, creation: asyncio.Task[str] | None, address: str, *, first: bool
    ) -> None:
        if creation is not None:
            with contextlib.suppress(RuntimeFailure):
                sandbox_id = await creation
                await self._host_ports.drop(sandbox_id)
                await self._context.remove(sandbox_id)
        self._release(address)
        if first:
            await asyncio.to_thread(self._context.cgroups.remove, config.cgroup_parent)
            await asyncio.to_thread(shutil.rmtree, self._directory(config.uid), ignore_errors=True)

    def _release(self, address: str) -> None:
        if address and self._network.ipam is not None:
            self._network.ipam.release(address)

    async def stop(self, sandbox_id: str) -> None:
        try:
            own = (await self._context.inspect(sandbox_id))["Config"]["Labels"] or {}
        except ContainerNotFound:
            return
        inside = await self._context.list(f"{labels.SANDBOX_ID}={sandbox_id}")
        victims = [entry["Id"] for entry in inside if entry["State"] in ("running", "paused")]
        await asyncio.gather(*(self._kill(victim) for victim in victims))
        await self._kill(sandbox_id)
        await self._unplug(sandbox_id, own)

    async def _kill(self, container_id: str) -> None:
        if not await self._context.signal_and_wait(container_id, "SIGKILL", KILL_TIMEOUT):
            raise RuntimeFailure(f"container {container_id} survived SIGKILL for {KILL_TIMEOUT:.0f} s")

    async def _unplug(self, sandbox_id: str, own: Mapping[str, str]) -> None:
        if own.get(labels.POD_IP):
            await self._network.detach(sandbox_id)
            await self._host_ports.drop(sandbox_id)
            self._release(own[labels.POD_IP])

    async def remove(self, sandbox_id: str) -> None:
        try:
            own = (await self._context.inspect(sandbox_id))["Config"]["Labels"] or {}
        except ContainerNotFound:
            return
        inside = await self._context.list(f"{labels.SANDBOX_ID}={sandbox_id}")
        await asyncio.gather(*(self._context.remove(entry["Id"]) for entry in inside))
        await self._unplug(sandbox_id, own)
        uid, parent = own.get(labels.POD_UID, ""), own.get(labels.CGROUP_PARENT, "")
        siblings = await self._context.list(f"{labels.POD_UID}={uid}")
        if not any(entry["Id"] != sandbox_id for entry in siblings):
            # The sandbox goes last: as long as it is there, a restarted kubelet knows of the pod's cgroup.
            await self._context.signal_and_wait(sandbox_id, "SIGKILL", KILL_TIMEOUT)
            if parent and not await asyncio.to_thread(self._context.cgroups.remove, parent):
                raise RuntimeFailure(f"the pod's cgroup {parent} can't be removed yet")
            await asyncio.to_thread(shutil.rmtree, self._directory(uid), ignore_errors=True)
        await self._context.remove(sandbox_id)

    # -- files ------------------------------------------------------------------------------------------------------
    def _directory(self, uid: str) -> Path:
        return self._context.state_dir / "sandboxes" / uid

    def _write_files(self, config: SandboxConfig) -> None:
        directory = self._directory(config.uid)
        directory.mkdir(parents=True, exist_ok=True)
        if config.dns is not None:
            (directory / "resolv.conf").write_text(resolv_conf(config.dns))
        if not config.host_network:
            (directory / "hostname").write_text(f"{config.hostname}\n")

    def mounts(self, config: SandboxConfig) -> list[Mount]:
        """What every container of the pod sees in /etc, unless it has mounts of its own there."""
        directory = self._directory(config.uid)
        resolv = str(directory / "resolv.conf") if config.dns is not None else "/etc/resolv.conf"
        mounts = [Mount(resolv, "/etc/resolv.conf")]
        if not config.host_network:
            mounts.append(Mount(str(directory / "hostname"), "/etc/hostname"))
        return mounts
