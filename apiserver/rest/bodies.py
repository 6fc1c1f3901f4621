"""Request bodies: size, media type, YAML."""

from __future__ import annotations

from typing import Any

import msgspec
import yaml
from aiohttp import web

from api import errors
from apiserver.documents import from_yaml
from apiserver.rest import protobuf

LIMIT = 3 * 1024 * 1024  # bytes, upstream's --max-request-body-bytes
_ACCEPTED = ("application/json", "application/yaml", protobuf.MEDIA_TYPE)


async def read(request: web.BaseRequest) -> bytes:
    """The raw body. Raises StatusError 413."""
    try:
        return await request.read()
    except web.HTTPRequestEntityTooLarge:
        raise errors.too_large(f"limit is {LIMIT}") from None


async def read_object(request: web.BaseRequest) -> bytes:
    """The body as JSON. Raises StatusError 400, 413 or 415."""
    content_type = request.headers.get("Content-Type", "")
    kind = content_type.partition(";")[0].strip().lower()
    if kind in ("application/json", "", "application/octet-stream"):
        return await read(request)
    if kind in ("application/yaml", "application/x-yaml", "text/yaml"):
        return from_yaml(await read(request))
    if kind == protobuf.MEDIA_TYPE:
        return protobuf.to_json(await read(request))
    raise errors.unsupported_media_type(_ACCEPTED)


def to_yaml(json: bytes) -> bytes:
    """YAML of a JSON document, keys sorted as upstream's."""
    dumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    text: str = yaml.dump(
        msgspec.json.decode(json), Dumper=dumper, default_flow_style=False, sort_keys=True, width=2**16
    )
    return text.encode()
