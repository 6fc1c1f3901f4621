"""Subresources that are the parent itself with only some parts open to change.

`finalize` of namespaces, `ephemeralcontainers` and `resize` of pods, `approval` of certificate signing requests: what
each may change is in the resource's strategy (`prepare_finalize`, `validate_finalize`, ...).
"""

from __future__ import annotations

from apiserver import operations
from apiserver.operations import Call, Reply, handles
from apiserver.pipeline.update import Rules

_PARTS = (
    ("", "namespaces", "finalize", "finalize"),
    ("", "pods", "ephemeralcontainers", "ephemeral_containers"),
    ("", "pods", "resize", "resize"),
    ("certificates.k8s.io", "certificatesigningrequests", "approval", "approval"),
)


def _register(group: str, plural: str, subresource: str, hook: str) -> None:
    def rules(call: Call) -> Rules:
        strategy = call.endpoint.strategy
        return Rules(getattr(strategy, f"prepare_{hook}"), getattr(strategy, f"validate_{hook}"))

    @handles(group, plural, subresource, "get")
    async def get(call: Call) -> Reply:
        return await operations.get(call)

    @handles(group, plural, subresource, "update")
    async def put(call: Call) -> Reply:
        return await operations.put(call, rules(call))

    @handles(group, plural, subresource, "patch")
    async def patch(call: Call) -> Reply:
        return await operations.patch_(call, rules(call))


for _part in _PARTS:
    _register(*_part)
