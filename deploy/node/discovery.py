"""Finds the cluster's CA with a bootstrap token alone, as kubeadm's token discovery does.

1. `cluster-info` is read over a connection that proves nothing;
2. the token's signature on it shows that it comes from a cluster that knows the token;
3. its CA must be one whose public key (`sha256:<hex of the SubjectPublicKeyInfo>`) the administrator has named, since
   everybody who has a token could sign;
4. it is read again over a connection that this CA vouches for, and must be the same.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
import ssl
import time
from collections.abc import Collection, Mapping

import aiohttp
import msgspec
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from api import detached_jws

PATH = "/api/v1/namespaces/kube-public/configmaps/cluster-info"
KUBECONFIG, SIGNATURE = "kubeconfig", "jws-kubeconfig-"
TIMEOUT = 300.0
"""Seconds that the cluster gets to come up and sign; kubeadm's."""
RETRY = 2.0
_TOKEN = re.compile(r"([a-z0-9]{6})\.([a-z0-9]{16})")
_PIN = re.compile(r"sha256:[0-9a-f]{64}")


class Untrusted(Exception):
    """What was found can't be trusted, and waiting would not help."""


class _NotYet(Exception):
    """The cluster does not answer, or has not signed yet."""


class _ConfigMap(msgspec.Struct):
    data: dict[str, str] = msgspec.field(default_factory=dict)


def pin_of(certificate: x509.Certificate) -> str:
    """As `openssl x509 -pubkey | openssl pkey -pubin -outform der | openssl dgst -sha256` has it."""
    info = certificate.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return f"sha256:{hashlib.sha256(info).hexdigest()}"


def checked_pins(pins: Collection[str]) -> frozenset[str]:
    """Raises ValueError if one is no hash of a public key."""
    lower = [pin.lower() for pin in pins]
    for pin in lower:
        if not _PIN.fullmatch(pin):
            raise ValueError(f"{pin!r} is not of the form sha256:<64 hexadecimal digits>")
    return frozenset(lower)


async def find_ca(server: str, token: str, pins: Collection[str], *, timeout: float = TIMEOUT) -> bytes:
    """The CA in PEM. `pins`: empty trusts whoever knows the token. Raises Untrusted, ValueError, TimeoutError."""
    match = _TOKEN.fullmatch(token)
    if match is None:
        raise ValueError("a token is of the form abcdef.0123456789abcdef")
    allowed = checked_pins(pins)
    deadline = time.monotonic() + timeout
    while True:
        try:
            first = await _read(server, _no_proof())
            ca = authority(first, match[1], match[2], allowed)
            again = await _read(server, ssl.create_default_context(cadata=ca.decode()))
        except _NotYet as error:
            if time.monotonic() > deadline:
                raise TimeoutError(f"couldn't validate the identity of the API Server: {error}") from None
            await asyncio.sleep(RETRY)
            continue
        if again.get(KUBECONFIG) != first[KUBECONFIG]:
            raise Untrusted("the second kubeconfig from the ConfigMap is different from the first")
        return ca


def authority(data: Mapping[str, str], token_id: str, secret: str, pins: frozenset[str]) -> bytes:
    """The CA that `cluster-info` names, if it can be trusted. Raises Untrusted, _NotYet."""
    content = data.get(KUBECONFIG, "")
    if not content:
        raise Untrusted(f'there is no "{KUBECONFIG}" key in the cluster-info ConfigMap')
    signature = data.get(f"{SIGNATURE}{token_id}")
    if signature is None:
        raise _NotYet(f'could not find a JWS signature in the cluster-info ConfigMap for token ID "{token_id}"')
    if not detached_jws.valid(signature, content, token_id, secret):
        raise Untrusted("failed to verify JWS signature of received cluster info object, can't trust this API Server")
    try:
        [cluster] = yaml.safe_load(content)["clusters"]
        ca = base64.b64decode(cluster["cluster"]["certificate-authority-data"])
        certificates = x509.load_pem_x509_certificates(ca)
    except (yaml.YAMLError, ValueError, KeyError, TypeError) as error:
        raise Untrusted(f"cluster CA found in cluster-info ConfigMap is invalid: {error}") from None
    found = [pin_of(certificate) for certificate in certificates]
    if pins and not pins & set(found):
        raise Untrusted(
            "cluster CA found in cluster-info ConfigMap is invalid: none of the public keys "
            f'"{":".join(found)}" are pinned'
        )
    return ca


def _no_proof() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


async def _read(server: str, context: ssl.SSLContext) -> dict[str, str]:
    limit = aiohttp.ClientTimeout(total=10)
    try:
        async with aiohttp.ClientSession(timeout=limit) as session, session.get(server + PATH, ssl=context) as answer:
            body = await answer.read()
            if answer.status != 200:
                raise _NotYet(f"{answer.status} {answer.reason}: {body[:200].decode(errors='replace')}")
    except aiohttp.ClientConnectorCertificateError as error:
        raise Untrusted(f"the API server is not of the cluster that the token belongs to: {error}") from None
    except (aiohttp.ClientError, OSError) as error:
        raise _NotYet(str(error) or type(error).__name__) from None
    return msgspec.json.decode(body, type=_ConfigMap).data
