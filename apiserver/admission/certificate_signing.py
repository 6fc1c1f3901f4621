"""CertificateSigning: whoever puts a certificate into a request needs the verb `sign` on its signer.

Source: kubernetes/plugin/pkg/admission/certificates/signing.
"""

from __future__ import annotations

from typing import Any

from api import errors
from apiserver.admission import Operation
from apiserver.admission.certificate_signers import authorized_for_signer
from apiserver.auth import Authorizer
from apiserver.strategy import Context


class CertificateSigning:
    name = "CertificateSigning"

    def __init__(self, authorizer: Authorizer) -> None:
        self._authorizer = authorizer

    def handles(self, ctx: Context, operation: Operation) -> bool:
        requests = ctx.resource.kind == "CertificateSigningRequest"
        return requests and ctx.subresource == "status" and operation == "UPDATE"

    async def mutate(self, ctx: Context, operation: Operation, new: Any, old: Any) -> None:
        """Changes nothing."""

    async def validate(self, ctx: Context, operation: Operation, new: Any, old: Any) -> None:
        """Raises StatusError 403."""
        if new.status == old.status:
            return
        signer = old.spec.signer_name
        if not authorized_for_signer(self._authorizer, ctx.user, "sign", signer):
            detail = f'user not permitted to sign requests with signerName "{signer}"'
            raise errors.forbidden(ctx.resource.group_resource, old.metadata.name or "", detail)
