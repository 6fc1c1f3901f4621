"""What a certificate signing request asks for, and which of upstream's signers would grant it.

The rules of each signer are those of the page "Certificates and Certificate Signing Requests" of the documentation.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING

from api.types.certificates_v1 import CertificateSigningRequest

if TYPE_CHECKING:
    from cryptography import x509

CLIENT = "kubernetes.io/kube-apiserver-client"
KUBELET_CLIENT = "kubernetes.io/kube-apiserver-client-kubelet"
KUBELET_SERVING = "kubernetes.io/kubelet-serving"
LEGACY = "kubernetes.io/legacy-unknown"

_KUBELET_CLIENT_USAGES = {"key encipherment", "digital signature", "client auth"}
_KUBELET_SERVING_USAGES = {"key encipherment", "digital signature", "server auth"}
_CLIENT_USAGES = _KUBELET_CLIENT_USAGES


@dataclass(frozen=True)
class Request:
    """The PKCS#10 part of a request."""

    common_name: str
    organizations: tuple[str, ...]
    dns: tuple[str, ...]
    addresses: tuple[str, ...]
    emails: tuple[str, ...]
    uris: tuple[str, ...]
    parsed: x509.CertificateSigningRequest

    @property
    def has_names(self) -> bool:
        return bool(self.dns or self.addresses or self.emails or self.uris)


def parse(csr: CertificateSigningRequest) -> Request:
    """Raises ValueError if it is not a PEM request with a valid signature."""
    # imported when there is a request: most clusters never see one, and the library is large
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    parsed = x509.load_pem_x509_csr(base64.b64decode(csr.spec.request))
    if not parsed.is_signature_valid:
        raise ValueError("the signature of the request is not valid")
    try:
        names = parsed.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        dns = tuple(names.get_values_for_type(x509.DNSName))
        addresses = tuple(map(str, names.get_values_for_type(x509.IPAddress)))
        emails = tuple(names.get_values_for_type(x509.RFC822Name))
        uris = tuple(names.get_values_for_type(x509.UniformResourceIdentifier))
    except x509.ExtensionNotFound:
        dns = addresses = emails = uris = ()
    subject = parsed.subject
    common = subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    organizations = subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    return Request(
        str(common[0].value) if common else "",
        tuple(str(o.value) for o in organizations),
        dns,
        addresses,
        emails,
        uris,
        parsed,
    )


def refusal(csr: CertificateSigningRequest, request: Request) -> str:
    """Why the request's signer would not sign it, or ""."""
    usages = set(csr.spec.usages or ())
    match csr.spec.signer_name:
        case "kubernetes.io/kube-apiserver-client":
            unknown = usages - _CLIENT_USAGES
            return _client_usages(usages, unknown)
        case "kubernetes.io/kube-apiserver-client-kubelet":
            return _kubelet_client(request, usages)
        case "kubernetes.io/kubelet-serving":
            return _kubelet_serving(csr, request, usages)
    return ""


def _client_usages(usages: set[str], unknown: set[str]) -> str:
    if "client auth" not in usages:
        return "usages must include client auth"
    return f"usages not permitted: {', '.join(sorted(unknown))}" if unknown else ""


def _kubelet_client(request: Request, usages: set[str]) -> str:
    if request.organizations != ("system:nodes",):
        return "subject organization is not system:nodes"
    if request.has_names:
        return "subjectAltNames are not allowed"
    if not request.common_name.startswith("system:node:"):
        return "subject common name does not begin with system:node: "
    return _client_usages(usages, usages - _KUBELET_CLIENT_USAGES)


def _kubelet_serving(csr: CertificateSigningRequest, request: Request, usages: set[str]) -> str:
    if request.organizations != ("system:nodes",):
        return "subject organization is not system:nodes"
    if not request.dns and not request.addresses:
        return "DNS or IP subjectAltName is required"
    if request.emails or request.uris:
        return "email and URI subjectAltNames are not allowed"
    if not request.common_name.startswith("system:node:"):
        return "subject common name does not begin with system:node: "
    if csr.spec.username != request.common_name:
        return "the requesting user is not the node that the certificate is for"
    if "server auth" not in usages:
        return "usages must include server auth"
    unknown = usages - _KUBELET_SERVING_USAGES
    return f"usages not permitted: {', '.join(sorted(unknown))}" if unknown else ""


def state(csr: CertificateSigningRequest, type: str) -> bool:
    """Whether the request is Approved, Denied or Failed."""
    return any(c.type == type and c.status in ("True", "") for c in csr.status.conditions or ())
