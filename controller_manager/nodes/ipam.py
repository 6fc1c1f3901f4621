"""Gives every node a range of pod addresses out of the cluster's.

Invariants:
- no two nodes have overlapping ranges: those that nodes already have are taken first, before any is given out;
- a node keeps its range for life; it is free again only when the node object is gone;
- when no range is left the node gets an event and is tried again when one is freed.
"""

from __future__ import annotations

import ipaddress
import logging

from api import errors
from api.types.core_v1 import Node
from client.controller import Controller
from client.writes import Patch
from controller_manager.context import Context
from controller_manager.nodes.events import record

log = logging.getLogger(__name__)

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class CidrSet:
    """The subnets of one range, by number; the next free one is looked for from where the last was found."""

    def __init__(self, cluster: str, mask: int) -> None:
        self._cluster: _Network = ipaddress.ip_network(cluster)
        if not self._cluster.prefixlen <= mask <= self._cluster.max_prefixlen:
            raise ValueError(f"node mask /{mask} does not fit into {cluster}")
        self._mask = mask
        self._step = 1 << (self._cluster.max_prefixlen - mask)
        self._size = 1 << (mask - self._cluster.prefixlen)
        self._used: set[int] = set()
        self._next = 0

    def take(self) -> str | None:
        for offset in range(self._size):
            number = (self._next + offset) % self._size
            if number not in self._used:
                self._used.add(number)
                self._next = number + 1
                return self._text(number)
        return None

    def occupy(self, cidr: str) -> None:
        """Mark everything that overlaps with `cidr`."""
        self._used.update(self._numbers(cidr))

    def release(self, cidr: str) -> None:
        self._used.difference_update(self._numbers(cidr))

    def _text(self, number: int) -> str:
        base = int(self._cluster.network_address) + number * self._step
        return f"{type(self._cluster.network_address)(base)}/{self._mask}"

    def _numbers(self, cidr: str) -> range:
        network = ipaddress.ip_network(cidr, strict=False)
        if network.version != self._cluster.version or not network.overlaps(self._cluster):
            return range(0)
        start = int(network.network_address) - int(self._cluster.network_address)
        end = int(network.broadcast_address) - int(self._cluster.network_address)
        return range(max(0, start // self._step), min(self._size - 1, end // self._step) + 1)


class NodeIpamController:
    def __init__(self, context: Context) -> None:
        self._api, self._batcher = context.api, context.batcher
        self._recorder = context.recorder("cidrAllocator")
        self._nodes = context.informers.informer(Node)
        settings = context.settings
        ranges = [c for c in settings.cluster_cidr.split(",") if c]
        self._sets = [CidrSet(c, 64 if ":" in c else settings.node_cidr_mask_size) for c in ranges]
        for one in self._sets:
            for reserved in filter(None, settings.service_cidr.split(",")):
                one.occupy(reserved)
        self.controller: Controller[str] = Controller("node_ipam", self.reconcile, workers=64)
        self._nodes.add_handler(on_add=self._seen, on_update=lambda _, new: self._seen(new), on_delete=self._gone)

    async def run(self) -> None:
        if self._sets:
            await self.controller.run()

    def _seen(self, node: Node) -> None:
        for cidr in node.spec.pod_cidrs or ():
            for one in self._sets:
                one.occupy(cidr)
        if not node.spec.pod_cidrs:
            self.controller.enqueue(node.metadata.name or "")

    def _gone(self, node: Node) -> None:
        for cidr in node.spec.pod_cidrs or ():
            for one in self._sets:
                one.release(cidr)
        for other in self._nodes.list():
            if not other.spec.pod_cidrs:
                self.controller.enqueue(other.metadata.name or "")

    async def reconcile(self, name: str) -> float | None:
        node = self._nodes.get("", name)
        if node is None or node.spec.pod_cidrs or node.spec.pod_cidr:
            return None
        taken = [one.take() for one in self._sets]
        given = [cidr for cidr in taken if cidr is not None]
        try:
            if len(given) < len(taken):
                record(self._recorder, node, "CIDRNotAvailable", f"Node {name} status is now: CIDRNotAvailable")
                self._give_back(given)
                return None  # the next deleted node wakes it
            change = {
                "metadata": {"uid": node.metadata.uid},
                "spec": {"podCIDR": given[0], "podCIDRs": given},
            }
            await self._batcher.write(Patch(Node, name, change, patch_type="strategic"))
            log.info("node %s has pod range %s", name, given)
        except errors.StatusError as error:
            # after a timeout the range may be the node's all the same; then the informer will say so
            self._give_back(given)
            live = await self._still_without(name)
            if live is None or not errors.is_not_found(error):
                raise
        return None

    async def _still_without(self, name: str) -> Node | None:
        try:
            node = await self._api.get(Node, name)
        except errors.StatusError:
            return None
        self._seen(node)
        return node

    def _give_back(self, cidrs: list[str]) -> None:
        for cidr in cidrs:
            for one in self._sets:
                one.release(cidr)
