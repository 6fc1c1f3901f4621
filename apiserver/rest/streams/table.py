"""Which stream answers which subresource, and what each is given."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import web

from api import errors
from apiserver.auth import User
from apiserver.kubelets import Kubelets
from apiserver.registry import Registry
from apiserver.rest.paths import Target


@dataclass(slots=True)
class Request:
    """An authorized request to a streaming subresource."""

    http: web.BaseRequest
    target: Target
    user: User
    registry: Registry
    kubelets: Kubelets | None

    def kubelet(self, node: str) -> object:
        """A stub of the node's service. Raises StatusError if there is no way to it."""
        if self.kubelets is None:
            raise errors.service_unavailable("this server has no credentials for kubelets")
        return self.kubelets.stub(self.registry, node)


Stream = Callable[[Request], Awaitable[web.StreamResponse]]

STREAMS: dict[tuple[str, str], Stream] = {}


def streams(plural: str, subresource: str) -> Callable[[Stream], Stream]:
    """Register a handler for a subresource of the core group."""

    def register(handler: Stream) -> Stream:
        STREAMS[plural, subresource] = handler
        return handler

    return register
