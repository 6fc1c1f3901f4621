"""Who may do what: authenticators turn a request's credentials into a `User`, authorizers decide on its `Attributes`.

Lives here: credentials, RBAC and the node authorizer, access and token reviews. May not live here: anything that
knows HTTP routes or how objects are stored; both faces (REST and gRPC) call the same objects.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class User:
    """An authenticated identity, as in authentication.k8s.io UserInfo."""

    name: str
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


ANONYMOUS = User("system:anonymous", groups=("system:unauthenticated",))


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a request presents: the verified peer certificate (DER) and the bearer token, whichever are there."""

    certificate: bytes | None = None
    token: str | None = None


@dataclass(frozen=True, slots=True)
class Attributes:
    """What a request wants to do; the fields are those of a SubjectAccessReview."""

    user: User
    verb: str
    group: str = ""
    version: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""  # of a non-resource request; empty for resource requests
    field_selector: str = ""
    label_selector: str = ""

    @property
    def is_resource(self) -> bool:
        return not self.path


class Decision(enum.Enum):
    ALLOW = "allow"
    DENY = "deny"
    NO_OPINION = "no opinion"


class Authenticator(Protocol):
    async def authenticate(self, credentials: Credentials, audiences: Sequence[str] = ()) -> User | None:
        """The user, or None if these credentials are not of this authenticator's kind.

        Raises `StatusError` 401 if they are of its kind and not valid.
        """
        ...


class Authorizer(Protocol):
    def authorize(self, attributes: Attributes) -> tuple[Decision, str]:
        """The decision and, where there is one, the reason; synchronous because it is on every request's path."""
        ...
