"""What both faces do with a request once they know who asks for what: bytes in, bytes out.

REST and gRPC only translate; everything a client could notice beyond the framing is decided here and below.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from api import codec, errors
from api.resources import Resource
from api.types.meta_v1 import DeleteOptions, Status, StatusDetails
from apiserver.auth import Attributes
from apiserver.auth.authorizers import require
from apiserver.endpoint import Endpoint
from apiserver.entries import with_revision
from apiserver.pipeline import create as creating
from apiserver.pipeline import decode as decoding
from apiserver.pipeline import delete as deleting
from apiserver.pipeline import metadata, ownership, patch, read, update
from apiserver.pipeline.selection import Selection
from apiserver.pipeline.update import Rules, resource_rules, status_rules
from apiserver.registry import Registry
from apiserver.store import Record
from apiserver.strategy import Context
from apiserver.unconverted import Unconverted, converted


@dataclass(slots=True)
class Reply:
    """An answer: the JSON of an object of the served version, its revision, and the HTTP code."""

    json: bytes
    revision: int = 0
    code: int = 200
    unrendered: bool = False  # `json` is the stored version: how the served one looks has to be asked for


@dataclass(slots=True)
class Call:
    """One request to a resource or subresource. `ctx` names the object and says who asks."""

    ctx: Context
    endpoint: Endpoint
    body: bytes = b""
    validation: str = ""  # fieldValidation: "", "Ignore", "Warn", "Strict"
    content_type: str = ""  # of a patch
    force: bool = False
    params: Mapping[str, str] = field(default_factory=dict)

    @property
    def registry(self) -> Registry:
        return self.ctx.registry

    @property
    def key(self) -> str:
        return self.endpoint.key(self.ctx.namespace, self.ctx.name)


Handler = Callable[[Call], Awaitable[Reply]]

#: (group, plural, subresource) -> verb -> handler; `apiserver.subresources` fills it. "" stands for the resource
#: itself, for resources that are not stored.
HANDLERS: dict[tuple[str, str, str], dict[str, Handler]] = {}


def handles(group: str, plural: str, subresource: str, *verbs: str) -> Callable[[Handler], Handler]:
    """Register a handler for verbs of a subresource."""

    def register(handler: Handler) -> Handler:
        table = HANDLERS.setdefault((group, plural, subresource), {})
        for verb in verbs:
            table[verb] = handler
        return handler

    return register


def reply(endpoint: Endpoint, record: Record, code: int = 200) -> Reply:
    """The answer to a write."""
    json = with_revision(record.value, record.revision) if record.revision else record.value
    try:
        return Reply(endpoint.render(json), record.revision, code)
    except Unconverted:
        return Reply(json, record.revision, code, unrendered=True)


async def run(verb: str, call: Call) -> Reply:
    """Carry out get, create, update, patch or delete. Raises StatusError."""
    found = await converted(lambda: _run(verb, call))
    if found.unrendered:
        await call.endpoint.prepare([found.json])
        found.json = call.endpoint.render(found.json)
    return found


async def _run(verb: str, call: Call) -> Reply:
    resource, subresource = call.ctx.resource, call.ctx.subresource
    table = HANDLERS.get((resource.group, resource.plural, subresource))
    if table is not None and verb in table:
        return await table[verb](call)
    if subresource == "":
        return await _VERBS[verb](call)
    if subresource == "status" and verb in _STATUS_VERBS:
        return await _STATUS_VERBS[verb](call)
    raise errors.method_not_allowed(resource.group_resource, verb)


async def get(call: Call) -> Reply:
    ctx, endpoint = call.ctx, call.endpoint
    version = call.params.get("resourceVersion", "")
    entry = await read.get(endpoint, call.registry.feed, ctx.namespace, ctx.name, version)
    return Reply(endpoint.render(entry.json), entry.revision)


async def create(call: Call) -> Reply:
    ctx, endpoint = call.ctx, call.endpoint
    obj = decoding.decode_body(endpoint, ctx, call.body, call.validation)
    ctx.name = obj.metadata.name or ""
    return reply(endpoint, await creating.create(endpoint, ctx, obj), 201)


async def put(call: Call, rules: Rules | None = None) -> Reply:
    """Replace; creates if the resource allows that."""
    ctx, endpoint = call.ctx, call.endpoint
    obj = decoding.decode_body(endpoint, ctx, call.body, call.validation)
    _names_match(ctx, obj)
    body = endpoint.encode(obj)
    version = obj.metadata.resource_version

    async def transform(old: Any) -> Any:
        new = endpoint.cache.decoder.decode(body)
        new.metadata.resource_version = version
        return new

    rules = rules or resource_rules(endpoint.strategy)
    try:
        record = await update.update(endpoint, ctx, call.key, transform, rules)
    except errors.StatusError as error:
        missing = errors.is_not_found(error) and not ctx.subresource and endpoint.strategy.create_on_update
        if not missing or version:
            raise
        obj.metadata.name = ctx.name
        return reply(endpoint, await creating.create(endpoint, ctx, obj), 201)
    return reply(endpoint, record)


def _names_match(ctx: Context, obj: Any) -> None:
    meta = obj.metadata
    if meta.name and meta.name != ctx.name:
        raise errors.bad_request(
            f"the name of the object ({meta.name}) does not match the name on the URL ({ctx.name})"
        )
    if ctx.namespace and meta.namespace and meta.namespace != ctx.namespace:
        raise errors.bad_request(
            f"the namespace of the object ({meta.namespace}) does not match the namespace on the request "
            f"({ctx.namespace})"
        )
    if not meta.name:
        meta.name = ctx.name


async def patch_(call: Call, rules: Rules | None = None) -> Reply:
    ctx, endpoint = call.ctx, call.endpoint
    rules = rules or resource_rules(endpoint.strategy)
    if call.content_type == patch.APPLY:
        return await apply(call, rules)
    check_not_forced(call)
    document = patch.parse(call.content_type, call.body)
    transform = patch.transform(endpoint, ctx, call.content_type, document, call.validation)
    record = await update.update(endpoint, ctx, call.key, transform, rules, unconditional=True)
    return reply(endpoint, record)


def check_not_forced(call: Call) -> None:
    """Raises StatusError 422 for `force` where nothing can conflict."""
    if call.force or "force" in call.params:
        cause = errors.FieldError.forbidden("force", "may not be specified for non-apply patch")
        raise errors.invalid("PatchOptions.meta.k8s.io", "", [cause])


async def apply(call: Call, rules: Rules) -> Reply:
    """Server-side apply; creates what is not there, if the user may."""
    ctx, endpoint = call.ctx, call.endpoint
    applied = ownership.read_applied(ctx, call.body, call.validation)
    transform = ownership.apply_transform(endpoint, ctx, applied, force=call.force)
    try:
        record = await update.update(endpoint, ctx, call.key, transform, rules, unconditional=True, track=False)
    except errors.StatusError as error:
        if not errors.is_not_found(error) or ctx.subresource:
            raise
        _may_create(call)
        obj = ownership.applied_as_new(endpoint, ctx, applied, force=call.force)
        return reply(endpoint, await creating.create(endpoint, ctx, obj, track=False), 201)
    return reply(endpoint, record)


def _may_create(call: Call) -> None:
    """The request was authorized as a patch. Raises StatusError 403."""
    authorizer = call.registry.services.authorizer
    if authorizer is None:
        return
    ctx, resource = call.ctx, call.ctx.resource
    require(
        authorizer,
        Attributes(
            user=ctx.user,
            verb="create",
            group=resource.group,
            version=resource.version,
            resource=resource.plural,
            namespace=ctx.namespace,
            name=ctx.name,
        ),
    )


async def delete(call: Call) -> Reply:
    ctx, endpoint = call.ctx, call.endpoint
    options = delete_options(call)
    ctx.options = options
    record, gone = await deleting.delete(endpoint, ctx, call.key, options)
    if gone and not endpoint.returns_deleted:
        return _deleted_status(endpoint, ctx, record)
    code = 202 if not gone and options.orphan_dependents is False else 200
    return reply(endpoint, record, code)


def _deleted_status(endpoint: Endpoint, ctx: Context, record: Record) -> Reply:
    resource = endpoint.resource
    meta = endpoint.decode_stored(record).metadata
    details = StatusDetails(name=ctx.name, group=resource.group or None, kind=resource.plural, uid=meta.uid)
    return Reply(codec.encode(Status(status="Success", details=details)))


_decode_options = msgspec.json.Decoder(DeleteOptions)


def delete_options(call: Call) -> DeleteOptions:
    """DeleteOptions from the body, else from the query. Raises StatusError 400 or 422."""
    options = codec.decode(call.body, DeleteOptions) if call.body.strip() else DeleteOptions()
    params = call.params
    if not call.body.strip():
        if (text := params.get("gracePeriodSeconds")) is not None:
            try:
                options.grace_period_seconds = int(text)
            except ValueError:
                raise errors.bad_request(f'invalid gracePeriodSeconds: strconv.ParseInt: parsing "{text}"') from None
        if (text := params.get("orphanDependents")) is not None:
            options.orphan_dependents = text.lower() not in ("false", "0")
        options.propagation_policy = params.get("propagationPolicy") or None
    if options.dry_run:
        call.ctx.dry_run = True
    found = []
    if options.orphan_dependents is not None and options.propagation_policy is not None:
        detail = "orphanDependents and deletionPropagation cannot be both set"
        found.append(errors.FieldError.invalid("propagationPolicy", options.propagation_policy, detail))
    if options.propagation_policy not in (None, "Foreground", "Background", "Orphan"):
        valid = ("Background", "Foreground", "Orphan")
        found.append(errors.FieldError.not_supported("propagationPolicy", options.propagation_policy, valid))
    if found:
        raise errors.invalid("DeleteOptions.meta.k8s.io", "", found)
    return options


async def delete_collection(
    call: Call, selected: Selection, query: read.ListQuery
) -> tuple[read.Listing, list[Record]]:
    """Delete everything a list selects, some at a time; what others deleted meanwhile does not matter."""
    ctx, endpoint = call.ctx, call.endpoint
    options = delete_options(call)
    listing = await read.list_(endpoint, call.registry.feed, selected, query)
    gate = asyncio.Semaphore(16)
    records: list[Record | None] = [None] * len(listing.entries)

    async def one(position: int) -> None:
        entry = listing.entries[position]
        own = Context(
            user=ctx.user,
            registry=ctx.registry,
            resource=ctx.resource,
            namespace=entry.namespace,
            name=entry.name,
            dry_run=ctx.dry_run,
            options=options,
            warnings=ctx.warnings,
            audit=ctx.audit,
        )
        async with gate:
            try:
                records[position], _ = await converted(lambda: deleting.delete(endpoint, own, entry.key, options))
            except errors.StatusError as error:
                if not errors.is_not_found(error):
                    raise

    results = await asyncio.gather(*map(one, range(len(listing.entries))), return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return listing, [record for record in records if record is not None]


async def put_status(call: Call) -> Reply:
    return await put(call, status_rules(call.endpoint.strategy))


async def patch_status(call: Call) -> Reply:
    return await patch_(call, status_rules(call.endpoint.strategy))


_VERBS: dict[str, Handler] = {"get": get, "create": create, "update": put, "patch": patch_, "delete": delete}
_STATUS_VERBS: dict[str, Handler] = {"get": get, "update": put_status, "patch": patch_status}


def served_names(resource: Resource) -> str:
    """How errors name the kind."""
    return metadata.group_kind(resource)
