"""Watches over nodes: one that falls silent is declared unknown, tainted, and its pods are no longer ready.

Invariants:
- silence is measured by this process's own clock, from the last change of the node's Ready heartbeat or Lease that it
  saw; clocks of nodes are never trusted;
- a node silent for the grace period gets every condition Unknown, with upstream's reasons, once;
- NoSchedule taints follow conditions and `spec.unschedulable` at once; NoExecute taints (which evict) follow Ready, at
  the rate that the zone's health allows: if everything looks dead it is rather us who are blind, and nobody is evicted;
- pods of a node that is not ready are marked not ready, so that Services stop sending to them.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from api import codec, errors
from api import time as api_time
from api.types.coordination_v1 import Lease
from api.types.core_v1 import Node, NodeCondition, Pod
from client.controller import Controller
from client.writes import Patch, UpdateStatus
from controller_manager import conditions
from controller_manager.context import Context
from controller_manager.nodes import taints
from controller_manager.nodes.events import record
from controller_manager.nodes.zones import EvictionRates, zone_of

log = logging.getLogger(__name__)

LEASES = "kube-node-lease"
BY_NODE = "node-name"

_WATCHED = ("Ready", "MemoryPressure", "DiskPressure", "PIDPressure")
#: condition type -> status -> key of the NoSchedule taint that it means
_BY_CONDITION = {
    "Ready": {"False": taints.NOT_READY, "Unknown": taints.UNREACHABLE},
    "MemoryPressure": {"True": "node.kubernetes.io/memory-pressure"},
    "DiskPressure": {"True": "node.kubernetes.io/disk-pressure"},
    "NetworkUnavailable": {"True": "node.kubernetes.io/network-unavailable"},
    "PIDPressure": {"True": "node.kubernetes.io/pid-pressure"},
}
_MANAGED = {key for by_status in _BY_CONDITION.values() for key in by_status.values()} | {taints.UNSCHEDULABLE}
_OS_LABELS = (("beta.kubernetes.io/os", "kubernetes.io/os"), ("beta.kubernetes.io/arch", "kubernetes.io/arch"))


@dataclass
class _Health:
    """What was last seen of a node, and when by our clock."""

    seen: float
    heartbeat: str | None
    renewed: str | None = None
    pods_to_mark: bool = False


def pods_by_node(pod: Pod) -> list[str]:
    """Index function."""
    return [pod.spec.node_name] if pod.spec.node_name else []


class NodeLifecycleController:
    def __init__(self, context: Context, clock: Callable[[], float] = time.monotonic) -> None:
        self._api, self._batcher = context.api, context.batcher
        self._settings, self._clock = context.settings, clock
        self._recorder = context.recorder("node-controller")
        self._nodes = context.informers.informer(Node)
        self._pods = context.informers.informer(Pod)
        self._leases = context.informers.informer(Lease, namespace=LEASES)
        self._health: dict[str, _Health] = {}
        self._rates = EvictionRates(context.settings, clock)
        self.controller: Controller[str] = Controller("node_lifecycle", self.reconcile, workers=64)
        self._pods.add_index(BY_NODE, pods_by_node)
        self._pods.add_handler(on_add=self._pod_seen, on_update=lambda _, new: self._pod_seen(new))
        self._nodes.add_handler(
            on_add=lambda n: self.controller.enqueue(n.metadata.name or ""),
            on_update=lambda _, n: self.controller.enqueue(n.metadata.name or ""),
        )

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self.controller.run())
            group.create_task(self._watch_over())

    def _pod_seen(self, pod: Pod) -> None:
        """A kubelet that is cut off may have left a pod's Ready condition true."""
        node = self._nodes.get("", pod.spec.node_name or "") if pod.spec.node_name else None
        if node is not None and not conditions.is_true(node.status.conditions, "Ready"):
            health = self._health.get(node.metadata.name or "")
            if health is not None and conditions.is_true(pod.status.conditions, "Ready"):
                ready = conditions.find(node.status.conditions, "Ready")
                health.pods_to_mark = health.pods_to_mark or (ready is not None and ready.status == "Unknown")

    # -- what follows from the node object at once ------------------------------------------------------------------

    async def reconcile(self, name: str) -> float | None:
        node = self._nodes.get("", name)
        if node is None:
            return None
        await self._label(node)
        wanted = []
        for type, by_status in _BY_CONDITION.items():
            condition = conditions.find(node.status.conditions, type)
            if condition is not None and condition.status in by_status:
                wanted.append((by_status[condition.status], "NoSchedule"))
        if node.spec.unschedulable:
            wanted.append((taints.UNSCHEDULABLE, "NoSchedule"))
        present = {(t.key, t.effect) for t in node.spec.taints or () if t.key in _MANAGED and t.effect == "NoSchedule"}
        await taints.swap(self._api, self._batcher, node, wanted, sorted(present - set(wanted)))
        return None

    async def _label(self, node: Node) -> None:
        labels = node.metadata.labels or {}
        missing = {old: labels[new] for old, new in _OS_LABELS if new in labels and labels.get(old) != labels[new]}
        if missing:
            await self._batcher.write(Patch(Node, node.metadata.name or "", {"metadata": {"labels": missing}}))

    # -- silence ----------------------------------------------------------------------------------------------------

    async def _watch_over(self) -> None:
        while True:
            try:
                await self.monitor()
            except errors.StatusError as error:
                log.warning("cannot monitor nodes: %s", error)
            await asyncio.sleep(self._settings.node_monitor_period)

    async def monitor(self) -> None:
        """One look at all nodes."""
        nodes = self._nodes.list()
        names = {n.metadata.name or "" for n in nodes}
        for gone in self._health.keys() - names:
            del self._health[gone]
            left = Node()
            left.metadata.name = gone
            record(self._recorder, left, "RemovingNode", f"Node {gone} event: Removing Node {gone} from Controller")
        checked = await asyncio.gather(*(self._check(node) for node in nodes))
        current = [node for node in checked if node is not None]
        self._rates.update(current)
        for node in current:
            await self._taint(node)

    async def _check(self, node: Node) -> Node | None:
        name = node.metadata.name or ""
        before = conditions.find(node.status.conditions, "Ready")
        health = self._health.get(name)
        if health is None:
            health = self._health[name] = _Health(self._clock(), before.last_heartbeat_time if before else None)
            message = f"Node {name} event: Registered Node {name} in Controller"
            record(self._recorder, node, "RegisteredNode", message)
        lease = self._leases.get(LEASES, name)
        renewed = lease.spec.renew_time if lease is not None else None
        heartbeat = before.last_heartbeat_time if before else None
        if (heartbeat, renewed) != (health.heartbeat, health.renewed):
            health.heartbeat, health.renewed, health.seen = heartbeat, renewed, self._clock()
        settings = self._settings
        grace = settings.node_monitor_grace_period if before is not None else settings.node_startup_grace_period
        try:
            if self._clock() - health.seen > grace:
                node = await self._declare_unknown(node)
            after = conditions.find(node.status.conditions, "Ready")
            if before is not None and before.status == "True" and after is not None and after.status != "True":
                record(self._recorder, node, "NodeNotReady", f"Node {name} status is now: NodeNotReady")
                health.pods_to_mark = True
            if health.pods_to_mark and after is not None and after.status != "True":
                await self._mark_pods(node)
            health.pods_to_mark = False
        except errors.StatusError as error:
            if not errors.is_not_found(error):
                log.info("node %s: %s", name, error)
        return node

    async def _declare_unknown(self, node: Node) -> Node:
        changed = codec.deepcopy(node)
        now = api_time.now()
        found = changed.status.conditions = changed.status.conditions or []
        for type in _WATCHED:
            condition = conditions.find(found, type)
            if condition is None:
                found.append(
                    NodeCondition(
                        type=type,
                        status="Unknown",
                        reason="NodeStatusNeverUpdated",
                        message="Kubelet never posted node status.",
                        last_heartbeat_time=node.metadata.creation_timestamp,
                        last_transition_time=now,
                    )
                )
            elif condition.status != "Unknown":
                condition.status, condition.last_transition_time = "Unknown", now
                condition.reason = "NodeStatusUnknown"
                condition.message = "Kubelet stopped posting node status."
        if changed.status.conditions == node.status.conditions:
            return node
        log.info("node %s has been silent for too long", node.metadata.name)
        written: Node = await self._batcher.write(UpdateStatus(changed))
        return written

    async def _mark_pods(self, node: Node) -> None:
        marking = []
        for pod in self._pods.by_index(BY_NODE, node.metadata.name):
            if conditions.is_true(pod.status.conditions, "Ready"):
                marking.append(self._mark_pod(pod))
        await asyncio.gather(*marking)

    async def _mark_pod(self, pod: Pod) -> None:
        changed = codec.deepcopy(pod)
        ready = conditions.find(changed.status.conditions, "Ready")
        assert ready is not None
        ready.status, ready.last_transition_time = "False", api_time.now()
        self._recorder.event(pod, "Warning", "NodeNotReady", "Node is not ready")
        try:
            await self._batcher.write(UpdateStatus(changed))
        except errors.StatusError as error:
            if errors.is_conflict(error):
                health = self._health.get(pod.spec.node_name or "")
                if health is not None:
                    health.pods_to_mark = True
            elif not errors.is_not_found(error):
                raise

    # -- eviction ---------------------------------------------------------------------------------------------------

    async def _taint(self, node: Node) -> None:
        """The NoExecute taint that Ready means; adding one costs a token of the zone's rate."""
        ready = conditions.find(node.status.conditions, "Ready")
        status = ready.status if ready is not None else "Unknown"
        not_ready, unreachable = (taints.NOT_READY, "NoExecute"), (taints.UNREACHABLE, "NoExecute")
        add, remove = {
            "True": ([], [not_ready, unreachable]),
            "False": ([not_ready], [unreachable]),
        }.get(status, ([unreachable], [not_ready]))
        present = {(t.key, t.effect) for t in node.spec.taints or ()}
        fresh = bool(add) and not present & {not_ready, unreachable}
        if fresh and not self._rates.may_evict(node):
            return
        try:
            await taints.swap(self._api, self._batcher, node, add, remove)
        except errors.StatusError as error:
            if fresh:
                self._rates.give_back(zone_of(node))
            if not (errors.is_conflict(error) or errors.is_not_found(error)):
                log.warning("cannot taint node %s: %s", node.metadata.name, error)
