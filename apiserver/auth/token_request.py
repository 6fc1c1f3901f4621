"""Issuing tokens: the `token` subresource of service accounts (TokenRequest, KEP-1205)."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import jwt

from api import codec, errors
from api import time as api_time
from api.errors import FieldError
from api.types.authentication_v1 import BoundObjectReference, TokenRequest, TokenRequestStatus
from api.types.core_v1 import Node, Pod, Secret, ServiceAccount
from apiserver.auth.keys import SigningKey
from apiserver.auth.service_accounts import user_name
from apiserver.auth.source import Source

_DEFAULT_SECONDS = 3600
_MINIMUM_SECONDS = 600
_MAXIMUM_SECONDS = 2**32
# The time that kubelets ask for on behalf of pods. Clients that read their token once at start would fail after an
# hour, so such tokens really live a year, and carry when they should have been renewed.
_KUBELET_SECONDS = 3607
_EXTENDED_SECONDS = 365 * 24 * 3600


class TokenIssuer:
    """Signs tokens in the name of `issuer`; `audiences` are those of the API server itself."""

    def __init__(self, source: Source, key: SigningKey, issuer: str, audiences: Sequence[str]) -> None:
        self._source = source
        self._key = key
        self._issuer = issuer
        self._audiences = tuple(audiences)

    async def issue(self, namespace: str, name: str, request: TokenRequest) -> TokenRequest:
        """The request, with its token.

        Raises StatusError: 404 without such an account, 400, 409 or 422 for what can't be bound or is out of range.
        """
        account = await self._source.fetch(ServiceAccount, name, namespace)
        if account is None:
            raise errors.not_found("serviceaccounts", name)
        request = codec.deepcopy(request)
        self._default(request)
        self._validate(name, request)
        private: dict[str, Any] = {
            "namespace": namespace,
            "serviceaccount": {"name": name, "uid": account.metadata.uid or ""},
        }
        if reference := request.spec.bound_object_ref:
            private |= await self._bind(account, reference)
        wanted = request.spec.expiration_seconds or _DEFAULT_SECONDS
        now = int(time.time())
        lifetime = wanted
        if wanted == _KUBELET_SECONDS and "pod" in private and tuple(request.spec.audiences or ()) == self._audiences:
            lifetime = _EXTENDED_SECONDS
            private["warnafter"] = now + wanted
        claims = {
            "aud": request.spec.audiences,
            "exp": now + lifetime,
            "iat": now,
            "iss": self._issuer,
            "jti": str(uuid.uuid4()),
            "kubernetes.io": private,
            "nbf": now,
            "sub": user_name(namespace, name),
        }
        token = jwt.encode(claims, self._key.key, algorithm=self._key.algorithm, headers={"kid": self._key.id})
        expiration = api_time.format_time(datetime.fromtimestamp(now + wanted, UTC))
        request.status = TokenRequestStatus(token=token, expiration_timestamp=expiration)
        request.metadata.name, request.metadata.namespace = name, namespace
        request.metadata.creation_timestamp = api_time.now()
        return request

    def _default(self, request: TokenRequest) -> None:
        if request.spec.expiration_seconds is None:
            request.spec.expiration_seconds = _DEFAULT_SECONDS
        if not request.spec.audiences:
            request.spec.audiences = list(self._audiences)

    def _validate(self, name: str, request: TokenRequest) -> None:
        seconds = request.spec.expiration_seconds or 0
        path = "spec.expirationSeconds"
        found = []
        if seconds < _MINIMUM_SECONDS:
            found.append(FieldError.invalid(path, seconds, "may not specify a duration less than 10 minutes"))
        if seconds > _MAXIMUM_SECONDS:
            found.append(FieldError.invalid(path, seconds, "may not specify a duration larger than 2^32 seconds"))
        if found:
            raise errors.invalid("TokenRequest.authentication.k8s.io", "", found)

    async def _bind(self, account: ServiceAccount, reference: BoundObjectReference) -> dict[str, Any]:
        namespace = account.metadata.namespace
        kind = (reference.api_version or "v1", reference.kind or "")
        name = reference.name or ""
        bound: Pod | Secret | Node | None
        extra: dict[str, Any] = {}
        if kind == ("v1", "Pod"):
            bound = pod = await self._source.fetch(Pod, name, namespace)
            if pod is not None and pod.spec.service_account_name != account.metadata.name:
                raise errors.bad_request(
                    f'cannot bind token for serviceaccount "{account.metadata.name}" to pod running with different '
                    "serviceaccount name."
                )
            if pod is not None and pod.spec.node_name:
                node = await self._source.fetch(Node, pod.spec.node_name)
                extra["node"] = {"name": pod.spec.node_name}
                if node is not None:
                    extra["node"]["uid"] = node.metadata.uid or ""
        elif kind == ("v1", "Secret"):
            bound = await self._source.fetch(Secret, name, namespace)
        elif kind == ("v1", "Node"):
            bound = await self._source.fetch(Node, name)
        else:
            raise errors.bad_request(f"cannot bind token to object of type {kind[0]}, Kind={kind[1]}")
        resource = f"{kind[1].lower()}s"
        if bound is None:
            raise errors.not_found(resource, name)
        uid = bound.metadata.uid or ""
        if reference.uid and reference.uid != uid:
            raise errors.conflict(
                resource,
                name,
                f"the UID in the bound object reference ({reference.uid}) does not match the UID in record. "
                "The object might have been deleted and then recreated",
            )
        return {kind[1].lower(): {"name": name, "uid": uid}, **extra}
