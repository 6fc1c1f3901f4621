"""Finding the pod, the container and the kubelet that a stream is about, and what the kubelet's errors mean."""

from __future__ import annotations

from typing import Any

import grpc
import grpc.aio

from api import errors
from api.types.core_v1 import Pod
from apiserver.rest.flags import is_set
from apiserver.rest.streams.table import Request
from proto import node_pb2

#: What `read` of a gRPC call answers at the end of its stream.
END: Any = grpc.aio.EOF  # type: ignore[attr-defined]


async def pod_of(request: Request) -> Pod:
    """The pod. Raises StatusError 404."""
    target = request.target
    pod: Pod = await request.registry.get(Pod, target.name, namespace=target.namespace)
    return pod


def container_of(pod: Pod, name: str) -> str:
    """The container asked for, or the only one. Raises StatusError 400 in upstream's words."""
    regular = [c.name for c in pod.spec.containers]
    init = [c.name for c in pod.spec.init_containers or ()]
    ephemeral = [c.name for c in pod.spec.ephemeral_containers or ()]
    pod_name = pod.metadata.name
    if name:
        if name not in (*regular, *init, *ephemeral):
            raise errors.bad_request(f"container {name} is not valid for pod {pod_name}")
        return name
    if len(regular) == 1:
        return regular[0]
    message = f"a container name must be specified for pod {pod_name}, choose one of: [{' '.join(regular)}]"
    if init:
        message += f" or one of the init containers: [{' '.join(init)}]"
    if ephemeral:
        message += f" or one of the ephemeral containers: [{' '.join(ephemeral)}]"
    raise errors.bad_request(message)


def node_of(pod: Pod) -> str:
    """Raises StatusError 400 for a pod without a node."""
    if not pod.spec.node_name:
        raise errors.bad_request(f"pod {pod.metadata.name} does not have a host assigned")
    return pod.spec.node_name


def reference(pod: Pod, container: str = "") -> Any:
    meta = pod.metadata
    return node_pb2.PodRef(namespace=meta.namespace, name=meta.name, uid=meta.uid, container=container)


def flag(request: Request, name: str) -> bool:
    return is_set(request.http.query, name)


def kubelet_error(error: grpc.aio.AioRpcError, resource: str, name: str) -> errors.StatusError:
    """What a client is told when the kubelet refuses or cannot be reached."""
    code, details = error.code(), error.details() or ""
    if code is grpc.StatusCode.NOT_FOUND:
        known = errors.not_found(resource, name)
        known.status.message = details or known.status.message
        return known
    if code in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.FAILED_PRECONDITION):
        return errors.bad_request(details)
    if code is grpc.StatusCode.UNAVAILABLE:
        return errors.internal(f"error dialing backend: {details}")
    return errors.internal(details)
