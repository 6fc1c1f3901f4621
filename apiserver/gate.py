"""The door: who is asking, and may they? The same for both faces."""

from __future__ import annotations

from collections.abc import Iterable

from apiserver.audit.record import Record
from apiserver.auth import Attributes, Authenticator, Authorizer, Credentials, Decision, User
from apiserver.auth.authorizers import forbidden
from apiserver.auth.impersonation import impersonate
from apiserver.registry import SERVER


class Gate:
    """Without an authorizer everybody may do everything, as the server itself: for tests on a unix socket."""

    def __init__(self, authenticator: Authenticator | None = None, authorizer: Authorizer | None = None) -> None:
        self._authenticator = authenticator
        self.authorizer = authorizer

    @property
    def open(self) -> bool:
        """Nobody is asked anything."""
        return self.authorizer is None

    async def authenticate(self, credentials: Credentials) -> User:
        """The user. Raises StatusError 401 for wrong credentials."""
        if self._authenticator is None:
            return SERVER
        user = await self._authenticator.authenticate(credentials)
        assert user is not None
        return user

    def impersonated(self, user: User, headers: Iterable[tuple[str, str]]) -> User:
        """Who the request acts as. Raises StatusError 403."""
        return user if self.authorizer is None else impersonate(user, headers, self.authorizer)

    def authorize(self, attributes: Attributes, record: Record | None = None) -> None:
        """Raises StatusError 403 in upstream's words. The record is told how it was decided, and why."""
        if self.authorizer is None:
            return
        decision, reason = self.authorizer.authorize(attributes)
        allowed = decision is Decision.ALLOW
        if record is not None:
            record.decided("allow" if allowed else "forbid", reason)
        if not allowed:
            raise forbidden(attributes, reason)
