"""Takes requests on both ports, finds their route, has them forwarded, and keeps account."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from http import HTTPStatus

from aiohttp import web
from prometheus_client import Counter, Histogram

from addons.ingress.certificates import Certificates
from addons.ingress.forward import Failed, Forwarder, target
from addons.ingress.routes import Route, Routes, hostname, normal

log = logging.getLogger(__name__)
access = logging.getLogger("addons.ingress.access")

#: Where certificate authorities look over plain HTTP whether a host is its owner's (RFC 8555, 8.3).
ACME = "/.well-known/acme-challenge/"

#: What is noted of a request whose client did not wait for the answer, as nginx does.
CLIENT_GONE = 499

_HEADER_SIZE = 32 * 1024
_KEEP_ALIVE = 75.0
_SHUTDOWN = 20.0
"""Seconds that requests get to end when the controller stops."""

_requests = Counter(
    "ingress_controller_requests", "Requests by ingress and status.", ["namespace", "ingress", "service", "status"]
)
_seconds = Histogram(
    "ingress_controller_request_duration_seconds", "From a request's headers to its answer's end.", ["ingress"]
)


class IngressServer:
    """`routes` answers the newest ones."""

    def __init__(self, routes: Callable[[], Routes], certificates: Certificates, forwarder: Forwarder) -> None:
        self._routes = routes
        self._certificates = certificates
        self._forwarder = forwarder

    async def serve(self, address: str, http_port: int, https_port: int) -> None:
        """Until cancelled; then connections get some time to end."""
        server = web.Server(
            self.answer,
            handler_cancellation=True,  # a client that has gone keeps no backend busy
            keepalive_timeout=_KEEP_ALIVE,
            max_line_size=_HEADER_SIZE,
            max_field_size=_HEADER_SIZE,
            access_log=None,
        )
        runner = web.ServerRunner(server, shutdown_timeout=_SHUTDOWN)
        await runner.setup()
        try:
            await web.TCPSite(runner, address, http_port).start()
            await web.TCPSite(runner, address, https_port, ssl_context=self._certificates.context).start()
            await asyncio.Event().wait()
        finally:
            await runner.cleanup()

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """One request, from its headers to the end of its answer."""
        started = time.monotonic()
        host, path = hostname(request.headers.get("Host", "")), normal(target(request))
        routes = self._routes()
        route = routes.find(host, path)
        by, status = "-", CLIENT_GONE
        try:
            if route is None:
                response: web.StreamResponse = _text(404, "default backend - 404")
            elif not request.secure and _redirects(routes, route, host, path):
                location = f"https://{host}{target(request)}"
                response = web.Response(status=308, headers={"Location": location})
            elif route.backend is None:
                response = _text(503, "the ingress names no service for this path")
            else:
                response, address = await self._forwarder.forward(request, route.backend)
                by = str(address)
        except Failed as failed:
            log.warning("%s %s%s: %s", request.method, host, path, failed)
            response = _text(failed.status, HTTPStatus(failed.status).phrase)
            status = failed.status
        else:
            status = response.status
        finally:
            self._account(request, status, route, by, time.monotonic() - started)
        return response

    def _account(self, request: web.BaseRequest, status: int, route: Route | None, by: str, seconds: float) -> None:
        namespace, name = (route.namespace, route.ingress) if route is not None else ("", "")
        service = route.backend.service if route is not None and route.backend is not None else ""
        _requests.labels(namespace, name, service, str(status)).inc()
        _seconds.labels(f"{namespace}/{name}" if name else "").observe(seconds)
        access.info(
            '%s "%s %s://%s%s" %d %s %.3fs [%s/%s] %s',
            request.remote,
            request.method,
            request.scheme,
            request.headers.get("Host", ""),
            request.raw_path,
            status,
            request.headers.get("User-Agent", "-"),
            seconds,
            namespace,
            service,
            by,
        )


def _redirects(routes: Routes, route: Route, host: str, path: str) -> bool:
    return route.ssl_redirect and routes.wants_tls(host) and not path.startswith(ACME)


def _text(status: int, text: str) -> web.Response:
    return web.Response(status=status, text=text + "\n", headers={"Server": "pykube"})
