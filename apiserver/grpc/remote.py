"""Lists and gets of what aggregated servers serve, for components: autoscaling reads metrics this way."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import msgspec

from apiserver.aggregation.aggregator import Aggregator
from apiserver.auth import Attributes, User
from proto import api_pb2


class _List(msgspec.Struct):
    items: list[msgspec.Raw] = msgspec.field(default_factory=list)


def attributes(user: User, verb: str, request: Any) -> Attributes:
    """What is asked for. A resource may be a path (`pods/*/requests` of custom metrics), and is read as REST's are."""
    resource, *rest = request.resource.resource.split("/")
    return Attributes(
        user=user,
        verb="get" if rest else verb,
        group=request.resource.group,
        version=request.resource.version,
        resource=resource,
        subresource=rest[1] if len(rest) > 1 else getattr(request, "subresource", ""),
        namespace=request.namespace,
        name=rest[0] if rest else getattr(request, "name", ""),
    )


async def list_page(aggregator: Aggregator, user: User, request: Any) -> Any:
    """All items in one page. Raises StatusError."""
    query = {"labelSelector": request.label_selector, "fieldSelector": request.field_selector, **request.query}
    answer = await aggregator.fetch(user, _path(request), {k: v for k, v in query.items() if v})
    items = msgspec.json.decode(answer, type=_List).items
    return api_pb2.ListPage(items=[api_pb2.Object(json=bytes(item)) for item in items], last=True)


async def get(aggregator: Aggregator, user: User, request: Any) -> Any:
    """One object. Raises StatusError."""
    return api_pb2.Object(json=await aggregator.fetch(user, _path(request), {}))


def _path(request: Any) -> str:
    resource = request.resource
    parts = ["", "apis", resource.group, resource.version]
    if request.namespace:
        parts += ["namespaces", request.namespace]
    parts += resource.resource.split("/")
    for name in (getattr(request, "name", ""), getattr(request, "subresource", "")):
        if name:
            parts.append(name)
    return "/".join(quote(part, safe="*") for part in parts)
