"""What an HTTP request presents: the client's certificate and a bearer token."""

from __future__ import annotations

import base64

from aiohttp import web

from api import errors
from apiserver.auth import Credentials

_SUBPROTOCOL = "base64url.bearer.authorization.k8s.io."


def credentials(request: web.BaseRequest) -> Credentials:
    """Raises StatusError 401 for a token that is not even text."""
    transport = request.transport
    certificate = None
    if transport is not None and (tls := transport.get_extra_info("ssl_object")) is not None:
        certificate = tls.getpeercert(binary_form=True)
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return Credentials(certificate, token.strip())
    return Credentials(certificate, _websocket_token(request))


def _websocket_token(request: web.BaseRequest) -> str | None:
    """Browsers cannot set headers on WebSockets: the token comes as a subprotocol."""
    offered = request.headers.get("Sec-WebSocket-Protocol", "")
    for protocol in (part.strip() for part in offered.split(",")):
        if protocol.startswith(_SUBPROTOCOL):
            encoded = protocol[len(_SUBPROTOCOL) :]
            try:
                return base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)).decode()
            except ValueError:
                raise errors.unauthorized() from None
    return None
