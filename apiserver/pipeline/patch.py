"""PATCH: from a patch document to the transform that `pipeline.update` runs.

A patch applies to the object as the client sees it (the served version), and the result goes through decoding,
field validation and defaulting like any body.
"""

from __future__ import annotations

from typing import Any

import msgspec

from api import codec, errors, fields
from api import patch as patches
from apiserver.endpoint import Endpoint
from apiserver.pipeline.decode import finish, report
from apiserver.pipeline.update import Transform
from apiserver.strategy import Context

JSON = "application/json-patch+json"
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
APPLY = "application/apply-patch+yaml"
ACCEPTED = (JSON, MERGE, STRATEGIC, APPLY)
#: Nothing but a schema tells how a custom resource merges.
ACCEPTED_CUSTOM = (JSON, MERGE, APPLY)


def parse(content_type: str, body: bytes) -> Any:
    """The patch as plain values. Raises StatusError 400, or 415 for another media type.

    An applied configuration is not parsed here but by `ownership.read_applied`.
    """
    if content_type not in (JSON, MERGE, STRATEGIC):
        raise errors.unsupported_media_type(ACCEPTED)
    try:
        return msgspec.json.decode(body)
    except msgspec.MsgspecError:
        raise errors.bad_request(f"error decoding patch: {fields.syntax_error(body)}") from None


def transform(endpoint: Endpoint, ctx: Context, content_type: str, patch: Any, validation: str) -> Transform:
    """Makes the patched object from the old one (JSON, merge and strategic merge patches)."""
    resource = endpoint.resource

    async def apply(old: Any) -> Any:
        document = codec.to_dict(endpoint.served(old))
        patched = apply_to(document, content_type, patch, resource.type)
        return from_document(endpoint, ctx, patched, validation, patch)

    return apply


def apply_to(document: dict[str, Any], content_type: str, patch: Any, kind: type[Any]) -> dict[str, Any]:
    """The patched document."""
    if content_type == JSON:
        return patches.json_patch(document, patch)
    if content_type == MERGE:
        return patches.merge_patch(document, patch)
    return patches.strategic_merge(document, patch, kind)


def from_document(endpoint: Endpoint, ctx: Context, document: dict[str, Any], validation: str, patch: Any) -> Any:
    """Decode a patched document as the stored type. Raises StatusError 400 if the patch made it another object."""
    resource = endpoint.resource
    if validation in ("Strict", "Warn"):
        found = fields.unknown_fields(document, resource.type)
        report(found, ctx, validation, resource.api_version, resource.kind)
    kind, version = document.get("kind"), document.get("apiVersion")
    if (kind and kind != resource.kind) or (version and version != resource.api_version):
        raise errors.bad_request(
            f"the patched object is a {version} {kind}, which does not match the request's "
            f"{resource.api_version} {resource.kind}"
        )
    served = codec.from_dict(resource.type, document)
    meta: Any = getattr(served, "metadata", None)
    if meta is not None and meta.name and meta.name != ctx.name:
        raise errors.bad_request(
            f"the name of the object ({meta.name}) does not match the name on the URL ({ctx.name})"
        )
    stored = finish(endpoint, served)
    if "resourceVersion" not in _metadata(patch):
        stored.metadata.resource_version = None
    return stored


def _metadata(patch: Any) -> Any:
    """Where a patch would name a resourceVersion; a JSON patch only tests it."""
    if isinstance(patch, dict) and isinstance(patch.get("metadata"), dict):
        return patch["metadata"]
    return ()
