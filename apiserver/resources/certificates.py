"""Certificate signing requests: who asks is what the server saw, not what the request says."""

from __future__ import annotations

from api import time as api_time
from api.errors import FieldError
from api.types import certificates_v1
from apiserver.defaults.others import default_certificate_signing_request
from apiserver.printers import others as rows
from apiserver.resources.base import BuiltIn
from apiserver.strategy import Context, Strategy
from apiserver.validation import certificates as rules


class CertificateSigningRequestStrategy(BuiltIn):
    def __init__(self) -> None:
        super().__init__(
            certificates_v1.CertificateSigningRequest,
            defaults=default_certificate_signing_request,
            columns=rows.CERTIFICATE_REQUEST,
            cells=rows.certificate_request_cells,
            create=rules.validate_request,
            update=rules.validate_request_update,
            status=rules.validate_request_status_update,
            fields={"spec.signerName": lambda request: request.spec.signer_name},
        )

    def prepare_create(self, ctx: Context, obj: certificates_v1.CertificateSigningRequest) -> None:
        spec, user = obj.spec, ctx.user
        spec.username = user.name
        spec.uid = user.uid or None
        spec.groups = list(user.groups) or None
        spec.extra = {key: list(values) for key, values in user.extra.items()} or None
        spec.usages = sorted(set(spec.usages)) if spec.usages else None
        obj.status = certificates_v1.CertificateSigningRequestStatus()

    def prepare_update(
        self,
        ctx: Context,
        new: certificates_v1.CertificateSigningRequest,
        old: certificates_v1.CertificateSigningRequest,
    ) -> None:
        new.spec = old.spec
        new.status = old.status

    def prepare_status_update(
        self,
        ctx: Context,
        new: certificates_v1.CertificateSigningRequest,
        old: certificates_v1.CertificateSigningRequest,
    ) -> None:
        """Everything but who approved or denied, which is for `approval` to say."""
        new.spec = old.spec
        decided = [c for c in old.status.conditions or () if c.type in ("Approved", "Denied")]
        others = [c for c in new.status.conditions or () if c.type not in ("Approved", "Denied")]
        new.status.conditions = [*decided, *others] or None
        _date_conditions(new, old)

    def prepare_approval(
        self,
        ctx: Context,
        new: certificates_v1.CertificateSigningRequest,
        old: certificates_v1.CertificateSigningRequest,
    ) -> None:
        """`approval` changes the conditions alone."""
        conditions = new.status.conditions
        new.spec = old.spec
        new.status = certificates_v1.CertificateSigningRequestStatus(
            certificate=old.status.certificate, conditions=conditions
        )
        _date_conditions(new, old)

    def validate_approval(
        self,
        ctx: Context,
        new: certificates_v1.CertificateSigningRequest,
        old: certificates_v1.CertificateSigningRequest,
    ) -> list[FieldError]:
        return rules.validate_request_approval_update(new, old)


def _date_conditions(
    new: certificates_v1.CertificateSigningRequest, old: certificates_v1.CertificateSigningRequest
) -> None:
    now = api_time.now()
    before = {c.type: c for c in old.status.conditions or ()}
    for condition in new.status.conditions or ():
        known = before.get(condition.type)
        if not condition.last_transition_time:
            same = known is not None and known.status == condition.status
            condition.last_transition_time = known.last_transition_time if same and known else now
        if not condition.last_update_time:
            condition.last_update_time = now


def strategies() -> list[Strategy]:
    return [CertificateSigningRequestStrategy()]
