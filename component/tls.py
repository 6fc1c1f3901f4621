"""Certificates from files, as what asyncio and gRPC want; renewed files are used without a restart.

New connections use the new files; connections that exist keep what they were made with.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import grpc

log = logging.getLogger(__name__)

#: Seconds between looks at the files. Certificates are renewed long before they end.
RELOAD_INTERVAL = 30.0


@dataclass(frozen=True)
class Files:
    """PEM files: our certificate and key, and the CA that the other side's certificate must come from."""

    cert: str
    key: str
    ca: str | None = None

    def stamp(self) -> tuple[int, ...]:
        """Changes whenever one of the files does. Raises OSError if one is missing."""
        return tuple(Path(p).stat().st_mtime_ns for p in (self.cert, self.key, self.ca) if p)


def server_context(files: Files, *, require_client: bool = False) -> ssl.SSLContext:
    """For an HTTPS server. With a CA, client certificates are asked for, and required if `require_client`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(files.cert, files.key)
    if files.ca:
        context.load_verify_locations(files.ca)
        context.verify_mode = ssl.CERT_REQUIRED if require_client else ssl.CERT_OPTIONAL
    return context


async def keep_fresh(context: ssl.SSLContext, files: Files, interval: float = RELOAD_INTERVAL) -> None:
    """Reload the files into the context whenever they change, until cancelled."""
    stamp = files.stamp()
    while True:
        await asyncio.sleep(interval)
        try:
            current = files.stamp()
            if current == stamp:
                continue
            context.load_cert_chain(files.cert, files.key)
            if files.ca:
                context.load_verify_locations(files.ca)
            stamp = current
            log.info("reloaded certificate %s", files.cert)
        except (OSError, ssl.SSLError) as error:
            log.warning("certificate %s cannot be reloaded: %s", files.cert, error)


def grpc_server_credentials(files: Files) -> grpc.ServerCredentials:
    """Mutual TLS for a gRPC server: every client needs a certificate of the CA. Changed files are reloaded."""
    import grpc

    if not files.ca:
        raise ValueError("mutual TLS needs a CA")
    last = files.stamp()

    def configuration() -> grpc.ServerCertificateConfiguration:
        pair = (Path(files.key).read_bytes(), Path(files.cert).read_bytes())
        ca = Path(files.ca or "").read_bytes()
        return grpc.ssl_server_certificate_configuration([pair], root_certificates=ca)

    def changed() -> grpc.ServerCertificateConfiguration | None:
        nonlocal last
        try:
            current = files.stamp()
            if current == last:
                return None
            fresh = configuration()
        except OSError as error:
            log.warning("certificate %s cannot be reloaded: %s", files.cert, error)
            return None
        last = current
        log.info("reloaded certificate %s", files.cert)
        return fresh

    return grpc.dynamic_ssl_server_credentials(configuration(), changed, require_client_authentication=True)  # type: ignore[arg-type]


def grpc_channel_credentials(files: Files) -> grpc.ChannelCredentials:
    """Mutual TLS for a gRPC client."""
    import grpc

    return grpc.ssl_channel_credentials(
        root_certificates=Path(files.ca).read_bytes() if files.ca else None,
        private_key=Path(files.key).read_bytes(),
        certificate_chain=Path(files.cert).read_bytes(),
    )


def missing(paths: Sequence[str]) -> list[str]:
    """Those of the files that do not exist, for a clear message at start."""
    return [p for p in paths if p and not Path(p).exists()]
