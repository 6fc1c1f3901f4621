"""Authenticators together: the first that knows the credentials decides; who shows none is anonymous."""

from __future__ import annotations

from collections.abc import Sequence

from api import errors
from apiserver.auth import ANONYMOUS, Authenticator, Credentials, User

AUTHENTICATED = "system:authenticated"
UNAUTHENTICATED = "system:unauthenticated"


class UnionAuthenticator:
    """Everyone it knows is in `system:authenticated` as well."""

    def __init__(self, authenticators: Sequence[Authenticator], *, anonymous: bool = True) -> None:
        self._authenticators = tuple(authenticators)
        self._anonymous = anonymous

    async def authenticate(self, credentials: Credentials, audiences: Sequence[str] = ()) -> User:
        """The user. Raises StatusError 401 for a token that nobody knows, and without credentials if nobody may be
        anonymous.
        """
        for authenticator in self._authenticators:
            user = await authenticator.authenticate(credentials, audiences)
            if user is not None:
                return with_authenticated(user)
        if credentials.token or not self._anonymous:
            raise errors.unauthorized()
        return ANONYMOUS


def with_authenticated(user: User) -> User:
    """The user, in the group of all who are known."""
    if AUTHENTICATED in user.groups or UNAUTHENTICATED in user.groups:
        return user
    groups = (*user.groups, AUTHENTICATED)
    return User(user.name, uid=user.uid, groups=groups, extra=user.extra)


class TokenAuthenticators:
    """Only the token authenticators: what a TokenReview asks."""

    def __init__(self, authenticators: Sequence[Authenticator]) -> None:
        self._authenticators = tuple(authenticators)

    async def authenticate(self, credentials: Credentials, audiences: Sequence[str] = ()) -> User | None:
        """The token's user, or None if no authenticator knows the token. Raises StatusError 401 if it is not valid."""
        for authenticator in self._authenticators:
            user = await authenticator.authenticate(Credentials(token=credentials.token), audiences)
            if user is not None:
                return with_authenticated(user)
        return None
