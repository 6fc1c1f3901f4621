"""Request bodies: size, media type, YAML."""

from __future__ import annotations

from typing import Any

import msgspec
import yaml
from aiohttp import web

from api import errors
from apiserver.rest import protobuf

LIMIT = 3 * 1024 * 1024  # bytes, upstream's --max-request-body-bytes
_ACCEPTED = ("application/json", "application/yaml", protobuf.MEDIA_TYPE)

_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_Base):  # type: ignore[misc]
    """YAML as JSON knows it: a date is a string."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, regexp) for tag, regexp in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in _Base.yaml_implicit_resolvers.items()
}


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


def from_yaml(body: bytes) -> bytes:
    """JSON of a YAML document. Raises StatusError 400."""
    try:
        return msgspec.json.encode(yaml.load(body, Loader=_Loader))
    except yaml.YAMLError as error:
        raise errors.bad_request(f"error converting YAML to JSON: yaml: {error}") from None
    except (TypeError, ValueError) as error:
        raise errors.bad_request(f"error converting YAML to JSON: {error}") from None


def to_yaml(json: bytes) -> bytes:
    """YAML of a JSON document, keys sorted as upstream's."""
    dumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    text: str = yaml.dump(
        msgspec.json.decode(json), Dumper=dumper, default_flow_style=False, sort_keys=True, width=2**16
    )
    return text.encode()
