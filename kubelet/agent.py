"""The kubelet put together: one object of each part, and the tasks that keep them going.

    registration -> pod CIDR -> pods;   beside them: node status, lease, the Node service, housekeeping

Nothing here decides anything. Whatever task fails takes the process down loudly; its supervisor starts it anew, and a
kubelet that starts anew disturbs no container.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from api.types.core_v1 import Node, Pod, Service
from client import Api
from client.events import EventRecorder
from client.informer import Factory
from kubelet import podutil
from kubelet.config import Config
from kubelet.containers import ContainerFactory
from kubelet.cri import Runtime, RuntimeFailure
from kubelet.csi_node import NOT_INITIALIZED, CSINodeInfo
from kubelet.environment import Environment
from kubelet.eviction import Eviction
from kubelet.images import Images
from kubelet.layout import Layout
from kubelet.node import NodeAgent, NodeState
from kubelet.node_lease import NodeLease
from kubelet.objects import Objects
from kubelet.pods import Pods
from kubelet.probes.prober import Prober
from kubelet.runtime.image_gc import FreeDiskSpaceFailed, ImageGC
from kubelet.services import Services
from kubelet.signals import observe
from kubelet.status_manager import StatusManager
from kubelet.sysctls import Sysctls
from kubelet.tokens import Tokens
from kubelet.volumes.base import VolumeKind
from kubelet.volumes.config_map import ConfigMapVolume
from kubelet.volumes.csi import CSIVolume
from kubelet.volumes.downward_api import DownwardAPI
from kubelet.volumes.empty_dir import EmptyDir
from kubelet.volumes.host_path import HostPath
from kubelet.volumes.image import ImageVolumes
from kubelet.volumes.manager import VolumeManager
from kubelet.volumes.nfs import NFS
from kubelet.volumes.persistent import PersistentVolumeClaimVolume
from kubelet.volumes.projected import ProjectedVolume
from kubelet.volumes.secret import SecretVolume

log = logging.getLogger(__name__)

IMAGE_GC_INTERVAL = 300.0  # seconds
NETWORK_RETRY = 1.0


class Kubelet:
    """One node's agent on a runtime."""

    def __init__(self, config: Config, api: Api, runtime: Runtime) -> None:
        self.config = config
        self._api = api
        self._runtime = runtime
        self.recorder = EventRecorder(api, "kubelet", config.node_name)
        self.state = NodeState(storage_problem=NOT_INITIALIZED)
        self.node = NodeAgent(config, api, runtime, self.recorder, self.state)
        self._lease = NodeLease(api, config.node_name, lambda: self.node.node)
        self._csi_node = CSINodeInfo(api, lambda: self.node.node)
        self._factory = Factory(api)
        self._services_informer = self._factory.informer(Service)
        self._pods_informer = self._factory.informer(Pod, fields=f"spec.nodeName={config.node_name}")
        self._node_informer = self._factory.informer(Node, fields=f"metadata.name={config.node_name}")
        self._node_informer.add_handler(on_add=self._node_seen, on_update=lambda _, new: self._node_seen(new))
        self._pod_cidr = ""
        self._cidr_changed = asyncio.Event()
        self._images: ImageGC | None = None
        self._eviction: Eviction | None = None
        self.objects = Objects(api, self._objects_changed)
        self.services = self._make_services()
        self.pods = Pods(self.services, self._pods_informer, node=self._current_node, allocatable=self.node.allocatable)
        self.pods.gates.append(Sysctls(config.allowed_unsafe_sysctls).refuse)

    def image_gc(self, image_dir: Path, sandbox_image: str) -> None:
        """Collect unused images of this directory's file system when it fills up, and evict pods when that is not
        enough."""
        self._images = ImageGC(
            self._runtime,
            image_dir=image_dir,
            sandbox_image=sandbox_image,
            high=self.config.image_gc_high_threshold,
            low=self.config.image_gc_low_threshold,
        )
        self._eviction = Eviction(
            self.config,
            self.pods,
            self._runtime,
            self.recorder,
            self.services.layout,
            self.state,
            observe=lambda: observe(self.config.root_dir, image_dir, self.node.machine.memory),
            reclaim_disk=self._images.remove_unused,
            changed=self.node.touch,
        )
        self.pods.gates.append(self._eviction.refuse)

    async def _collect_images(self, images: ImageGC) -> None:
        while True:
            await asyncio.sleep(IMAGE_GC_INTERVAL)
            try:
                await images.collect()
            except FreeDiskSpaceFailed as error:
                self.recorder.event(self.pods.node_reference(), "Warning", "FreeDiskSpaceFailed", str(error))
            except RuntimeFailure as error:
                log.warning("collecting images: %s", error)

    def _make_services(self) -> Services:
        layout = Layout(self.config.root_dir)
        tokens = Tokens(self._api)
        environment = Environment(
            self.objects, lambda: self._services_informer.list(), self.node.allocatable, self._skipped_keys
        )
        images = Images(self._runtime, self.objects, self.recorder)
        return Services(
            config=self.config,
            api=self._api,
            runtime=self._runtime,
            layout=layout,
            recorder=self.recorder,
            statuses=StatusManager(self._api),
            images=images,
            objects=self.objects,
            tokens=tokens,
            volumes=VolumeManager(layout, self._volume_kinds(tokens), self.recorder),
            image_volumes=ImageVolumes(self._runtime, images, layout),
            prober=Prober(self._runtime, self.recorder),
            containers=ContainerFactory(self.config, layout, environment, lambda: self.node.machine.memory),
            allocatable=self.node.allocatable,
            neighbours=lambda uid: self.pods.running(but=uid),
        )

    def _volume_kinds(self, tokens: Tokens) -> Sequence[VolumeKind]:
        return (
            EmptyDir(),
            ProjectedVolume(self.objects, tokens, self.node.allocatable),
            ConfigMapVolume(self.objects),
            SecretVolume(self.objects),
            DownwardAPI(self.node.allocatable),
            HostPath(),
            PersistentVolumeClaimVolume(self._api),
            NFS(),
            CSIVolume(),
        )

    def _objects_changed(self, uids: Iterable[str]) -> None:
        self.pods.objects_changed(uids)

    def _skipped_keys(self, pod: Pod, kind: str, name: str, keys: Sequence[str]) -> None:
        message = (
            f"Keys [{', '.join(keys)}] from the EnvFrom {kind} {podutil.namespace(pod)}/{name} were skipped since they "
            "are considered invalid environment variable names."
        )
        self.recorder.event(pod, "Warning", "InvalidEnvironmentVariableNames", message)

    # -- the node as the API has it -------------------------------------------------------------------------------

    def _current_node(self) -> Node | None:
        return self._node_informer.get("", self.config.node_name) or self.node.node

    def _node_seen(self, node: Node) -> None:
        self.node.seen(node)
        cidr = node.spec.pod_cidr or ""
        if cidr and cidr != self._pod_cidr:
            self._pod_cidr = cidr
            self._cidr_changed.set()

    async def _network(self) -> None:
        """Give the runtime the node's pod CIDR when the controller manager has chosen it."""
        while True:
            await self._cidr_changed.wait()
            self._cidr_changed.clear()
            log.info("pod CIDR is %s", self._pod_cidr)
            try:
                await self._runtime.set_pod_cidr(self._pod_cidr)
            except RuntimeFailure as error:
                log.warning("the pod network cannot be set up yet: %s", error)
                await asyncio.sleep(NETWORK_RETRY)
                self._cidr_changed.set()
                continue
            self.node.touch()
            for worker in self.pods.workers():
                worker.network_ready()

    async def _storage(self) -> None:
        await self._csi_node.ensure()
        self.state.storage_problem = ""
        self.node.touch()

    async def _run_static_pods(self) -> None:
        # Few nodes have static pods; the others need no YAML parser in memory.
        from kubelet.static_pods import StaticPods

        static = StaticPods(self.config, self._api, self.pods, self._pods_informer)
        self.services.statuses.mirror = static.mirror
        await self.pods.started.wait()
        node = self._current_node()
        assert node is not None  # it was registered before
        await static.run(node, on_read=self.pods.sources_ready.set)

    # -- running --------------------------------------------------------------------------------------------------

    def not_ready(self) -> str:
        """ "" once every pod that was here has its worker."""
        return "" if self.pods.started.is_set() else "pods have not been read yet"

    async def run(self, beside: Sequence[Callable[[], Awaitable[None]]] = ()) -> None:
        """Until cancelled. `beside`: what runs from the start (the runtime's own tasks, the Node service)."""
        async with AsyncExitStack() as stack, asyncio.TaskGroup() as group:
            await stack.enter_async_context(self.objects)
            for work in beside:
                group.create_task(_awaited(work))
            # The informers need no registered node; warm, they cost a pod nothing later.
            group.create_task(self._factory.run())
            group.create_task(self._network())
            group.create_task(self.services.statuses.run())
            await self.node.register()
            group.create_task(self._lease.run())
            group.create_task(self.node.run())
            group.create_task(self._storage())
            await self._services_informer.synced()
            await self._node_informer.synced()
            group.create_task(self.pods.run())
            if self._eviction is not None and self._images is not None:
                group.create_task(self._eviction.run())
                group.create_task(self._collect_images(self._images))
            if self.config.static_pod_path is not None:
                await self._pods_informer.synced()
                group.create_task(self._run_static_pods())
            else:
                self.pods.sources_ready.set()


async def _awaited(work: Callable[[], Awaitable[None]]) -> None:
    await work()
