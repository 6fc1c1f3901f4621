"""What a TLS client is shown: the certificate of the host it asks for (SNI, RFC 6066), else a self-signed one.

Certificates come from Secrets and change while connections are open; each handshake sees the newest. Keys are handed to
OpenSSL through anonymous memory, since it reads them from files only, and a key has no business on a disk.
"""

from __future__ import annotations

import base64
import os
import ssl
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from addons.ingress.routes import wildcard
from api.types.core_v1 import Secret

CERTIFICATE, KEY = "tls.crt", "tls.key"


class Certificates:
    """`context` is for the listening socket; `show` says what it shows to whom."""

    def __init__(self) -> None:
        self._contexts: Mapping[str, ssl.SSLContext] = {}
        self.context = _context(*self_signed())
        self.context.sni_callback = self._choose

    def show(self, contexts: Mapping[str, ssl.SSLContext]) -> None:
        """From the next handshake on; keys are hosts in lower case, wildcards among them."""
        self._contexts = contexts

    def _choose(self, connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
        host = (name or "").lower().rstrip(".")
        found = self._contexts.get(host) or self._contexts.get(wildcard(host))
        if found is not None:
            connection.context = found


def load(secret: Secret) -> tuple[ssl.SSLContext, list[str]]:
    """A context that shows the Secret's certificate, and the hosts that it names. Raises ValueError: what is wrong."""
    data = secret.data or {}
    for name in (CERTIFICATE, KEY):
        if not data.get(name):
            raise ValueError(f"it has no {name}")
    certificate, key = base64.b64decode(data[CERTIFICATE]), base64.b64decode(data[KEY])
    try:
        return _context(certificate, key), names(x509.load_pem_x509_certificate(certificate))
    except ssl.SSLError as error:
        raise ValueError(f"certificate and key are of no use: {error.reason or error}") from None


def names(certificate: x509.Certificate) -> list[str]:
    """The hosts that a certificate is for."""
    try:
        alternatives = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return [name.lower() for name in alternatives.get_values_for_type(x509.DNSName)]


def self_signed(host: str = "ingress.local") -> tuple[bytes, bytes]:
    """A certificate that nobody trusts, and its key, as PEM: a browser warns, where it would not even connect."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Kubernetes Ingress Controller Fake Certificate")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=365))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM), key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _context(certificate: bytes, key: bytes) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    memory = os.memfd_create("certificate")
    try:
        os.write(memory, certificate.rstrip() + b"\n" + key)
        context.load_cert_chain(f"/proc/self/fd/{memory}")
    finally:
        os.close(memory)
    return context
