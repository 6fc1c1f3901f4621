"""Requests that become streams: logs, exec, attach, port-forward and the HTTP proxy, a file each.

Lives here: translating between a client's stream and the kubelet's. May not live here: whether the user may.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

Stream = Callable[..., Awaitable[web.StreamResponse]]

#: (plural, subresource) -> handler(request, target, endpoint, user, registry, kubelets)
STREAMS: dict[tuple[str, str], Stream] = {}


def streams(plural: str, subresource: str) -> Callable[[Any], Any]:
    """Register a handler."""

    def register(handler: Stream) -> Stream:
        STREAMS[plural, subresource] = handler
        return handler

    return register
