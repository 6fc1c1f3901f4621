"""Service account tokens: JWTs, bound (audience, expiry, perhaps a pod, node or secret) or legacy (a secret's).

A token is good as long as everything it is bound to exists: that is looked up on every use, while the signature of a
token is checked once and remembered. Source: KEP-1205, KEP-4193, k8s.io/kubernetes/pkg/serviceaccount.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import jwt

from api import errors
from api import time as api_time
from api.types.core_v1 import Node, Pod, Secret, ServiceAccount
from api.types.meta_v1 import Object
from apiserver.auth import Credentials, User
from apiserver.auth.keys import VerificationKey
from apiserver.auth.source import Source

log = logging.getLogger(__name__)

LEGACY_ISSUER = "kubernetes/serviceaccount"
PREFIX = "system:serviceaccount:"
ALL_GROUP = "system:serviceaccounts"
EXTRA = "authentication.kubernetes.io/"

_LEGACY = "kubernetes.io/serviceaccount/"
_REMEMBERED = 20_000
# Objects that are being deleted keep their tokens for a while: containers still terminate with them.
_DELETION_LEEWAY_SECONDS = 60


def user_name(namespace: str, name: str) -> str:
    """The user of a service account."""
    return f"{PREFIX}{namespace}:{name}"


def groups_of(namespace: str) -> tuple[str, str]:
    """The groups of the service accounts of a namespace."""
    return ALL_GROUP, f"{ALL_GROUP}:{namespace}"


def split_user_name(name: str) -> tuple[str, str] | None:
    """Namespace and name of a service account's user, or None for other users."""
    namespace, separator, account = name.removeprefix(PREFIX).partition(":")
    return (namespace, account) if name.startswith(PREFIX) and separator and namespace and account else None


@dataclass(frozen=True)
class _Verified:
    claims: dict[str, Any]
    expires: float


class ServiceAccountAuthenticator:
    """`issuers`: the tokens of the first are issued here, those of the others still accepted."""

    def __init__(
        self, source: Source, keys: Sequence[VerificationKey], issuers: Sequence[str], audiences: Sequence[str]
    ) -> None:
        self._source = source
        self._keys = {key.id: key for key in keys}
        self._issuers = tuple(issuers)
        self._audiences = tuple(audiences)
        self._verified: dict[bytes, _Verified] = {}

    async def authenticate(self, credentials: Credentials, audiences: Sequence[str] = ()) -> User | None:
        """The service account, or None if the token is not one of ours.

        Raises StatusError 401 for a token of ours that is expired, for another audience, or bound to something gone.
        """
        token = credentials.token
        if not token or token.count(".") != 2:
            return None
        claims = self._claims(token)
        if claims is None:
            return None
        try:
            if claims["iss"] == LEGACY_ISSUER:
                return await self._legacy(claims)
            return await self._bound(claims, tuple(audiences) or self._audiences)
        except _Invalid as error:
            log.info("refused a service account token: %s", error)
            raise errors.unauthorized() from None

    def _claims(self, token: str) -> dict[str, Any] | None:
        digest = hashlib.sha256(token.encode()).digest()
        known = self._verified.get(digest)
        if known is not None:
            if known.expires > time.time():
                return known.claims
            del self._verified[digest]
        try:
            unverified: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
            key = jwt.get_unverified_header(token).get("kid")
        except jwt.InvalidTokenError:
            return None
        if unverified.get("iss") not in (*self._issuers, LEGACY_ISSUER):
            return None
        try:
            claims = self._verify(token, key)
        except jwt.InvalidTokenError as error:
            log.info("refused a service account token: %s", error)
            raise errors.unauthorized() from None
        if len(self._verified) >= _REMEMBERED:
            self._verified.clear()
        self._verified[digest] = _Verified(claims, float(claims.get("exp", float("inf"))))
        return claims

    def _verify(self, token: str, key_id: str | None) -> dict[str, Any]:
        candidates = [self._keys[key_id]] if key_id in self._keys else list(self._keys.values())
        failure: jwt.InvalidTokenError = jwt.InvalidSignatureError("no key")
        for key in candidates:
            try:
                return jwt.decode(token, key.key, algorithms=[key.algorithm], options={"verify_aud": False})
            except jwt.InvalidSignatureError as error:
                failure = error
            except jwt.InvalidAlgorithmError as error:
                failure = error
        raise failure

    async def _bound(self, claims: dict[str, Any], audiences: tuple[str, ...]) -> User:
        presented = claims.get("aud") or ()
        presented = (presented,) if isinstance(presented, str) else tuple(presented)
        if audiences and not set(audiences) & set(presented):
            raise _Invalid(f"token audiences {list(presented)} is invalid for the target audiences {list(audiences)}")
        private = claims.get("kubernetes.io")
        if not isinstance(private, dict):
            raise _Invalid("no private claims")
        namespace, account = private.get("namespace", ""), private.get("serviceaccount") or {}
        name, uid = account.get("name", ""), account.get("uid", "")
        if claims.get("sub") != user_name(namespace, name):
            raise _Invalid("the subject and the claims differ")
        await self._alive(ServiceAccount, name, namespace, uid)
        extra: dict[str, tuple[str, ...]] = {}
        if secret := private.get("secret"):
            await self._alive(Secret, secret.get("name", ""), namespace, secret.get("uid", ""))
        if pod := private.get("pod"):
            await self._alive(Pod, pod.get("name", ""), namespace, pod.get("uid", ""))
            extra[EXTRA + "pod-name"] = (pod["name"],)
            extra[EXTRA + "pod-uid"] = (pod["uid"],)
        if node := private.get("node"):
            if not pod:  # with a pod, the node is only information
                await self._alive(Node, node.get("name", ""), None, node.get("uid", ""))
            extra[EXTRA + "node-name"] = (node["name"],)
            if node.get("uid"):
                extra[EXTRA + "node-uid"] = (node["uid"],)
        if jti := claims.get("jti"):
            extra[EXTRA + "credential-id"] = (f"JTI={jti}",)
        return User(user_name(namespace, name), uid=uid, groups=groups_of(namespace), extra=extra)

    async def _legacy(self, claims: dict[str, Any]) -> User:
        namespace = str(claims.get(_LEGACY + "namespace", ""))
        name = str(claims.get(_LEGACY + "service-account.name", ""))
        uid = str(claims.get(_LEGACY + "service-account.uid", ""))
        if claims.get("sub") != user_name(namespace, name):
            raise _Invalid("the subject and the claims differ")
        await self._alive(ServiceAccount, name, namespace, uid)
        secret_name = str(claims.get(_LEGACY + "secret.name", ""))
        secret = await self._find(Secret, secret_name, namespace)
        if secret is None or secret.metadata.deletion_timestamp:
            raise _Invalid(f"secret {namespace}/{secret_name} is gone")
        return User(user_name(namespace, name), uid=uid, groups=groups_of(namespace))

    async def _find(self, kind: type[Any], name: str, namespace: str | None) -> Any:
        # The cache may not have heard yet of what another server has just written.
        return self._source.get(kind, name, namespace) or await self._source.fetch(kind, name, namespace)

    async def _alive(self, kind: type[Any], name: str, namespace: str | None, uid: str) -> None:
        found: Object | None = self._source.get(kind, name, namespace)
        if found is None or found.metadata.uid != uid:
            found = await self._source.fetch(kind, name, namespace)
        where = f"{kind.__name__} {namespace + '/' if namespace else ''}{name}"
        if found is None:
            raise _Invalid(f"{where} is gone")
        if found.metadata.uid != uid:
            raise _Invalid(f"{where} is another one by now")
        deleted = found.metadata.deletion_timestamp
        if deleted and (datetime.now(UTC) - api_time.parse(deleted)).total_seconds() > _DELETION_LEEWAY_SECONDS:
            raise _Invalid(f"{where} has been deleted")


class _Invalid(Exception):
    """A token of ours that is not good any more."""
