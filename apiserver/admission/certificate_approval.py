"""CertificateApproval: whoever approves or denies a request needs the verb `approve` on its signer.

Source: kubernetes/plugin/pkg/admission/certificates/approval.
"""

from __future__ import annotations

from typing import Any

from api import errors
from apiserver.admission import Operation
from apiserver.admission.certificate_signers import authorized_for_signer
from apiserver.auth import Authorizer
from apiserver.strategy import Context


class CertificateApproval:
    name = "CertificateApproval"

    def __init__(self, authorizer: Authorizer) -> None:
        self._authorizer = authorizer

    def handles(self, ctx: Context, operation: Operation) -> bool:
        requests = ctx.resource.kind == "CertificateSigningRequest"
        return requests and ctx.subresource == "approval" and operation == "UPDATE"

    async def mutate(self, ctx: Context, operation: Operation, new: Any, old: Any) -> None:
        """Changes nothing."""

    async def validate(self, ctx: Context, operation: Operation, new: Any, old: Any) -> None:
        """Raises StatusError 403."""
        signer = old.spec.signer_name
        if not authorized_for_signer(self._authorizer, ctx.user, "approve", signer):
            detail = f'user not permitted to approve requests with signerName "{signer}"'
            raise errors.forbidden(ctx.resource.group_resource, old.metadata.name or "", detail)
