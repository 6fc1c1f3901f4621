"""Deletes pods that nobody else will.

Every 20 seconds:
- pods bound to a node that no longer exists, once it has been missing for 40 s and a live read agrees;
- pods that terminate without ever having been scheduled;
- pods that terminate on a node that is tainted out-of-service and not ready;
- finished pods beyond the threshold, oldest (and evicted ones) first.
Those that were not finished are first marked failed, so that their owners can count them.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from api import errors
from api.types.core_v1 import Node, Pod
from controller_manager import conditions
from controller_manager import pods as pod_facts
from controller_manager.context import Context
from controller_manager.nodes import taints
from controller_manager.nodes.taint_eviction import mark_disrupted

log = logging.getLogger(__name__)

PERIOD = 20.0
QUARANTINE = 40.0


class PodGcController:
    def __init__(self, context: Context, clock: Callable[[], float] = time.monotonic) -> None:
        self._api, self._clock = context.api, clock
        self._threshold = context.settings.terminated_pod_gc_threshold
        self._nodes = context.informers.informer(Node)
        self._pods = context.informers.informer(Pod)
        self._missing: dict[str, float] = {}

    async def run(self) -> None:
        while True:
            try:
                await self.collect()
            except errors.StatusError as error:
                log.warning("pod garbage collection: %s", error)
            await asyncio.sleep(PERIOD)

    async def collect(self) -> None:
        """One look at all pods."""
        pods = self._pods.list()
        if self._threshold > 0:
            await self._terminated(pods)
        await self._orphaned(pods)
        for pod in pods:
            if not pod.metadata.deletion_timestamp:
                continue
            if not pod.spec.node_name:
                await self._remove(pod)
            elif self._out_of_service(pod.spec.node_name):
                reason = "PodGC: node out-of-service" if not pod_facts.is_terminal(pod) else ""
                await self._remove(pod, reason)

    def _out_of_service(self, name: str) -> bool:
        node = self._nodes.get("", name)
        if node is None or conditions.is_true(node.status.conditions, "Ready"):
            return False
        return any(t.key == taints.OUT_OF_SERVICE for t in node.spec.taints or ())

    async def _terminated(self, pods: list[Pod]) -> None:
        finished = [p for p in pods if pod_facts.is_terminal(p) and not p.metadata.deletion_timestamp]
        surplus = len(finished) - self._threshold
        finished.sort(
            key=lambda p: (p.status.reason != "Evicted", p.metadata.creation_timestamp or "", p.metadata.name or "")
        )
        for pod in finished[: max(0, surplus)]:
            await self._remove(pod, "")

    async def _orphaned(self, pods: list[Pod]) -> None:
        used = {p.spec.node_name for p in pods if p.spec.node_name}
        missing = {name for name in used if self._nodes.get("", name) is None}
        self._missing = {name: self._missing.get(name, self._clock()) for name in missing}
        gone = set()
        for name, since in self._missing.items():
            if self._clock() - since >= QUARANTINE and await self._is_gone(name):
                gone.add(name)
        for pod in pods:
            if pod.spec.node_name in gone:
                await self._remove(pod, "" if pod_facts.is_terminal(pod) else "PodGC: node no longer exists")

    async def _is_gone(self, name: str) -> bool:
        try:
            await self._api.get(Node, name)
        except errors.StatusError as error:
            if errors.is_not_found(error):
                return True
            raise
        return False

    async def _remove(self, pod: Pod, why: str = "") -> None:
        meta = pod.metadata
        try:
            if why:
                await mark_disrupted(self._api, pod, "DeletionByPodGC", why, failed=True)
            await self._api.delete(
                Pod, meta.name or "", namespace=meta.namespace or "", grace_period_seconds=0, uid=meta.uid
            )
            log.info("collected pod %s/%s %s", meta.namespace, meta.name, why)
        except errors.StatusError as error:
            if not (errors.is_not_found(error) or errors.is_conflict(error)):
                raise
