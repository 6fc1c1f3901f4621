"""The signature that a bootstrap token puts on a text: a detached JWS (RFC 7515, appendix F) with HMAC-SHA256.

Whoever knows the token can make one and check one; nobody else can. kubeadm's discovery rests on it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac

import msgspec


def sign(content: str, token_id: str, secret: str) -> str:
    """The compact serialisation with an empty payload: header, nothing, signature (HS256)."""
    header = _encoded(msgspec.json.encode({"alg": "HS256", "kid": token_id}))
    digest = hmac.new(secret.encode(), f"{header}.{_encoded(content.encode())}".encode(), hashlib.sha256).digest()
    return f"{header}..{_encoded(digest)}"


def valid(signature: str, content: str, token_id: str, secret: str) -> bool:
    return hmac.compare_digest(signature.encode(), sign(content, token_id, secret).encode())


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
