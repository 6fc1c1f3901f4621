"""`healthCheckNodePort`: tells a load balancer in front whether this node has endpoints of a Service.

Answers as kube-proxy does: 200 with `localEndpoints` above zero, else 503.
"""

from __future__ import annotations

import logging

from aiohttp import web

log = logging.getLogger(__name__)


class HealthPorts:
    """One HTTP server for each Service that has a health check port."""

    def __init__(self) -> None:
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
            count = self._local.get(key, 0)
            body = {"service": {"namespace": key[0], "name": key[1]}, "localEndpoints": count}
            return web.json_response(body, status=200 if count else 503)

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
