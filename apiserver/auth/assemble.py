"""All of authentication and authorization for one server, put together from its options.

auth = assemble(registry, AuthOptions(...))      # once the registry has started
gate = Gate([auth.authenticator], [auth.authorizer])
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from api import codec
from apiserver.auth import Authenticator, Authorizer
from apiserver.auth.authorizers import MASTERS, PrivilegedGroups, UnionAuthorizer
from apiserver.auth.bootstrap_tokens import BootstrapTokenAuthenticator
from apiserver.auth.escalation import EscalationCheck
from apiserver.auth.graph import Graph
from apiserver.auth.keys import VerificationKey, discovery, key_set, load_signing_key, load_verification_keys
from apiserver.auth.node import NodeAuthorizer
from apiserver.auth.rbac import RbacAuthorizer
from apiserver.auth.reviews import Reviews
from apiserver.auth.service_accounts import ServiceAccountAuthenticator
from apiserver.auth.source import Source
from apiserver.auth.token_request import TokenIssuer
from apiserver.auth.tokenfile import TokenFileAuthenticator
from apiserver.auth.union import TokenAuthenticators, UnionAuthenticator
from apiserver.auth.x509 import X509Authenticator

DEFAULT_ISSUER = "https://kubernetes.default.svc.cluster.local"
MODES = ("Node", "RBAC", "AlwaysAllow", "AlwaysDeny")


@dataclass(frozen=True)
class AuthOptions:
    """The flags of kube-apiserver, by upstream's names."""

    authorization_mode: Sequence[str] = ("Node", "RBAC")
    anonymous_auth: bool = True
    token_auth_file: str | Path | None = None
    service_account_key_files: Sequence[str | Path] = ()
    service_account_signing_key_file: str | Path | None = None
    service_account_issuers: Sequence[str] = (DEFAULT_ISSUER,)
    service_account_jwks_uri: str = ""
    api_audiences: Sequence[str] = ()  # default: the issuers


@dataclass(frozen=True, eq=False)
class Auth:
    """What the rest of the server uses. `escalation` is None without RBAC, `issuer` without a signing key."""

    authenticator: UnionAuthenticator
    authorizer: UnionAuthorizer
    reviews: Reviews
    escalation: EscalationCheck | None
    issuer: TokenIssuer | None
    #: Documents for verifiers of our tokens, by path.
    documents: dict[str, tuple[str, bytes]] = field(default_factory=dict)


def assemble(source: Source, options: AuthOptions) -> Auth:
    """Raises ValueError for unknown modes and malformed files, OSError for files that can't be read."""
    issuers = tuple(options.service_account_issuers)
    audiences = tuple(options.api_audiences) or issuers
    keys = _verification_keys(options)

    tokens: list[Authenticator] = []
    if options.token_auth_file:
        tokens.append(TokenFileAuthenticator(options.token_auth_file))
    if keys:
        tokens.append(ServiceAccountAuthenticator(source, keys, issuers, audiences))
    tokens.append(BootstrapTokenAuthenticator(source))
    authenticator = UnionAuthenticator([X509Authenticator(), *tokens], anonymous=options.anonymous_auth)

    modes = list(dict.fromkeys(options.authorization_mode))
    if unknown := [mode for mode in modes if mode not in MODES]:
        raise ValueError(f'"{unknown[0]}" is not a valid mode')
    rbac = RbacAuthorizer(source) if "RBAC" in modes else None
    authorizers: list[Authorizer] = [PrivilegedGroups(MASTERS)]
    for mode in modes:
        if mode == "Node":
            authorizers.append(NodeAuthorizer(Graph(source)))
        elif mode == "RBAC":
            assert rbac is not None
            authorizers.append(rbac)
        elif mode == "AlwaysAllow":
            authorizers.append(PrivilegedGroups("system:authenticated", "system:unauthenticated"))
    authorizer = UnionAuthorizer(authorizers)

    issuer = None
    if options.service_account_signing_key_file:
        signing_key = load_signing_key(options.service_account_signing_key_file)
        issuer = TokenIssuer(source, signing_key, issuers[0], audiences)
    return Auth(
        authenticator=authenticator,
        authorizer=authorizer,
        reviews=Reviews(authorizer, rbac, TokenAuthenticators(tokens), audiences),
        escalation=EscalationCheck(authorizer, rbac) if rbac else None,
        issuer=issuer,
        documents=_documents(issuers[0], keys, options.service_account_jwks_uri),
    )


def _verification_keys(options: AuthOptions) -> list[VerificationKey]:
    # A signing key verifies as well: that is upstream's default when no other is given.
    files = list(options.service_account_key_files)
    if not files and options.service_account_signing_key_file:
        files = [options.service_account_signing_key_file]
    return load_verification_keys(files)


def _documents(issuer: str, keys: Sequence[VerificationKey], jwks_uri: str) -> dict[str, tuple[str, bytes]]:
    if not keys or not issuer.startswith("https://"):
        return {}
    uri = jwks_uri or f"{issuer.rstrip('/')}/openid/v1/jwks"
    return {
        "/.well-known/openid-configuration": ("application/json", codec.encode(discovery(issuer, keys, uri))),
        "/openid/v1/jwks": ("application/jwk-set+json", codec.encode(key_set(keys))),
    }
