"""The table of all built-in resources, and how to find one by type, by name or by kind."""

from __future__ import annotations

from typing import Any

import msgspec

from api._resource_table import RESOURCES
from api.resource import Resource, Subresource

__all__ = ["RESOURCES", "Resource", "Subresource", "find", "find_kind", "resource_for"]

_BY_NAME = {(r.group, r.version, r.plural): r for r in RESOURCES}
_BY_KIND = {(r.api_version, r.kind): r for r in reversed(RESOURCES)}
_BY_TYPE_REF = {r.type_ref: r for r in reversed(RESOURCES)}


def resource_for(type_or_obj: type[Any] | msgspec.Struct) -> Resource:
    """The resource of a type or of an object.

    Raises LookupError for a type that is not a resource, such as a list or a subresource's body.
    """
    kind = type_or_obj if isinstance(type_or_obj, type) else type(type_or_obj)
    try:
        return _BY_TYPE_REF[f"{kind.__module__}:{kind.__name__}"]
    except KeyError:
        raise LookupError(f"{kind.__name__} is not the kind of a resource") from None


def find(group: str, version: str, plural: str) -> Resource | None:
    """The resource of a URL: `find("apps", "v1", "deployments")`."""
    return _BY_NAME.get((group, version, plural))


def find_kind(api_version: str, kind: str) -> Resource | None:
    """The resource of an object's apiVersion and kind."""
    return _BY_KIND.get((api_version, kind))
