"""Tokens in Secrets: those nobody uses any more, and those that vouch for cluster-info."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from api.types.core_v1 import (
    ConfigMap,
    ObjectReference,
    Pod,
    PodSpec,
    Secret,
    SecretVolumeSource,
    ServiceAccount,
    Volume,
)
from api.types.meta_v1 import ObjectMeta
from client.fake import FakeApi
from controller_manager.context import Context
from controller_manager.security.bootstrap_signer import BootstrapSigner
from controller_manager.security.legacy_token_cleaner import INVALID_SINCE, LAST_USED, TRACKING, LegacyTokenCleaner
from controller_manager.security.service_account_tokens import NAME, TYPE
from tests.support.controllers import running
from tests.unit.controller_manager.builders import ago

YEAR = 366 * 24 * 3600


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


# -- legacy tokens ----------------------------------------------------------------------------------------------------


def token_secret(**labels: str) -> Secret:
    meta = ObjectMeta(
        name="old",
        namespace="default",
        creation_timestamp=ago(2 * YEAR),
        annotations={NAME: "builder"},
        labels={f"kubernetes.io/{k.replace('_', '-')}": v for k, v in labels.items()},
    )
    return Secret(metadata=meta, type=TYPE)


def account(*secrets: str) -> ServiceAccount:
    meta = ObjectMeta(name="builder", namespace="default")
    return ServiceAccount(metadata=meta, secrets=[ObjectReference(name=name) for name in secrets])


def tracking(since: str = "2020-01-01") -> ConfigMap:
    return ConfigMap(metadata=ObjectMeta(name=TRACKING, namespace="kube-system"), data={"since": since})


async def clean(api: FakeApi, *, days_later: float = 0) -> Secret | None:
    """The Secret after one look."""
    context = Context.of(api)
    cleaner = LegacyTokenCleaner(context, lambda: datetime.now(UTC) + timedelta(days=days_later))
    async with synced(context):
        await cleaner.clean()
    return api.one(Secret, "old", "default")


@contextlib.asynccontextmanager
async def synced(context: Context) -> AsyncIterator[None]:
    task = asyncio.create_task(context.informers.run())
    try:
        await context.informers.synced()
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def invalid_since(secret: Secret | None) -> str | None:
    assert secret is not None
    return (secret.metadata.labels or {}).get(INVALID_SINCE)


async def test_an_unused_token_is_marked_and_a_period_later_deleted() -> None:
    api = FakeApi(token_secret(), account("old"), tracking())
    assert invalid_since(await clean(api)) == datetime.now(UTC).date().isoformat()
    assert await clean(api, days_later=360) is not None
    assert await clean(api, days_later=367) is None


async def test_use_is_tracked_for_a_whole_period_first() -> None:
    last_month = (datetime.now(UTC) - timedelta(days=30)).date().isoformat()
    assert invalid_since(await clean(FakeApi(token_secret(), account("old"), tracking(last_month)))) is None
    assert invalid_since(await clean(FakeApi(token_secret(), account("old")))) is None


@pytest.mark.parametrize("used", [datetime.now(UTC).date().isoformat(), "nonsense"])
async def test_a_token_in_use_stays(used: str) -> None:
    assert LAST_USED == "kubernetes.io/legacy-token-last-used"
    api = FakeApi(token_secret(legacy_token_last_used=used), account("old"), tracking())
    assert invalid_since(await clean(api)) is None


async def test_a_token_used_long_ago_goes() -> None:
    api = FakeApi(token_secret(legacy_token_last_used="2021-01-01"), account("old"), tracking())
    assert invalid_since(await clean(api)) is not None


async def test_a_token_that_a_person_made_stays() -> None:
    assert invalid_since(await clean(FakeApi(token_secret(), account(), tracking()))) is None


async def test_a_mounted_token_stays() -> None:
    volume = Volume(name="token", secret=SecretVolumeSource(secret_name="old"))
    pod = Pod(metadata=ObjectMeta(name="p", namespace="default"), spec=PodSpec(containers=[], volumes=[volume]))
    assert invalid_since(await clean(FakeApi(token_secret(), account("old"), tracking(), pod))) is None


# -- cluster-info -----------------------------------------------------------------------------------------------------


def bootstrap_token(identity: str = "abcdef", **changes: str) -> Secret:
    data = {"token-id": identity, "token-secret": "0123456789abcdef", "usage-bootstrap-signing": "true"} | {
        name.replace("_", "-"): value for name, value in changes.items()
    }
    return Secret(
        metadata=ObjectMeta(name=f"bootstrap-token-{identity}", namespace="kube-system"),
        type="bootstrap.kubernetes.io/token",
        data={name: encoded(value) for name, value in data.items()},
    )


def cluster_info(**data: str) -> ConfigMap:
    meta = ObjectMeta(name="cluster-info", namespace="kube-public")
    return ConfigMap(metadata=meta, data={"kubeconfig": "clusters: []\n"} | data)


def signed(api: FakeApi) -> dict[str, str]:
    found = api.one(ConfigMap, "cluster-info", "kube-public")
    assert found is not None
    return {name: value for name, value in (found.data or {}).items() if name != "kubeconfig"}


async def test_cluster_info_is_signed_with_every_token() -> None:
    api = FakeApi(bootstrap_token(), bootstrap_token("zzzzzz"), cluster_info())
    async with running(api, BootstrapSigner):
        assert signed(api).keys() == {"jws-kubeconfig-abcdef", "jws-kubeconfig-zzzzzz"}
        header, payload, signature = signed(api)["jws-kubeconfig-abcdef"].split(".")
        assert json.loads(base64.urlsafe_b64decode(header + "==")) == {"alg": "HS256", "kid": "abcdef"}
        assert payload == ""
        body = base64.urlsafe_b64encode(b"clusters: []\n").rstrip(b"=").decode()
        expected = hmac.new(b"0123456789abcdef", f"{header}.{body}".encode(), hashlib.sha256).digest()
        assert base64.urlsafe_b64decode(signature + "==") == expected


async def test_a_new_kubeconfig_is_signed_anew() -> None:
    api = FakeApi(bootstrap_token(), cluster_info())
    async with running(api, BootstrapSigner) as harness:
        before = signed(api)
        change = {"data": {"kubeconfig": "clusters: [other]\n"}}
        await api.patch(ConfigMap, "cluster-info", change, namespace="kube-public")
        await harness.settle()
        assert signed(api).keys() == before.keys() and signed(api) != before


async def test_the_signature_of_a_token_that_is_gone_does_not_stay() -> None:
    api = FakeApi(bootstrap_token(), cluster_info(**{"jws-kubeconfig-ffffff": "a..b"}))
    async with running(api, BootstrapSigner) as harness:
        assert signed(api).keys() == {"jws-kubeconfig-abcdef"}
        await api.delete(Secret, "bootstrap-token-abcdef", namespace="kube-system")
        await harness.settle()
        assert signed(api) == {}


@pytest.mark.parametrize(
    "token",
    [
        bootstrap_token(expiration="2020-01-01T00:00:00Z"),
        bootstrap_token(usage_bootstrap_signing="false"),
        bootstrap_token(token_id="fedcba"),
        bootstrap_token(token_secret=""),
    ],
    ids=["expired", "not for signing", "another's name", "no secret"],
)
async def test_some_tokens_may_not_sign(token: Secret) -> None:
    api = FakeApi(token, cluster_info())
    async with running(api, BootstrapSigner):
        assert signed(api) == {}
