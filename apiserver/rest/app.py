"""The HTTP server: who asks, for what, may they, and which part of this package answers."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any

from aiohttp import web

from api import codec, errors
from apiserver import ids
from apiserver.aggregation.aggregator import Aggregator
from apiserver.auth import Attributes, User
from apiserver.auth.authorizers import selected_name
from apiserver.failures import status_error
from apiserver.gate import Gate
from apiserver.inflight import InFlight
from apiserver.kubelets import Kubelets
from apiserver.metrics import RequestMetrics
from apiserver.registry import Registry
from apiserver.rest import answers, bodies
from apiserver.rest.audited import Audit, record_of
from apiserver.rest.discovery import Discovery
from apiserver.rest.flags import is_set
from apiserver.rest.health import Health, version
from apiserver.rest.identity import credentials
from apiserver.rest.negotiate import Media, negotiate
from apiserver.rest.openapi import OpenAPI
from apiserver.rest.paths import Target, parse
from apiserver.rest.resources import Resources
from apiserver.rest.streams import STREAMS
from apiserver.rest.streams.connect import admit_connect
from apiserver.rest.streams.table import Request as StreamRequest

log = logging.getLogger(__name__)

_READ_VERBS = ("get", "list")
_COMMON = {"Cache-Control": "no-cache, private"}


class App:
    """`handler` is what aiohttp's low-level server calls; there is no framework between it and the routes."""

    def __init__(
        self,
        registry: Registry,
        gate: Gate,
        health: Health,
        *,
        kubelets: Kubelets | None = None,
        aggregator: Aggregator | None = None,
    ) -> None:
        self._gate = gate
        self._health = health
        self._resources = Resources(registry)
        self._registry = registry
        self.aggregator = aggregator
        self.discovery = Discovery(registry, aggregator)
        self.openapi = OpenAPI(self.discovery, aggregator.documents if aggregator is not None else None)
        registry.on_change += [self.discovery.changed, self.openapi.changed]
        self._kubelets = kubelets
        self._metrics = RequestMetrics()
        #: Tells the audit log, if there is one.
        self.audit: Audit | None = None
        self.in_flight = InFlight()
        #: Further paths: whatever another part of the server wants to answer (issuer discovery, ...).
        self.routes: dict[str, Callable[[web.BaseRequest], web.Response]] = {}

    def server(self) -> web.Server:
        """For a ServerRunner."""
        return web.Server(self.handler, request_factory=_request, handler_cancellation=True, access_log=None)

    async def handler(self, request: web.BaseRequest) -> web.StreamResponse:
        headers = dict(_COMMON)
        headers["Audit-Id"] = _audit_id(request)
        started = time.monotonic()
        target = parse(request.rel_url.raw_path)
        verb = ""
        try:
            if target is None:
                response = await self._non_resource(request, headers["Audit-Id"])
            else:
                verb = target.verb(request.method)
                if verb == "list" and is_set(request.query, "watch"):
                    verb = "watch"
                response = await self._resource(request, target, verb, headers)
        except asyncio.CancelledError:
            Audit.end(request, None)
            raise
        except (ConnectionResetError, web.HTTPException) as error:
            if isinstance(error, ConnectionResetError):
                Audit.end(request, None)
                raise
            response = answers.failure(errors.generic(error.status, request.method, "", "", error.text or ""))
        except Exception as error:
            response = answers.failure(status_error(error), _media(request))
        if answers.wants_pretty(request):
            answers.indent(response)
        Audit.end(request, response)
        if not response.prepared:
            for name, value in headers.items():
                response.headers.setdefault(name, value)
        self._metrics.observe(verb or request.method, target, response.status, time.monotonic() - started)
        return response

    async def _user(self, request: web.BaseRequest, attributes: Callable[[User], Attributes], audit_id: str) -> User:
        try:
            user = await self._gate.authenticate(credentials(request))
        except errors.StatusError:
            if self.audit is not None:
                self.audit.refused(request, attributes(User("")), audit_id)
            raise
        if self.audit is not None:
            self.audit.begin(request, attributes(user), audit_id)
        for name in request.headers:
            if name[:12].lower() == "impersonate-":
                acting = self._gate.impersonated(user, request.headers.items())
                if acting is not user and (record := record_of(request)) is not None:
                    record.acts_as(acting)
                return acting
        return user

    async def _resource(
        self, request: web.BaseRequest, target: Target, verb: str, headers: dict[str, str]
    ) -> web.StreamResponse:
        def attributes(user: User) -> Attributes:
            return _attributes(user, verb, target, request)

        user = await self._user(request, attributes, headers["Audit-Id"])
        if not self._gate.open:
            self._gate.authorize(attributes(user), record_of(request))
        if self.aggregator is not None and (service := self.aggregator.service(request.path)) is not None:
            return await self.aggregator.relay(request, service, user)
        endpoint = self._resources.endpoint(target)
        stream = STREAMS.get((target.resource, target.subresource)) if target.group == "" else None
        if stream is not None:
            opened = StreamRequest(request, target, user, self._registry, self._kubelets)
            await admit_connect(opened, endpoint.resource)
            return await stream(opened)
        if verb == "watch":
            return await self._resources.handle(request, target, verb, endpoint, user, headers)
        with self.in_flight.entered(user, writes=verb not in _READ_VERBS):
            return await self._resources.handle(request, target, verb, endpoint, user, headers)

    async def _non_resource(self, request: web.BaseRequest, audit_id: str) -> web.StreamResponse:
        path = request.path
        verb = request.method.lower()

        def attributes(user: User) -> Attributes:
            return Attributes(user=user, verb=verb, path=path)

        user = await self._user(request, attributes, audit_id)
        self._gate.authorize(attributes(user), record_of(request))
        if (health := self._health.respond(request)) is not None:
            return health
        if path in ("/version", "/version/"):
            return answers.answer(version())
        if path == "/metrics":
            return self._metrics.respond(request)
        if path.startswith("/openapi/"):
            found = await self.openapi.respond(request)
            if found is not None:
                return found
        if path in self.routes:
            return self.routes[path](request)
        if path == "/":
            return answers.answer(codec.encode({"paths": self._paths()}))
        if self.aggregator is not None and (service := self.aggregator.service(path)) is not None:
            return await self.aggregator.relay(request, service, user)
        if path.startswith("/api"):
            document = self.discovery.respond(request)
            if document is not None:
                return document
            raise answers.not_served()
        return answers.text("404 page not found\n", 404)

    def _paths(self) -> list[str]:
        found = ["/api", "/apis", "/healthz", "/livez", "/readyz", "/metrics", "/openapi/v2", "/openapi/v3", "/version"]
        for group, versions in self.discovery.groups().items():
            base = f"/apis/{group}" if group else "/api"
            found += [base, *(f"{base}/{name}" for name in versions)]
        return sorted(set(found))


def _request(message: Any, payload: Any, protocol: Any, writer: Any, task: Any) -> web.BaseRequest:
    return web.BaseRequest(
        message, payload, protocol, writer, task, asyncio.get_running_loop(), client_max_size=bodies.LIMIT
    )


def _audit_id(request: web.BaseRequest) -> str:
    given = request.headers.get("Audit-Id")
    if given:
        return given[:128]
    return ids.uuid4()


def _attributes(user: User, verb: str, target: Target, request: web.BaseRequest) -> Attributes:
    query = request.query
    name = target.name
    if not name and verb in ("list", "watch", "deletecollection"):
        name = selected_name(query.get("fieldSelector", ""))
    return Attributes(
        user=user,
        verb=verb,
        group=target.group,
        version=target.version,
        resource=target.resource,
        subresource=target.subresource,
        namespace=target.namespace,
        name=name,
        field_selector=query.get("fieldSelector", ""),
        label_selector=query.get("labelSelector", ""),
    )


def _media(request: web.BaseRequest) -> Media | None:
    try:
        return negotiate(request.headers.get("Accept", ""))
    except errors.StatusError:
        return None
