"""HTTP and HTTPS GET, for probes and lifecycle hooks.

Upstream's rules: any status from 200 to 399 is success, certificates are not verified, redirects are followed only on
the same host (elsewhere they are a warning), nothing is kept open between probes. One GET with `Connection: close` on
asyncio's streams is all there is to it; an HTTP library would cost every node 9 MB of memory for this.
"""

from __future__ import annotations

import asyncio
import ssl
from functools import cache
from urllib.parse import urljoin, urlsplit

from api.types.core_v1 import HTTPGetAction
from api.version import GIT_VERSION
from kubelet.probes.outcome import MAX_OUTPUT, Outcome, Result, authority, port_number

MAX_REDIRECTS = 10
REDIRECTS = (301, 302, 303, 307, 308)
NOT_TLS = "http: server gave HTTP response to HTTPS client"
_major, _minor, _ = GIT_VERSION.removeprefix("v").split(".")
USER_AGENT = f"kube-probe/{_major}.{_minor}"

Headers = list[tuple[str, str]]


class HttpError(Exception):
    """The request failed; str() is what Go's net/http would have said."""


def target_url(action: HTTPGetAction, ip: str, ports: dict[str, int]) -> str:
    """Raises ValueError."""
    scheme = (action.scheme or "HTTP").lower()
    path = action.path or "/"
    path = path if path.startswith("/") else f"/{path}"
    return f"{scheme}://{authority(action.host or ip, port_number(ports, action.port))}{path}"


def request_headers(action: HTTPGetAction) -> Headers:
    headers = [(h.name, h.value) for h in action.http_headers or ()]
    given = {name.lower() for name, _ in headers}
    for name, value in (("User-Agent", USER_AGENT), ("Accept", "*/*")):
        if name.lower() not in given:
            headers.append((name, value))
    # An empty value asks for the header to be left out.
    return [(name, value) for name, value in headers if value]


@cache
def _insecure() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


async def get(url: str, headers: Headers, timeout: float) -> tuple[int, str, str]:
    """(status, body, "" or where a redirect to another host led). Raises HttpError, TimeoutError."""
    async with asyncio.timeout(timeout):
        for _ in range(MAX_REDIRECTS + 1):
            status, answered, body = await _get_once(url, headers)
            location = answered.get("location", "")
            if status not in REDIRECTS or not location:
                return status, body, ""
            following = urljoin(url, location)
            if urlsplit(following).hostname != urlsplit(url).hostname:
                return status, body, following
            url = following
    raise HttpError(f"stopped after {MAX_REDIRECTS} redirects")


async def _get_once(url: str, headers: Headers) -> tuple[int, dict[str, str], str]:
    parts = urlsplit(url)
    secure = parts.scheme == "https"
    host, port = parts.hostname or "", parts.port or (443 if secure else 80)
    try:
        reader, writer = await asyncio.open_connection(host, port, ssl=_insecure() if secure else None)
    except ssl.SSLError as error:
        raise HttpError(NOT_TLS if error.reason == "WRONG_VERSION_NUMBER" else f"tls: {error.reason}") from None
    except OSError as error:
        raise HttpError(dial_error(error, host, port)) from None
    try:
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        lines = [f"GET {path or '/'} HTTP/1.1"]
        if not any(name.lower() == "host" for name, _ in headers):
            lines.append(f"Host: {parts.netloc}")
        lines += [f"{name}: {value}" for name, value in headers]
        writer.write("\r\n".join([*lines, "Connection: close", "", ""]).encode("latin-1", "replace"))
        return await _read_answer(reader)
    except (asyncio.IncompleteReadError, ConnectionError):
        raise HttpError("EOF") from None
    except asyncio.LimitOverrunError:
        raise HttpError("net/http: HTTP/1.x transport connection broken: the header is too long") from None
    except OSError as error:
        raise HttpError(str(error)) from None
    finally:
        writer.transport.abort()  # nobody waits for the other side to say goodbye


async def _read_answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], str]:
    while True:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *rest = head.split("\r\n")
        words = first.split(" ", 2)
        if len(words) < 2 or not words[0].startswith("HTTP/1.") or not words[1].isdigit():
            raise HttpError(f'net/http: HTTP/1.x transport connection broken: malformed HTTP response "{first}"')
        status = int(words[1])
        if status >= 200:
            break
    headers = {name.strip().lower(): value.strip() for name, colon, value in (r.partition(":") for r in rest) if colon}
    return status, headers, (await _read_body(reader, status, headers)).decode(errors="replace")


async def _read_body(reader: asyncio.StreamReader, status: int, headers: dict[str, str]) -> bytes:
    """At most MAX_OUTPUT bytes of it."""
    if status in (204, 304):
        return b""
    if "chunked" in headers.get("transfer-encoding", "").lower():
        body = b""
        while len(body) < MAX_OUTPUT:
            size = int((await reader.readuntil(b"\r\n")).split(b";")[0], 16)
            if size == 0:
                break
            body += await reader.readexactly(min(size, MAX_OUTPUT))
            if size <= MAX_OUTPUT:
                await reader.readexactly(2)
        return body[:MAX_OUTPUT]
    length = headers.get("content-length", "")
    if length.isdigit():
        return await reader.readexactly(min(int(length), MAX_OUTPUT))
    body = b""
    while len(body) < MAX_OUTPUT and (data := await reader.read(MAX_OUTPUT - len(body))):
        body += data
    return body


async def probe(action: HTTPGetAction, ip: str, ports: dict[str, int], timeout: float) -> Outcome:
    try:
        url = target_url(action, ip, ports)
    except ValueError as error:
        return Outcome(Result.UNKNOWN, str(error))
    try:
        status, body, elsewhere = await get(url, request_headers(action), timeout)
    except TimeoutError:
        return Outcome(
            Result.FAILURE, f'Get "{url}": context deadline exceeded (Client.Timeout exceeded while awaiting headers)'
        )
    except (HttpError, ValueError) as error:
        return Outcome(Result.FAILURE, f'Get "{url}": {error}')
    if elsewhere:
        return Outcome(Result.WARNING, f"Probe terminated redirects, Response body: {body}")
    if 200 <= status < 400:
        return Outcome(Result.SUCCESS, body)
    return Outcome(Result.FAILURE, f"HTTP probe failed with statuscode: {status}")


def dial_error(error: OSError, host: str, port: int) -> str:
    """What Go says about a connection that can't be made."""
    text = (error.strerror or str(error)).lower()
    if isinstance(error, ConnectionRefusedError) or error.errno == 111:
        text = "connection refused"
    elif error.errno == 113:
        text = "no route to host"
    return f"dial tcp {authority(host, port)}: connect: {text}"


async def call_hook(action: HTTPGetAction, ip: str, ports: dict[str, int], timeout: float) -> None:
    """A lifecycle hook: an HTTPS hook that meets a plain HTTP server is tried again as HTTP.

    Raises HttpError (also for a status of 400 or more), ValueError, TimeoutError.
    """
    url = target_url(action, ip, ports)
    headers = request_headers(action)
    try:
        status, body, _ = await get(url, headers, timeout)
    except HttpError as error:
        if str(error) != NOT_TLS:
            raise
        status, body, _ = await get("http" + url.removeprefix("https"), headers, timeout)
    if status >= 400:
        raise HttpError(f"HTTP request to {url} failed with status {status}: {body}")
