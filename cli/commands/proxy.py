"""`proxy`: the API server on a local port, with our credentials; whoever reaches the port acts as us."""

from __future__ import annotations

import asyncio
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cli.env import Env
from cli.errors import CliError, ConnectionFailed, UsageError
from cli.framework import command as declare
from cli.framework import flag, option
from cli.rest import Client, translated

# Headers that concern one connection, not the message (RFC 9110, 7.6.1), and what we set ourselves.
_HOP = {"connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"}
_OWN = {"host", "authorization", "content-length", "accept-encoding"}
CHUNK = 64 * 1024


@dataclass
class Filter:
    """Which requests pass. A host outside the list would let any web page use the port (DNS rebinding)."""

    accept_hosts: list[re.Pattern[str]]
    accept_paths: list[re.Pattern[str]]
    reject_paths: list[re.Pattern[str]]
    reject_methods: list[re.Pattern[str]]

    def passes(self, method: str, host: str, path: str) -> bool:
        name = host.rsplit(":", 1)[0] if re.search(r":\d+$", host) else host
        return (
            not any(one.search(method) for one in self.reject_methods)
            and not any(one.search(path) for one in self.reject_paths)
            and any(one.search(path) for one in self.accept_paths)
            and any(one.search(name) for one in self.accept_hosts)
        )


def _patterns(text: str) -> list[re.Pattern[str]]:
    try:
        return [re.compile(part) for part in text.split(",")]
    except re.error as problem:
        raise CliError(f"error parsing regexp: {problem}") from problem


@declare(
    "proxy",
    usage="[--port=PORT] [--www=static-dir] [--www-prefix=prefix] [--api-prefix=prefix]",
    help="""
    Creates a proxy server or application-level gateway between localhost and the Kubernetes API server. It also allows
    serving static content over specified HTTP path. All incoming data enters through one port and gets forwarded to
    the remote Kubernetes API server port, except for the path matching the static content path.
    """,
    examples="""
    # Proxy all of the Kubernetes API and nothing else, then: curl localhost:8001/api/v1/pods
    kubectl proxy --api-prefix=/

    # Serve static files beside it
    kubectl proxy --www=/my/files --www-prefix=/static/ --api-prefix=/api/

    # Choose any free port, and print it
    kubectl proxy --port=0
    """,
)
@option("--accept-hosts", default=r"^localhost$,^127\.0\.0\.1$,^\[::1\]$", help="Regular expression for hosts.")
@option("--accept-paths", default="^.*", help="Regular expression for paths that the proxy should accept.")
@option("--address", default="127.0.0.1", help="The IP address on which to serve on.")
@option("--api-prefix", default="/", help="Prefix to serve the proxied API under.")
@flag("--append-server-path", help="If true, append the path of the server's address to each request.")
@flag("--disable-filter", help="If true, disable request filtering in the proxy. This is dangerous.")
@option("--keepalive", default="0s", help="keepalive specifies the keep-alive period for an active connection.")
@option("-p", "--port", type=int, default=8001, help="The port on which to run the proxy. 0 picks a random port.")
@option("--reject-methods", default="^$", help="Regular expression for HTTP methods that the proxy should reject.")
@option(
    "--reject-paths",
    default="^/api/.*/pods/.*/exec,^/api/.*/pods/.*/attach",
    help="Regular expression for paths that the proxy should reject, even if accepted by --accept-paths.",
)
@option("-u", "--unix-socket", help="Unix socket on which to run the proxy.")
@option("-w", "--www", help="Also serve static files from the given directory under the specified prefix.")
@option("-P", "--www-prefix", default="/static/", help="Prefix to serve static files under.")
async def command(env: Env, args: tuple[str, ...], **params: Any) -> None:
    if args:
        raise UsageError(f"Unexpected args: [{' '.join(args)}]")
    if params["unix_socket"] and params["port"] != 8001:
        raise CliError("cannot set --unix-socket and --port at the same time")
    if params["www"] and not Path(params["www"]).is_dir():
        env.err(f"Warning: Failed to stat static file directory {params['www']}")
    from aiohttp import web

    filters = None
    if params["disable_filter"]:
        if not params["unix_socket"]:
            env.err("Request filter disabled, your proxy is vulnerable to XSRF attacks, please be cautious")
    else:
        filters = Filter(
            _patterns(params["accept_hosts"]),
            _patterns(params["accept_paths"]),
            _patterns(params["reject_paths"]),
            _patterns(params["reject_methods"]),
        )
    gateway = Gateway(env.client, filters, _slashed(params["api_prefix"]))
    app = web.Application(client_max_size=2**40)
    if params["www"]:
        app.router.add_static(_slashed(params["www_prefix"]), params["www"], show_index=True)
    app.router.add_route("*", "/{tail:.*}", gateway.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, auto_decompress=False)
    await runner.setup()
    try:
        site: web.BaseSite
        if params["unix_socket"]:
            site = web.UnixSite(runner, params["unix_socket"])
        else:
            site = web.TCPSite(runner, params["address"], params["port"])
        try:
            await site.start()
        except OSError as problem:
            shown = params["unix_socket"] or f"{params['address']}:{params['port']}"
            words = (problem.strerror or str(problem)).lower()
            words = "bind: address already in use" if "in use" in words else words
            raise CliError(f"listen tcp {shown}: {words}") from problem
        where = runner.addresses[0]
        env.out(f"Starting to serve on {where if isinstance(where, str) else f'{where[0]}:{where[1]}'}")
        sys.stdout.flush()
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()


def _slashed(prefix: str) -> str:
    return f"/{prefix.strip('/')}/" if prefix.strip("/") else "/"


class Gateway:
    """Passes requests on, bodies and all, as they come: watches and logs stream, upgrades to WebSockets are joined."""

    def __init__(self, client: Client, filters: Filter | None, prefix: str) -> None:
        self.client = client
        self.filters = filters
        # The API's own prefixes stay in the path; any other one is this proxy's and goes.
        self.prefix = prefix
        self.strip = "" if prefix in ("/", "/api/", "/apis/") else prefix[:-1]

    async def handle(self, request: Any) -> Any:
        from aiohttp import web
        from multidict import CIMultiDict
        from yarl import URL

        path = str(request.rel_url)
        if not path.startswith(self.prefix) and f"{path.partition('?')[0]}/" != self.prefix:
            return web.Response(status=404, text="404 page not found\n")
        path = path[len(self.strip) :] or "/"
        if self.filters and not self.filters.passes(request.method, request.host, path.partition("?")[0]):
            return web.Response(status=403, text="Forbidden\n")
        headers: CIMultiDict[str] = CIMultiDict(
            (name, value) for name, value in request.headers.items() if name.lower() not in _HOP | _OWN
        )
        for name, values in self.client.config.impersonate.items():
            for value in values:
                headers.add(name, value)
        session = self.client.session
        url = URL(f"{self.client.config.server}{path}", encoded=True)
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await self._joined(request, url, headers)
        try:
            with translated(self.client.config.server, None):
                async with session.request(
                    request.method,
                    url,
                    data=request.content if request.can_read_body else None,
                    headers=headers,
                    allow_redirects=False,
                    **self.client.options(),
                ) as answer:
                    return await self._passed_on(request, answer)
        except ConnectionFailed as problem:
            return web.Response(status=502, text=f"{problem}\n")

    async def _passed_on(self, request: Any, answer: Any) -> Any:
        from aiohttp import web

        response = web.StreamResponse(status=answer.status, reason=answer.reason)
        for name, value in answer.headers.items():
            # aiohttp has unpacked the body, so that its length and coding are no longer the message's.
            if name.lower() not in _HOP | {"content-length", "content-encoding"}:
                response.headers.add(name, value)
        await response.prepare(request)
        async for chunk in answer.content.iter_any():
            await response.write(chunk)
        await response.write_eof()
        return response

    async def _joined(self, request: Any, url: Any, headers: Any) -> Any:
        from aiohttp import WSMsgType, WSServerHandshakeError, web

        protocols = [part.strip() for part in request.headers.get("Sec-WebSocket-Protocol", "").split(",") if part]
        for name in [name for name in headers if name.lower().startswith("sec-websocket-")]:
            headers.popall(name, None)
        try:
            remote = await self.client.session.ws_connect(
                url, protocols=protocols, headers=headers, max_msg_size=0, **self.client.options()
            )
        except WSServerHandshakeError as problem:
            return web.Response(status=problem.status, text=f"{problem.message}\n")
        local = web.WebSocketResponse(protocols=[remote.protocol] if remote.protocol else (), max_msg_size=0)
        await local.prepare(request)

        async def copy(source: Any, target: Any) -> None:
            async for message in source:
                if message.type is WSMsgType.BINARY:
                    await target.send_bytes(message.data)
                elif message.type is WSMsgType.TEXT:
                    await target.send_str(message.data)
            await target.close()

        await asyncio.gather(copy(local, remote), copy(remote, local))
        return local
