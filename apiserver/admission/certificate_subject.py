"""CertificateSubjectRestriction: nobody gets a client certificate of the group `system:masters` by asking.

Source: kubernetes/plugin/pkg/admission/certificates/subjectrestriction.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any

from cryptography import x509
from cryptography.x509.oid import NameOID

from api import errors
from apiserver.admission import Operation
from apiserver.strategy import Context

_SIGNER = "kubernetes.io/kube-apiserver-client"
_MASTERS = "system:masters"


class CertificateSubjectRestriction:
    name = "CertificateSubjectRestriction"

    def handles(self, ctx: Context, operation: Operation) -> bool:
        requests = ctx.resource.kind == "CertificateSigningRequest"
        return requests and not ctx.subresource and operation == "CREATE"

    async def mutate(self, ctx: Context, operation: Operation, new: Any, old: Any) -> None:
        """Changes nothing."""

    async def validate(self, ctx: Context, operation: Operation, new: Any, old: Any) -> None:
        """Raises StatusError 403."""
        if new.spec.signer_name != _SIGNER:
            return
        name = new.metadata.name or ""
        try:
            request = x509.load_pem_x509_csr(base64.b64decode(new.spec.request))
        except (ValueError, binascii.Error) as error:
            raise errors.forbidden(ctx.resource.group_resource, name, f"failed to parse CSR: {error}") from None
        organizations = request.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
        if any(organization.value == _MASTERS for organization in organizations):
            detail = f"use of {_SIGNER} signer with {_MASTERS} group is not allowed"
            raise errors.forbidden(ctx.resource.group_resource, name, detail)
