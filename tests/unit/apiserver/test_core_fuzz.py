"""Whatever a client sends, the answer is never the server's fault.

Documents are made from the types themselves and then spoiled here and there, so that they get past decoding.
"""

from __future__ import annotations

import random
from typing import Any

import pytest

from api.resources import RESOURCES, Resource
from api.schema import Node, struct_node
from tests.support.rest import Rest

_ODD: tuple[Any, ...] = (None, 0, -1, 3.5, "", "x", "a" * 300, [], {}, True, "\u2603", {"a": "b"}, [{}], [None], 2**70)
_STREAMS = ("proxy", "exec", "attach", "portforward", "log")
_PATCHES = ("json-patch+json", "merge-patch+json", "strategic-merge-patch+json", "apply-patch+yaml")
_SCALARS: dict[str, tuple[Any, ...]] = {
    "int32": (0, 1, -1, 80, 2**31),
    "int64": (0, 5, -3),
    "bool": (True, False),
    "quantity": ("1", "1Gi", "x", 2, ""),
    "int-or-string": (1, "50%", "x"),
    "date-time": ("2020-01-01T00:00:00Z", "x"),
    "byte": ("YQ==", "!"),
}


class Maker:
    """Random documents, the same for the same seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def value(self, node: Node, depth: int = 0) -> Any:
        pick = self.random
        if pick.random() < 0.06:
            return pick.choice(_ODD)
        if node.kind == "struct":
            likely = 0.5 if depth < 3 else 0.25
            fields = node.fields.items() if depth <= 6 else ()
            return {k: self.value(f.node, depth + 1) for k, f in fields if pick.random() < likely}
        if node.element is not None:
            values = [self.value(node.element, depth + 1) for _ in range(pick.randint(0, 2))]
            return values if node.kind == "list" else dict(zip(("a", "b/c"), values, strict=False))
        if node.kind == "scalar":
            return pick.choice(_SCALARS.get(node.format, ("x", "Always", "TCP", "ClusterIP", "", "10.0.0.1", "A_b")))
        return pick.choice(_ODD)

    def body(self, resource: Resource, name: str) -> Any:
        made = self.value(struct_node(resource.type))
        if isinstance(made, dict) and self.random.random() < 0.9:
            made |= {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": {"name": name}}
        return made

    def patch(self, media: str, body: Any) -> Any:
        if media != "json-patch+json":
            return body
        pick = self.random
        path = pick.choice(("/spec", "/metadata/name", "/data/x", "", "/metadata/labels/a", "x"))
        operation = pick.choice(("add", "remove", "replace", "test", "move"))
        return [{"op": operation, "path": path, "value": pick.choice(_ODD)}]


@pytest.mark.parametrize("seed", range(3))
async def test_nothing_a_client_sends_is_answered_with_a_server_error(rest: Rest, seed: int) -> None:
    maker = Maker(seed)
    pick = maker.random
    for _ in range(400):
        resource = pick.choice(RESOURCES)
        base = f"/apis/{resource.group}/{resource.version}" if resource.group else f"/api/{resource.version}"
        path = f"{base}/namespaces/default/{resource.plural}" if resource.namespaced else f"{base}/{resource.plural}"
        method = pick.choice(("GET", "POST", "POST", "PUT", "PATCH", "DELETE"))
        name = pick.choice(("a", "b"))
        if method in ("PUT", "PATCH", "DELETE") or pick.random() < 0.2:
            path += f"/{name}"
            subresources = [s for s in resource.subresources if s not in _STREAMS]
            if subresources and pick.random() < 0.3:
                path += f"/{pick.choice(subresources)}"
        media = "json"
        body = None
        if method not in ("GET", "DELETE"):
            body = maker.body(resource, name)
            if method == "PATCH":
                media = pick.choice(_PATCHES)
                body = maker.patch(media, body)
        query = "?fieldManager=fuzz" if pick.random() < 0.5 else ""
        await rest.call(method, path + query, body, Content_Type=f"application/{media}")
        assert rest.last.status < 500, (method, path, media, body)
