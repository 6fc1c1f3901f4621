"""The door: who is asking, and may they? The same for both faces."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from api import errors
from apiserver.auth import ANONYMOUS, Attributes, Authenticator, Authorizer, Credentials, Decision, User
from apiserver.registry import SERVER

_GROUP = "system:authenticated"


class Gate:
    """Asks authenticators in turn, then authorizers in turn. Without any authorizer everybody may do everything."""

    def __init__(
        self,
        authenticators: Sequence[Authenticator] = (),
        authorizers: Sequence[Authorizer] = (),
        *,
        anonymous: bool = True,
    ) -> None:
        self._authenticators = authenticators
        self._authorizers = authorizers
        self._anonymous = anonymous

    @property
    def open(self) -> bool:
        """Nobody is asked anything: a server for tests on a unix socket."""
        return not self._authorizers

    async def authenticate(self, credentials: Credentials) -> User:
        """The user, anonymous if there are no credentials. Raises StatusError 401 for wrong ones."""
        if self.open:
            return SERVER
        refused: errors.StatusError | None = None
        for authenticator in self._authenticators:
            try:
                user = await authenticator.authenticate(credentials)
            except errors.StatusError as error:
                refused = refused or error
                continue
            if user is not None:
                return user
        if refused is not None or credentials.token is not None or not self._anonymous:
            raise errors.unauthorized()
        return ANONYMOUS

    def authorize(self, attributes: Attributes) -> None:
        """Raises StatusError 403 in upstream's words."""
        if not self._authorizers:
            return
        reasons = []
        for authorizer in self._authorizers:
            decision, reason = authorizer.authorize(attributes)
            if decision is Decision.ALLOW:
                return
            if reason:
                reasons.append(reason)
            if decision is Decision.DENY:
                break
        raise forbidden(attributes, ", ".join(reasons))

    def allows(self, attributes: Attributes) -> bool:
        """The same as a question."""
        try:
            self.authorize(attributes)
        except errors.StatusError:
            return False
        return True


def forbidden(attributes: Attributes, reason: str = "") -> errors.StatusError:
    """`pods is forbidden: User "x" cannot list resource "pods" in API group "" in the namespace "default"`."""
    who, verb = attributes.user.name, attributes.verb
    suffix = f": {reason}" if reason else ""
    if not attributes.is_resource:
        return errors.forbidden("", "", f'User "{who}" cannot {verb} path "{attributes.path}"{suffix}')
    resource = attributes.resource
    if attributes.subresource:
        resource = f"{resource}/{attributes.subresource}"
    where = f'in the namespace "{attributes.namespace}"' if attributes.namespace else "at the cluster scope"
    why = f'User "{who}" cannot {verb} resource "{resource}" in API group "{attributes.group}" {where}{suffix}'
    group_resource = f"{attributes.resource}.{attributes.group}" if attributes.group else attributes.resource
    return errors.forbidden(group_resource, attributes.name, why)


def certificate_of(value: Any) -> bytes | None:
    """DER from whatever a transport has (PEM or DER)."""
    if not value:
        return None
    if isinstance(value, bytes) and value.startswith(b"-----BEGIN"):
        import ssl

        return ssl.PEM_cert_to_DER_cert(value.decode())
    return bytes(value)
