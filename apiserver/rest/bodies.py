"""Request bodies: size, media type, YAML, protobuf."""

from __future__ import annotations

from typing import Any

import msgspec
import yaml
from aiohttp import web

from api import errors
from api import protobuf as wire
from apiserver.documents import from_yaml

LIMIT = 3 * 1024 * 1024  # bytes, upstream's --max-request-body-bytes
_ACCEPTED = ("application/json", "application/yaml", wire.MEDIA_TYPE)
_SHOWN = 30  # bytes of what was not recognized
_CUSTOM = (
    "object *unstructured.Unstructured does not implement the protobuf marshalling interface and cannot be encoded to "
    "a protobuf message"
)


async def read(request: web.BaseRequest) -> bytes:
    """The raw body. Raises StatusError 413."""
    try:
        return await request.read()
    except web.HTTPRequestEntityTooLarge:
        raise errors.too_large(f"limit is {LIMIT}") from None


async def read_object(request: web.BaseRequest, api_version: str, kind: str, *, needed: bool = True) -> bytes:
    """The body as JSON; it is meant to be an object of this kind. One that is not `needed` may be empty.

    Raises StatusError 400, 413 or 415.
    """
    content_type = request.headers.get("Content-Type", "")
    media = content_type.partition(";")[0].strip().lower()
    if media in ("application/json", "", "application/octet-stream"):
        return await read(request)
    if media in ("application/yaml", "application/x-yaml", "text/yaml"):
        return from_yaml(await read(request))
    if media == wire.MEDIA_TYPE:
        body = await read(request)
        return _from_protobuf(body, api_version, kind) if body or needed else body
    raise errors.unsupported_media_type(_ACCEPTED)


def _from_protobuf(body: bytes, api_version: str, kind: str) -> bytes:
    from api.protobuf import envelope

    try:
        return envelope.to_json(body, api_version, kind)
    except envelope.UnknownKind as error:
        if (error.api_version, error.kind) != (api_version, kind):
            raise errors.bad_request(str(error)) from None
        version = api_version.rpartition("/")[2]
        raise errors.bad_request(f'{kind} in version "{version}" cannot be handled as a {kind}: {_CUSTOM}') from None
    except envelope.Unrecognized as error:
        shown = body[:_SHOWN].hex() + (" ..." if len(body) > _SHOWN else "") if body else "<empty>"
        message = f"the object provided is unrecognized (must be of type {kind}): {error} ({shown})"
        raise errors.bad_request(message) from None
    except envelope.Malformed as error:
        raise errors.bad_request(str(error)) from None


def to_yaml(json: bytes) -> bytes:
    """YAML of a JSON document, keys sorted as upstream's."""
    dumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    text: str = yaml.dump(
        msgspec.json.decode(json), Dumper=dumper, default_flow_style=False, sort_keys=True, width=2**16
    )
    return text.encode()
