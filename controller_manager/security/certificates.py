"""Makes a certificate from a request, with a CA's key. Imported only when there is something to sign."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from controller_manager.security.csr import Request

_KEY_USAGES = {
    "digital signature",
    "signing",
    "content commitment",
    "key encipherment",
    "data encipherment",
    "key agreement",
}
_EXTENDED = {
    "client auth": ExtendedKeyUsageOID.CLIENT_AUTH,
    "server auth": ExtendedKeyUsageOID.SERVER_AUTH,
    "code signing": ExtendedKeyUsageOID.CODE_SIGNING,
    "email protection": ExtendedKeyUsageOID.EMAIL_PROTECTION,
}
#: Clocks differ: a certificate is valid from a little before now.
_BACKDATE = timedelta(minutes=5)


def sign(request: Request, usages: set[str], seconds: float, cert_file: str, key_file: str) -> bytes:
    """PEM. Valid for `seconds`, but not longer than the CA.

    The CA's files are small and may be replaced at any time: they are read for every certificate.
    """
    ca = x509.load_pem_x509_certificate(Path(cert_file).read_bytes())
    key: Any = serialization.load_pem_private_key(Path(key_file).read_bytes(), password=None)
    now = datetime.now(UTC).replace(microsecond=0)
    builder = (
        x509.CertificateBuilder()
        .subject_name(request.parsed.subject)
        .issuer_name(ca.subject)
        .public_key(request.parsed.public_key())
        .serial_number(int.from_bytes(os.urandom(16), "big") >> 1)
        .not_valid_before(now - _BACKDATE)
        .not_valid_after(min(now + timedelta(seconds=seconds), ca.not_valid_after_utc))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(ca.public_key()),  # type: ignore[arg-type]
            critical=False,
        )
    )
    if (usage := _key_usage(usages)) is not None:
        builder = builder.add_extension(usage, critical=True)
    extended = [_EXTENDED[u] for u in sorted(usages) if u in _EXTENDED]
    if extended:
        builder = builder.add_extension(x509.ExtendedKeyUsage(extended), critical=False)
    if request.has_names:
        names = request.parsed.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        builder = builder.add_extension(names.value, critical=False)
    digest = hashes.SHA384() if isinstance(key, ec.EllipticCurvePrivateKey) and key.key_size > 256 else None
    return builder.sign(key, digest or hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def _key_usage(usages: set[str]) -> x509.KeyUsage | None:
    """None if none is asked for: an extension without a bit makes the certificate invalid (RFC 5280, 4.2.1.3)."""
    if not usages & _KEY_USAGES:
        return None
    agreement = "key agreement" in usages
    return x509.KeyUsage(
        digital_signature=bool(usages & {"digital signature", "signing"}),
        content_commitment="content commitment" in usages,
        key_encipherment="key encipherment" in usages,
        data_encipherment="data encipherment" in usages,
        key_agreement=agreement,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=agreement and "encipher only" in usages,
        decipher_only=agreement and "decipher only" in usages,
    )
