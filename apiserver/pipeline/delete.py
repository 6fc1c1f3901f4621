"""Delete: preconditions, graceful deletion, finalizers, and what becomes of dependents.

An object with finalizers, or one whose resource knows graceful deletion, is only marked; it goes when the last
finalizer is removed (`pipeline.update`) or when the kubelet deletes it with grace period 0.
Source: upstream's rest.BeforeDelete and genericregistry.Store.Delete.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from api import errors
from api import time as api_time
from api.types.core_v1 import Namespace
from api.types.meta_v1 import DeleteOptions
from apiserver.endpoint import Endpoint
from apiserver.pipeline.admit import admit_mutating, admit_validating
from apiserver.pipeline.update import newest_known
from apiserver.store import Conflict, Record
from apiserver.strategy import Context

ORPHAN = "orphan"
FOREGROUND = "foregroundDeletion"

_ATTEMPTS = 100


async def delete(endpoint: Endpoint, ctx: Context, key: str, options: DeleteOptions) -> tuple[Record, bool]:
    """Delete or mark the object at `key`; answers its last state and whether it is gone.

    Raises StatusError 404, or 409 if a precondition does not hold.
    """
    resource = endpoint.resource.group_resource
    current, fresh = await newest_known(endpoint, key)
    admitted = False
    for _ in range(_ATTEMPTS):
        if current is None:
            raise errors.not_found(resource, ctx.name)
        obj = endpoint.decode_stored(current)
        try:
            check_preconditions(resource, ctx.name, options, obj)
        except errors.StatusError:
            if fresh:
                raise
            current, _ = await endpoint.store.get(key)
            fresh = True
            continue
        if not admitted:
            await admit_mutating(ctx, "DELETE", None, obj)
            await admit_validating(ctx, "DELETE", None, obj)
            admitted = True
        try:
            return await _attempt(endpoint, ctx, current, obj, options)
        except Conflict as conflict:
            current, fresh = conflict.current, True
    raise errors.conflict(resource, ctx.name)


async def _attempt(
    endpoint: Endpoint, ctx: Context, current: Record, obj: Any, options: DeleteOptions
) -> tuple[Record, bool]:
    before = endpoint.encode(obj)
    endpoint.strategy.prepare_delete(ctx, obj)
    verdict = _mark_graceful(endpoint, ctx, obj, options)
    if verdict == "pending":
        return current, False
    finalizers = _wanted_finalizers(endpoint, ctx, obj, options)
    if finalizers is not None:
        obj.metadata.finalizers = list(finalizers) or None
    held = bool(obj.metadata.finalizers) or _namespace_held(obj)
    if verdict == "now" and held:
        _mark_deleting(obj)
    gone = not held and (verdict == "now" or obj.metadata.deletion_grace_period_seconds == 0)
    value = endpoint.encode(obj)
    if ctx.dry_run:
        return Record(current.key, value, current.revision), gone
    if gone:
        revision = await endpoint.store.delete(current.key, revision=current.revision)
        await endpoint.strategy.after_delete(ctx, obj)
        return Record(current.key, value, revision), True
    if value == before:
        return current, False
    revision = await endpoint.store.update(current.key, value, revision=current.revision, ttl=endpoint.ttl)
    return Record(current.key, value, revision), False


def check_preconditions(resource: str, name: str, options: DeleteOptions, obj: Any) -> None:
    """Raises StatusError 409 unless uid and resourceVersion are as the client expects."""
    wanted = options.preconditions
    if wanted is None:
        return
    meta = obj.metadata
    if wanted.uid is not None and wanted.uid != meta.uid:
        why = f"Precondition failed: UID in precondition: {wanted.uid}, UID in object meta: {meta.uid}"
        raise errors.conflict(resource, name, why)
    if wanted.resource_version is not None and wanted.resource_version != meta.resource_version:
        why = (
            f"Precondition failed: ResourceVersion in precondition: {wanted.resource_version}, "
            f"ResourceVersion in object meta: {meta.resource_version}"
        )
        raise errors.conflict(resource, name, why)


def _mark_graceful(endpoint: Endpoint, ctx: Context, obj: Any, options: DeleteOptions) -> str:
    """ "now" if there is no grace, "marked" if it was marked (again, with less), "pending" if it already is."""
    meta = obj.metadata
    asked = options.grace_period_seconds
    if asked is not None and asked < 0:
        asked = 1  # upstream: a negative grace period is treated as one second
    if meta.deletion_timestamp:
        remaining = meta.deletion_grace_period_seconds
        if remaining is None or remaining == 0:
            return "now"
        if asked is None or asked >= remaining:
            return "pending"
        granted = endpoint.strategy.graceful_deletion(ctx, obj, options)
        if granted is None:
            return "now"
        start = api_time.parse(meta.deletion_timestamp) - timedelta(seconds=remaining)
        meta.deletion_timestamp = api_time.format_time(start + timedelta(seconds=asked))
        meta.deletion_grace_period_seconds = asked
        return "marked"
    granted = endpoint.strategy.graceful_deletion(ctx, obj, options)
    if granted is None:
        return "now"
    if asked is not None and asked == 1 and (options.grace_period_seconds or 0) < 0:
        granted = 1
    meta.deletion_timestamp = api_time.format_time(api_time.parse(api_time.now()) + timedelta(seconds=granted))
    meta.deletion_grace_period_seconds = granted
    if meta.generation:
        meta.generation += 1
    return "marked"


def _mark_deleting(obj: Any) -> None:
    meta = obj.metadata
    if not meta.deletion_timestamp:
        meta.deletion_timestamp = api_time.now()
        if meta.generation:
            meta.generation += 1
    meta.deletion_grace_period_seconds = 0
    if isinstance(obj, Namespace) and obj.status.phase != "Terminating":
        obj.status.phase = "Terminating"


def _namespace_held(obj: Any) -> bool:
    return isinstance(obj, Namespace) and bool(obj.spec.finalizers)


def _wanted_finalizers(endpoint: Endpoint, ctx: Context, obj: Any, options: DeleteOptions) -> Sequence[str] | None:
    """The finalizers this deletion leaves, or None if it does not change them."""
    have = list(obj.metadata.finalizers or ())
    orphan = _orphan(endpoint, ctx, obj, options, have)
    foreground = _foreground(options, have)
    if endpoint.stored.group_resource == "events":
        return None
    wanted = [name for name in have if name not in (ORPHAN, FOREGROUND)]
    if orphan:
        wanted.append(ORPHAN)
    if foreground:
        wanted.append(FOREGROUND)
    return wanted if set(wanted) != set(have) else None


def _orphan(endpoint: Endpoint, ctx: Context, obj: Any, options: DeleteOptions, have: list[str]) -> bool:
    if options.orphan_dependents is not None:
        return options.orphan_dependents
    if options.propagation_policy is not None:
        return options.propagation_policy == "Orphan"
    if ORPHAN in have:
        return True
    return ORPHAN in (endpoint.strategy.default_finalizers(ctx, obj, options) or ())


def _foreground(options: DeleteOptions, have: list[str]) -> bool:
    if options.orphan_dependents is not None:
        return False
    if options.propagation_policy is not None:
        return options.propagation_policy == "Foreground"
    return FOREGROUND in have
