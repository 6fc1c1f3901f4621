"""Kubelets that only report: no container runs, yet the rest of the cluster cannot tell.

Invariants, a kubelet's own:
- a node registers, renews its Lease, and reports pods that are bound to it as Running and Ready, once each;
- a pod that may end (`restartPolicy` other than Always) ends well after `run_for` seconds;
- a pod whose deletion is asked for gets its final phase first, then goes for good; both with its uid as a condition, so
  that a namesake is never touched;
- a write is tried until the apiserver has answered it.

All nodes share one watch of pods and send their writes together: the load on the apiserver is that of the writes, not
that of a thousand connections.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec

from api import errors
from api import time as api_time
from api.resources import resource_for
from api.types.coordination_v1 import Lease, LeaseSpec
from api.types.core_v1 import (
    Node,
    NodeAddress,
    NodeCondition,
    NodeSpec,
    NodeStatus,
    NodeSystemInfo,
    Pod,
)
from api.types.meta_v1 import ObjectMeta
from api.version import GIT_VERSION
from client.api import Api, ObjectMetadata
from client.batch import Batcher
from client.informer import Informer
from client.writes import Create, Delete, Kind, Patch, UpdateStatus, Write

_CAPACITY = {"cpu": "32", "memory": "128Gi", "ephemeral-storage": "1Ti", "pods": "110"}
_CONDITIONS = (
    ("MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
    ("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
    ("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
    ("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
)
_LEASE_SECONDS = 40
_RENEW_EVERY = 10.0
_RETRY_AFTER = 0.2


class _Container(msgspec.Struct):
    name: str
    image: str = ""


class _Spec(msgspec.Struct, rename="camel"):
    node_name: str = ""
    restart_policy: str = "Always"
    containers: list[_Container] = []


class _Status(msgspec.Struct, rename="camel"):
    phase: str = ""


class HollowPod(msgspec.Struct, rename="camel"):
    """As much of a pod as a kubelet that does nothing has to read."""

    metadata: ObjectMeta = msgspec.field(default_factory=ObjectMeta)
    spec: _Spec = msgspec.field(default_factory=_Spec)
    status: _Status = msgspec.field(default_factory=_Status)


_POD = Kind(resource_for(Pod), HollowPod)


class HollowNodes:
    """`run()` it as a task; `ready` is set when all nodes are registered."""

    def __init__(
        self, api: Api, count: int, *, prefix: str = "hollow", start_after: float = 0.0, run_for: float = 0.0
    ) -> None:
        """Times in seconds: until a bound pod runs, and until one that may end does."""
        self.names = [f"{prefix}-{number:04}" for number in range(count)]
        self.ready = asyncio.Event()
        #: Told of a pod's name as it is bound, and as it is reported Running.
        self.on_bound: Callable[[str], None] = lambda _: None
        self.on_running: Callable[[str], None] = lambda _: None
        self._mine = set(self.names)
        self._addresses = {
            name: f"10.{64 + n // 65536}.{n // 256 % 256}.{n % 256}" for n, name in enumerate(self.names)
        }
        self._api, self._batcher = api, Batcher(api)
        self._start_after, self._run_for = start_after, run_for
        self._pod_number = 0
        self._known: dict[str, str] = {}  # by uid: how far a pod has been brought
        self._pods: Informer[HollowPod] = Informer(api, _POD, fields="spec.nodeName!=")
        self._pods.add_handler(on_add=self._seen, on_update=lambda _, pod: self._seen(pod), on_delete=self._gone)
        self._tasks: asyncio.TaskGroup

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as self._tasks:
            await asyncio.gather(*map(self._register, self.names))
            self._tasks.create_task(self._pods.run())
            self._tasks.create_task(self._renew())
            self.ready.set()

    # -- nodes ------------------------------------------------------------------------------------------------------

    async def _register(self, name: str) -> None:
        node = _node(name, self._addresses[name])
        await self._write(Create(node))
        await self._write(UpdateStatus(node))
        now = api_time.now_micro()
        spec = LeaseSpec(holder_identity=name, lease_duration_seconds=_LEASE_SECONDS, renew_time=now)
        await self._write(Create(Lease(metadata=ObjectMeta(name=name, namespace="kube-node-lease"), spec=spec)))

    async def _renew(self) -> None:
        """Spread over the period, as the Leases of machines are that started at different times."""
        pause = _RENEW_EVERY / max(len(self.names), 1)
        while True:
            for name in self.names:
                change = {"spec": {"renewTime": api_time.now_micro()}}
                self._tasks.create_task(self._write(Patch(Lease, name, change, "kube-node-lease")))
                await asyncio.sleep(pause)

    # -- pods -------------------------------------------------------------------------------------------------------

    def _seen(self, pod: HollowPod) -> None:
        if pod.spec.node_name not in self._mine:
            return
        uid = pod.metadata.uid or ""
        stage = self._known.get(uid, "")
        if pod.metadata.deletion_timestamp:
            if stage != "ending":
                self._known[uid] = "ending"
                self._tasks.create_task(self._end(pod))
        elif not stage:
            self._known[uid] = "bound"
            self.on_bound(pod.metadata.name or "")
            if pod.status.phase in ("", "Pending"):
                self._tasks.create_task(self._live(pod))
            elif pod.status.phase == "Running":
                self._tasks.create_task(self._finish(pod))

    def _gone(self, pod: HollowPod) -> None:
        self._known.pop(pod.metadata.uid or "", None)

    async def _live(self, pod: HollowPod) -> None:
        if self._start_after:
            await asyncio.sleep(self._start_after)
        if not self._stays(pod):
            return
        self._pod_number += 1
        number = self._pod_number
        address = f"10.{128 + number // 65536 % 64}.{number // 256 % 256}.{number % 256}"
        host = self._addresses[pod.spec.node_name]
        now = api_time.now()
        status = {
            "phase": "Running",
            "startTime": now,
            "hostIP": host,
            "hostIPs": [{"ip": host}],
            "podIP": address,
            "podIPs": [{"ip": address}],
            "observedGeneration": pod.metadata.generation,
            "conditions": [
                {"type": kind, "status": "True", "lastTransitionTime": now}
                for kind in ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled")
            ],
            "containerStatuses": [_container_status(c, {"running": {"startedAt": now}}) for c in pod.spec.containers],
        }
        if await self._report(pod, status):
            self.on_running(pod.metadata.name or "")
        await self._finish(pod)

    async def _finish(self, pod: HollowPod) -> None:
        if pod.spec.restart_policy == "Always":
            return
        await asyncio.sleep(self._run_for)
        if self._stays(pod):
            await self._report(pod, _final_status(pod, "Succeeded", 0))

    async def _end(self, pod: HollowPod) -> None:
        if pod.status.phase not in ("Succeeded", "Failed"):
            # 143: ended by SIGTERM
            code = 143 if pod.spec.restart_policy != "Always" else 0
            await self._report(pod, _final_status(pod, "Failed" if code else "Succeeded", code))
        meta = pod.metadata
        await self._write(Delete(_POD, meta.name or "", meta.namespace or "", grace_period_seconds=0, uid=meta.uid))

    def _stays(self, pod: HollowPod) -> bool:
        return self._known.get(pod.metadata.uid or "") == "bound"

    async def _report(self, pod: HollowPod, status: dict[str, Any]) -> bool:
        meta = pod.metadata
        change = {"metadata": {"uid": meta.uid}, "status": status}
        patch = Patch(Pod, meta.name or "", change, meta.namespace or "", "strategic", "status", as_type=ObjectMetadata)
        return await self._write(patch)

    async def _write(self, write: Write) -> bool:
        """Until answered; whether it was carried out rather than refused."""
        while True:
            try:
                await self._batcher.write(write)
            except errors.StatusError as error:
                if errors.is_not_found(error) or errors.is_conflict(error) or errors.is_already_exists(error):
                    return False
                if errors.is_invalid(error) or errors.is_bad_request(error):
                    raise
                await asyncio.sleep(_RETRY_AFTER)
            else:
                return True


def _container_status(container: _Container, state: dict[str, Any]) -> dict[str, Any]:
    running = "running" in state
    return {
        "name": container.name,
        "image": container.image,
        "imageID": f"{container.image}@sha256:{0:064}",
        "containerID": f"hollow://{container.name}",
        "ready": running,
        "started": running,
        "restartCount": 0,
        "state": state,
    }


def _final_status(pod: HollowPod, phase: str, code: int) -> dict[str, Any]:
    now = api_time.now()
    reason = "Completed" if code == 0 else "Error"
    state = {"terminated": {"exitCode": code, "reason": reason, "startedAt": now, "finishedAt": now}}
    why = "PodCompleted" if phase == "Succeeded" else "PodFailed"
    return {
        "phase": phase,
        "conditions": [
            {"type": kind, "status": "False", "reason": why, "lastTransitionTime": now}
            for kind in ("Ready", "ContainersReady")
        ],
        "containerStatuses": [_container_status(c, state) for c in pod.spec.containers],
    }


def _node(name: str, address: str) -> Node:
    now = api_time.now()
    information = NodeSystemInfo(
        architecture="amd64",
        boot_id=name,
        container_runtime_version="hollow://1.0",
        kernel_version="6.0",
        kube_proxy_version="",
        kubelet_version=GIT_VERSION,
        machine_id=name,
        operating_system="linux",
        os_image="hollow",
        system_uuid=name,
    )
    return Node(
        metadata=ObjectMeta(
            name=name,
            labels={"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"},
        ),
        spec=NodeSpec(),
        status=NodeStatus(
            capacity=dict(_CAPACITY),
            allocatable=dict(_CAPACITY),
            addresses=[NodeAddress(type="InternalIP", address=address), NodeAddress(type="Hostname", address=name)],
            conditions=[
                NodeCondition(
                    type=kind,
                    status=status,
                    reason=reason,
                    message=message,
                    last_heartbeat_time=now,
                    last_transition_time=now,
                )
                for kind, status, reason, message in _CONDITIONS
            ],
            node_info=information,
        ),
    )
