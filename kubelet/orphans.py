"""Pods that the runtime or the disk knows and the API does not: deleted while this kubelet was away.

They are ended with the grace their containers were created with, and everything they left is removed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable

from api.types.core_v1 import Container, Lifecycle, Pod, PodSpec
from api.types.meta_v1 import ObjectMeta
from kubelet import cri
from kubelet.containers import grace_of, pre_stop_of
from kubelet.killing import Killer, pod_ip
from kubelet.services import Services

log = logging.getLogger(__name__)


class Orphans:
    def __init__(self, services: Services) -> None:
        self._services = services

    async def collect(self, known: Callable[[], Iterable[str]]) -> None:
        """`known` tells the UIDs of pods that have a worker now. Trouble is logged; the next round tries again."""
        try:
            snapshots = await self._services.runtime.list_pods()
        except cri.RuntimeFailure as error:
            log.warning("looking for orphaned pods: %s", error)
            return
        # Asked after the list: a pod that came meanwhile is not lost.
        workers = set(known())
        await asyncio.gather(*(self._end(snapshot) for uid, snapshot in snapshots.items() if uid not in workers))
        try:
            await self._services.runtime.remove_leftovers(set(known()))
        except cri.RuntimeFailure as error:
            log.warning("removing what orphaned pods left: %s", error)
        for uid in self._services.volumes.leftovers(set(known())):
            try:
                await self._services.volumes.tear_down(uid)
            except OSError as error:
                log.warning("volumes of orphaned pod %s: %s", uid, error)

    async def _end(self, snapshot: cri.PodSnapshot) -> None:
        log.info("ending orphaned pod %s/%s (%s)", snapshot.namespace, snapshot.name, snapshot.uid)
        pod = _remembered(snapshot)
        running = [run for run in snapshot.containers if run.state is cri.State.RUNNING]
        grace = max((grace_of(run) for run in running), default=0)
        killer = Killer(self._services, pod, pod_ip(pod, snapshot, self._services.config.node_ip))
        try:
            await killer.kill_all(snapshot, grace=grace)
            for sandbox in snapshot.sandboxes:
                await self._services.runtime.stop_sandbox(sandbox.id)
            for run in snapshot.containers:
                await self._services.runtime.remove_container(run.id)
            for sandbox in snapshot.sandboxes:
                await self._services.runtime.remove_sandbox(sandbox.id)
        except cri.RuntimeFailure as error:
            log.warning("orphaned pod %s: %s", snapshot.uid, error)


def _remembered(snapshot: cri.PodSnapshot) -> Pod:
    """As much of the pod as its containers' labels still tell."""
    containers: dict[str, Container] = {}
    for run in snapshot.containers:
        hook = pre_stop_of(run)
        containers.setdefault(
            run.name, Container(name=run.name, image=run.image, lifecycle=Lifecycle(pre_stop=hook) if hook else None)
        )
    host_network = bool(snapshot.sandboxes and snapshot.sandboxes[0].host_network)
    return Pod(
        metadata=ObjectMeta(name=snapshot.name, namespace=snapshot.namespace, uid=snapshot.uid),
        spec=PodSpec(containers=list(containers.values()), host_network=host_network or None),
    )
