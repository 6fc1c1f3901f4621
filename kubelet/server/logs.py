"""Which container's log is meant, and upstream's words when there is none. Reading it is the runtime's work."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

from api import time as api_time
from api.types.core_v1 import Pod
from kubelet import cri
from kubelet.podutil import find_container
from kubelet.server.lookup import container_name, failure, status_of
from proto import node_pb2

CHUNK = 512 * 1024  # bytes in one message

_WAITING = {
    "ErrImagePull": "image can't be pulled",
    "ImagePullBackOff": "trying and failing to pull image",
}


def container_id(pod: Pod, name: str, previous: bool) -> str:
    """The id in the runtime of the run whose log is asked for. Raises StatusError 400 as upstream's
    validateContainerLogStatus."""
    pod_name = pod.metadata.name or ""
    where = f'container "{name}" in pod "{pod_name}"'
    status = status_of(pod, name)
    if status is None:
        raise failure(f"{where} is not available", 400)
    state = status.state
    last = status.last_state.terminated if status.last_state else None
    last_id = (last.container_id or "") if last else ""
    if previous:
        if not last_id:
            raise failure(f'previous terminated container "{name}" in pod "{pod_name}" not found', 400)
        return _bare(last_id)
    if state is not None and state.running is not None:
        return _bare(status.container_id or "")
    if state is not None and state.terminated is not None:
        # The next run may have failed to start: then the last one that ran is meant.
        found = state.terminated.container_id or last_id
        if not found:
            raise failure(f"{where} is terminated", 400)
        return _bare(found)
    if last is not None:
        if not last_id:
            raise failure(f"{where} is terminated", 400)
        return _bare(last_id)
    if state is not None and state.waiting is not None:
        reason = state.waiting.reason or ""
        raise failure(f"{where} is waiting to start: {_WAITING.get(reason, reason)}", 400)
    raise failure(f"{where} is waiting to start - no logs yet", 400)


def _bare(runtime_id: str) -> str:
    """`docker://<id>` -> `<id>`."""
    return runtime_id.rpartition("://")[2]


def since_of(request: node_pb2.LogsRequest) -> float | None:
    """Seconds of the epoch."""
    if request.since_time:
        try:
            return api_time.parse(request.since_time).timestamp()
        except ValueError as error:
            raise failure(f"invalid sinceTime: {error}", 400) from error
    if request.HasField("since_seconds"):
        return time.time() - request.since_seconds
    return None


async def stream(runtime: cri.Runtime, pod: Pod, request: node_pb2.LogsRequest) -> AsyncIterator[bytes]:
    name = container_name(pod, request.pod)
    if find_container(pod, name) is None:
        raise failure(f'container "{name}" not found in pod "{pod.metadata.name}"', 404)
    found = container_id(pod, name, request.previous)
    selected = request.stream if request.stream in ("Stdout", "Stderr") else ""
    output = runtime.logs(
        found,
        follow=request.follow,
        since=since_of(request),
        tail=request.tail_lines if request.HasField("tail_lines") else None,
        timestamps=request.timestamps,
        limit_bytes=request.limit_bytes if request.HasField("limit_bytes") else None,
        stream=selected.lower(),
    )
    try:
        async for data in output:
            for start in range(0, len(data), CHUNK):
                yield data[start : start + CHUNK]
    except cri.ContainerNotFound as error:
        raise failure(f"unable to retrieve container logs for docker://{found}", 400) from error
