"""The HTTP client: one session to one API server, answers as JSON or as a stream, failures as `cli.errors`."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import ssl
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import aiohttp

from cli.credentials import resolve
from cli.errors import ApiError, CliError, ConnectionFailed, Object, status_error
from cli.kubeconfig import RestConfig
from cli.tracing import Trace

JSON = "application/json"
TABLE = (
    "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json"
)
PATCH_TYPES = {
    "json": "application/json-patch+json",
    "merge": "application/merge-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "apply": "application/apply-patch+yaml",
}
Query = Mapping[str, str | int | bool | Sequence[str] | None]


class Client:
    """Requests to one server. Close it when done. Not for use from several event loops."""

    def __init__(self, config: RestConfig, *, verbosity: int = 0) -> None:
        self.config = config
        self.trace = Trace(verbosity)
        self._session: aiohttp.ClientSession | None = None
        self._ssl: ssl.SSLContext | bool = True
        self._warned: set[str] = set()

    @property
    def session(self) -> aiohttp.ClientSession:
        if self._session is None:
            config = resolve(self.config)
            self._ssl = tls_context(config)
            headers = {"User-Agent": "pykubectl/0.1.0 (python)"}
            if config.token:
                headers["Authorization"] = f"Bearer {config.token}"
            elif config.username:
                pair = base64.b64encode(f"{config.username}:{config.password}".encode()).decode()
                headers["Authorization"] = f"Basic {pair}"
            connector = aiohttp.TCPConnector(ssl=self._ssl, limit=64)
            self._session = aiohttp.ClientSession(
                connector=connector,
                headers=headers,
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=30),
                read_bufsize=2**20,
                max_line_size=2**16,
                max_field_size=2**16,
                auto_decompress=True,
            )
        return self._session

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    def url(self, path: str, query: Query | None = None) -> str:
        pairs: list[tuple[str, str]] = []
        for key, value in (query or {}).items():
            if value is None or value == "":
                continue
            if isinstance(value, bool):
                pairs.append((key, "true" if value else "false"))
            elif isinstance(value, (str, int)):
                pairs.append((key, str(value)))
            else:
                pairs.extend((key, one) for one in value)
        text = urlencode(pairs)
        joiner = "&" if "?" in path else "?"
        return f"{self.config.server}{path}{joiner + text if text else ''}"

    def _headers(self, accept: str, content_type: str | None) -> list[tuple[str, str]]:
        headers = [("Accept", accept)]
        if content_type:
            headers.append(("Content-Type", content_type))
        for name, values in self.config.impersonate.items():
            headers.extend((name, value) for value in values)
        return headers

    def options(self) -> dict[str, Any]:
        """What every request of this client needs beside its URL: proxy and the name the certificate must carry."""
        extra: dict[str, Any] = {}
        proxy = proxy_for(self.config)
        if proxy:
            extra["proxy"] = proxy
        if self.config.tls_server_name:
            extra["server_hostname"] = self.config.tls_server_name
        return extra

    @asynccontextmanager
    async def open(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        body: Any = None,
        content_type: str | None = None,
        accept: str = JSON,
        timeout: float | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """A response to read. Raises `ApiError` for 400 and above, `ConnectionFailed` where there is none."""
        from multidict import CIMultiDict
        from yarl import URL

        data: bytes | None = None
        if body is not None:
            data = body if isinstance(body, bytes) else encode(body)
            content_type = content_type or JSON
        url = self.url(path, query)
        limit = timeout if timeout is not None else self.config.timeout
        started = time.monotonic()
        headers = self._headers(accept, content_type)
        self.trace.request(method, url, [*self.session.headers.items(), *headers], data)
        with translated(self.config.server, limit):
            async with self.session.request(
                method,
                URL(url, encoded=True),
                data=data,
                headers=CIMultiDict(headers),
                timeout=aiohttp.ClientTimeout(total=limit, sock_connect=30),
                allow_redirects=True,
                **self.options(),
            ) as response:
                answered = f"{response.status} {response.reason}"
                self.trace.response(method, url, answered, response.headers.items(), time.monotonic() - started)
                self._warnings(response)
                if response.status >= 400:
                    raw = await response.read()
                    self.trace.body("Response Body", raw)
                    raise status_error(response.status, raw, method=method, path=path)
                yield response

    async def raw(self, method: str, path: str, **kwargs: Any) -> bytes:
        async with self.open(method, path, **kwargs) as response:
            with translated(self.config.server, kwargs.get("timeout")):
                data = await response.read()
        self.trace.body("Response Body", data)
        return data

    async def request(self, method: str, path: str, **kwargs: Any) -> Object:
        data = await self.raw(method, path, **kwargs)
        if not data:
            return {}
        try:
            answer = decode(data)
        except ValueError as problem:
            raise CliError(f"the server's answer to {method} {path} is not JSON") from problem
        if not isinstance(answer, dict):
            raise CliError(f"the server's answer to {method} {path} is not an object")
        _name_items(answer)
        return answer

    async def get(self, path: str, **kwargs: Any) -> Object:
        return await self.request("GET", path, **kwargs)

    async def events(self, path: str, *, query: Query | None = None, accept: str = JSON) -> AsyncIterator[Object]:
        """The frames of a watch, until the server ends it. An ERROR frame is raised as `ApiError`."""
        async with self.open("GET", path, query={**(query or {}), "watch": True}, accept=accept) as response:
            buffer = b""
            with translated(self.config.server, None):
                async for chunk in response.content.iter_any():
                    buffer += chunk
                    *lines, buffer = buffer.split(b"\n")
                    for line in lines:
                        if not line.strip():
                            continue
                        self.trace.body("Watch frame", line)
                        event = decode(line)
                        if event.get("type") == "ERROR":
                            raise ApiError(event.get("object") or {})
                        yield event

    def _warnings(self, response: aiohttp.ClientResponse) -> None:
        for header in response.headers.getall("Warning", ()):
            text = header.split('"')[1] if header.count('"') >= 2 else header
            if text not in self._warned:
                self._warned.add(text)
                print(f"Warning: {text}", file=sys.stderr)


class translated:
    """Turns aiohttp's connection failures into one line that says what to do."""

    def __init__(self, server: str, limit: float | None) -> None:
        self.server = server
        self.limit = limit

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, problem: BaseException | None, trace: object) -> None:
        if problem is None or isinstance(problem, (CliError, ApiError, asyncio.CancelledError)):
            return
        text = connection_words(problem, self.server)
        if text:
            raise ConnectionFailed(text) from problem


def connection_words(problem: BaseException, server: str) -> str:
    """What went wrong below HTTP, or an empty string if the problem is of another kind."""
    host = urlsplit(server).netloc
    if isinstance(problem, (aiohttp.ClientConnectorCertificateError, ssl.SSLCertVerificationError)):
        cause = getattr(problem, "certificate_error", problem)
        reason = getattr(cause, "verify_message", "") or str(cause)
        hint = {
            "self-signed certificate": "certificate signed by unknown authority",
            "self-signed certificate in certificate chain": "certificate signed by unknown authority",
            "unable to get local issuer certificate": "certificate signed by unknown authority",
            "certificate has expired": "certificate has expired or is not yet valid",
        }.get(reason, reason)
        return f"Unable to connect to the server: tls: failed to verify certificate: x509: {hint}"
    if isinstance(problem, aiohttp.ClientConnectorDNSError):
        return f"Unable to connect to the server: dial tcp: lookup {urlsplit(server).hostname}: no such host"
    if isinstance(problem, aiohttp.ClientConnectorSSLError):
        if "WRONG_VERSION_NUMBER" in str(problem.os_error):
            return "Unable to connect to the server: http: server gave HTTP response to HTTPS client"
        return f"Unable to connect to the server: tls: {problem.os_error}"
    if isinstance(problem, aiohttp.ClientConnectorError):
        if isinstance(problem.os_error, ConnectionRefusedError):
            return f"The connection to the server {host} was refused - did you specify the right host or port?"
        why = (problem.os_error.strerror or "connection failed").lower()
        return f"Unable to connect to the server: dial tcp {host}: connect: {why}"
    if isinstance(problem, aiohttp.ConnectionTimeoutError):
        return f"Unable to connect to the server: dial tcp {host}: i/o timeout"
    if isinstance(problem, (TimeoutError, aiohttp.ServerTimeoutError)):
        words = "context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
        return f"Unable to connect to the server: {words}"
    if isinstance(problem, (aiohttp.ServerDisconnectedError, aiohttp.ClientPayloadError, ConnectionResetError)):
        return f"The connection to the server {host} was closed before it answered"
    if isinstance(problem, aiohttp.NonHttpUrlClientError):
        return f'Unable to connect to the server: unsupported protocol scheme "{urlsplit(server).scheme}"'
    if isinstance(problem, aiohttp.InvalidURL):
        return f"error: the server's address is not a URL: {server}"
    if isinstance(problem, aiohttp.ClientResponseError):
        return (
            "Unable to connect to the server: net/http: HTTP/1.x transport connection broken: malformed HTTP response "
            + " ".join(str(problem.message).split())
        )
    if isinstance(problem, aiohttp.ClientError):
        return f"Unable to connect to the server: {problem}"
    return ""


def tls_context(config: RestConfig) -> ssl.SSLContext | bool:
    """The TLS settings as kubectl understands them; True for the system's defaults on plain HTTP."""
    if not config.server.startswith("https"):
        return True
    context = ssl.create_default_context()
    if config.ca_data or config.ca_file:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        try:
            if config.ca_data:
                context.load_verify_locations(cadata=config.ca_data.decode())
            else:
                context.load_verify_locations(cafile=config.ca_file)
        except FileNotFoundError as problem:
            raise CliError(
                f"unable to read certificate-authority {config.ca_file}: no such file or directory"
            ) from problem
        except (ssl.SSLError, ValueError) as problem:
            raise CliError("unable to load root certificates: unable to parse bytes as PEM block") from problem
    # Cluster CAs are older than RFC 5280's strict profile, which Python 3.13 asks for by default and Go does not.
    context.verify_flags &= ~getattr(ssl, "VERIFY_X509_STRICT", 0)
    context.verify_flags |= getattr(ssl, "VERIFY_X509_PARTIAL_CHAIN", 0)
    if config.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    load_client_certificate(context, config)
    return context


def load_client_certificate(context: ssl.SSLContext, config: RestConfig) -> None:
    if not (config.cert_data or config.cert_file):
        return
    made: list[str] = []

    def as_file(path: str, data: bytes) -> str:
        if not data:
            return path
        # OpenSSL reads keys from files only; mkstemp makes it readable by us alone, and it is gone right after.
        handle, name = tempfile.mkstemp(prefix="pykubectl-")
        made.append(name)
        with os.fdopen(handle, "wb") as out:
            out.write(data)
        return name

    try:
        cert = as_file(config.cert_file, config.cert_data)
        key = as_file(config.key_file, config.key_data) or cert
        context.load_cert_chain(cert, key)
    except FileNotFoundError as problem:
        missing = next((path for path in (config.cert_file, config.key_file) if path and not Path(path).exists()), "")
        raise CliError(f"unable to read client certificate {missing}: no such file or directory") from problem
    except ssl.SSLError as problem:
        raise CliError("tls: the client certificate and its key do not fit together or are not PEM") from problem
    finally:
        for name in made:
            Path(name).unlink()


def proxy_for(config: RestConfig) -> str | None:
    """The kubeconfig's proxy, else the environment's, unless NO_PROXY covers the server."""
    if config.proxy_url:
        return config.proxy_url
    from urllib import request

    parts = urlsplit(config.server)
    proxies = request.getproxies_environment()
    if parts.hostname in ("localhost", "127.0.0.1", "::1") or not proxies.get(parts.scheme):
        return None
    if request.proxy_bypass_environment(parts.netloc, proxies):  # type: ignore[attr-defined]
        return None
    return proxies[parts.scheme]


def _name_items(answer: Object) -> None:
    """A typed list says only once of what kind its items are; alone they have to say it themselves."""
    kind = str(answer.get("kind") or "").removesuffix("List")
    if not kind or kind == answer["kind"] or not isinstance(answer.get("items"), list):
        return
    known = {"apiVersion": answer.get("apiVersion"), "kind": kind}
    answer["items"] = [{**known, **item} if isinstance(item, dict) else item for item in answer["items"]]


def encode(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def decode(data: bytes) -> Any:
    if len(data) < 2**16:
        return json.loads(data)
    # A long list decodes three times faster this way; a small one would not pay for the import.
    import msgspec.json

    try:
        return msgspec.json.decode(data)
    except msgspec.DecodeError as problem:
        raise ValueError(str(problem)) from problem
