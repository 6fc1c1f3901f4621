"""Service-account tokens: bound to the pod, renewed in time, kept while nobody can give a new one."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, cast

import pytest

from api import codec, errors
from api import time as api_time
from api.types.authentication_v1 import TokenRequest, TokenRequestStatus
from api.types.core_v1 import Pod
from client import Api, Ref
from kubelet.tokens import Tokens

POD = codec.from_dict(
    Pod,
    {"metadata": {"name": "web", "namespace": "shop", "uid": "u"}, "spec": {"serviceAccountName": "robot"}},
)


class Issuer:
    """Stands for the API's token subresource."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0
        self.requests: list[tuple[Ref, TokenRequest]] = []
        self.away = False

    async def create_subresource(self, ref: Any, subresource: str, body: TokenRequest) -> TokenRequest:
        assert subresource == "token"
        if self.away:
            raise errors.service_unavailable("away")
        self.requests.append((ref, body))
        expires = datetime.fromtimestamp(self.now + (body.spec.expiration_seconds or 0), UTC)
        status = TokenRequestStatus(
            token=f"token{len(self.requests)}", expiration_timestamp=api_time.format_time(expires)
        )
        return TokenRequest(status=status)


@pytest.fixture
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture
def tokens(issuer: Issuer) -> Tokens:
    return Tokens(cast(Api, issuer), lambda: issuer.now)


async def test_tokens_are_bound_to_the_pod(issuer: Issuer, tokens: Tokens) -> None:
    assert await tokens.get(POD, "vault", 3600) == "token1"
    ref, request = issuer.requests[0]
    assert (ref.name, ref.namespace) == ("robot", "shop")
    assert request.spec.audiences == ["vault"] and request.spec.expiration_seconds == 3600
    bound = request.spec.bound_object_ref
    assert bound and (bound.kind, bound.name, bound.uid) == ("Pod", "web", "u")


async def test_a_token_serves_four_fifths_of_its_life(issuer: Issuer, tokens: Tokens) -> None:
    await tokens.get(POD, "", 3600)
    assert 2700 < tokens.rotate_after(POD, "", 3600) <= 2880
    issuer.now += 2600
    assert await tokens.get(POD, "", 3600) == "token1"
    issuer.now += 300
    assert await tokens.get(POD, "", 3600) == "token2"
    assert await tokens.get(POD, "other", 3600) == "token3", "each audience has its own"


async def test_an_old_token_is_better_than_none(issuer: Issuer, tokens: Tokens) -> None:
    await tokens.get(POD, "", 3600)
    issuer.away = True
    issuer.now += 3500
    assert await tokens.get(POD, "", 3600) == "token1"
    issuer.now += 200
    with pytest.raises(errors.StatusError):
        await tokens.get(POD, "", 3600)


async def test_a_pod_that_is_gone_leaves_no_token(issuer: Issuer, tokens: Tokens) -> None:
    await tokens.get(POD, "", 3600)
    tokens.forget("u")
    assert await tokens.get(POD, "", 3600) == "token2"
