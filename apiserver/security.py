"""Puts `apiserver.auth` together for a running server: who authenticates, who authorizes, who signs tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from api import codec
from apiserver.admission.plugins import plugins_that_ask
from apiserver.admission.rbac_escalation import RBACEscalation
from apiserver.auth import Authenticator, Authorizer
from apiserver.auth.authorizers import MASTERS, PrivilegedGroups, UnionAuthorizer
from apiserver.auth.bootstrap_tokens import BootstrapTokenAuthenticator
from apiserver.auth.escalation import EscalationCheck
from apiserver.auth.graph import Graph
from apiserver.auth.keys import (
    SigningKey,
    VerificationKey,
    discovery,
    key_set,
    load_signing_key,
    load_verification_keys,
)
from apiserver.auth.node import NodeAuthorizer
from apiserver.auth.rbac import RbacAuthorizer
from apiserver.auth.reviews import Reviews
from apiserver.auth.service_accounts import ServiceAccountAuthenticator
from apiserver.auth.source import RegistrySource
from apiserver.auth.token_request import TokenIssuer
from apiserver.auth.tokenfile import TokenFileAuthenticator
from apiserver.auth.union import TokenAuthenticators, UnionAuthenticator
from apiserver.auth.x509 import X509Authenticator
from apiserver.gate import Gate
from apiserver.registry import Registry


@dataclass(frozen=True)
class SecurityOptions:
    """Upstream's flags, as far as they concern identities. Files are PEM unless they say otherwise."""

    authorization_modes: Sequence[str] = ("Node", "RBAC")
    issuer: str = "https://kubernetes.default.svc.cluster.local"
    key_files: Sequence[str] = ()
    signing_key_file: str = ""
    token_file: str = ""
    audiences: Sequence[str] = field(default_factory=tuple)


@dataclass
class Security:
    """What the server needs of it."""

    gate: Gate
    routes: dict[str, bytes]


def secure(registry: Registry, options: SecurityOptions) -> Security:
    """Authentication and authorization of a registry that has started. Raises ValueError or OSError for bad files."""
    source = RegistrySource(registry)
    audiences = tuple(options.audiences) or (options.issuer,)
    keys = load_verification_keys(options.key_files)
    tokens: list[Authenticator] = []
    if options.token_file:
        tokens.append(TokenFileAuthenticator(options.token_file))
    tokens.append(BootstrapTokenAuthenticator(source))
    if keys:
        tokens.append(ServiceAccountAuthenticator(source, keys, (options.issuer,), audiences))
    authenticator = UnionAuthenticator([X509Authenticator(), *tokens])
    rbac = RbacAuthorizer(source) if "RBAC" in options.authorization_modes else None
    authorizer = UnionAuthorizer(_authorizers(options, source, rbac))
    registry.services.authorizer = authorizer
    registry.admission.extend(plugins_that_ask(authorizer))
    if rbac is not None:
        registry.admission.append(RBACEscalation(EscalationCheck(authorizer, rbac)))
    registry.services.reviews = Reviews(authorizer, rbac, TokenAuthenticators(tokens), audiences)
    if options.signing_key_file:
        key: SigningKey = load_signing_key(options.signing_key_file)
        registry.services.tokens = TokenIssuer(source, key, options.issuer, audiences)
    return Security(Gate(authenticator, authorizer), _documents(options.issuer, keys))


def _authorizers(options: SecurityOptions, source: RegistrySource, rbac: RbacAuthorizer | None) -> list[Authorizer]:
    found: list[Authorizer] = [PrivilegedGroups(MASTERS)]
    for mode in options.authorization_modes:
        if mode == "Node":
            found.append(NodeAuthorizer(Graph(source)))
        elif mode == "RBAC" and rbac is not None:
            found.append(rbac)
        elif mode == "AlwaysAllow":
            found.append(PrivilegedGroups("system:authenticated", "system:unauthenticated"))
        elif mode != "AlwaysDeny":
            raise ValueError(f"unknown authorization mode {mode!r}")
    return found


def _documents(issuer: str, keys: Sequence[VerificationKey]) -> dict[str, bytes]:
    if not keys:
        return {}
    jwks_uri = f"{issuer.rstrip('/')}/openid/v1/jwks"
    return {
        "/.well-known/openid-configuration": codec.encode(discovery(issuer, keys, jwks_uri)),
        "/openid/v1/jwks": codec.encode(key_set(keys)),
    }


def json_route(document: bytes) -> Any:
    """A route that answers a fixed document."""

    def respond(request: web.BaseRequest) -> web.Response:
        return web.Response(body=document, content_type="application/json")

    return respond
