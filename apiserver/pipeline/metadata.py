"""ObjectMeta in a request: whose namespace it is in, and what an update may leave out or may not touch.

Source: upstream's rest.BeforeUpdate and EnsureObjectNamespaceMatchesRequestNamespace.
"""

from __future__ import annotations

from typing import Any

from api import errors
from api.resources import Resource
from apiserver.strategy import Context


def group_kind(resource: Resource) -> str:
    """`Pod` or `Deployment.apps`, as errors name it."""
    return f"{resource.kind}.{resource.group}" if resource.group else resource.kind


def namespace_matches(resource: Resource, ctx: Context, obj: Any) -> None:
    """An object without a namespace gets the request's; with another one it is refused (400)."""
    meta = obj.metadata
    if not resource.namespaced:
        if meta.namespace:
            meta.namespace = None
        return
    if not meta.namespace:
        meta.namespace = ctx.namespace
    elif meta.namespace != ctx.namespace:
        raise errors.bad_request(
            "the namespace of the provided object does not match the namespace sent on the request"
        )


def carry_over(new: Any, old: Any) -> None:
    """Fill in what clients may leave out of an update, and put back what no update may change."""
    meta, before = new.metadata, old.metadata
    meta.generation = before.generation
    meta.self_link = None
    if not meta.uid:
        meta.uid = before.uid
    if not meta.creation_timestamp:
        meta.creation_timestamp = before.creation_timestamp
    if before.deletion_timestamp:
        meta.deletion_timestamp = before.deletion_timestamp
    if before.deletion_grace_period_seconds is not None and meta.deletion_grace_period_seconds is None:
        meta.deletion_grace_period_seconds = before.deletion_grace_period_seconds
