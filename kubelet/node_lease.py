"""The node's Lease in kube-node-lease: renewed every 10 s, it is the sign of life that the node controller watches."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from api import codec, errors
from api import time as api_time
from api.types.coordination_v1 import Lease, LeaseSpec
from api.types.core_v1 import Node
from api.types.meta_v1 import ObjectMeta, OwnerReference
from client import Api

log = logging.getLogger(__name__)

NAMESPACE = "kube-node-lease"
DURATION = 40  # seconds
RENEW_INTERVAL = 10.0
RETRY = 1.0


class NodeLease:
    def __init__(self, api: Api, node_name: str, node: Callable[[], Node | None]) -> None:
        self._api = api
        self._name = node_name
        self._node = node
        self._lease: Lease | None = None

    async def run(self) -> None:
        """Renew until cancelled."""
        while True:
            try:
                await self._renew()
                await asyncio.sleep(RENEW_INTERVAL)
            except errors.StatusError as error:
                self._lease = None  # somebody else wrote it, or it is gone: read it anew
                log.info("renewing the lease of node %s: %s", self._name, error)
                await asyncio.sleep(RETRY)

    async def _renew(self) -> None:
        if self._lease is None:
            try:
                self._lease = await self._api.get(Lease, self._name, namespace=NAMESPACE)
            except errors.StatusError as error:
                if not errors.is_not_found(error):
                    raise
                self._lease = await self._api.create(self._filled(Lease()))
                return
        self._lease = await self._api.update(self._filled(codec.deepcopy(self._lease)))

    def _filled(self, lease: Lease) -> Lease:
        if not lease.metadata.name:
            lease.metadata = ObjectMeta(name=self._name, namespace=NAMESPACE)
        node = self._node()
        if node is not None and not lease.metadata.owner_references:
            owner = OwnerReference(api_version="v1", kind="Node", name=self._name, uid=node.metadata.uid or "")
            lease.metadata.owner_references = [owner]
        if not lease.spec.holder_identity:
            lease.spec = LeaseSpec(holder_identity=self._name, lease_duration_seconds=DURATION)
        lease.spec.renew_time = api_time.now_micro()
        return lease
