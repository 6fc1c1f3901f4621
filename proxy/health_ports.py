"""`healthCheckNodePort`: tells a load balancer in front whether this node has endpoints of a Service.

Answers as kube-proxy does: 200 if there are any and the proxy keeps up, else 503; the number stands in the body, and in
a header for balancers that weigh nodes by it (KEP-3836).
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from aiohttp import web

log = logging.getLogger(__name__)


class HealthPorts:
    """One HTTP server for each Service that has a health check port. `healthy` answers "" while the proxy keeps up."""

    def __init__(self, healthy: Callable[[], str]) -> None:
        self._healthy = healthy
        self._local: dict[tuple[str, str], int] = {}
        self._servers: dict[tuple[str, str], tuple[int, web.AppRunner]] = {}

    async def set(self, key: tuple[str, str], port: int, local_endpoints: int) -> None:
        """Serve `local_endpoints` for the Service `key` on `port`; 0 closes its server. Logs a port it cannot have."""
        self._local[key] = local_endpoints
        served = self._servers.get(key)
        if (served[0] if served else 0) == port:
            if not port:
                del self._local[key]
            return
        if served:
            await served[1].cleanup()
            del self._servers[key]
        if not port:
            del self._local[key]
            return

        async def answer(request: web.Request) -> web.Response:
            return self._answer(key)

        app = web.Application()
        app.router.add_get("/{path:.*}", answer)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        try:
            await web.TCPSite(runner, port=port).start()
        except OSError as error:
            log.error("cannot serve the health check of Service %s/%s on port %d: %s", *key, port, error)
            await runner.cleanup()
            return
        self._servers[key] = port, runner

    def _answer(self, key: tuple[str, str]) -> web.Response:
        count, healthy = self._local.get(key, 0), not self._healthy()
        body = {
            "service": {"namespace": key[0], "name": key[1]},
            "localEndpoints": count,
            "serviceProxyHealthy": healthy,
        }
        headers = {"X-Content-Type-Options": "nosniff", "X-Load-Balancing-Endpoint-Weight": str(count)}
        return web.json_response(body, status=200 if count and healthy else 503, headers=headers)
