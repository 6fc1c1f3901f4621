"""`scale`: how many replicas there are and shall be, the same for every workload that has them."""

from __future__ import annotations

from typing import Any

from api import codec, errors
from api.selectors import selector_from
from api.types.autoscaling_v1 import Scale, ScaleSpec, ScaleStatus
from api.types.meta_v1 import ObjectMeta
from apiserver.operations import Call, Reply, handles
from apiserver.pipeline import decode, patch, read, update
from apiserver.pipeline.update import resource_rules

_WORKLOADS = (
    ("apps", "deployments"),
    ("apps", "replicasets"),
    ("apps", "statefulsets"),
    ("", "replicationcontrollers"),
)
_API_VERSION = "autoscaling/v1"


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
    return await _write(call, lambda old: scale)


async def patch_(call: Call) -> Reply:
    document = patch.parse(call.content_type, call.body)
    kind = patch.MERGE if call.content_type == patch.APPLY else call.content_type

    def make(old: Any) -> Scale:
        before = codec.to_dict(scale_of(old))
        after = codec.from_dict(Scale, patch.apply_to(before, kind, document, Scale))
        named = isinstance(document, dict) and "resourceVersion" in (document.get("metadata") or {})
        if not named:
            after.metadata.resource_version = None
        return after

    return await _write(call, make)


async def _write(call: Call, make: Any) -> Reply:
    ctx, endpoint = call.ctx, call.endpoint

    async def transform(old: Any) -> Any:
        scale: Scale = make(old)
        _validate(ctx.name, scale)
        if scale.metadata.uid and scale.metadata.uid != old.metadata.uid:
            wanted, found = scale.metadata.uid, old.metadata.uid
            why = f"Precondition failed: UID in precondition: {wanted}, UID in object meta: {found}"
            raise errors.conflict(endpoint.resource.group_resource, ctx.name, why)
        old.spec.replicas = scale.spec.replicas or 0
        old.metadata.resource_version = scale.metadata.resource_version
        return old

    rules = resource_rules(endpoint.strategy)
    record = await update.update(endpoint, ctx, call.key, transform, rules, unconditional=True)
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
