"""Every write to an existing object: PUT, PATCH, and the subresources that change their parent.

They differ in how the new object is made from the old (`transform`) and in which rules hold (`Rules`); the loop is
one. It starts from the cached version: if that was not the newest, the failed transaction brings the newest along.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from api import errors
from apiserver.endpoint import Endpoint
from apiserver.entries import without_revision
from apiserver.pipeline import metadata, ownership
from apiserver.pipeline.admit import admit_mutating, admit_validating
from apiserver.store import Conflict, Record, Unavailable
from apiserver.strategy import Context, Strategy
from apiserver.validation.meta import validate_object_meta_update

#: Makes the new object from a private copy of the old one. Runs again if another write came between.
Transform = Callable[[Any], Awaitable[Any]]

_ATTEMPTS = 100


@dataclass(frozen=True)
class Rules:
    """What a write through the resource itself or one of its subresources has to keep to."""

    prepare: Callable[[Context, Any, Any], None]
    validate: Callable[[Context, Any, Any], list[errors.FieldError]]
    allocates: bool = False  # before_update and after_update_failed run
    warnings: Callable[[Context, Any, Any], list[str]] | None = None


def resource_rules(strategy: Strategy) -> Rules:
    return Rules(strategy.prepare_update, strategy.validate_update, allocates=True, warnings=strategy.warnings)


def status_rules(strategy: Strategy) -> Rules:
    return Rules(strategy.prepare_status_update, strategy.validate_status_update)


async def update(
    endpoint: Endpoint,
    ctx: Context,
    key: str,
    transform: Transform,
    rules: Rules,
    *,
    admit: bool = True,
    track: bool = True,
    unconditional: bool | None = None,
) -> Record:
    """Change the object at `key`; answers what is stored now (nothing is written if nothing changed).

    `track` is False if `transform` has already seen to managedFields (server-side apply).
    `admit` is False for a subresource whose own body has been through admission (a binding).
    If the new object carries a resourceVersion it must be the stored one's. Raises StatusError 404, 409 or 422.
    """
    resource, strategy = endpoint.resource, endpoint.strategy
    current, fresh = await newest_known(endpoint, key)
    for _ in range(_ATTEMPTS):
        if current is None:
            raise errors.not_found(resource.group_resource, ctx.name)
        old = endpoint.decode_stored(current)
        try:
            new = await transform(endpoint.decode_stored(current))
            wanted = new.metadata.resource_version
            if wanted and wanted != "0" and wanted != str(current.revision):
                raise errors.conflict(resource.group_resource, ctx.name)
            _check_uid(resource.group_resource, ctx.name, new, old)
            metadata.namespace_matches(resource, ctx, new)
            if not wanted or wanted == "0":
                allowed = strategy.unconditional_update if unconditional is None else unconditional
                if not allowed:
                    raise _version_required(endpoint, ctx.name)
                new.metadata.resource_version = str(current.revision)
            record = await _attempt(endpoint, ctx, current, old, new, rules, admit, track)
        except errors.StatusError:
            if not fresh:  # perhaps only because the cache was behind
                before, (current, _) = current, await endpoint.store.get(key)
                fresh = True
                if current is None or current.revision != before.revision:
                    continue
            raise
        except Conflict as conflict:
            if wanted and wanted != "0":
                raise errors.conflict(resource.group_resource, ctx.name) from None
            current, fresh = conflict.current, True
            continue
        return record
    raise errors.conflict(resource.group_resource, ctx.name)


async def _attempt(
    endpoint: Endpoint, ctx: Context, current: Record, old: Any, new: Any, rules: Rules, admit: bool, track: bool
) -> Record:
    metadata.carry_over(new, old)
    if track:
        ownership.track_update(endpoint, ctx, new, old)
    if admit:
        await admit_mutating(ctx, "UPDATE", new, old)
    rules.prepare(ctx, new, old)
    causes = validate_object_meta_update(new.metadata, old.metadata)
    causes += rules.validate(ctx, new, old)
    if causes:
        raise errors.invalid(metadata.group_kind(endpoint.stored), ctx.name, causes)
    if rules.warnings is not None:
        for warning in rules.warnings(ctx, new, old):
            ctx.warn(warning)
    if admit:
        await admit_validating(ctx, "UPDATE", new, old)
    if rules.allocates:
        await endpoint.strategy.before_update(ctx, new, old)
    ownership.keep_timestamps(new, old)
    try:
        value = endpoint.encode(new)
        if finished(new, old):
            if not ctx.dry_run:
                revision = await endpoint.store.delete(current.key, revision=current.revision)
                await endpoint.strategy.after_delete(ctx, new)
                return Record(current.key, value, revision)
            return Record(current.key, value, current.revision)
        if value == current.value and not endpoint.store.outdated(current.key):
            return current
        if ctx.dry_run:
            if rules.allocates:
                await endpoint.strategy.after_update_failed(ctx, new, old)
            return Record(current.key, value, current.revision)
        revision = await endpoint.store.update(current.key, value, revision=current.revision, ttl=endpoint.ttl)
    except Unavailable:
        raise  # it may have been stored
    except Exception:
        if rules.allocates:
            await endpoint.strategy.after_update_failed(ctx, new, old)
        raise
    if rules.allocates:
        await endpoint.strategy.after_update(ctx, new, old)
    return Record(current.key, value, revision)


def finished(new: Any, old: Any) -> bool:
    """Whether this update removed the last thing that kept a deleted object (upstream's ShouldDeleteDuringUpdate)."""
    if new.metadata.finalizers or not old.metadata.deletion_timestamp:
        return False
    spec = getattr(new, "spec", None)
    if getattr(spec, "finalizers", None):  # a namespace
        return False
    return not old.metadata.deletion_grace_period_seconds


async def newest_known(endpoint: Endpoint, key: str) -> tuple[Record | None, bool]:
    """A version to start from: from the cache, or certainly the newest one (True) from the store."""
    cache = endpoint.cache
    if cache.ready and (entry := cache.get(key)) is not None:
        return Record(key, without_revision(entry.json, entry.revision), entry.revision), False
    record, _ = await endpoint.store.get(key)
    return record, True


def _check_uid(resource: str, name: str, new: Any, old: Any) -> None:
    if new.metadata.uid and new.metadata.uid != old.metadata.uid:
        why = f"Precondition failed: UID in precondition: {new.metadata.uid}, UID in object meta: {old.metadata.uid}"
        raise errors.conflict(resource, name, why)


def _version_required(endpoint: Endpoint, name: str) -> errors.StatusError:
    cause = errors.FieldError.invalid("metadata.resourceVersion", 0, "must be specified for an update")
    return errors.invalid(metadata.group_kind(endpoint.stored), name, [cause])
