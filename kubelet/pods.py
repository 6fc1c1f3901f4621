"""All pods of the node: a worker for each, from the API's informer, the runtime's events and the static pods.

Pods are known by UID: a pod that was deleted and made anew under the same name is another pod, and both may be here.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping

import msgspec

from api.quantity import Quantity
from api.types.core_v1 import Node, ObjectReference, Pod
from client.informer import Informer
from kubelet import metrics, podutil
from kubelet.admission import Refusal, admit
from kubelet.cri import PodSnapshot, RuntimeFailure, State
from kubelet.orphans import Orphans
from kubelet.pod_worker import PodWorker
from kubelet.services import Services
from kubelet.view import Verdict, active_sandbox

log = logging.getLogger(__name__)

RELIST_INTERVAL = 30.0  # seconds; Docker's events tell everything, this is for the day they don't
HOUSEKEEPING_INTERVAL = 60.0


class Pods:
    """Owns the workers. `run` ends them (and no container) when it is cancelled."""

    def __init__(
        self,
        services: Services,
        informer: Informer[Pod],
        *,
        node: Callable[[], Node | None],
        allocatable: Callable[[], Mapping[str, Quantity]],
    ) -> None:
        self._services = services
        self._informer = informer
        self._node = node
        self._allocatable = allocatable
        self._workers: dict[str, PodWorker] = {}
        self._group: asyncio.TaskGroup | None = None
        self._admitting = True
        self._orphans = Orphans(services)
        self._fingerprints: dict[str, object] = {}
        self.gates: list[Callable[[Pod], Refusal | None]] = []  # further reasons to refuse a pod that comes
        self.sources_ready = asyncio.Event()  # whatever runs now and has no worker is an orphan
        self.started = asyncio.Event()  # every pod that existed at the start has its worker

    # -- questions ------------------------------------------------------------------------------------------------

    def workers(self) -> Iterator[PodWorker]:
        yield from list(self._workers.values())

    def get(self, uid: str) -> PodWorker | None:
        return self._workers.get(uid)

    def by_uid(self, uid: str) -> Pod | None:
        worker = self._workers.get(uid)
        return worker.pod if worker else None

    def pod(self, namespace: str, name: str, uid: str) -> Pod | None:
        """The pod of this name with its newest status; of several (one may still be ending) the one of this UID, or
        the newest if `uid` is "" or a mirror pod's."""
        found = [p for p in self.pods() if p.metadata.name == name and p.metadata.namespace == namespace]
        exact = [p for p in found if p.metadata.uid == uid]
        return max(exact or found, key=lambda p: p.metadata.creation_timestamp or "", default=None)

    def pods(self) -> Iterable[Pod]:
        """All pods of the node, with what this kubelet knows of their status, which is newer than the API's."""
        return [msgspec.structs.replace(worker.pod, status=worker.status) for worker in self._workers.values()]

    def running(self, *, but: str = "") -> list[Pod]:
        """Pods that have not ended, which the node's resources are accounted to."""
        ended = ("Succeeded", "Failed")
        return [w.pod for w in self._workers.values() if w.uid != but and w.status.phase not in ended]

    # -- running --------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Until cancelled. The informer must be running."""
        await self._informer.synced()
        async with asyncio.TaskGroup() as group:
            self._group = group
            # Oldest first: who was here before has the better claim to the node's resources.
            for pod in sorted(self._informer.list(), key=lambda p: p.metadata.creation_timestamp or ""):
                self._added(pod)
            self._informer.add_handler(on_add=self._added, on_update=self._updated, on_delete=self._deleted)
            self.started.set()
            group.create_task(self._events())
            group.create_task(self._relist())
            group.create_task(self._housekeeping())

    def _added(self, pod: Pod) -> None:
        if not podutil.is_mirror(pod):
            self.add(pod)

    def _updated(self, old: Pod, pod: Pod) -> None:
        worker = self._workers.get(podutil.uid(pod))
        if worker is None:
            self._added(pod)
        else:
            self._services.statuses.observed(pod)
            worker.update(pod)

    def _deleted(self, pod: Pod) -> None:
        if worker := self._workers.get(podutil.uid(pod)):
            worker.remove(pod)

    def add(self, pod: Pod) -> None:
        """Start to care for a pod, unless that is done already."""
        uid = podutil.uid(pod)
        if uid in self._workers or self._group is None:
            return
        worker = PodWorker(self._services, pod, host_ips=(self._services.config.node_ip,), verdict=self._refused(pod))
        self._workers[uid] = worker
        self._group.create_task(self._work(worker), name=f"pod {worker.key}")

    def _refused(self, pod: Pod) -> Verdict | None:
        """Only pods that have never run here are asked for admission: what runs keeps running over a restart."""
        if pod.status.phase in ("Running", "Succeeded", "Failed") or pod.metadata.deletion_timestamp:
            return None
        if pod.status.container_statuses and any(s.container_id for s in pod.status.container_statuses):
            return None
        refusal = admit(pod, self.running(), self._node(), self._allocatable())
        for gate in self.gates:
            refusal = refusal or gate(pod)
        if refusal is None and not self._admitting:
            refusal = Refusal("NodeShutdown", "Pod was rejected as the node is shutting down.")
        if refusal is None:
            return None
        self._services.recorder.event(pod, "Warning", refusal.reason, refusal.message)
        return Verdict("Failed", refusal.reason, _rejected(refusal), refused=True)

    async def _work(self, worker: PodWorker) -> None:
        try:
            await worker.run()
        except asyncio.CancelledError:
            raise
        except Exception:
            # A bug that one pod meets must not take down the others; the pod gets a new worker from the next event.
            log.exception("worker of pod %s", worker.key)
            await asyncio.sleep(1.0)
            self._workers.pop(worker.uid, None)
            pod = self._informer.get(podutil.namespace(worker.pod), podutil.name(worker.pod))
            if pod is not None and podutil.uid(pod) == worker.uid:
                self.add(pod)
            return
        self._workers.pop(worker.uid, None)

    def mirrored(self, pod: Pod) -> None:
        """A static pod has a (new) mirror, which knows nothing of its status yet."""
        self._services.statuses.resend(podutil.uid(pod))

    def node_reference(self) -> Node | ObjectReference:
        """What events about the node are attached to."""
        name = self._services.config.node_name
        return self._node() or ObjectReference(api_version="v1", kind="Node", name=name, uid=name)

    def stop_admitting(self) -> None:
        self._admitting = False

    def objects_changed(self, uids: Iterable[str]) -> None:
        for uid in uids:
            if worker := self._workers.get(uid):
                worker.objects_changed()

    # -- what the runtime tells -----------------------------------------------------------------------------------

    async def _events(self) -> None:
        async with contextlib.aclosing(self._services.runtime.events()) as events:  # type: ignore[type-var]
            async for event in events:
                if not event.pod_uid:
                    for worker in self.workers():
                        worker.notify()
                elif worker_or_none := self._workers.get(event.pod_uid):
                    if event.action in ("created", "started") and worker_or_none.expects_events():
                        continue
                    worker_or_none.notify(died=event.container_id if event.action == "died" else "")

    async def _relist(self) -> None:
        """The safety net: pods whose containers are not what they were at the last look are told to look."""
        while True:
            await asyncio.sleep(RELIST_INTERVAL)
            try:
                snapshots = await self._services.runtime.list_pods()
            except RuntimeFailure as error:
                log.warning("listing pods of the runtime: %s", error)
                continue
            _count_running(snapshots)
            now: dict[str, object] = {
                uid: (
                    frozenset((s.id, s.state) for s in snapshot.sandboxes),
                    frozenset((c.id, c.state) for c in snapshot.containers),
                )
                for uid, snapshot in snapshots.items()
            }
            for worker in self.workers():
                if now.get(worker.uid) != self._fingerprints.get(worker.uid):
                    worker.notify()
            self._fingerprints = now

    async def _housekeeping(self) -> None:
        """End what runs for pods that exist no more, and remove what they left behind."""
        await self.sources_ready.wait()
        while True:
            await self._orphans.collect(lambda: self._workers)
            self._services.crashes.collect()
            await asyncio.sleep(HOUSEKEEPING_INTERVAL)


def _count_running(snapshots: Mapping[str, PodSnapshot]) -> None:
    running = [s for s in snapshots.values() if active_sandbox(s)]
    metrics.running_pods.set(len(running))
    for state in State:
        number = sum(c.state is state for s in snapshots.values() for c in s.containers)
        metrics.running_containers.labels(state.value).set(number)


def _rejected(refusal: Refusal) -> str:
    prefix = "Pod was rejected"
    return refusal.message if refusal.message.startswith(prefix) else f"{prefix}: {refusal.message}"
