"""Client certificates: the common name is the user, the organizations are the groups.

That the certificate is valid and signed by the client CA is the TLS layer's business, on both faces.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from cryptography import x509
from cryptography.x509.oid import NameOID, ObjectIdentifier

from apiserver.auth import Credentials, User

_UID = ObjectIdentifier("1.3.6.1.4.1.57683.2")  # Kubernetes' own arc: the user's uid
CREDENTIAL_ID = "authentication.kubernetes.io/credential-id"


def certificate_of_ssl(ssl_object: Any) -> bytes | None:
    """The verified certificate (DER) of an aiohttp connection: `transport.get_extra_info("ssl_object")`."""
    return ssl_object.getpeercert(binary_form=True) if ssl_object is not None else None


def certificate_of_grpc(auth_context: Mapping[str, Sequence[bytes]]) -> bytes | None:
    """The verified certificate (DER) of a gRPC call: `context.auth_context()`."""
    pem = auth_context.get("x509_pem_cert")
    return _der(bytes(pem[0])) if pem else None


@lru_cache(maxsize=4096)
def _der(pem: bytes) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding

    return x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)


@lru_cache(maxsize=4096)
def user_of(certificate: bytes) -> User | None:
    """Who a certificate (DER) belongs to; None if it has no common name."""
    subject = x509.load_der_x509_certificate(certificate).subject
    names = [str(attribute.value) for attribute in subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    if not names or not names[0]:
        return None
    groups = tuple(str(a.value) for a in subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME))
    uids = [str(attribute.value) for attribute in subject.get_attributes_for_oid(_UID)]
    fingerprint = hashlib.sha256(certificate).hexdigest()
    return User(
        names[0],
        uid=uids[0] if len(uids) == 1 else "",
        groups=groups,
        extra={CREDENTIAL_ID: (f"X509SHA256={fingerprint}",)},
    )


class X509Authenticator:
    """Knows everyone with a certificate that the client CA has signed."""

    async def authenticate(self, credentials: Credentials, audiences: Sequence[str] = ()) -> User | None:
        """The certificate's user, or None without a certificate."""
        return user_of(credentials.certificate) if credentials.certificate else None
