"""The HTTPS face: discovery and the two resources, for the apiserver to pass requests on to."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from addons.metrics.view import API_VERSION, Object, View
from api import codec, errors
from api.selectors import FieldSelector, Selector, parse_field_selector, parse_label_selector

ROOT = "/apis/metrics.k8s.io"
Accepts = Callable[[Any], bool]


class MetricsServer:
    """`accepts` judges the peer's certificate."""

    def __init__(self, view: View, accepts: Accepts) -> None:
        self._view = view
        self._accepts = accepts
        self.app = web.Application(middlewares=[self._guard])
        self.app.add_routes(
            [
                web.get(ROOT, self._group),
                web.get(f"{ROOT}/v1beta1", self._resources),
                web.get(f"{ROOT}/v1beta1/nodes", self._nodes),
                web.get(f"{ROOT}/v1beta1/nodes/{{name}}", self._node),
                web.get(f"{ROOT}/v1beta1/pods", self._pods),
                web.get(f"{ROOT}/v1beta1/namespaces/{{namespace}}/pods", self._pods),
                web.get(f"{ROOT}/v1beta1/namespaces/{{namespace}}/pods/{{name}}", self._pod),
            ]
        )

    async def serve(self, address: str, port: int, context: ssl.SSLContext) -> None:
        """Until cancelled."""
        runner = web.AppRunner(self.app, access_log=None)
        await runner.setup()
        try:
            await web.TCPSite(runner, address, port, ssl_context=context).start()
            await asyncio.Event().wait()
        finally:
            await runner.cleanup()

    @web.middleware
    async def _guard(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        peer = request.transport.get_extra_info("peercert") if request.transport else None
        try:
            if not self._accepts(peer):
                raise errors.unauthorized()
            return await handler(request)
        except errors.StatusError as error:
            return web.Response(status=error.code, body=codec.encode(error.status), content_type="application/json")
        except web.HTTPNotFound:
            missing = errors.generic(404, request.method.lower(), "", "", "")
            return web.Response(status=404, body=codec.encode(missing.status), content_type="application/json")

    async def _group(self, request: web.Request) -> web.Response:
        version = {"groupVersion": API_VERSION, "version": "v1beta1"}
        group = {"name": "metrics.k8s.io", "versions": [version], "preferredVersion": version}
        return web.json_response({"kind": "APIGroup", "apiVersion": "v1", **group})

    async def _resources(self, request: web.Request) -> web.Response:
        listed = [
            {"name": plural, "singularName": "", "namespaced": namespaced, "kind": kind, "verbs": ["get", "list"]}
            for plural, namespaced, kind in (("nodes", False, "NodeMetrics"), ("pods", True, "PodMetrics"))
        ]
        answer = {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": API_VERSION, "resources": listed}
        return web.json_response(answer)

    async def _nodes(self, request: web.Request) -> web.Response:
        return _list("NodeMetricsList", [*self._view.nodes(*_selectors(request))])

    async def _node(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        return _one(self._view.node(name), "nodes", name)

    async def _pods(self, request: web.Request) -> web.Response:
        namespace = request.match_info.get("namespace", "")
        return _list("PodMetricsList", [*self._view.pods(namespace, *_selectors(request))])

    async def _pod(self, request: web.Request) -> web.Response:
        namespace, name = request.match_info["namespace"], request.match_info["name"]
        return _one(self._view.pod(namespace, name), "pods", f"{namespace}/{name}")


def _selectors(request: web.Request) -> tuple[Selector, FieldSelector]:
    try:
        return (
            parse_label_selector(request.query.get("labelSelector", "")),
            parse_field_selector(request.query.get("fieldSelector", "")),
        )
    except ValueError as error:
        raise errors.bad_request(str(error)) from None


def _list(kind: str, items: list[Object]) -> web.Response:
    return web.json_response({"kind": kind, "apiVersion": API_VERSION, "metadata": {}, "items": items})


def _one(found: Object | None, plural: str, name: str) -> web.Response:
    if found is None:
        raise errors.not_found(f"{plural}.metrics.k8s.io", name)
    return web.json_response(found)
