"""The keys that sign and verify service account tokens, and how they are published (RFC 7517, OIDC discovery)."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey
PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey

_CURVES = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}


@dataclass(frozen=True)
class VerificationKey:
    """A public key with the id and the algorithm that tokens name it by."""

    id: str
    algorithm: str
    key: PublicKey


@dataclass(frozen=True)
class SigningKey:
    """The private key that new tokens are signed with."""

    id: str
    algorithm: str
    key: PrivateKey


def key_id(key: PublicKey) -> str:
    """A key's id: the hash of its DER form, as upstream derives it."""
    der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.urlsafe_b64encode(hashlib.sha256(der).digest()).rstrip(b"=").decode()


def _algorithm(key: PublicKey) -> str:
    if isinstance(key, rsa.RSAPublicKey):
        return "RS256"
    return _CURVES[key.curve.name]


def _supported(key: object, path: Path) -> PublicKey:
    if isinstance(key, rsa.RSAPublicKey):
        return key
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in _CURVES:
        return key
    raise ValueError(f"{path}: neither an RSA nor an ECDSA key")


def load_verification_keys(paths: Iterable[str | Path]) -> list[VerificationKey]:
    """The public keys of PEM files, which may also hold certificates or private keys. Raises ValueError, OSError."""
    found: dict[str, VerificationKey] = {}
    for path in map(Path, paths):
        blocks = _pem_blocks(path.read_bytes())
        for block in blocks:
            key = _supported(_public_key(block), path)
            made = VerificationKey(key_id(key), _algorithm(key), key)
            found.setdefault(made.id, made)
        if not blocks:
            raise ValueError(f"{path}: no PEM data")
    return list(found.values())


def _pem_blocks(data: bytes) -> list[bytes]:
    end = b"-----END "
    blocks, rest = [], data
    while (start := rest.find(b"-----BEGIN ")) >= 0 and (stop := rest.find(end, start)) >= 0:
        line_end = rest.find(b"-----", stop + len(end)) + 5
        blocks.append(rest[start:line_end] + b"\n")
        rest = rest[line_end:]
    return blocks


def _public_key(block: bytes) -> object:
    if b"CERTIFICATE-----" in block:
        return x509.load_pem_x509_certificate(block).public_key()
    if b"PRIVATE KEY-----" in block:
        return load_pem_private_key(block, password=None).public_key()
    return load_pem_public_key(block)


def load_signing_key(path: str | Path) -> SigningKey:
    """The private key of a PEM file. Raises ValueError, OSError."""
    key = load_pem_private_key(Path(path).read_bytes(), password=None)
    if not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        raise ValueError(f"{path}: neither an RSA nor an ECDSA key")
    public = _supported(key.public_key(), Path(path))
    return SigningKey(key_id(public), _algorithm(public), key)


def key_set(keys: Sequence[VerificationKey]) -> dict[str, Any]:
    """`/openid/v1/jwks`: the public keys as a JSON Web Key Set."""
    published = []
    for entry in keys:
        handler = jwt.get_algorithm_by_name(entry.algorithm)
        jwk = json.loads(handler.to_jwk(entry.key))
        wanted = {name: jwk[name] for name in ("kty", "crv", "n", "e", "x", "y") if name in jwk}
        published.append({"use": "sig", **wanted, "kid": entry.id, "alg": entry.algorithm})
    return {"keys": published}


def discovery(issuer: str, keys: Sequence[VerificationKey], jwks_uri: str) -> dict[str, Any]:
    """`/.well-known/openid-configuration` (OpenID Connect Discovery 1.0, as far as token verifiers need it)."""
    return {
        "issuer": issuer,
        "jwks_uri": jwks_uri,
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": sorted({key.algorithm for key in keys}),
    }
