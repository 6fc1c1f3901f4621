"""What the server asks of the kubelet's brain: which pods there are, and what their status is right now."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from api import codec, errors
from api.types.core_v1 import Container, ContainerStatus, Pod, PodList, PodSpec
from api.types.meta_v1 import ObjectMeta, Status
from kubelet import cri
from kubelet.podutil import find_container
from proto import node_pb2


class PodLookup(Protocol):
    def pod(self, namespace: str, name: str, uid: str) -> Pod | None:
        """The pod with its newest status, also if the API server does not know that yet. `uid` "": any; the UID of a
        mirror pod finds its static pod."""
        ...

    def pods(self) -> Iterable[Pod]:
        """All pods of this node."""
        ...


def failure(message: str, code: int = 500) -> errors.StatusError:
    """A Status with exactly these words; upstream's kubelet answers most failures with 500 and plain text."""
    reason = {400: "BadRequest", 404: "NotFound", 500: "InternalError"}[code]
    return errors.StatusError(Status(status="Failure", code=code, reason=reason, message=message))


def find_pod(lookup: PodLookup, ref: node_pb2.PodRef) -> Pod:
    pod = lookup.pod(ref.namespace, ref.name, ref.uid)
    if pod is None:
        raise failure("pod does not exist", 404)
    return pod


def pod_list(lookup: PodLookup) -> bytes:
    """The kubelet's /pods: every pod of the node as the node sees it now, a PodList as JSON."""
    return codec.encode(PodList(items=list(lookup.pods())))


async def running_pod_list(runtime: cri.Runtime) -> bytes:
    """The kubelet's /runningpods: what runs, whether or not the API server knows of it."""
    items: list[Pod] = []
    for snapshot in (await runtime.list_pods()).values():
        running = [run for run in snapshot.containers if run.state is cri.State.RUNNING]
        if running or any(sandbox.state is cri.State.RUNNING for sandbox in snapshot.sandboxes):
            metadata = ObjectMeta(name=snapshot.name, namespace=snapshot.namespace, uid=snapshot.uid)
            containers = [Container(name=run.name, image=run.image) for run in running]
            items.append(Pod(metadata=metadata, spec=PodSpec(containers=containers)))
    return codec.encode(PodList(items=items))


def container_name(pod: Pod, ref: node_pb2.PodRef) -> str:
    """The container asked for, or the one meant: the annotated default, else the first."""
    if ref.container:
        return ref.container
    default = (pod.metadata.annotations or {}).get("kubectl.kubernetes.io/default-container", "")
    if default and find_container(pod, default) is not None:
        return default
    return pod.spec.containers[0].name if pod.spec.containers else ""


def status_of(pod: Pod, container: str) -> ContainerStatus | None:
    status = pod.status
    every = (
        *(status.container_statuses or ()),
        *(status.init_container_statuses or ()),
        *(status.ephemeral_container_statuses or ()),
    )
    return next((item for item in every if item.name == container), None)


async def running_container(runtime: cri.Runtime, pod: Pod, ref: node_pb2.PodRef) -> tuple[cri.ContainerStatus, str]:
    """The newest run of a container, from the runtime itself; for exec and attach."""
    name = container_name(pod, ref)
    snapshot = await runtime.pod(pod.metadata.uid or "")
    found = next((item for item in snapshot.containers if item.name == name), None) if snapshot else None
    if found is None:
        raise failure(f'container not found ("{name}")')
    if found.state is not cri.State.RUNNING:
        raise failure(f"container not running ({found.id})")
    return found, name


async def running_sandbox(runtime: cri.Runtime, pod: Pod) -> cri.SandboxStatus:
    """For port-forward. Raises if the pod does not run."""
    snapshot = await runtime.pod(pod.metadata.uid or "")
    for sandbox in snapshot.sandboxes if snapshot else ():
        if sandbox.state is cri.State.RUNNING:
            return sandbox
    raise failure(f"unable to forward port because pod is not running. Current status={pod.status.phase or 'Pending'}")
