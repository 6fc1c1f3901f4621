"""The connection to an aggregated API server: where it is, how it is trusted, and who it is told is asking."""

from __future__ import annotations

import base64
import json
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp

from api.types.apiregistration_v1 import APIService
from api.types.core_v1 import ConfigMap
from api.types.meta_v1 import ObjectMeta
from apiserver.auth import User
from apiserver.outbound import To, endpoint_of
from apiserver.registry import Registry
from apiserver.rest.streams.relaying import Backend

ALLOWED_NAMES = ("front-proxy-client",)
CONFIG_MAP, NAMESPACE = "extension-apiserver-authentication", "kube-system"


@dataclass(frozen=True)
class FrontProxy:
    """Files: the client certificate that this server shows others, and the CAs that they are to trust."""

    certificate: str = ""
    key: str = ""
    ca: str = ""
    client_ca: str = ""


class Remotes:
    """Keeps one session for each way to reach a server."""

    def __init__(self, registry: Registry, proxy: FrontProxy) -> None:
        self._registry = registry
        self._proxy = proxy
        self._sessions: dict[tuple[Any, ...], aiohttp.ClientSession] = {}

    async def close(self) -> None:
        """End all connections."""
        sessions, self._sessions = self._sessions, {}
        for session in sessions.values():
            await session.close()

    def session(self, service: APIService) -> tuple[aiohttp.ClientSession, str]:
        """A session to a ready endpoint, and the base URL. Raises outbound.CallFailed if there is none."""
        spec = service.spec
        assert spec.service is not None
        name, namespace = spec.service.name or "", spec.service.namespace or ""
        address, port = endpoint_of(self._registry, namespace, name, spec.service.port or 443)
        key = (spec.ca_bundle, bool(spec.insecure_skip_tls_verify), name, namespace, address, port)
        session = self._sessions.get(key)
        if session is None or session.closed:
            connector = aiohttp.TCPConnector(
                ssl=self._context(spec.ca_bundle or "", bool(spec.insecure_skip_tls_verify)),
                resolver=To(address, port),
                limit=0,
                keepalive_timeout=30.0,
            )
            session = aiohttp.ClientSession(connector=connector, auto_decompress=False)
            self._sessions[key] = session
        return session, f"https://{name}.{namespace}.svc:{spec.service.port or 443}"

    def backend(self, service: APIService) -> Backend:
        """A ready endpoint for a connection of its own. Raises outbound.CallFailed if there is none."""
        spec = service.spec
        assert spec.service is not None
        name, namespace = spec.service.name or "", spec.service.namespace or ""
        address, port = endpoint_of(self._registry, namespace, name, spec.service.port or 443)
        context = self._context(spec.ca_bundle or "", bool(spec.insecure_skip_tls_verify))
        return Backend(address, port, f"{name}.{namespace}.svc", context)

    def _context(self, bundle: str, insecure: bool) -> ssl.SSLContext:
        context = ssl.create_default_context(cadata=base64.b64decode(bundle).decode() if bundle else None)
        if insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if self._proxy.certificate:
            context.load_cert_chain(self._proxy.certificate, self._proxy.key)
        return context


def identity(user: User) -> Iterable[tuple[str, str]]:
    """The request headers that tell who asks."""
    yield "X-Remote-User", user.name
    if user.uid:
        yield "X-Remote-Uid", user.uid
    for group in user.groups:
        yield "X-Remote-Group", group
    for key, values in user.extra.items():
        for value in values:
            yield f"X-Remote-Extra-{quote(key, safe='')}", value


async def publish(registry: Registry, proxy: FrontProxy) -> None:
    """Tell aggregated servers, in a ConfigMap, whom to trust."""
    data: dict[str, str] = {}
    if proxy.client_ca:
        data["client-ca-file"] = Path(proxy.client_ca).read_text()
    if proxy.ca:
        data |= {
            "requestheader-allowed-names": json.dumps(list(ALLOWED_NAMES)),
            "requestheader-client-ca-file": Path(proxy.ca).read_text(),
            "requestheader-extra-headers-prefix": json.dumps(["X-Remote-Extra-"]),
            "requestheader-group-headers": json.dumps(["X-Remote-Group"]),
            "requestheader-uid-headers": json.dumps(["X-Remote-Uid"]),
            "requestheader-username-headers": json.dumps(["X-Remote-User"]),
        }
    if not data:
        return
    known = registry.cached(ConfigMap, CONFIG_MAP, NAMESPACE)
    if known is None:
        await registry.create(ConfigMap(metadata=ObjectMeta(name=CONFIG_MAP, namespace=NAMESPACE), data=data))
    elif known.data != data:

        def change(mine: ConfigMap) -> None:
            mine.data = data

        await registry.mutate(ConfigMap, CONFIG_MAP, change, namespace=NAMESPACE)
