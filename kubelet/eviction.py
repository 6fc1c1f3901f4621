"""Pressure: when the node runs low, it says so (conditions) and ends pods, in upstream's order, before the kernel does.

One pod goes at a time; then the node is looked at again. A condition stays for five minutes after what it tells of, so
that it doesn't flicker. Critical pods are never evicted. Limits that a pod set for its own local storage are kept here
as well.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from api import pod_resources
from api.quantity import Quantity
from api.types.core_v1 import Pod
from client.events import EventRecorder
from kubelet import metrics, podutil
from kubelet.admission import Refusal
from kubelet.config import Config
from kubelet.cri import Runtime, RuntimeFailure
from kubelet.layout import Layout
from kubelet.node import NodeState
from kubelet.pod_worker import PodWorker
from kubelet.pods import Pods
from kubelet.signals import Observation, Threshold
from kubelet.view import Verdict

log = logging.getLogger(__name__)

INTERVAL = 10.0  # seconds
TRANSITION = 300.0
EVICTED = "Evicted"
MAX_GRACE_HARD = 0  # seconds that pods get on a hard threshold

_CONDITIONS = {
    "memory.available": "MemoryPressure",
    "nodefs.available": "DiskPressure",
    "nodefs.inodesFree": "DiskPressure",
    "imagefs.available": "DiskPressure",
    "imagefs.inodesFree": "DiskPressure",
    "pid.available": "PIDPressure",
}
_RESOURCES = {
    "memory.available": "memory",
    "nodefs.available": "ephemeral-storage",
    "imagefs.available": "ephemeral-storage",
    "nodefs.inodesFree": "inodes",
    "imagefs.inodesFree": "inodes",
    "pid.available": "pids",
}
_TAINTS = {
    "MemoryPressure": "node.kubernetes.io/memory-pressure",
    "DiskPressure": "node.kubernetes.io/disk-pressure",
    "PIDPressure": "node.kubernetes.io/pid-pressure",
}


class Eviction:
    def __init__(
        self,
        config: Config,
        pods: Pods,
        runtime: Runtime,
        recorder: EventRecorder,
        layout: Layout,
        state: NodeState,
        *,
        observe: Callable[[], Mapping[str, Observation]],
        reclaim_disk: Callable[[], Awaitable[object]],
        changed: Callable[[], None],
    ) -> None:
        """`reclaim_disk` removes unused images; `changed` has the node's status looked at."""
        self._thresholds = [Threshold(signal, value) for signal, value in config.eviction_hard.items()]
        self._pods = pods
        self._runtime = runtime
        self._recorder = recorder
        self._layout = layout
        self._state = state
        self._observe = observe
        self._reclaim_disk = reclaim_disk
        self._changed = changed
        self._last_seen: dict[str, float] = {}  # condition -> loop time

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                await self.check()
            except RuntimeFailure as error:
                log.warning("looking after the node's resources: %s", error)
            await asyncio.sleep(INTERVAL)

    async def check(self) -> None:
        """One look, and what follows from it."""
        observed = self._observe()
        met = [t for t in self._thresholds if t.signal in observed and t.met(observed[t.signal])]
        self._set_conditions({_CONDITIONS[t.signal] for t in met if t.signal in _CONDITIONS})
        if await self._enforce_local_limits() or not met:
            return
        threshold = min(met, key=lambda t: t.signal != "memory.available")  # memory is the most urgent
        if _CONDITIONS[threshold.signal] == "DiskPressure":
            await self._reclaim_disk()
            observed = self._observe()
            if not threshold.met(observed[threshold.signal]):
                return
        await self._evict_one(threshold, observed[threshold.signal])

    def _set_conditions(self, holding: set[str]) -> None:
        now = asyncio.get_running_loop().time()
        for condition in holding:
            self._last_seen[condition] = now
        present = {c for c, seen in self._last_seen.items() if now - seen < TRANSITION}
        if present != self._state.pressures:
            self._state.pressures = present
            self._changed()

    # -- pods for the node's sake ---------------------------------------------------------------------------------

    async def _evict_one(self, threshold: Threshold, observed: Observation) -> None:
        resource = _RESOURCES[threshold.signal]
        self._recorder.event(
            self._pods.node_reference(),
            "Warning",
            "EvictionThresholdMet",
            f"Attempting to reclaim {resource}",
        )
        stats = await self._runtime.pod_stats()
        candidates = [w for w in self._pods.workers() if not w.ended.is_set() and w.verdict is None]
        usage = {w.uid: self._usage(w, resource, stats.get(w.uid, {})) for w in candidates}
        for worker in rank(candidates, usage, resource):
            if podutil.is_critical(worker.pod):
                continue
            message = _low_message(threshold, observed, resource, worker.pod, stats.get(worker.uid, {}))
            log.warning("evicting pod %s: %s", worker.key, message)
            self._end(worker, message)
            metrics.evictions.labels(threshold.signal).inc()
            try:
                async with asyncio.timeout(podutil.DEFAULT_GRACE):
                    await worker.ended.wait()
            except TimeoutError:
                log.warning("evicted pod %s has not ended yet", worker.key)
            return

    def _usage(self, worker: PodWorker, resource: str, stats: Mapping[str, Any]) -> int:
        if resource == "memory":
            return int((stats.get("memory") or {}).get("workingSetBytes", 0))
        if resource == "pids":
            return int((stats.get("process_stats") or {}).get("process_count", 0))
        used, inodes = disk_usage(str(self._layout.volumes(worker.uid)))
        containers = stats.get("ephemeral-storage") or {}
        if resource == "inodes":
            return inodes + int(containers.get("inodesUsed", 0))
        return used + int(containers.get("usedBytes", 0))

    def _end(self, worker: PodWorker, message: str) -> None:
        self._recorder.event(worker.pod, "Warning", EVICTED, message)
        worker.end(Verdict("Failed", EVICTED, message, "TerminationByKubelet"), MAX_GRACE_HARD)

    # -- pods that break limits of their own ----------------------------------------------------------------------

    async def _enforce_local_limits(self) -> bool:
        """Was a pod ended?"""
        workers = [w for w in self._pods.workers() if w.verdict is None and not w.ended.is_set()]
        limited = [w for w in workers if _limits_storage(w.pod)]
        if not limited:
            return False
        ended = False
        stats: Mapping[str, Mapping[str, Any]] = await self._runtime.pod_stats()
        for worker in limited:
            if message := await asyncio.to_thread(self._over_limit, worker.pod, stats.get(worker.uid) or {}):
                self._end(worker, message)
                ended = True
        return ended

    def _over_limit(self, pod: Pod, stats: Mapping[str, Any]) -> str:
        """Upstream's message for the first limit that the pod's volumes, the pod, or one container exceeds."""
        uid, total = podutil.uid(pod), int((stats.get("ephemeral-storage") or {}).get("usedBytes", 0))
        for volume in pod.spec.volumes or ():
            if volume.empty_dir is None or (volume.empty_dir.medium or "") != "":
                continue
            used, _ = disk_usage(str(self._layout.volume(uid, "kubernetes.io/empty-dir", volume.name)))
            total += used
            limit = volume.empty_dir.size_limit
            if limit is not None and Quantity(limit) > Quantity(0) and used > Quantity(limit).value:
                return f'Usage of EmptyDir volume "{volume.name}" exceeds the limit "{Quantity(limit)}". '
        bound = pod_resources.pod_limits(pod).get("ephemeral-storage")
        if bound is not None and total > bound.value:
            return f"Pod ephemeral local storage usage exceeds the total limit of containers {bound}. "
        by_name = {c["name"]: c for c in stats.get("containers") or ()}
        for container in pod.spec.containers:
            own = (container.resources.limits or {}).get("ephemeral-storage")
            found = by_name.get(container.name) or {}
            used = sum(int((found.get(part) or {}).get("usedBytes", 0)) for part in ("rootfs", "logs"))
            if own is not None and used > Quantity(own).value:
                return f'Container {container.name} exceeded its local ephemeral storage limit "{Quantity(own)}". '
        return ""

    # -- pods that come -------------------------------------------------------------------------------------------

    def refuse(self, pod: Pod) -> Refusal | None:
        """May this pod come while there is pressure? Upstream's eviction admission."""
        pressures = self._state.pressures
        if not pressures or podutil.is_critical(pod):
            return None
        if pressures == {"MemoryPressure"}:
            if pod_resources.qos_class(pod.spec) != pod_resources.BEST_EFFORT:
                return None
            tolerations = pod.spec.tolerations or ()
            if any(podutil.tolerates(t, _TAINTS["MemoryPressure"], "", "NoSchedule") for t in tolerations):
                return None
        listed = " ".join(sorted(pressures))
        return Refusal(EVICTED, f"The node had condition: [{listed}]. ")


def rank(candidates: list[PodWorker], usage: Mapping[str, int], resource: str) -> list[PodWorker]:
    """Whom to end first: who uses more than requested, then lower priority, then the most over its request."""

    def key(worker: PodWorker) -> tuple[bool, int, int]:
        requested = pod_resources.pod_requests(worker.pod).get(resource, Quantity(0)).value
        over = usage[worker.uid] - requested
        return (over <= 0, worker.pod.spec.priority or 0, -over)

    return sorted(candidates, key=key)


def _low_message(threshold: Threshold, observed: Observation, resource: str, pod: Pod, stats: Mapping[str, Any]) -> str:
    message = f"The node was low on resource: {resource}. "
    quantity = Quantity.binary(threshold.amount(observed.capacity))
    message += f"Threshold quantity: {quantity}, available: {observed.available // 1024}Ki. "
    if resource != "memory":
        return message
    by_name = {c["name"]: c for c in stats.get("containers") or ()}
    for container in (*pod.spec.containers, *(pod.spec.init_containers or ())):
        used = int(((by_name.get(container.name) or {}).get("memory") or {}).get("workingSetBytes", 0))
        requested = Quantity((container.resources.requests or {}).get("memory", 0))
        if used > requested.value:
            message += (
                f"Container {container.name} was using {used // 1024}Ki, request is {requested}, "
                "has larger consumption of memory. "
            )
    return message


def _limits_storage(pod: Pod) -> bool:
    return "ephemeral-storage" in pod_resources.pod_limits(pod) or any(
        v.empty_dir is not None and v.empty_dir.size_limit is not None and not v.empty_dir.medium
        for v in pod.spec.volumes or ()
    )


def disk_usage(directory: str) -> tuple[int, int]:
    """(bytes, inodes) below a directory, on its own file system only, as `du -x` counts."""
    used = inodes = 0
    try:
        device = os.lstat(directory).st_dev
    except OSError:
        return 0, 0
    waiting = [directory]
    while waiting:
        try:
            entries = list(os.scandir(waiting.pop()))
        except OSError:
            continue
        for entry in entries:
            try:
                found = entry.stat(follow_symlinks=False)
            except OSError:
                continue
            if found.st_dev != device:
                continue
            used += found.st_blocks * 512
            inodes += 1
            if entry.is_dir(follow_symlinks=False):
                waiting.append(entry.path)
    return used, inodes
