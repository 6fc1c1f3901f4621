"""An HTTPS server for what the API server calls: webhooks of all kinds, and aggregated API servers."""

from __future__ import annotations

import base64
import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

Answer = Callable[[dict[str, Any]], dict[str, Any]]


class Hooks:
    """`answers` maps a path to what makes the response of a review; `seen` has the requests."""

    def __init__(self, url: str, bundle: str) -> None:
        self.url = url
        self.bundle = bundle
        self.answers: dict[str, Answer] = {}
        self.seen: list[dict[str, Any]] = []

    def config(self, path: str, answer: Answer) -> dict[str, Any]:
        """A clientConfig that leads to this answer."""
        self.answers[path] = answer
        return {"url": self.url + path, "caBundle": self.bundle}

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        review = await request.json()
        self.seen.append(review["request"])
        response = {"uid": review["request"]["uid"], **self.answers[request.path](review["request"])}
        return web.json_response({"apiVersion": review["apiVersion"], "kind": review["kind"], "response": response})


def patched(*operations: dict[str, Any]) -> dict[str, Any]:
    """A response that changes the object."""
    encoded = base64.b64encode(json.dumps(operations).encode()).decode()
    return {"allowed": True, "patchType": "JSONPatch", "patch": encoded}


@contextlib.asynccontextmanager
async def hooks(directory: Path) -> AsyncIterator[Hooks]:
    """On a free port of 127.0.0.1, with a certificate of its own."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "hook")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    shape, encryption = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (directory / "hook.crt").write_bytes(pem)
    (directory / "hook.key").write_bytes(key.private_bytes(serialization.Encoding.PEM, shape, encryption))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(directory / "hook.crt", directory / "hook.key")
    made = Hooks("", base64.b64encode(pem).decode())
    runner = web.ServerRunner(web.Server(made.handle))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    made.url = f"https://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield made
    finally:
        await runner.cleanup()
