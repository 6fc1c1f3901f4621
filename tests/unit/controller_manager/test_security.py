"""Certificates and tokens that the cluster hands out by itself."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from api import time as api_time
from api.types.certificates_v1 import (
    CertificateSigningRequest,
    CertificateSigningRequestCondition,
    CertificateSigningRequestSpec,
)
from api.types.core_v1 import Node, Secret, ServiceAccount
from api.types.meta_v1 import ObjectMeta
from client.fake import Action, FakeApi
from controller_manager import conditions
from controller_manager.nodes.ttl import ANNOTATION, NodeTtlController
from controller_manager.security import csr as requests
from controller_manager.security.bootstrap_token_cleaner import BootstrapTokenCleaner
from controller_manager.security.csr_approving import CsrApprovingController
from controller_manager.security.csr_cleaner import CsrCleanerController
from controller_manager.security.csr_signing import CsrSigningController
from controller_manager.security.service_account_tokens import NAME, TYPE, ServiceAccountTokensController
from tests.support.controllers import running
from tests.unit.controller_manager.builders import ago

CLIENT_USAGES = ["digital signature", "client auth"]


def csr(
    common_name: str,
    *organizations: str,
    signer: str = requests.CLIENT,
    usages: list[str] | None = None,
    dns: str = "",
    approved: bool = True,
    **spec: Any,
) -> CertificateSigningRequest:
    names = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)]
    names += [x509.NameAttribute(NameOID.ORGANIZATION_NAME, o) for o in organizations]
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(names))
    if dns:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(dns)]), critical=False)
    pem = builder.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    made = CertificateSigningRequest(
        metadata=ObjectMeta(name="r"),
        spec=CertificateSigningRequestSpec(
            request=base64.b64encode(pem.public_bytes(serialization.Encoding.PEM)).decode(),
            signer_name=signer,
            usages=CLIENT_USAGES if usages is None else usages,
            **spec,
        ),
    )
    if approved:
        made.status.conditions = [
            CertificateSigningRequestCondition(type="Approved", status="True", last_update_time=ago(1))
        ]
    return made


@pytest.fixture
def authority(tmp_path: Path) -> dict[str, str]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kubernetes-ca")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now).not_valid_after(now + timedelta(days=3650))
    cert = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True).sign(
        key, hashes.SHA256()
    )
    (tmp_path / "ca.crt").write_bytes(cert.public_bytes(serialization.Encoding.PEM))
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (tmp_path / "ca.key").write_bytes(private)
    return {
        "cluster_signing_cert_file": str(tmp_path / "ca.crt"),
        "cluster_signing_key_file": str(tmp_path / "ca.key"),
    }


def get(api: FakeApi) -> CertificateSigningRequest:
    found = api.one(CertificateSigningRequest, "r")
    assert found is not None
    return found


async def test_an_approved_request_is_signed(authority: dict[str, str]) -> None:
    api = FakeApi(csr("jane", "dev", expiration_seconds=3600))
    async with running(api, CsrSigningController, **authority):
        certificate = x509.load_pem_x509_certificate(base64.b64decode(get(api).status.certificate or ""))
        ca = x509.load_pem_x509_certificate(Path(authority["cluster_signing_cert_file"]).read_bytes())
        certificate.verify_directly_issued_by(ca)
        assert certificate.subject.rfc4514_string() == "O=dev,CN=jane"
        left = certificate.not_valid_after_utc - datetime.now(UTC)
        assert timedelta(minutes=55) < left <= timedelta(hours=1)
        extended = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        assert [u._name for u in extended] == ["clientAuth"]


async def test_what_is_not_approved_or_not_ours_is_not_signed(authority: dict[str, str]) -> None:
    for request in (csr("jane", approved=False), csr("jane", signer="example.com/mine")):
        api = FakeApi(request)
        async with running(api, CsrSigningController, **authority):
            assert get(api).status.certificate is None


async def test_what_the_signer_does_not_grant_fails(authority: dict[str, str]) -> None:
    api = FakeApi(csr("jane", usages=["server auth"]))
    async with running(api, CsrSigningController, **authority):
        failed: Any = conditions.find(get(api).status.conditions, "Failed")
        assert (failed.reason, failed.message) == ("SignerValidationFailure", "usages must include client auth")
    nodes = {"signer": requests.KUBELET_CLIENT}
    node = csr("system:node:n1", "system:nodes", **nodes)
    assert requests.refusal(node, requests.parse(node)) == ""
    for bad in (csr("n1", "system:nodes", **nodes), csr("system:node:n1", **nodes)):
        assert requests.refusal(bad, requests.parse(bad))
    named = csr("system:node:n1", "system:nodes", dns="n1", **nodes)
    assert requests.refusal(named, requests.parse(named)) == "subjectAltNames are not allowed"


async def test_kubelets_are_approved_if_they_may(authority: dict[str, str]) -> None:
    request = csr(
        "system:node:n1",
        "system:nodes",
        signer=requests.KUBELET_CLIENT,
        approved=False,
        username="system:node:n1",
    )
    api = FakeApi(request)
    asked: list[str] = []
    allow = False

    def review(action: Action) -> None:
        asked.append(action.resource)

    api.on("create", "subjectaccessreviews", review)
    original = api.fake.put_new

    def put_new(resource: Any, document: Any) -> Any:
        if resource.plural == "subjectaccessreviews":
            document["status"] = {"allowed": allow}
            return document
        return original(resource, document)

    api.fake.put_new = put_new  # type: ignore[method-assign]
    async with running(api, CsrApprovingController) as harness:
        assert len(asked) == 2 and not requests.state(get(api), "Approved")
        allow = True
        harness.controllers[0].controller.enqueue("r")
        await harness.settle()
        updates = [a for a in api.writes("certificatesigningrequests") if a.subresource == "approval"]
        assert len(updates) == 1


async def test_old_requests_are_cleaned_up() -> None:
    answered, pending, fresh = csr("a"), csr("b", approved=False), csr("c", approved=False)
    answered.metadata.name, pending.metadata.name, fresh.metadata.name = "answered", "pending", "fresh"
    answered.status.conditions = [
        CertificateSigningRequestCondition(type="Denied", status="True", last_update_time=ago(4000))
    ]
    pending.metadata.creation_timestamp = ago(90_000)
    api = FakeApi(answered, pending, fresh)
    async with running(api, CsrCleanerController) as harness:
        await harness.controllers[0].clean()
        assert [r.metadata.name for r in api.objects(CertificateSigningRequest)] == ["fresh"]


async def test_token_secrets_are_filled_and_go_with_their_account(tmp_path: Path) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    path = tmp_path / "sa.key"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    secret = Secret(metadata=ObjectMeta(name="t", namespace="d", annotations={NAME: "robot"}), type=TYPE)
    stray = Secret(metadata=ObjectMeta(name="stray", namespace="d", annotations={NAME: "nobody"}), type=TYPE)
    account = ServiceAccount(metadata=ObjectMeta(name="robot", namespace="d", uid="u"))
    api = FakeApi(account, secret, stray)
    settings = {"service_account_key_file": str(path), "root_ca": "PEM"}
    async with running(api, ServiceAccountTokensController, **settings) as harness:
        [found] = api.objects(Secret)
        data = {k: base64.b64decode(v) for k, v in (found.data or {}).items()}
        assert (data["ca.crt"], data["namespace"]) == (b"PEM", b"d")
        claims = jwt.decode(data["token"], key.public_key(), algorithms=["RS256"])
        assert claims["sub"] == "system:serviceaccount:d:robot"
        assert claims["kubernetes.io/serviceaccount/secret.name"] == "t"
        await api.delete(ServiceAccount, "robot", namespace="d")
        await harness.settle()
        assert api.objects(Secret) == []


async def test_expired_bootstrap_tokens_are_deleted() -> None:
    def token(name: str, moment: str) -> Secret:
        data = {"expiration": base64.b64encode(moment.encode()).decode()} if moment else None
        return Secret(
            metadata=ObjectMeta(name=name, namespace="kube-system"), type="bootstrap.kubernetes.io/token", data=data
        )

    later = api_time.format_time(datetime.now(UTC) + timedelta(hours=1))
    api = FakeApi(token("old", ago(10)), token("new", later), token("for-ever", ""))
    async with running(api, BootstrapTokenCleaner):
        assert sorted(s.metadata.name or "" for s in api.objects(Secret)) == ["for-ever", "new"]


async def test_larger_clusters_cache_longer() -> None:
    api = FakeApi(*(Node(metadata=ObjectMeta(name=f"n{i}")) for i in range(101)))
    async with running(api, NodeTtlController) as harness:
        assert {(n.metadata.annotations or {}).get(ANNOTATION) for n in api.objects(Node)} == {"15"}
        for i in range(12):
            await api.delete(Node, f"n{i}")
        await harness.settle()
        assert {(n.metadata.annotations or {}).get(ANNOTATION) for n in api.objects(Node)} == {"0"}
