"""Who may ask: the apiserver, by the client certificate with which it speaks for its users.

The CA and the names to expect are what the apiserver publishes for extension servers, the ConfigMap
`extension-apiserver-authentication` in kube-system. The apiserver has authorized a request before it passes it on.
This server's own certificate is made at its start: the apiserver is told not to verify it (`insecureSkipTLSVerify`).
"""

from __future__ import annotations

import asyncio
import json
import logging
import ssl
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from api import errors
from api.types.core_v1 import ConfigMap
from client.api import Api

log = logging.getLogger(__name__)

CONFIG_MAP, NAMESPACE = "extension-apiserver-authentication", "kube-system"
_AGAIN = 5.0  # seconds between looks at a ConfigMap that is not there yet, or may change


class FrontProxy:
    """Follows the ConfigMap; `context` asks clients for a certificate of its CA."""

    def __init__(self, api: Api, *, host: str) -> None:
        self._api = api
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.verify_mode = ssl.CERT_OPTIONAL
        _certify(self.context, host)
        self._authorities = ""
        self._names: frozenset[str] = frozenset()

    async def run(self) -> None:
        while True:
            try:
                found = await self._api.get(ConfigMap, CONFIG_MAP, namespace=NAMESPACE)
                self.trust(found.data or {})
            except errors.StatusError as error:
                log.debug("cannot read %s/%s: %s", NAMESPACE, CONFIG_MAP, error.message)
            await asyncio.sleep(_AGAIN)

    def trust(self, data: Mapping[str, str]) -> None:
        authorities = data.get("requestheader-client-ca-file", "")
        if authorities and authorities != self._authorities:
            self.context.load_verify_locations(cadata=authorities)
            self._authorities = authorities
            log.info("trusting the front proxy's CA")
        self._names = frozenset(json.loads(data.get("requestheader-allowed-names") or "[]"))

    def accepts(self, certificate: Mapping[str, Any] | None) -> bool:
        """Whether this verified certificate (as `ssl` tells it) is the front proxy's. No names: any of the CA's."""
        if not certificate or not self._authorities:
            return False
        subject = {key: value for part in certificate.get("subject", ()) for key, value in part}
        return not self._names or subject.get("commonName") in self._names


def _certify(context: ssl.SSLContext, host: str) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=3650))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "server.pem"
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        file.touch(mode=0o600)
        file.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
        context.load_cert_chain(file)
