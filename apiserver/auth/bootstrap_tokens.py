"""Bootstrap tokens: secrets in kube-system with which a machine may ask to become a node.

Source: the "Authenticating with Bootstrap Tokens" page of the Kubernetes documentation; plugin/pkg/auth/authenticator/
token/bootstrap for what counts as usable.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from collections.abc import Sequence
from datetime import UTC, datetime

from api import time as api_time
from api.types.core_v1 import Secret
from apiserver.auth import Credentials, User
from apiserver.auth.source import Source

_TOKEN = re.compile(r"([a-z0-9]{6})\.([a-z0-9]{16})")
_GROUP = re.compile(r"system:bootstrappers:[a-z0-9:-]{0,255}[a-z0-9]")
_TYPE = "bootstrap.kubernetes.io/token"
_DEFAULT_GROUP = "system:bootstrappers"


def _value(secret: Secret, key: str) -> str:
    try:
        return base64.b64decode((secret.data or {}).get(key, "")).decode()
    except (binascii.Error, ValueError):
        return ""


class BootstrapTokenAuthenticator:
    """Knows `<id>.<secret>` tokens whose secret `bootstrap-token-<id>` allows authentication."""

    def __init__(self, source: Source) -> None:
        self._source = source

    async def authenticate(self, credentials: Credentials, audiences: Sequence[str] = ()) -> User | None:
        """The user `system:bootstrap:<id>`, or None for any token that is not a usable bootstrap token."""
        match = _TOKEN.fullmatch(credentials.token or "")
        if match is None:
            return None
        token_id, token_secret = match.groups()
        secret = self._source.get(Secret, f"bootstrap-token-{token_id}", "kube-system")
        if secret is None or secret.metadata.deletion_timestamp or secret.type != _TYPE:
            return None
        if not hmac.compare_digest(_value(secret, "token-secret").encode(), token_secret.encode()):
            return None
        if _value(secret, "token-id") != token_id or _value(secret, "usage-bootstrap-authentication") != "true":
            return None
        if (expiration := _value(secret, "expiration")) and _expired(expiration):
            return None
        groups = [_DEFAULT_GROUP]
        for group in filter(None, _value(secret, "auth-extra-groups").split(",")):
            if not _GROUP.fullmatch(group):
                return None
            groups.append(group)
        return User(f"system:bootstrap:{token_id}", groups=tuple(dict.fromkeys(groups)))


def _expired(expiration: str) -> bool:
    try:
        return api_time.parse(expiration) <= datetime.now(UTC)
    except ValueError:
        return True  # what can't be read can't be trusted
