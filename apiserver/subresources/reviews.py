"""Resources that are questions: access reviews, token reviews, self-subject reviews. Asked by POST, never stored."""

from __future__ import annotations

from api import codec, errors
from api.resources import RESOURCES
from apiserver.operations import Call, Reply, handles
from apiserver.pipeline import decode

_GROUPS = ("authentication.k8s.io", "authorization.k8s.io")


async def review(call: Call) -> Reply:
    """The question with its answer."""
    ctx, resource = call.ctx, call.ctx.resource
    asked = decode.decode(
        call.body, resource.type, ctx, call.validation, api_version=resource.api_version, name=resource.kind
    )
    asked.api_version, asked.kind = resource.api_version, resource.kind
    reviews = call.registry.services.reviews
    if reviews is None:
        raise errors.not_found(resource.group_resource, "")
    return Reply(codec.encode(await reviews.review(asked, ctx.user, ctx.namespace)), 0, 201)


for _resource in RESOURCES:
    if _resource.group in _GROUPS and _resource.verbs == ("create",):
        handles(_resource.group, _resource.plural, "", "create")(review)
