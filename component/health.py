"""/healthz, /livez, /readyz and /metrics of a process, over plain HTTP, in upstream's format.

A check is a function that answers an empty string if all is well, else what is wrong. `livez` and `healthz` know the
checks of `live`, `readyz` those of both.

The standard library's server in a thread, rather than aiohttp: prometheus-client has loaded it already, where aiohttp
costs every component 10 MB; and since checks run on the event loop, a loop that hangs is seen from outside.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

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


#: Seconds that the event loop may take to answer.
PATIENCE = 10.0


class HealthServer:
    """`async with HealthServer(health, "0.0.0.0:10257"): ...`. Raises OSError if the address is taken."""

    def __init__(self, health: Health, address: str) -> None:
        self._health = health
        host, _, port = address.rpartition(":")
        self._host, self.port = host.strip("[]") or "0.0.0.0", int(port)
        self._server: _Server | None = None

    async def __aenter__(self) -> HealthServer:
        self._server = _Server((self._host, self.port), asyncio.get_running_loop(), self._answer)
        self.port = self._server.server_address[1]
        # woken by connections alone: an idle process stays idle
        threading.Thread(target=self._server.serve_forever, args=(3600.0,), name="health", daemon=True).start()
        return self

    async def __aexit__(self, *exception: object) -> None:
        if self._server is not None:
            stopping = asyncio.get_running_loop().run_in_executor(None, self._server.shutdown)
            while not stopping.done():
                with contextlib.suppress(OSError):
                    socket.create_connection(
                        ("127.0.0.1" if self._host == "0.0.0.0" else self._host, self.port)
                    ).close()
                await asyncio.wait({stopping}, timeout=0.05)
            self._server.server_close()

    async def _answer(self, target: str) -> tuple[int, bytes, str]:
        """Code, body and content type."""
        url = urlsplit(target)
        parts = url.path.strip("/").split("/", 1)
        if parts[0] in ("healthz", "livez", "readyz"):
            only = parts[1] if len(parts) > 1 else ""
            verbose = "verbose" in parse_qs(url.query, keep_blank_values=True)
            code, text = self._health.report(parts[0], verbose=verbose, only=only)
            return code, text.encode(), "text/plain; charset=utf-8"
        if url.path == "/metrics":
            from component import metrics

            body, content_type = metrics.exposition()
            return 200, body, content_type
        return 404, b"404 page not found\n", "text/plain; charset=utf-8"


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], loop: asyncio.AbstractEventLoop, answer: Callable[..., Any]) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.loop, self.answer = loop, answer
        super().__init__(address, _Handler)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    timeout = 60

    def do_GET(self) -> None:
        try:
            future = asyncio.run_coroutine_threadsafe(self.server.answer(self.path), self.server.loop)
            code, body, content_type = future.result(PATIENCE)
        except (TimeoutError, RuntimeError) as error:
            code, content_type = 500, "text/plain; charset=utf-8"
            body = f"the process does not answer: {error!r}\n".encode()
        self.send_response(code)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_GET

    def log_message(self, format: str, *args: Any) -> None:
        """Probes are not worth a line."""
