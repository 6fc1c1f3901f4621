"""/healthz, /livez, /readyz and /metrics of a process, over plain HTTP, in upstream's format.

A check is a function that answers an empty string if all is well, else what is wrong. `livez` and `healthz` know the
checks of `live`, `readyz` those of both.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aiohttp import web

Check = Callable[[], str]


class Health:
    def __init__(self) -> None:
        self.live: dict[str, Check] = {"ping": lambda: ""}
        self.ready: dict[str, Check] = {}

    def report(self, endpoint: str, *, verbose: bool = False, only: str = "") -> tuple[int, str]:
        """HTTP code and body for `healthz`, `livez` or `readyz`."""
        checks = self.live if endpoint != "readyz" else {**self.live, **self.ready}
        if only:
            if only not in checks:
                return 404, f"{endpoint} check {only} not found\n"
            checks = {only: checks[only]}
        lines, failed = [], []
        for name, check in checks.items():
            try:
                wrong = check()
            except Exception as error:
                wrong = repr(error)
            if wrong:
                failed.append(name)
                lines.append(f"[-]{name} failed: {wrong}")
            else:
                lines.append(f"[+]{name} ok")
        if failed:
            return 500, "\n".join([*lines, f"{endpoint} check failed", ""])
        if verbose:
            return 200, "\n".join([*lines, f"{endpoint} check passed", ""])
        return 200, "ok"


class HealthServer:
    """`async with HealthServer(health, "0.0.0.0:10257"): ...`"""

    def __init__(self, health: Health, address: str) -> None:
        self._health = health
        host, _, port = address.rpartition(":")
        self._host, self._port = host.strip("[]") or "0.0.0.0", int(port)
        self._runner: web.ServerRunner | None = None
        self.port = self._port

    async def __aenter__(self) -> HealthServer:
        from aiohttp import web

        self._runner = web.ServerRunner(web.Server(self._answer, access_log=None))
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._host, self._port, reuse_address=True)
        await site.start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *exception: object) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        from aiohttp import web

        parts = request.path.strip("/").split("/", 1)
        if parts[0] in ("healthz", "livez", "readyz"):
            only = parts[1] if len(parts) > 1 else ""
            code, text = self._health.report(parts[0], verbose="verbose" in request.query, only=only)
            return web.Response(status=code, text=text, headers={"X-Content-Type-Options": "nosniff"})
        if request.path == "/metrics":
            from component import metrics

            body, content_type = metrics.exposition()
            return web.Response(body=body, headers={"Content-Type": content_type})
        return web.Response(status=404, text="404 page not found\n")
