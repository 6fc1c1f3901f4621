"""`pods/log`: the kubelet's log stream as plain text, or as messages of a WebSocket."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc.aio
from aiohttp import web

from api import errors
from api import time as api_time
from apiserver.rest.streams.pods import END, container_of, flag, kubelet_error, pod_of, reference
from apiserver.rest.streams.sinks import sink_for
from apiserver.rest.streams.table import Request, streams
from proto import node_pb2

_FIRST = 0.5  # seconds an error may take to come before the answer is called a success


@streams("pods", "log")
async def log(request: Request) -> web.StreamResponse:
    """200 with text, or the Status of what the kubelet said."""
    options = _options(request)
    pod = await pod_of(request)
    container = container_of(pod, request.http.query.get("container", ""))
    sink = sink_for(request.http)
    if not pod.spec.node_name:
        await sink.begin()
        await sink.end()
        return sink.response
    stub: Any = request.kubelet(pod.spec.node_name)
    call = stub.Logs(node_pb2.LogsRequest(pod=reference(pod, container), **options))
    try:
        first = asyncio.ensure_future(call.read())
        await asyncio.wait((first,), timeout=_FIRST)
        if first.done():
            first.result()
        await sink.begin()
        chunk = await first
        while chunk is not END:
            await sink.write(chunk.data)
            chunk = await call.read()
    except grpc.aio.AioRpcError as error:
        known = kubelet_error(error, "pods", request.target.name)
        if not sink.response.prepared:
            raise known from None
        await sink.write(f"{known.message}\n".encode())
    finally:
        call.cancel()
    await sink.end()
    return sink.response


def _options(request: Request) -> dict[str, Any]:
    found: dict[str, Any] = {
        "follow": flag(request, "follow"),
        "previous": flag(request, "previous"),
        "timestamps": flag(request, "timestamps"),
    }
    query = request.http.query
    causes = []
    for name, field, minimum, words in (
        ("sinceSeconds", "since_seconds", 1, "must be greater than 0"),
        ("tailLines", "tail_lines", 0, "must be greater than or equal to 0"),
        ("limitBytes", "limit_bytes", 1, "must be greater than 0"),
    ):
        text = query.get(name, "")
        if not text:
            continue
        try:
            value = int(text)
        except ValueError:
            raise errors.bad_request(f'strconv.ParseInt: parsing "{text}": invalid syntax') from None
        if value < minimum:
            causes.append(errors.FieldError.invalid(name, value, words))
        found[field] = value
    if since := query.get("sinceTime", ""):
        try:
            api_time.parse(since)
        except ValueError as error:
            raise errors.bad_request(str(error)) from None
        found["since_time"] = since
        if "since_seconds" in found:
            detail = "at most one of `sinceTime` or `sinceSeconds` may be specified"
            causes.append(errors.FieldError.forbidden("", detail))
    stream = query.get("stream", "")
    if stream:
        if stream not in ("All", "Stdout", "Stderr"):
            causes.append(errors.FieldError.not_supported("stream", stream, ("All", "Stderr", "Stdout")))
        found["stream"] = stream
    if causes:
        raise errors.invalid("PodLogOptions", request.target.name, causes)
    return found
