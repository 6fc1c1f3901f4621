"""Who may approve requests to a signer, and sign for it: the permission that both certificate plugins ask for."""

from __future__ import annotations

from apiserver.auth import Attributes, Authorizer, Decision, User

_GROUP, _VERSION, _RESOURCE = "certificates.k8s.io", "v1", "signers"


def authorized_for_signer(authorizer: Authorizer, user: User, verb: str, signer: str) -> bool:
    """Whether the user has the verb on this signer, or on all signers of its domain."""
    domain = signer.partition("/")[0]
    for name in (signer, f"{domain}/*"):
        attributes = Attributes(user=user, verb=verb, group=_GROUP, version=_VERSION, resource=_RESOURCE, name=name)
        decision, _ = authorizer.authorize(attributes)
        if decision is Decision.ALLOW:
            return True
    return False
