"""Passes a request on to a pod and the answer back, as streams: nothing is held but what is on the way.

Invariants:
- a request that no pod has seen (nobody listens there) is tried at the next address, whatever its method;
- one that may have been seen is tried again only if it is idempotent (RFC 9110, 9.2.2) and has no body;
- only such requests go out on a connection that was used before, since the pod may be closing it at that moment;
- an answer that breaks off breaks off for the client, too: it is never made to look whole.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
from aiohttp import web
from yarl import URL

from addons.ingress import tunnel
from addons.ingress.endpoints import Address, Endpoints
from addons.ingress.headers import end_to_end, to_backend, upgrade
from addons.ingress.routes import Backend

TRIES = 3
"""Addresses that one request is tried at, at most."""

CONNECT_TIMEOUT = 5.0
READ_TIMEOUT = 60.0
"""Seconds of a backend's silence, before its answer and within."""

_IDLE = 30.0
"""Seconds that a connection to a backend is kept for the next request."""

_HEADER_SIZE = 32 * 1024
_IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})
_REFUSED = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)


class Failed(Exception):
    """No backend has answered: what to tell the client."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


class Forwarder:
    """`async with Forwarder(endpoints) as forwarder`."""

    def __init__(
        self, endpoints: Endpoints, *, connect_timeout: float = CONNECT_TIMEOUT, read_timeout: float = READ_TIMEOUT
    ) -> None:
        self._endpoints = endpoints
        self._timeout = aiohttp.ClientTimeout(total=None, sock_connect=connect_timeout, sock_read=read_timeout)

    async def __aenter__(self) -> Forwarder:
        self._kept = self._session(aiohttp.TCPConnector(limit=0, keepalive_timeout=_IDLE))
        self._fresh = self._session(aiohttp.TCPConnector(limit=0, force_close=True))
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self._kept.close()
        await self._fresh.close()

    def _session(self, connector: aiohttp.TCPConnector) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=connector,
            timeout=self._timeout,
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=("Accept", "Accept-Encoding", "User-Agent", "Content-Type"),
            max_line_size=_HEADER_SIZE,
            max_field_size=_HEADER_SIZE,
        )

    async def forward(self, request: web.BaseRequest, backend: Backend) -> tuple[web.StreamResponse, Address]:
        """The answer, sent, and who gave it. Raises Failed before anything is sent."""
        answer, address = await self._ask(request, backend)
        async with answer:
            if answer.status == 101:
                return await tunnel.join(request, answer), address
            return await _relay(request, answer), address

    async def _ask(self, request: web.BaseRequest, backend: Backend) -> tuple[aiohttp.ClientResponse, Address]:
        tried: list[Address] = []
        again = request.method in _IDEMPOTENT and not request.body_exists
        session = self._kept if again and not upgrade(request) else self._fresh
        why = "no endpoints available"
        while len(tried) < TRIES:
            address = self._endpoints.pick(backend, tried)
            if address is None:
                break
            tried.append(address)
            try:
                return await self._send(session, request, address), address
            except _REFUSED as error:
                why = f"{address} cannot be reached: {error}"
            except TimeoutError:
                raise Failed(504, f"{address} does not answer") from None
            except (aiohttp.ClientError, ConnectionError) as error:
                why = f"{address} has hung up: {error}"
                if not again:
                    break
        raise Failed(502 if tried else 503, why)

    async def _send(
        self, session: aiohttp.ClientSession, request: web.BaseRequest, address: Address
    ) -> aiohttp.ClientResponse:
        headers = to_backend(request)
        if session is self._fresh and "Upgrade" not in headers:
            headers["Connection"] = "close"
        return await session.request(
            request.method,
            URL(f"http://{address}{target(request)}", encoded=True),
            headers=headers,
            data=_body(request) if request.body_exists else None,
            allow_redirects=False,
        )


def target(request: web.BaseRequest) -> str:
    """Path and query exactly as the client wrote them."""
    path = request.raw_path
    if path.startswith("/"):
        return path
    # absolute-form, as to a forward proxy, and the asterisk of OPTIONS (RFC 9112, 3.2)
    return request.rel_url.raw_path_qs if "://" in path else "/"


async def _body(request: web.BaseRequest) -> AsyncIterator[bytes]:
    if request.headers.get("Expect", "").lower() == "100-continue" and request.transport is not None:
        request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    async for chunk in request.content.iter_any():
        yield chunk


class _Relayed(web.StreamResponse):
    """An answer with the headers that the backend gave it, and no others."""

    async def _prepare_headers(self) -> None:
        given = set(self.headers)
        await super()._prepare_headers()
        for name in ("Server", "Content-Type"):
            if name not in given:
                self.headers.popall(name, None)


async def _relay(request: web.BaseRequest, answer: aiohttp.ClientResponse) -> web.StreamResponse:
    response = _Relayed(status=answer.status, reason=answer.reason)
    response.headers.extend(end_to_end(answer.headers, without=("upgrade",)))
    await response.prepare(request)
    try:
        async for chunk in answer.content.iter_any():
            await response.write(chunk)
    except (aiohttp.ClientError, TimeoutError):
        if request.transport is not None:
            request.transport.abort()
        return response
    await response.write_eof()
    return response
