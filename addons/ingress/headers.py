"""Headers on their way through: what is for one connection only stays behind (RFC 9110, 7.6.1), who asked is added.

The headers that tell of the client are always ours: applications would believe what a client claims about itself.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable

from aiohttp import web
from multidict import CIMultiDict, CIMultiDictProxy

_HOP = {"connection", "keep-alive", "proxy-authenticate", "proxy-connection", "te", "trailer", "transfer-encoding"}
_OURS = {
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-proto",
    "x-forwarded-scheme",
    "x-real-ip",
    "x-scheme",
    "forwarded",
    "expect",
    "upgrade",
}


def upgrade(request: web.BaseRequest) -> str:
    """The protocol that a client asks to switch to, or "".

    Never HTTP/2: what follows such a switch would pass by every rule, as requests to the one backend.
    """
    wanted = request.headers.get("Upgrade", "")
    asked = any("upgrade" in _tokens(line) for line in request.headers.getall("Connection", []))
    return wanted if asked and not wanted.lower().startswith("h2") else ""


def to_backend(request: web.BaseRequest) -> CIMultiDict[str]:
    """A request's headers, for the backend. Host stays what the client asked for."""
    headers = end_to_end(request.headers, without=_OURS)
    headers.setdefault("Host", request.host)
    headers["X-Forwarded-For"] = headers["X-Real-IP"] = request.remote or ""
    headers["X-Forwarded-Host"] = request.headers.get("Host", "")
    headers["X-Forwarded-Port"] = "443" if request.secure else "80"
    headers["X-Forwarded-Proto"] = headers["X-Forwarded-Scheme"] = headers["X-Scheme"] = request.scheme
    headers.setdefault("X-Request-ID", secrets.token_hex(16))
    protocol = upgrade(request)
    if protocol:
        headers["Connection"], headers["Upgrade"] = "Upgrade", protocol
    if any("trailers" in _tokens(line) for line in request.headers.getall("TE", [])):
        headers["TE"] = "trailers"
    return headers


def end_to_end(headers: CIMultiDictProxy[str], without: Iterable[str] = ()) -> CIMultiDict[str]:
    """Those that are not for this connection only; repeated ones stay repeated."""
    dropped = _HOP.union(without)
    for line in headers.getall("Connection", []):
        dropped |= _tokens(line)
    return CIMultiDict((name, value) for name, value in headers.items() if name.lower() not in dropped)


def _tokens(line: str) -> set[str]:
    return {token.strip().lower() for token in line.split(",")}
