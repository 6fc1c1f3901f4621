"""`scale`: how many replicas there are and shall be, the same for every workload that has them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from api import codec, errors
from api import time as api_time
from api.managed import FieldManager, Managed, entries, type_of
from api.managed.scale import to_parent, to_scale
from api.selectors import selector_from
from api.types.autoscaling_v1 import Scale, ScaleSpec, ScaleStatus
from api.types.meta_v1 import ObjectMeta
from apiserver.operations import Call, Reply, check_not_forced, handles
from apiserver.pipeline import decode, ownership, patch, read, update
from apiserver.pipeline.update import resource_rules

_WORKLOADS = (
    ("apps", "deployments"),
    ("apps", "replicasets"),
    ("apps", "statefulsets"),
    ("", "replicationcontrollers"),
)
_API_VERSION = "autoscaling/v1"
_REPLICAS = ("f:spec", "f:replicas")  # in every version of every workload
_OWNERS = FieldManager(type_of(Scale), _API_VERSION, "Scale", empty=codec.to_dict(Scale()), subresource="scale")


def scale_of(obj: Any) -> Scale:
    """The Scale of a workload."""
    meta = obj.metadata
    try:
        selector = str(selector_from(obj.spec.selector))
    except ValueError as error:
        raise errors.bad_request(f"invalid label selector: {error}") from None
    return Scale(
        metadata=ObjectMeta(
            name=meta.name,
            namespace=meta.namespace,
            uid=meta.uid,
            resource_version=meta.resource_version,
            creation_timestamp=meta.creation_timestamp,
        ),
        spec=ScaleSpec(replicas=obj.spec.replicas or 0),
        status=ScaleStatus(replicas=obj.status.replicas or 0, selector=selector or None),
    )


async def get(call: Call) -> Reply:
    version = call.params.get("resourceVersion", "")
    entry = await read.get(call.endpoint, call.registry.feed, call.ctx.namespace, call.ctx.name, version)
    return Reply(codec.encode(scale_of(call.endpoint.cache.decoder.decode(entry.json))), entry.revision)


async def put(call: Call) -> Reply:
    scale = decode.decode(call.body, Scale, call.ctx, call.validation, api_version=_API_VERSION, name="Scale")
    name = scale.metadata.name
    if name and name != call.ctx.name:
        raise errors.bad_request(
            f"the name of the object ({name}) does not match the name on the URL ({call.ctx.name})"
        )
    return await _write(call, lambda old, owners: (scale, _tracked(call, old, scale, owners)))


async def patch_(call: Call) -> Reply:
    if call.content_type == patch.APPLY:
        return await _apply(call)
    check_not_forced(call)
    document = patch.parse(call.content_type, call.body)

    def make(old: Scale, owners: Managed) -> tuple[Scale, Managed]:
        after = codec.from_dict(Scale, patch.apply_to(codec.to_dict(old), call.content_type, document, Scale))
        named = isinstance(document, dict) and "resourceVersion" in (document.get("metadata") or {})
        if not named:
            after.metadata.resource_version = None
        return after, _tracked(call, old, after, owners)

    return await _write(call, make)


async def _apply(call: Call) -> Reply:
    ctx = call.ctx
    applied = ownership.read_applied(ctx, call.body, call.validation)

    def make(old: Scale, owners: Managed) -> tuple[Scale, Managed]:
        live, now = codec.to_dict(old), api_time.now()
        document, owners = _OWNERS.apply(live, applied, owners, ctx.field_manager, now, force=call.force)
        after = codec.from_dict(Scale, document)
        if "resourceVersion" not in (applied.get("metadata") or {}):
            after.metadata.resource_version = None
        return after, owners

    return await _write(call, make)


def _tracked(call: Call, old: Scale, new: Scale, owners: Managed) -> Managed:
    """Who owns what of the Scale after an update; nothing is begun if nobody owns anything of it."""
    owners = dict(owners)
    if owners:
        before, after = codec.to_dict(old), codec.to_dict(new)
        _OWNERS.update(before, after, owners, call.ctx.field_manager, api_time.now())
    return owners


#: Makes the new Scale from the old one, with who owns what of each.
_Make = Callable[[Scale, Managed], tuple[Scale, Managed]]


async def _write(call: Call, make: _Make) -> Reply:
    ctx, endpoint = call.ctx, call.endpoint
    resource = endpoint.resource
    paths = {resource.api_version: _REPLICAS}

    async def transform(old: Any) -> Any:
        parents = entries.decode_or_nothing(old.metadata.managed_fields)
        scale, owners = make(scale_of(old), to_scale(parents, paths))
        _validate(ctx.name, scale)
        if scale.metadata.uid and scale.metadata.uid != old.metadata.uid:
            wanted, found = scale.metadata.uid, old.metadata.uid
            why = f"Precondition failed: UID in precondition: {wanted}, UID in object meta: {found}"
            raise errors.conflict(resource.group_resource, ctx.name, why)
        old.spec.replicas = scale.spec.replicas or 0
        old.metadata.resource_version = scale.metadata.resource_version
        old.metadata.managed_fields = entries.encode(to_parent(parents, owners, resource.api_version, paths))
        return old

    rules = resource_rules(endpoint.strategy)
    record = await update.update(endpoint, ctx, call.key, transform, rules, unconditional=True, track=False)
    return Reply(codec.encode(scale_of(endpoint.decode_stored(record))), record.revision)


def _validate(name: str, scale: Scale) -> None:
    replicas = scale.spec.replicas or 0
    if replicas < 0:
        cause = errors.FieldError.invalid("spec.replicas", replicas, "must be greater than or equal to 0")
        raise errors.invalid("Scale.autoscaling", name, [cause])


for _group, _plural in _WORKLOADS:
    handles(_group, _plural, "scale", "get")(get)
    handles(_group, _plural, "scale", "update")(put)
    handles(_group, _plural, "scale", "patch")(patch_)
