"""`scale` of custom resources: replicas are wherever the definition says."""

from __future__ import annotations

import re
from typing import Any

from api import codec, errors
from api import time as api_time
from api.managed import FieldManager, Managed, entries, type_of
from api.managed.scale import to_parent, to_scale
from api.types.apiextensions_v1 import CustomResourceSubresourceScale
from api.types.autoscaling_v1 import Scale, ScaleSpec, ScaleStatus
from api.types.meta_v1 import ObjectMeta
from api.unstructured import Unstructured
from apiserver.extensions import jsonpath
from apiserver.operations import HANDLERS, Call, Handler, Reply, check_not_forced
from apiserver.pipeline import decode, ownership, patch, read, update
from apiserver.pipeline.update import resource_rules

_API_VERSION = "autoscaling/v1"
_OWNERS = FieldManager(type_of(Scale), _API_VERSION, "Scale", empty=codec.to_dict(Scale()), subresource="scale")
_NAME = re.compile(r"\.([^.\[\]]+)")


def scale_of(obj: Unstructured, where: CustomResourceSubresourceScale) -> Scale:
    """The Scale of a custom object (of the served version)."""
    document = obj.document()
    meta = obj.metadata
    replicas = jsonpath.first(where.spec_replicas_path, document)
    if replicas is None:
        missing = where.spec_replicas_path
        raise errors.internal(f'the spec replicas field "{missing}" does not exist')
    selector = jsonpath.first(where.label_selector_path, document) if where.label_selector_path else None
    return Scale(
        metadata=ObjectMeta(
            name=meta.name,
            namespace=meta.namespace,
            uid=meta.uid,
            resource_version=meta.resource_version,
            creation_timestamp=meta.creation_timestamp,
        ),
        spec=ScaleSpec(replicas=int(replicas)),
        status=ScaleStatus(
            replicas=int(jsonpath.first(where.status_replicas_path, document) or 0), selector=selector or None
        ),
    )


def _where(call: Call) -> CustomResourceSubresourceScale:
    found: CustomResourceSubresourceScale | None = getattr(call.endpoint.strategy, "scale", None)
    if found is None:
        raise errors.not_found(call.ctx.resource.group_resource, call.ctx.name)
    return found


def _reply(call: Call, obj: Any, revision: int) -> Reply:
    return Reply(codec.encode(scale_of(call.endpoint.served(obj), _where(call))), revision)


async def _get(call: Call) -> Reply:
    version = call.params.get("resourceVersion", "")
    entry = await read.get(call.endpoint, call.registry.feed, call.ctx.namespace, call.ctx.name, version)
    return _reply(call, call.endpoint.cache.decoder.decode(entry.json), entry.revision)


async def _put(call: Call) -> Reply:
    scale = decode.decode(call.body, Scale, call.ctx, call.validation, api_version=_API_VERSION, name="Scale")
    if scale.metadata.name and scale.metadata.name != call.ctx.name:
        raise errors.bad_request(
            f"the name of the object ({scale.metadata.name}) does not match the name on the URL ({call.ctx.name})"
        )
    return await _write(call, lambda old, owners: (scale, _tracked(call, old, scale, owners)))


async def _patch(call: Call) -> Reply:
    if call.content_type == patch.APPLY:
        applied = ownership.read_applied(call.ctx, call.body, call.validation)

        def merge(old: Scale, owners: Managed) -> tuple[Scale, Managed]:
            live, now = codec.to_dict(old), api_time.now()
            document, owners = _OWNERS.apply(live, applied, owners, call.ctx.field_manager, now, force=call.force)
            after = codec.from_dict(Scale, document)
            if "resourceVersion" not in (applied.get("metadata") or {}):
                after.metadata.resource_version = None
            return after, owners

        return await _write(call, merge)
    check_not_forced(call)
    document = patch.parse(call.content_type, call.body)

    def make(old: Scale, owners: Managed) -> tuple[Scale, Managed]:
        after = codec.from_dict(Scale, patch.apply_to(codec.to_dict(old), call.content_type, document, Scale))
        if not (isinstance(document, dict) and "resourceVersion" in (document.get("metadata") or {})):
            after.metadata.resource_version = None
        return after, _tracked(call, old, after, owners)

    return await _write(call, make)


def _tracked(call: Call, old: Scale, new: Scale, owners: Managed) -> Managed:
    owners = dict(owners)
    if owners:
        _OWNERS.update(codec.to_dict(old), codec.to_dict(new), owners, call.ctx.field_manager, api_time.now())
    return owners


async def _write(call: Call, make: Any) -> Reply:
    ctx, endpoint, where = call.ctx, call.endpoint, _where(call)
    resource = endpoint.resource
    names = _NAME.findall(where.spec_replicas_path)
    paths = {resource.api_version: tuple(f"f:{name}" for name in names)}

    async def transform(old: Any) -> Any:
        parents = entries.decode_or_nothing(old.metadata.managed_fields)
        served = endpoint.served(old)
        scale, owners = make(scale_of(served, where), to_scale(parents, paths))
        replicas = scale.spec.replicas or 0
        if replicas < 0:
            cause = errors.FieldError.invalid("spec.replicas", replicas, "must be greater than or equal to 0")
            raise errors.invalid("Scale.autoscaling", ctx.name, [cause])
        document = codec.to_dict(served)
        at = document
        for name in names[:-1]:
            at = at.setdefault(name, {})
        at[names[-1]] = replicas
        new = endpoint.to_stored(type(served).build(document))
        new.metadata.resource_version = scale.metadata.resource_version
        new.metadata.managed_fields = entries.encode(to_parent(parents, owners, resource.api_version, paths))
        return new

    rules = resource_rules(endpoint.strategy)
    record = await update.update(endpoint, ctx, call.key, transform, rules, unconditional=True, track=False)
    return _reply(call, endpoint.decode_stored(record), record.revision)


_TABLE: dict[str, Handler] = {"get": _get, "update": _put, "patch": _patch}


def register(group: str, plural: str) -> None:
    """Answer `scale` of this resource."""
    HANDLERS[group, plural, "scale"] = _TABLE
