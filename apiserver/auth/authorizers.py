"""Authorizers together: the privileged group, then each in turn; and what a caller who is refused is told."""

from __future__ import annotations

from collections.abc import Sequence

from api import errors
from api.selectors import parse_field_selector
from apiserver.auth import Attributes, Authorizer, Decision

MASTERS = "system:masters"

_SANITIZE = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})


class PrivilegedGroups:
    """Allows members of some groups everything, even when no role exists yet."""

    def __init__(self, *groups: str) -> None:
        self._groups = frozenset(groups)

    def authorize(self, attributes: Attributes) -> tuple[Decision, str]:
        """ALLOW or NO_OPINION."""
        if self._groups.isdisjoint(attributes.user.groups):
            return Decision.NO_OPINION, ""
        return Decision.ALLOW, ""


class UnionAuthorizer:
    """The first authorizer with an opinion decides; the reasons of the others are what a refusal says."""

    def __init__(self, authorizers: Sequence[Authorizer]) -> None:
        self._authorizers = tuple(authorizers)

    def authorize(self, attributes: Attributes) -> tuple[Decision, str]:
        """The decision; NO_OPINION counts as a refusal."""
        reasons = []
        for authorizer in self._authorizers:
            decision, reason = authorizer.authorize(attributes)
            if decision is not Decision.NO_OPINION:
                return decision, reason
            if reason:
                reasons.append(reason)
        return Decision.NO_OPINION, "\n".join(reasons)


def selected_name(field_selector: str) -> str:
    """The one name that a list or watch asks for by `metadata.name=`: it is authorized as if it named the object."""
    if "metadata.name" not in field_selector:
        return ""
    try:
        return parse_field_selector(field_selector).required("metadata.name") or ""
    except ValueError:
        return ""


def forbidden_message(attributes: Attributes) -> str:
    """What was refused, in upstream's words."""
    user = f'User "{attributes.user.name}" cannot {attributes.verb}'
    if not attributes.is_resource:
        return f'{user} path "{attributes.path}"'
    resource = attributes.resource + (f"/{attributes.subresource}" if attributes.subresource else "")
    scope = f'in the namespace "{attributes.namespace}"' if attributes.namespace else "at the cluster scope"
    return f'{user} resource "{resource}" in API group "{attributes.group}" {scope}'


def forbidden(attributes: Attributes, reason: str = "") -> errors.StatusError:
    """The 403 for a refused request."""
    message = forbidden_message(attributes).translate(_SANITIZE)
    resource = f"{attributes.resource}.{attributes.group}" if attributes.group else attributes.resource
    return errors.forbidden(resource, attributes.name, f"{message}: {reason}" if reason else message)


def require(authorizer: Authorizer, attributes: Attributes) -> None:
    """Raise the 403 unless the request is allowed."""
    decision, reason = authorizer.authorize(attributes)
    if decision is not Decision.ALLOW:
        raise forbidden(attributes, reason)
