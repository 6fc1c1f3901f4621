"""Approves the client certificates that kubelets ask for, if RBAC lets them.

A node may renew its own (`selfnodeclient`), a bootstrap identity may ask for one (`nodeclient`): which of them applies
is asked of the apiserver as a SubjectAccessReview for the requesting user. Everything else waits for a person.
"""

from __future__ import annotations

from api import codec
from api.types.authorization_v1 import ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec
from api.types.certificates_v1 import CertificateSigningRequest, CertificateSigningRequestCondition
from client.controller import Controller
from client.writes import Update
from controller_manager import conditions
from controller_manager.context import Context
from controller_manager.security import csr as requests


class CsrApprovingController:
    def __init__(self, context: Context) -> None:
        self._api = context.api
        self._requests = context.informers.informer(CertificateSigningRequest)
        self.controller: Controller[str] = Controller("certificate", self.reconcile, workers=2)
        self._requests.add_handler(
            on_add=lambda c: self.controller.enqueue(c.metadata.name or ""),
            on_update=lambda _, c: self.controller.enqueue(c.metadata.name or ""),
        )

    async def run(self) -> None:
        await self.controller.run()

    async def reconcile(self, name: str) -> float | None:
        csr = self._requests.get("", name)
        if csr is None or csr.status.certificate or csr.spec.signer_name != requests.KUBELET_CLIENT:
            return None
        if requests.state(csr, "Approved") or requests.state(csr, "Denied"):
            return None
        try:
            request = requests.parse(csr)
        except ValueError:
            return None
        if requests.refusal(csr, request):
            return None
        own = csr.spec.username == request.common_name
        for subresource, applies, words in (
            ("selfnodeclient", own, "Auto approving self kubelet client certificate after SubjectAccessReview."),
            ("nodeclient", True, "Auto approving kubelet client certificate after SubjectAccessReview."),
        ):
            if applies and await self._allowed(csr, subresource):
                await self._approve(csr, words)
                return None
        return None

    async def _allowed(self, csr: CertificateSigningRequest, subresource: str) -> bool:
        review = SubjectAccessReview(
            spec=SubjectAccessReviewSpec(
                user=csr.spec.username,
                uid=csr.spec.uid,
                groups=csr.spec.groups,
                extra=csr.spec.extra,
                resource_attributes=ResourceAttributes(
                    group="certificates.k8s.io",
                    resource="certificatesigningrequests",
                    verb="create",
                    subresource=subresource,
                    version="*",
                ),
            )
        )
        return bool((await self._api.create(review)).status.allowed)

    async def _approve(self, csr: CertificateSigningRequest, message: str) -> None:
        changed = codec.deepcopy(csr)
        condition = CertificateSigningRequestCondition(
            type="Approved", status="True", reason="AutoApproved", message=message
        )
        changed.status.conditions = conditions.replaced(changed.status.conditions, condition)
        await self._api.write(Update(changed, "approval"))
