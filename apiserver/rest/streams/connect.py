"""Admission of CONNECT: plugins, webhooks and policies may refuse an exec, attach, port-forward or proxy request.

What they are shown is the request's options, as upstream's PodExecOptions and its like: made from the query.
"""

from __future__ import annotations

from typing import Any

from api import codec
from api.resources import Resource
from api.unstructured import Unstructured
from apiserver.pipeline.admit import admit_mutating, admit_validating
from apiserver.rest.flags import is_set
from apiserver.rest.streams.table import Request
from apiserver.strategy import Context

_KINDS = {
    ("pods", "exec"): "PodExecOptions",
    ("pods", "attach"): "PodAttachOptions",
    ("pods", "portforward"): "PodPortForwardOptions",
    ("pods", "proxy"): "PodProxyOptions",
    ("services", "proxy"): "ServiceProxyOptions",
    ("nodes", "proxy"): "NodeProxyOptions",
}
_FLAGS = ("stdin", "stdout", "stderr", "tty")


async def admit_connect(request: Request, resource: Resource) -> None:
    """Raises the StatusError of whoever refuses. Reading logs is no CONNECT: it passes."""
    target = request.target
    kind = _KINDS.get((target.resource, target.subresource))
    if kind is None or not request.registry.admission:
        return
    ctx = Context(
        user=request.user,
        registry=request.registry,
        resource=resource,
        namespace=target.namespace,
        name=target.name,
        subresource=target.subresource,
        warnings=[],
    )
    options = codec.decode(codec.encode(_options(request, kind)), Unstructured)
    await admit_mutating(ctx, "CONNECT", options, None)
    await admit_validating(ctx, "CONNECT", options, None)


def _options(request: Request, kind: str) -> dict[str, Any]:
    query = request.http.query
    found: dict[str, Any] = {"apiVersion": "v1", "kind": kind}
    if kind in ("PodExecOptions", "PodAttachOptions"):
        found |= {name: True for name in _FLAGS if is_set(query, name)}
        if container := query.get("container", ""):
            found["container"] = container
        if kind == "PodExecOptions":
            found["command"] = list(query.getall("command", []))
    elif kind == "PodPortForwardOptions":
        ports = [part for value in query.getall("ports", []) for part in value.split(",")]
        if ports:
            found["ports"] = [int(port) for port in ports if port.isdigit()]
    elif request.target.rest:
        found["path"] = request.target.rest
    return found
