"""Certificate signing requests: a request that parses, usages that exist, and conditions that never contradict."""

from __future__ import annotations

import base64
import binascii
import re

from cryptography import x509

from api.errors import FieldError, Path
from api.types import certificates_v1
from apiserver.validation import names

_SPEC, _STATUS = Path("spec"), Path("status")
_USAGES = (
    "any", "cert sign", "client auth", "code signing", "content commitment", "crl sign", "data encipherment",
    "decipher only", "digital signature", "email protection", "encipher only", "ipsec end system", "ipsec tunnel",
    "ipsec user", "key agreement", "key encipherment", "microsoft sgc", "netscape sgc", "ocsp signing", "s/mime",
    "server auth", "signing", "timestamping",
)  # fmt: skip
_PEM_CERTIFICATE = re.compile(rb"-----BEGIN ([A-Z ]+)-----.*?-----END \1-----", re.S)


def validate_request(request: certificates_v1.CertificateSigningRequest) -> list[FieldError]:
    spec = request.spec
    errors: list[FieldError] = []
    if problem := _problem(spec.request):
        errors.append(FieldError.invalid(_SPEC.child("request"), spec.request, problem))
    if not spec.usages:
        errors.append(FieldError.required(_SPEC.child("usages")))
    seen: set[str] = set()
    for index, usage in enumerate(spec.usages or ()):
        at = _SPEC.child("usages").index(index)
        if usage not in _USAGES:
            errors.append(FieldError.not_supported(at, usage, _USAGES))
        if usage in seen:
            errors.append(FieldError.duplicate(at, usage))
        seen.add(usage)
    errors += _signer_name(spec.signer_name)
    if spec.expiration_seconds is not None and spec.expiration_seconds < 600:
        detail = "may not specify a duration less than 600 seconds (10 minutes)"
        errors.append(FieldError.invalid(_SPEC.child("expirationSeconds"), spec.expiration_seconds, detail))
    return errors


def _problem(request: str) -> str:
    try:
        pem = base64.b64decode(request)
    except binascii.Error:
        return "PEM block type must be CERTIFICATE REQUEST"
    if b"-----BEGIN CERTIFICATE REQUEST-----" not in pem:
        return "PEM block type must be CERTIFICATE REQUEST"
    try:
        parsed = x509.load_pem_x509_csr(pem)
    except ValueError as error:
        return str(error)
    return "" if parsed.is_signature_valid else "invalid signature"


def _signer_name(name: str) -> list[FieldError]:
    path = _SPEC.child("signerName")
    if not name:
        return [FieldError.required(path)]
    domain, slash, rest = name.partition("/")
    if not slash:
        detail = "must be a fully qualified domain and path of the form 'example.com/signer-name'"
        return [FieldError.invalid(path, name, detail)]
    errors: list[FieldError] = []
    for message in names.dns1123_subdomain(domain):
        errors.append(FieldError.invalid(path, domain, f"validating label {domain!r}: {message}"))
    if "." not in domain:
        errors.append(
            FieldError.invalid(path, domain, "should be a domain with at least two segments separated by dots")
        )
    if not rest:
        errors.append(FieldError.invalid(path, rest, 'validating path "": must not be empty'))
    elif re.search(r"[^A-Za-z0-9._/:-]", rest):
        detail = "must consist of alphanumeric characters, '-', '_', '.' or '/'"
        errors.append(FieldError.invalid(path, rest, detail))
    return errors


def _conditions(request: certificates_v1.CertificateSigningRequest) -> list[FieldError]:
    errors: list[FieldError] = []
    seen: set[str] = set()
    path = _STATUS.child("conditions")
    for index, condition in enumerate(request.status.conditions or ()):
        at = path.index(index)
        if not condition.type:
            errors.append(FieldError.required(at.child("type")))
        if condition.type in seen:
            errors.append(FieldError.duplicate(at.child("type"), condition.type))
        seen.add(condition.type)
        if condition.type in ("Approved", "Denied", "Failed"):
            if condition.status != "True":
                errors.append(FieldError.not_supported(at.child("status"), condition.status, ("True",)))
        elif condition.status not in ("True", "False", "Unknown"):
            valid = ("False", "True", "Unknown")
            errors.append(FieldError.not_supported(at.child("status"), condition.status, valid))
        if (condition.type == "Denied" and "Approved" in seen) or (condition.type == "Approved" and "Denied" in seen):
            detail = "Approved and Denied conditions are mutually exclusive"
            errors.append(FieldError.invalid(at.child("type"), condition.type, detail))
    return errors


def _kept(
    new: certificates_v1.CertificateSigningRequest, old: certificates_v1.CertificateSigningRequest
) -> list[FieldError]:
    """Approval, denial and failure are for good."""
    now = {c.type for c in new.status.conditions or ()}
    return [
        FieldError.forbidden(_STATUS.child("conditions"), f'updates may not remove a condition of type "{kind}"')
        for kind in ("Approved", "Denied", "Failed")
        if kind in {c.type for c in old.status.conditions or ()} and kind not in now
    ]


def validate_request_update(
    new: certificates_v1.CertificateSigningRequest, old: certificates_v1.CertificateSigningRequest
) -> list[FieldError]:
    return []


def validate_request_approval_update(
    new: certificates_v1.CertificateSigningRequest, old: certificates_v1.CertificateSigningRequest
) -> list[FieldError]:
    errors = _conditions(new) + _kept(new, old)
    if new.status.certificate != old.status.certificate:
        errors.append(FieldError.forbidden(_STATUS.child("certificate"), "updates may not set certificate content"))
    return errors


def validate_request_status_update(
    new: certificates_v1.CertificateSigningRequest, old: certificates_v1.CertificateSigningRequest
) -> list[FieldError]:
    errors = _conditions(new) + _kept(new, old)
    certificate, before = new.status.certificate, old.status.certificate
    at = _STATUS.child("certificate")
    if before and certificate != before:
        errors.append(FieldError.forbidden(at, "updates may not modify existing certificate content"))
    elif certificate and not before:
        blocks = [m[1] for m in _PEM_CERTIFICATE.finditer(base64.b64decode(certificate))]
        if not blocks or any(block != b"CERTIFICATE" for block in blocks):
            detail = "must contain at least one CERTIFICATE PEM block"
            errors.append(FieldError.invalid(at, "<certificate data>", detail))
    return errors
