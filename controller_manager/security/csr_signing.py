"""Signs approved certificate signing requests with the cluster's CA.

Invariants:
- only approved requests of the four built-in signers are signed, and only if they ask for nothing that the signer does
  not grant; else the request fails, with the reason;
- a certificate lives as long as was asked for, at most `--cluster-signing-duration`, and never longer than the CA.
"""

from __future__ import annotations

import base64

from api import codec
from api import time as api_time
from api.types.certificates_v1 import CertificateSigningRequest, CertificateSigningRequestCondition
from client.controller import Controller
from controller_manager import conditions
from controller_manager.context import Context
from controller_manager.security import csr as requests

_SIGNERS = {requests.CLIENT, requests.KUBELET_CLIENT, requests.KUBELET_SERVING, requests.LEGACY}
#: Seconds: the shortest life that may be asked for, as validation has it.
_SHORTEST = 600


class CsrSigningController:
    def __init__(self, context: Context) -> None:
        self._api, self._settings = context.api, context.settings
        self._requests = context.informers.informer(CertificateSigningRequest)
        self.controller: Controller[str] = Controller("certificate_signing", self.reconcile, workers=2)
        self._requests.add_handler(
            on_add=lambda c: self.controller.enqueue(c.metadata.name or ""),
            on_update=lambda _, c: self.controller.enqueue(c.metadata.name or ""),
        )

    async def run(self) -> None:
        if self._settings.cluster_signing_cert_file and self._settings.cluster_signing_key_file:
            await self.controller.run()

    async def reconcile(self, name: str) -> float | None:
        csr = self._requests.get("", name)
        if csr is None or csr.status.certificate or csr.spec.signer_name not in _SIGNERS:
            return None
        if not requests.state(csr, "Approved") or requests.state(csr, "Denied") or requests.state(csr, "Failed"):
            return None
        changed = codec.deepcopy(csr)
        try:
            request = requests.parse(csr)
            why = requests.refusal(csr, request)
        except ValueError as error:
            why = f"unable to parse csr: {error}"
        if why:
            condition = CertificateSigningRequestCondition(
                type="Failed",
                status="True",
                reason="SignerValidationFailure",
                message=why,
                last_update_time=api_time.now(),
            )
            changed.status.conditions = conditions.replaced(changed.status.conditions, condition)
        else:
            changed.status.certificate = base64.b64encode(self._sign(csr, request)).decode()
        await self._api.update_status(changed)
        return None

    def _sign(self, csr: CertificateSigningRequest, request: requests.Request) -> bytes:
        from controller_manager.security import certificates

        settings = self._settings
        longest, asked = settings.cluster_signing_duration, csr.spec.expiration_seconds
        seconds = longest if asked is None else max(_SHORTEST, min(asked, longest))
        return certificates.sign(
            request,
            set(csr.spec.usages or ()),
            seconds,
            settings.cluster_signing_cert_file,
            settings.cluster_signing_key_file,
        )
