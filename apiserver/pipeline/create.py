"""Create: names and system metadata, admission, validation, allocation, and the write itself."""

from __future__ import annotations

from typing import Any

from api import errors, names
from api import time as api_time
from apiserver import ids
from apiserver.endpoint import Endpoint
from apiserver.pipeline import metadata, ownership
from apiserver.pipeline.admit import admit_mutating, admit_validating
from apiserver.store import Exists, Record, Unavailable
from apiserver.strategy import Context
from apiserver.validation.meta import validate_object_meta

_GENERATE_RETRIES = 8


async def create(endpoint: Endpoint, ctx: Context, obj: Any, *, track: bool = True) -> Record:
    """Store a decoded and defaulted object; answers what was stored (revision 0 for a dry run).

    `track` is False if the object brings its managedFields along (server-side apply). With `generateName` a taken name
    is retried, as upstream, up to eight times.
    """
    metadata.namespace_matches(endpoint.resource, ctx, obj)
    generated = bool(obj.metadata.generate_name) and not obj.metadata.name
    if not generated:
        return await _create_once(endpoint, ctx, obj, track)
    body = endpoint.encode(obj)
    for attempt in range(_GENERATE_RETRIES):
        candidate = obj if attempt == 0 else endpoint.cache.decoder.decode(body)
        candidate.metadata.name = names.generate(candidate.metadata.generate_name)
        ctx.name = candidate.metadata.name
        try:
            return await _create_once(endpoint, ctx, candidate, track)
        except errors.StatusError as error:
            taken = errors.is_already_exists(error) and error.status.details is not None
            if not taken or error.status.details.name != candidate.metadata.name:  # type: ignore[union-attr]
                raise
    raise errors.generate_name_conflict(endpoint.resource.group_resource, ctx.name)


async def _create_once(endpoint: Endpoint, ctx: Context, obj: Any, track: bool) -> Record:
    strategy = endpoint.strategy
    meta = obj.metadata
    if not ctx.name:
        ctx.name = meta.name or ""
    fill_system_metadata(obj)
    if track:
        ownership.track_create(endpoint, ctx, obj)
    await admit_mutating(ctx, "CREATE", obj, None)
    metadata.namespace_matches(endpoint.resource, ctx, obj)
    strategy.prepare_create(ctx, obj)
    causes = validate_object_meta(meta, endpoint.resource.namespaced, strategy.validate_name)
    causes += strategy.validate_create(ctx, obj)
    if causes:
        raise errors.invalid(metadata.group_kind(endpoint.stored), meta.name or meta.generate_name or "", causes)
    for warning in strategy.warnings(ctx, obj, None):
        ctx.warn(warning)
    await admit_validating(ctx, "CREATE", obj, None)
    await strategy.before_create(ctx, obj)
    try:
        return await _store(endpoint, ctx, obj)
    except Unavailable:
        raise  # it may have been stored: what it holds stays taken until the allocators' next check
    except Exception:
        await strategy.after_create_failed(ctx, obj)
        raise


async def _store(endpoint: Endpoint, ctx: Context, obj: Any) -> Record:
    name = obj.metadata.name
    key = endpoint.key(obj.metadata.namespace or "", name)
    value = endpoint.encode(obj)
    try:
        if ctx.dry_run:
            current, _ = await endpoint.store.get(key)
            if current is not None:
                raise Exists(current)
            await endpoint.strategy.after_create_failed(ctx, obj)
            return Record(key, value, 0)
        revision = await endpoint.store.create(key, value, ttl=endpoint.ttl)
    except Exists as taken:
        existing = endpoint.decode_stored(taken.current)
        resource = endpoint.resource.group_resource
        error = errors.already_exists(resource, name)
        if existing.metadata.deletion_timestamp:
            error.status.message = f"object is being deleted: {error.status.message}"
            error.args = (error.status.message,)
        raise error from None
    return Record(key, value, revision)


def fill_system_metadata(obj: Any) -> None:
    """What only the server may set on a new object (upstream's FillObjectMetaSystemFields)."""
    meta = obj.metadata
    meta.creation_timestamp = api_time.now()
    meta.uid = ids.uuid4()
    meta.deletion_timestamp = meta.deletion_grace_period_seconds = None
    meta.resource_version = meta.self_link = meta.generation = None
