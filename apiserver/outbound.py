"""Calls from this server to webhooks: by URL, or to a Service, whose endpoints are looked up here.

The server need not be able to reach Service addresses: it picks a ready endpoint itself and asks for the Service's DNS
name in TLS, as upstream does.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import random
import socket
import ssl
from collections.abc import Mapping
from typing import Any, Protocol

import aiohttp
import msgspec
from aiohttp.abc import AbstractResolver, ResolveResult

from api import codec
from api.types.core_v1 import Service
from api.types.discovery_v1 import EndpointSlice
from apiserver.registry import Registry

_MAX_ANSWER = 8 * 1024 * 1024  # bytes


class CallFailed(Exception):
    """The webhook did not answer, or not with JSON. `timeout` tells one that took too long."""

    def __init__(self, message: str, *, timeout: bool = False) -> None:
        super().__init__(message)
        self.timeout = timeout


class ServiceReference(Protocol):
    name: str
    namespace: str
    path: str | None
    port: int | None


class ClientConfig(Protocol):
    """What the kinds that name a webhook have in common."""

    @property
    def url(self) -> str | None: ...
    @property
    def service(self) -> Any: ...
    @property
    def ca_bundle(self) -> str | None: ...


class To(AbstractResolver):
    """Resolves the name of a Service to the endpoint that was picked for it."""

    def __init__(self, address: str, port: int) -> None:
        self._address, self._port = address, port

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        kind = socket.AF_INET6 if ":" in self._address else socket.AF_INET
        return [ResolveResult(hostname=host, host=self._address, port=self._port, family=kind, proto=0, flags=0)]

    async def close(self) -> None:
        """Nothing is open."""


def endpoint_of(registry: Registry, namespace: str, name: str, port: int) -> tuple[str, int]:
    """A ready endpoint of a Service's port. Raises CallFailed in upstream's words."""
    service = registry.cached(Service, name, namespace)
    if service is None:
        raise CallFailed(f'service "{name}" not found')
    found = next((p for p in service.spec.ports or () if p.port == port), None)
    if found is None:
        raise CallFailed(f'no service port {port} found for service "{name}"')
    if service.spec.type == "ExternalName":
        return service.spec.external_name or "", port
    candidates: list[tuple[str, int]] = []
    for piece in registry.cached_list(EndpointSlice, namespace):
        if (piece.metadata.labels or {}).get("kubernetes.io/service-name") != name:
            continue
        target = next((p.port for p in piece.ports or () if (p.name or "") == (found.name or "")), None)
        if target is None:
            continue
        for endpoint in piece.endpoints or ():
            ready = endpoint.conditions.ready if endpoint.conditions is not None else None
            if ready is not False:
                candidates += [(address, target) for address in endpoint.addresses]
    if not candidates:
        raise CallFailed(f'no endpoints available for service "{name}"')
    return random.choice(candidates)


class Caller:
    """Keeps connections to webhooks open between calls."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._contexts: dict[str, ssl.SSLContext] = {}
        self._sessions: dict[tuple[str, str, int], aiohttp.ClientSession] = {}
        self._closing: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """End all connections."""
        sessions, self._sessions = self._sessions, {}
        for session in sessions.values():
            await session.close()

    def url(self, config: ClientConfig) -> str:
        """The address as errors show it."""
        if config.url is not None:
            return config.url
        service = config.service
        path = "/" + (service.path or "").lstrip("/")
        return f"https://{service.name}.{service.namespace}.svc:{service.port or 443}{path}"

    async def post(
        self, config: ClientConfig, body: Any, *, timeout: float, query: Mapping[str, str] | None = None
    ) -> Any:
        """POST a JSON document, answer the JSON that comes back. Raises CallFailed."""
        url = self.url(config)
        shown = url + (f"?timeout={query['timeout']}" if query and "timeout" in query else "")
        address, port = "", 0
        if config.url is None:
            service = config.service
            try:
                address, port = endpoint_of(self._registry, service.namespace, service.name, service.port or 443)
            except CallFailed as error:
                raise CallFailed(f'Post "{shown}": {error}') from None
        session = self._session(config, address, port)
        try:
            async with asyncio.timeout(timeout):
                async with session.post(shown, data=codec.encode(body), headers=_HEADERS) as answer:
                    data = await answer.content.read(_MAX_ANSWER)
                    if answer.status != 200:
                        raise CallFailed(_refused(answer.status, data))
        except TimeoutError:
            raise CallFailed(f'Post "{shown}": context deadline exceeded', timeout=True) from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise CallFailed(f'Post "{shown}": {_words(error, url)}') from None
        try:
            return msgspec.json.decode(data)
        except msgspec.MsgspecError as error:
            raise CallFailed(f"could not decode response body: {error}") from None

    def _session(self, config: ClientConfig, address: str, port: int) -> aiohttp.ClientSession:
        bundle = hashlib.sha256((config.ca_bundle or "").encode()).hexdigest()
        key = (bundle, address, port)
        session = self._sessions.get(key)
        if session is None or session.closed:
            if len(self._sessions) > 256:
                oldest = self._sessions.pop(next(iter(self._sessions)))
                closing = asyncio.get_running_loop().create_task(oldest.close())
                self._closing.add(closing)  # the loop itself keeps no task from being collected
                closing.add_done_callback(self._closing.discard)
            context = self._context(config.ca_bundle or "")
            connector = aiohttp.TCPConnector(
                ssl=context, resolver=To(address, port) if address else None, limit=64, keepalive_timeout=30.0
            )
            session = self._sessions[key] = aiohttp.ClientSession(connector=connector)
        return session

    def _context(self, bundle: str) -> ssl.SSLContext:
        context = self._contexts.get(bundle)
        if context is None:
            pem = base64.b64decode(bundle).decode() if bundle else None
            context = ssl.create_default_context(cadata=pem)
            self._contexts[bundle] = context
        return context


_HEADERS = {
    "Content-Type": "application/json",
    "Accept": "application/json, */*",
    "User-Agent": "kube-apiserver-admission",
}


def _refused(code: int, data: bytes) -> str:
    text = data.decode("utf-8", "replace").strip()
    try:
        message = msgspec.json.decode(data).get("message")
    except (msgspec.MsgspecError, AttributeError):
        message = None
    if message:
        return f"{message}"
    words = {
        400: "the server rejected our request for an unknown reason",
        404: "the server could not find the requested resource",
    }
    shown = words.get(code, f'an error on the server ("{text[:2048]}") has prevented the request from succeeding')
    return f"{shown}"


def _words(error: Exception, url: str) -> str:
    """What Go's client says of the failures people meet."""
    host = url.partition("://")[2].partition("/")[0]
    name, _, port = host.partition(":")
    if isinstance(error, aiohttp.ClientConnectorCertificateError | ssl.SSLCertVerificationError):
        inner = getattr(error, "certificate_error", error)
        reason = getattr(inner, "verify_message", str(inner))
        if "self-signed" in reason or "unable to get" in reason or "self signed" in reason:
            return "tls: failed to verify certificate: x509: certificate signed by unknown authority"
        if "expired" in reason:
            return f"tls: failed to verify certificate: x509: certificate has expired or is not yet valid: {reason}"
        if "ostname" in reason or "IP address" in reason:
            return f"tls: failed to verify certificate: x509: certificate is not valid for {name}: {reason}"
        return f"tls: failed to verify certificate: x509: {reason}"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return f"dial tcp: lookup {name}: no such host"
    if isinstance(error, aiohttp.ClientConnectorError):
        inner = error.os_error
        if isinstance(inner, ConnectionRefusedError):
            return f"dial tcp {name}:{port or 443}: connect: connection refused"
        return f"dial tcp {name}:{port or 443}: {inner.strerror or inner}"
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "EOF"
    return str(error) or type(error).__name__
