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
    """What is asked for. A resource may be a path (`pods/*/requests` of custom metrics): its first part counts."""
    resource, _, rest = request.resource.resource.partition("/")
    return Attributes(
        user=user,
        verb=verb,
        group=request.resource.group,
        version=request.resource.version,
        resource=resource,
        subresource=rest.rpartition("/")[2] or getattr(request, "subresource", ""),
        namespace=request.namespace,
        name=getattr(request, "name", ""),
    )


async def list_page(aggregator: Aggregator, user: User, request: Any) -> Any:
    """All items in one page. Raises StatusError."""
    query = {"labelSelector": request.label_selector, "fieldSelector": request.field_selector}
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
