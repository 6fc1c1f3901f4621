"""Service-account tokens for pods, bound to them, requested anew before they run out.

A token is rotated when 80 % of its life has passed or it is 24 h old, a little earlier or later so that the pods of a
node don't all ask at once (upstream's token manager).
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from api import time as api_time
from api.types.authentication_v1 import BoundObjectReference, TokenRequest, TokenRequestSpec
from api.types.core_v1 import Pod, ServiceAccount
from client import Api, Ref
from kubelet import podutil

MAX_AGE = 24 * 3600.0  # seconds
DEFAULT_EXPIRATION = 3600  # seconds

Key = tuple[str, str, str, str, int]  # pod UID, namespace, service account, audience, seconds asked for


@dataclass(frozen=True, slots=True)
class _Token:
    value: str
    expires: float  # seconds of the epoch
    rotate: float


class Tokens:
    def __init__(self, api: Api, clock: Callable[[], float] = time.time) -> None:
        self._api = api
        self._clock = clock
        self._tokens: dict[Key, _Token] = {}
        self._locks: dict[Key, asyncio.Lock] = {}

    async def get(self, pod: Pod, audience: str, seconds: int) -> str:
        """A token with most of its life before it. While the API server is away the old one serves until it expires.
        Raises StatusError."""
        key = self._key(pod, audience, seconds)
        async with self._locks.setdefault(key, asyncio.Lock()):
            token = self._tokens.get(key)
            if token is not None and self._clock() < token.rotate:
                return token.value
            try:
                fresh = await self._request(pod, audience, seconds)
            except Exception:
                if token is not None and self._clock() < token.expires:
                    return token.value
                raise
            self._tokens[key] = fresh
            return fresh.value

    def rotate_after(self, pod: Pod, audience: str, seconds: int) -> float:
        """Seconds until `get` would ask for a new one."""
        token = self._tokens.get(self._key(pod, audience, seconds))
        return max(1.0, token.rotate - self._clock()) if token else 1.0

    def forget(self, uid: str) -> None:
        """The pod is gone."""
        for key in [key for key in self._tokens if key[0] == uid]:
            del self._tokens[key]
        for key in [key for key in self._locks if key[0] == uid]:
            del self._locks[key]

    @staticmethod
    def _key(pod: Pod, audience: str, seconds: int) -> Key:
        return podutil.uid(pod), podutil.namespace(pod), podutil.service_account(pod), audience, seconds

    async def _request(self, pod: Pod, audience: str, seconds: int) -> _Token:
        body = TokenRequest(
            spec=TokenRequestSpec(
                audiences=[audience] if audience else [],
                expiration_seconds=seconds,
                bound_object_ref=BoundObjectReference(
                    api_version="v1", kind="Pod", name=podutil.name(pod), uid=podutil.uid(pod)
                ),
            )
        )
        account = Ref(ServiceAccount, podutil.service_account(pod), podutil.namespace(pod))
        answer: TokenRequest = await self._api.create_subresource(account, "token", body)
        now = self._clock()
        expires = api_time.parse(answer.status.expiration_timestamp or api_time.now()).timestamp()
        life = expires - now
        rotate = now + min(life * 0.8, MAX_AGE) - random.uniform(0, min(10.0, life * 0.05))
        return _Token(answer.status.token or "", expires, rotate)
