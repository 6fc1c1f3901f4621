"""Deletes certificate signing requests that have served: an hour after an answer, a day without, or when expired."""

from __future__ import annotations

import asyncio
import base64
import logging
from datetime import UTC, datetime

from api import errors
from api import time as api_time
from api.types.certificates_v1 import CertificateSigningRequest
from controller_manager.context import Context
from controller_manager.security import csr as requests

log = logging.getLogger(__name__)

PERIOD = 3600.0
_ANSWERED, _PENDING = 3600.0, 24 * 3600.0


class CsrCleanerController:
    def __init__(self, context: Context) -> None:
        self._api = context.api
        self._requests = context.informers.informer(CertificateSigningRequest)

    async def run(self) -> None:
        while True:
            await self.clean()
            await asyncio.sleep(PERIOD)

    async def clean(self) -> None:
        for csr in self._requests.list():
            if _is_old(csr):
                try:
                    await self._api.delete(CertificateSigningRequest, csr.metadata.name or "", uid=csr.metadata.uid)
                except errors.StatusError as error:
                    if not errors.is_not_found(error):
                        log.warning("cannot delete request %s: %s", csr.metadata.name, error)


def _is_old(csr: CertificateSigningRequest) -> bool:
    if csr.status.certificate:
        from cryptography import x509

        certificate = x509.load_pem_x509_certificate(base64.b64decode(csr.status.certificate))
        if certificate.not_valid_after_utc < datetime.now(UTC):
            return True
    answers = [
        c.last_update_time or c.last_transition_time
        for c in csr.status.conditions or ()
        if c.type in ("Approved", "Denied", "Failed")
    ]
    if answers:
        unfinished = requests.state(csr, "Approved") and not csr.status.certificate
        return not unfinished and any(api_time.seconds_since(a) > _ANSWERED for a in answers if a)
    return api_time.seconds_since(csr.metadata.creation_timestamp) > _PENDING
