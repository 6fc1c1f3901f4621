"""HTTP and HTTPS GET, for probes and lifecycle hooks.

Upstream's rules: any status from 200 to 399 is success, certificates are not verified, redirects are followed only on
the same host (elsewhere they are a warning), nothing is kept open between probes.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from urllib.parse import urljoin, urlsplit

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from api.types.core_v1 import HTTPGetAction
from kubelet.config import KUBELET_VERSION
from kubelet.probes.outcome import MAX_OUTPUT, Outcome, Result, authority, port_number

MAX_REDIRECTS = 10
_major, _minor, _ = KUBELET_VERSION.removeprefix("v").split(".")
USER_AGENT = f"kube-probe/{_major}.{_minor}"


def target_url(action: HTTPGetAction, ip: str, ports: dict[str, int]) -> str:
    """Raises ValueError."""
    scheme = (action.scheme or "HTTP").lower()
    path = action.path or "/"
    path = path if path.startswith("/") else f"/{path}"
    return f"{scheme}://{authority(action.host or ip, port_number(ports, action.port))}{path}"


def _headers(action: HTTPGetAction) -> CIMultiDict[str]:
    headers: CIMultiDict[str] = CIMultiDict()
    for header in action.http_headers or ():
        headers.add(header.name, header.value)
    headers.setdefault("User-Agent", USER_AGENT)
    headers.setdefault("Accept", "*/*")
    # An empty value asks for the header to be left out.
    return CIMultiDict((name, value) for name, value in headers.items() if value)


def _insecure() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


async def get(url: str, headers: CIMultiDict[str], timeout: float, hops: int = MAX_REDIRECTS) -> tuple[int, str, str]:
    """(status, body, "" or where a redirect to another host led). Raises aiohttp.ClientError, OSError, TimeoutError."""
    secure = _insecure() if url.startswith("https:") else False
    connector = aiohttp.TCPConnector(ssl=secure, force_close=True)
    skipped: Sequence[str] = ("Accept-Encoding",)
    async with (
        asyncio.timeout(timeout),
        aiohttp.ClientSession(
            connector=connector, timeout=aiohttp.ClientTimeout(), auto_decompress=False, skip_auto_headers=skipped
        ) as session,
    ):
        for _ in range(hops + 1):
            async with session.get(URL(url, encoded=True), headers=headers, allow_redirects=False) as response:
                location = response.headers.get("Location")
                if response.status not in (301, 302, 303, 307, 308) or not location:
                    body = await response.content.read(MAX_OUTPUT)
                    return response.status, body.decode(errors="replace"), ""
                following = urljoin(url, location)
                if urlsplit(following).hostname != urlsplit(url).hostname:
                    body = await response.content.read(MAX_OUTPUT)
                    return response.status, body.decode(errors="replace"), following
                url = following
    raise aiohttp.ClientError(f"stopped after {hops} redirects")


async def probe(action: HTTPGetAction, ip: str, ports: dict[str, int], timeout: float) -> Outcome:
    try:
        url = target_url(action, ip, ports)
    except ValueError as error:
        return Outcome(Result.UNKNOWN, str(error))
    try:
        status, body, elsewhere = await get(url, _headers(action), timeout)
    except TimeoutError:
        return Outcome(
            Result.FAILURE, f'Get "{url}": context deadline exceeded (Client.Timeout exceeded while awaiting headers)'
        )
    except (aiohttp.ClientError, OSError) as error:
        return Outcome(Result.FAILURE, f'Get "{url}": {_reason(error, url)}')
    if elsewhere:
        return Outcome(Result.WARNING, f"Probe terminated redirects, Response body: {body}")
    if 200 <= status < 400:
        return Outcome(Result.SUCCESS, body)
    return Outcome(Result.FAILURE, f"HTTP probe failed with statuscode: {status}")


def _reason(error: BaseException, url: str) -> str:
    """What Go's net/http would have said about a failed request."""
    if isinstance(error, aiohttp.ClientConnectorError):
        where = urlsplit(url)
        port = where.port or (443 if where.scheme == "https" else 80)
        return dial_error(error.os_error, where.hostname or "", port)
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "EOF"
    return str(error) or type(error).__name__


def dial_error(error: OSError, host: str, port: int) -> str:
    text = (error.strerror or str(error)).lower()
    if isinstance(error, ConnectionRefusedError) or "connect call failed" in text or error.errno == 111:
        text = "connection refused"
    return f"dial tcp {authority(host, port)}: connect: {text}"


async def call_hook(action: HTTPGetAction, ip: str, ports: dict[str, int], timeout: float) -> None:
    """A lifecycle hook: an HTTPS hook that meets a plain HTTP server is tried again as HTTP.

    Raises ValueError, RuntimeError (a status of 400 or more), OSError, aiohttp.ClientError, TimeoutError.
    """
    url = target_url(action, ip, ports)
    try:
        status, body, _ = await get(url, _headers(action), timeout)
    except (ssl.SSLError, aiohttp.ClientConnectorSSLError):
        if not url.startswith("https:"):
            raise
        status, body, _ = await get("http" + url.removeprefix("https"), _headers(action), timeout)
    if status >= 400:
        raise RuntimeError(f"HTTP request to {url} failed with status {status}: {body}")
