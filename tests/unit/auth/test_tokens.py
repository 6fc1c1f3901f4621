"""Tokens: issued, verified, bound, expired; certificates, static tokens, bootstrap tokens, the union of all."""

from __future__ import annotations

import base64
import json
import time
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import NameOID

from api.errors import StatusError
from api.types.authentication_v1 import BoundObjectReference, TokenRequest, TokenRequestSpec
from api.types.core_v1 import Node, Secret, ServiceAccount
from api.types.meta_v1 import ObjectMeta
from apiserver.auth import ANONYMOUS, Credentials, User
from apiserver.auth.bootstrap_tokens import BootstrapTokenAuthenticator
from apiserver.auth.keys import (
    SigningKey,
    VerificationKey,
    discovery,
    key_set,
    load_signing_key,
    load_verification_keys,
)
from apiserver.auth.service_accounts import LEGACY_ISSUER, ServiceAccountAuthenticator
from apiserver.auth.source import MemorySource
from apiserver.auth.token_request import TokenIssuer
from apiserver.auth.tokenfile import TokenFileAuthenticator
from apiserver.auth.union import UnionAuthenticator
from apiserver.auth.x509 import X509Authenticator, certificate_of_grpc
from tests.unit.auth.support import pod_on

ISSUER = "https://kubernetes.default.svc.cluster.local"


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[SigningKey, list[VerificationKey]]:
    folder = tmp_path_factory.mktemp("keys")
    private = ec.generate_private_key(ec.SECP256R1())
    (folder / "sa.key").write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    other = ec.generate_private_key(ec.SECP256R1()).public_key()
    (folder / "sa.pub").write_bytes(other.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo) + public)
    verification = load_verification_keys([folder / "sa.pub"])
    assert len(verification) == 2
    return load_signing_key(folder / "sa.key"), verification


def account(name: str = "builder", uid: str = "sa-uid") -> ServiceAccount:
    return ServiceAccount(metadata=ObjectMeta(name=name, namespace="default", uid=uid))


class World:
    """An issuer and an authenticator over the same objects."""

    def __init__(self, keys: tuple[SigningKey, list[VerificationKey]], *objects: Any) -> None:
        self.source = MemorySource(account(), *objects)
        self.key = keys[0]
        self.issuer = TokenIssuer(self.source, keys[0], ISSUER, [ISSUER])
        self.authenticator = ServiceAccountAuthenticator(self.source, keys[1], [ISSUER], [ISSUER])

    async def token(self, **spec: Any) -> str:
        request = await self.issuer.issue("default", "builder", TokenRequest(spec=TokenRequestSpec(**spec)))
        assert request.status.token and request.status.expiration_timestamp
        return request.status.token

    async def user(self, token: str, *audiences: str) -> User | None:
        return await self.authenticator.authenticate(Credentials(token=token), audiences)

    async def refused(self, token: str, *audiences: str) -> bool:
        try:
            return await self.user(token, *audiences) is None
        except StatusError as error:
            assert (error.code, error.reason) == (401, "Unauthorized")
            return True

    def signed(self, **claims: Any) -> str:
        return jwt.encode(claims, self.key.key, algorithm=self.key.algorithm, headers={"kid": self.key.id})


@pytest.fixture
def world(keys: tuple[SigningKey, list[VerificationKey]]) -> World:
    node = Node(metadata=ObjectMeta(name="n1", uid="node-uid"))
    return World(keys, pod_on("n1"), node)


async def test_a_token_is_its_service_account(world: World) -> None:
    user = await world.user(await world.token())
    assert user is not None
    assert (user.name, user.uid) == ("system:serviceaccount:default:builder", "sa-uid")
    assert user.groups == ("system:serviceaccounts", "system:serviceaccounts:default")
    [credential] = user.extra["authentication.kubernetes.io/credential-id"]
    assert credential.startswith("JTI=")


async def test_claims_of_a_pods_token(world: World) -> None:
    pod = BoundObjectReference(kind="Pod", api_version="v1", name="p", uid="pod-uid")
    token = await world.token(bound_object_ref=pod, expiration_seconds=3607)
    claims = jwt.decode(token, options={"verify_signature": False})
    assert claims["sub"] == "system:serviceaccount:default:builder"
    assert (claims["iss"], claims["aud"]) == (ISSUER, [ISSUER])
    private = claims["kubernetes.io"]
    assert private["pod"] == {"name": "p", "uid": "pod-uid"}
    assert private["node"] == {"name": "n1", "uid": "node-uid"}
    assert private["serviceaccount"] == {"name": "builder", "uid": "sa-uid"}
    assert claims["exp"] - claims["iat"] == 365 * 24 * 3600 and private["warnafter"] == claims["iat"] + 3607
    user = await world.user(token)
    assert user is not None
    assert user.extra["authentication.kubernetes.io/pod-name"] == ("p",)
    assert user.extra["authentication.kubernetes.io/node-name"] == ("n1",)


async def test_a_token_dies_with_what_it_is_bound_to(world: World) -> None:
    pod = BoundObjectReference(kind="Pod", api_version="v1", name="p")
    bound, free = await world.token(bound_object_ref=pod), await world.token()
    assert await world.user(bound)
    world.source.put(pod_on("n1", uid="another"))
    assert await world.refused(bound) and await world.user(free)
    world.source.put(account(uid="another"))
    assert await world.refused(free)
    world.source.remove(account())
    assert await world.refused(free)


async def test_audiences(world: World) -> None:
    vault = await world.token(audiences=["vault"])
    assert await world.refused(vault)
    assert await world.user(vault, "vault", "other")
    assert await world.refused(await world.token(), "vault")


async def test_bad_tokens_are_refused(world: World) -> None:
    good = await world.token()
    head, _, signature = good.split(".")
    claims = jwt.decode(good, options={"verify_signature": False})
    forged = base64.urlsafe_b64encode(json.dumps({**claims, "sub": "x"}).encode()).rstrip(b"=").decode()
    assert await world.refused(f"{head}.{forged}.{signature}")
    none = jwt.encode(claims, "", algorithm="none")
    assert await world.refused(none)
    assert await world.refused(world.signed(**{**claims, "exp": int(time.time()) - 1}))
    assert await world.refused(world.signed(**{**claims, "nbf": int(time.time()) + 1000}))
    assert await world.refused(world.signed(**{**claims, "sub": "system:serviceaccount:kube-system:builder"}))
    assert await world.user(world.signed(**{**claims, "iss": "https://elsewhere"})) is None
    assert await world.user("not-a-token") is None


async def test_legacy_tokens(world: World) -> None:
    prefix = "kubernetes.io/serviceaccount/"
    claims = {
        "iss": LEGACY_ISSUER,
        "sub": "system:serviceaccount:default:builder",
        prefix + "namespace": "default",
        prefix + "service-account.name": "builder",
        prefix + "service-account.uid": "sa-uid",
        prefix + "secret.name": "builder-token",
    }
    token = world.signed(**claims)
    assert await world.refused(token)
    world.source.put(Secret(metadata=ObjectMeta(name="builder-token", namespace="default")))
    user = await world.user(token)
    assert user is not None and user.name == "system:serviceaccount:default:builder"


async def test_requests_that_are_refused(world: World) -> None:
    async def code(name: str = "builder", **spec: Any) -> tuple[int, str]:
        with pytest.raises(StatusError) as caught:
            await world.issuer.issue("default", name, TokenRequest(spec=TokenRequestSpec(**spec)))
        return caught.value.code, caught.value.message

    assert await code("nobody") == (404, 'serviceaccounts "nobody" not found')
    short = await code(expiration_seconds=60)
    assert short[0] == 422 and "may not specify a duration less than 10 minutes" in short[1]
    reference = BoundObjectReference(kind="Pod", api_version="v1", name="missing")
    assert (await code(bound_object_ref=reference))[0] == 404
    reference = BoundObjectReference(kind="Pod", api_version="v1", name="p", uid="other")
    assert (await code(bound_object_ref=reference))[0] == 409
    reference = BoundObjectReference(kind="ConfigMap", api_version="v1", name="p")
    assert (await code(bound_object_ref=reference))[0] == 400
    world.source.put(account("other"))
    reference = BoundObjectReference(kind="Pod", api_version="v1", name="p")
    assert (await code("other", bound_object_ref=reference))[0] == 400


def test_published_keys_verify(keys: tuple[SigningKey, list[VerificationKey]]) -> None:
    signing, verification = keys
    token = jwt.encode({"a": 1}, signing.key, algorithm=signing.algorithm, headers={"kid": signing.id})
    published = {key["kid"]: jwt.PyJWK(key) for key in key_set(verification)["keys"]}
    assert jwt.decode(token, published[signing.id].key, algorithms=["ES256"]) == {"a": 1}
    document = discovery(ISSUER, verification, f"{ISSUER}/openid/v1/jwks")
    assert document["issuer"] == ISSUER and document["id_token_signing_alg_values_supported"] == ["ES256"]


def certificate(common_name: str, *organizations: str) -> x509.Certificate:
    import datetime

    key = ec.generate_private_key(ec.SECP256R1())
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)] if common_name else []
    attributes += [x509.NameAttribute(NameOID.ORGANIZATION_NAME, name) for name in organizations]
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name(attributes))
        .issuer_name(x509.Name(attributes))
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )


async def test_certificates() -> None:
    made = certificate("system:node:n1", "system:nodes", "more")
    der = certificate_of_grpc({"x509_pem_cert": [made.public_bytes(Encoding.PEM)]})
    assert der == made.public_bytes(Encoding.DER)
    user = await X509Authenticator().authenticate(Credentials(certificate=der))
    assert user is not None and (user.name, set(user.groups)) == ("system:node:n1", {"system:nodes", "more"})
    nameless = certificate("", "system:masters").public_bytes(Encoding.DER)
    assert await X509Authenticator().authenticate(Credentials(certificate=nameless)) is None
    assert await X509Authenticator().authenticate(Credentials()) is None


async def test_static_tokens(tmp_path: Path) -> None:
    file = tmp_path / "tokens.csv"
    file.write_text('secret,alice,1,"devs,ops"\nplain, bob, 2\n')
    tokens = TokenFileAuthenticator(file)
    alice = await tokens.authenticate(Credentials(token="secret"))
    assert alice == User("alice", uid="1", groups=("devs", "ops"))
    bob = await tokens.authenticate(Credentials(token="plain"))
    assert bob is not None and (bob.name, bob.groups) == ("bob", ())
    assert await tokens.authenticate(Credentials(token="wrong")) is None
    file.write_text("token,alice\n")
    with pytest.raises(ValueError, match="at least 3 columns"):
        TokenFileAuthenticator(file)


async def test_bootstrap_tokens() -> None:
    def secret(**changes: str) -> Secret:
        data = {
            "token-id": "abcdef",
            "token-secret": "0123456789abcdef",
            "usage-bootstrap-authentication": "true",
            "auth-extra-groups": "system:bootstrappers:worker",
            **changes,
        }
        encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
        meta = ObjectMeta(name="bootstrap-token-abcdef", namespace="kube-system")
        return Secret(metadata=meta, type="bootstrap.kubernetes.io/token", data=encoded)

    async def user(stored: Secret, token: str = "abcdef.0123456789abcdef") -> User | None:
        return await BootstrapTokenAuthenticator(MemorySource(stored)).authenticate(Credentials(token=token))

    found = await user(secret())
    assert found is not None and found.name == "system:bootstrap:abcdef"
    assert found.groups == ("system:bootstrappers", "system:bootstrappers:worker")
    assert await user(secret(expiration="2020-01-01T00:00:00Z")) is None
    assert await user(secret(expiration="9999-01-01T00:00:00Z")) is not None
    assert await user(secret(**{"usage-bootstrap-authentication": "false"})) is None
    assert await user(secret(**{"auth-extra-groups": "system:masters"})) is None
    assert await user(secret(), "abcdef.0123456789abcdeX") is None
    assert await user(secret(), "abcdef.fedcba9876543210") is None


async def test_the_union_knows_everyone_and_no_wrong_token() -> None:
    union = UnionAuthenticator([X509Authenticator()])
    assert await union.authenticate(Credentials()) == ANONYMOUS
    der = certificate("alice", "devs").public_bytes(Encoding.DER)
    assert (await union.authenticate(Credentials(certificate=der, token="x"))).groups == (
        "devs",
        "system:authenticated",
    )
    with pytest.raises(StatusError) as caught:
        await union.authenticate(Credentials(token="wrong"))
    assert caught.value.code == 401
    with pytest.raises(StatusError):
        await UnionAuthenticator([], anonymous=False).authenticate(Credentials())
