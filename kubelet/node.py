"""The Node object: made when the kubelet starts, its status kept true, its conditions in upstream's words.

A status goes out every 10 s if it has changed, every 5 min otherwise, and at once when readiness turns. That the node
lives is told by its Lease (`node_lease`), which costs less.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

from api import codec, errors, pod_resources
from api.quantity import Quantity
from api.types.core_v1 import (
    ContainerImage,
    DaemonEndpoint,
    Node,
    NodeAddress,
    NodeCondition,
    NodeDaemonEndpoints,
    NodeSpec,
    NodeStatus,
)
from api.types.meta_v1 import ObjectMeta
from client import Api, UpdateStatus
from client.events import EventRecorder
from kubelet import machine
from kubelet.config import Config
from kubelet.cri import Runtime, RuntimeFailure
from kubelet.node_conditions import OWN, PRESSURES, event_of, network_problem, pressure, ready, turned

log = logging.getLogger(__name__)

UPDATE_INTERVAL = 10.0  # seconds
REPORT_INTERVAL = 300.0
REGISTER_RETRY_INITIAL, REGISTER_RETRY_MAXIMUM = 0.2, 7.0
MAX_IMAGES = 50


@dataclass(slots=True)
class NodeState:
    """What other parts of the kubelet know about the node."""

    pressures: set[str] = field(default_factory=set)  # condition types that hold
    shutting_down: bool = False
    storage_problem: str = ""


class NodeAgent:
    """Registers the node and reports its status."""

    def __init__(self, config: Config, api: Api, runtime: Runtime, recorder: EventRecorder, state: NodeState) -> None:
        self._config = config
        self._api = api
        self._runtime = runtime
        self._recorder = recorder
        self._state = state
        self._runtime_version = ""
        self._unschedulable = False  # as was told last
        self._changed = asyncio.Event()
        self._last_report = 0.0
        self.machine = machine.inspect(config.root_dir)
        self.node: Node | None = None  # as the API server had it last
        self.registered = asyncio.Event()

    # -- what the node has ----------------------------------------------------------------------------------------

    def capacity(self) -> dict[str, str]:
        """What the machine has, and what others have written beside it: extended resources are counted, not known."""
        own = self.machine.capacity(self._config.max_pods)
        told = (self.node.status.capacity if self.node is not None else None) or {}
        return {**{n: str(v) for n, v in told.items() if not n.startswith("hugepages-")}, **own}

    def allocatable(self) -> dict[str, Quantity]:
        """Capacity without reservations, eviction thresholds and huge pages, as the scheduler counts it."""
        capacity = pod_resources.amounts(self.capacity())
        allocatable = dict(capacity)
        for reserved in (self._config.system_reserved, self._config.kube_reserved):
            for name, value in pod_resources.amounts(reserved).items():
                allocatable[name] = max(Quantity(0), allocatable.get(name, Quantity(0)) - value)
        threshold = self._config.eviction_hard.get("memory.available", "")
        if threshold and not threshold.endswith("%"):
            allocatable["memory"] = max(Quantity(0), allocatable["memory"] - Quantity(threshold))
        disk = self._config.eviction_hard.get("nodefs.available", "")
        if disk.endswith("%"):
            kept = capacity["ephemeral-storage"].value * (100 - float(disk[:-1])) / 100
            allocatable["ephemeral-storage"] = Quantity(int(kept))
        for size, amount in self.machine.hugepages.items():
            if amount:
                allocatable["memory"] = allocatable["memory"] - Quantity(amount)
            allocatable[f"hugepages-{size}"] = capacity[f"hugepages-{size}"]
        return allocatable

    # -- registration ---------------------------------------------------------------------------------------------

    async def register(self) -> None:
        """Returns when the API server knows the node; tries until then."""
        delay = REGISTER_RETRY_INITIAL
        while True:
            try:
                await self._register()
                self.registered.set()
                log.info("registered node %s", self._config.node_name)
                return
            except (errors.StatusError, RuntimeFailure) as error:
                log.info("registering node %s: %s", self._config.node_name, error)
            await self._api.pause(delay)
            delay = min(delay * 2, REGISTER_RETRY_MAXIMUM)

    async def _register(self) -> None:
        name = self._config.node_name
        wanted = Node(
            metadata=ObjectMeta(
                name=name,
                labels=self._labels(),
                annotations={"volumes.kubernetes.io/controller-managed-attach-detach": "true"},
            ),
            spec=NodeSpec(taints=list(self._config.taints) or None),
            status=await self._status(),
        )
        try:
            self.node = await self._api.create(wanted)
            self._recorder.event(self.node, "Normal", "Starting", "Starting kubelet.")
            for condition in wanted.status.conditions or ():
                self._tell(condition)
            return
        except errors.StatusError as error:
            if not errors.is_already_exists(error):
                raise
        known = await self._api.get(Node, name)
        self._recorder.event(known, "Normal", "Starting", "Starting kubelet.")
        labels = {**(known.metadata.labels or {}), **self._labels()}
        if labels != (known.metadata.labels or {}):
            known = await self._api.patch(Node, name, {"metadata": {"labels": labels}}, type="merge")
        boot = known.status.node_info.boot_id
        if boot and boot != wanted.status.node_info.boot_id:
            message = f"Node {name} has been rebooted, boot id: {wanted.status.node_info.boot_id}"
            self._recorder.event(known, "Warning", "Rebooted", message)
        self.seen(known)
        await self._report(force=True)

    def _labels(self) -> dict[str, str]:
        arch = machine.architecture()
        return {
            "kubernetes.io/hostname": self._config.node_name,
            "kubernetes.io/os": "linux",
            "kubernetes.io/arch": arch,
            "beta.kubernetes.io/os": "linux",
            "beta.kubernetes.io/arch": arch,
            **self._config.node_labels,
        }

    def seen(self, node: Node) -> None:
        """The node as the API server has it now: what others write of it (taints, cordons, a node controller that lost
        patience) counts from here on, and the events that follow from it are told."""
        if self.node is not None and _version(node) < _version(self.node):
            return  # our own write has answered before the watch brought what was there before
        if self.node is not None and node.status.capacity != self.node.status.capacity:
            self.touch()  # what somebody else counts is to be allocatable
        self.node = node
        if any(c.type in OWN and c.status == "Unknown" for c in node.status.conditions or ()):
            self.touch()  # the node controller has heard nothing for a while
        if bool(node.spec.unschedulable) is not self._unschedulable:
            self._unschedulable = not self._unschedulable
            self._tell_event("NodeNotSchedulable" if self._unschedulable else "NodeSchedulable")

    # -- status ---------------------------------------------------------------------------------------------------

    def touch(self) -> None:
        """Something that the status shows may have changed: look now."""
        self._changed.set()

    async def run(self) -> None:
        """Report until cancelled."""
        await self.registered.wait()
        while True:
            try:
                async with asyncio.timeout(UPDATE_INTERVAL):
                    await self._changed.wait()
            except TimeoutError:
                pass
            self._changed.clear()
            try:
                await self._report()
            except errors.StatusError as error:
                # A node that somebody has deleted stays deleted until its kubelet starts anew, as upstream's.
                log.info("reporting the node's status: %s", error)
            except RuntimeFailure as error:
                log.warning("reporting the node's status: %s", error)

    async def _report(self, *, force: bool = False) -> None:
        node = self.node  # before looking: what others write meanwhile makes this a conflict, not theirs undone
        assert node is not None
        status = await self._status()
        now = asyncio.get_running_loop().time()
        due = force or now - self._last_report >= REPORT_INTERVAL
        if not due and _same(status, node.status):
            return
        # Conditions of others (network agents, problem detectors) and their fields stay theirs.
        fresh = codec.deepcopy(node)
        others = [c for c in fresh.status.conditions or () if c.type not in OWN]
        own = list(status.conditions or ())
        status.conditions = [*others, *own]
        status.volumes_attached = fresh.status.volumes_attached
        fresh.status = status
        outcome = (await self._api.batch([UpdateStatus(fresh)]))[0]
        if isinstance(outcome, errors.StatusError):
            if not errors.is_conflict(outcome):
                raise outcome
            self.seen(await self._api.get(Node, self._config.node_name))
            self._changed.set()
            return
        self.node = outcome
        self._last_report = now
        for condition in own:
            self._tell(condition, node.status.conditions or ())

    async def _status(self) -> NodeStatus:
        config = self._config
        problem = await self._runtime_problem()
        return NodeStatus(
            addresses=[
                NodeAddress(type="InternalIP", address=config.node_ip),
                NodeAddress(type="Hostname", address=config.node_name),
            ],
            capacity=dict(self.capacity()),
            allocatable={name: str(value) for name, value in self.allocatable().items()},
            conditions=await self._conditions(problem),
            daemon_endpoints=NodeDaemonEndpoints(kubelet_endpoint=DaemonEndpoint(port=config.grpc_port)),
            node_info=machine.system_info(self._runtime_version),
            images=[] if problem else await self._images(),
        )

    async def _runtime_problem(self) -> str:
        try:
            name, version = await self._runtime.version()
        except RuntimeFailure:
            return "container runtime is down"
        self._runtime_version = f"{name}://{version}"
        return ""

    async def _images(self) -> list[ContainerImage]:
        try:
            found = await self._runtime.list_images()
        except RuntimeFailure:
            return list(self.node.status.images or []) if self.node else []
        named = [image for image in found if image.repo_digests or image.repo_tags]
        largest = sorted(named, key=lambda image: (-image.size, image.id))[:MAX_IMAGES]
        return [
            ContainerImage(names=[*image.repo_digests, *image.repo_tags][:5] or None, size_bytes=image.size)
            for image in largest
        ]

    async def _conditions(self, runtime_problem: str) -> list[NodeCondition]:
        known = (self.node.status.conditions if self.node is not None else None) or ()
        made = [pressure(kind, kind in self._state.pressures, known) for kind in PRESSURES]
        problems = [runtime_problem] if runtime_problem else []
        if not runtime_problem and (network := await self._runtime.network_ready()):
            problems.append(network_problem(network))
        if self._state.storage_problem:
            problems.append(self._state.storage_problem)
        if self._state.shutting_down:
            problems.append("node is shutting down")
        return [*made, ready(problems, known)]

    def _tell(self, condition: NodeCondition, before: Sequence[NodeCondition] = ()) -> None:
        if turned(condition, before):
            self._tell_event(event_of(condition))

    def _tell_event(self, event: str) -> None:
        message = f"Node {self._config.node_name} status is now: {event}"
        self._recorder.event(self.node, "Normal", event, message)


def _version(node: Node) -> int:
    return int(node.metadata.resource_version or 0)


def _same(new: NodeStatus, old: NodeStatus) -> bool:
    """Is there nothing to report but newer heartbeats?"""
    return _comparable(new) == _comparable(old)


def _comparable(status: NodeStatus) -> object:
    values = codec.to_dict(status)
    values.pop("volumesAttached", None)
    values.pop("phase", None)
    values["conditions"] = sorted(
        (
            (c["type"], c["status"], c.get("reason"), c.get("message"))
            for c in values.get("conditions") or ()
            if c["type"] in OWN
        ),
        key=str,
    )
    values["images"] = values.get("images") or []
    return values
