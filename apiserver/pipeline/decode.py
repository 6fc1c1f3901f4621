"""From a request's body to a defaulted object of the stored type."""

from __future__ import annotations

from typing import Any

import msgspec

from api import codec, errors, fields
from api.canonical import canonicalize
from apiserver.endpoint import Endpoint
from apiserver.strategy import Context


class _Envelope(msgspec.Struct):
    api_version: str | None = msgspec.field(default=None, name="apiVersion")
    kind: str | None = None


_envelope = msgspec.json.Decoder(_Envelope)


def decode(
    data: bytes, kind: type[Any], ctx: Context, validation: str, *, api_version: str, name: str, older: str = ""
) -> Any:
    """Decode a body that is to be of `kind`, reporting unknown fields as `validation` asks ("" reports nothing).

    `older` is another apiVersion under which the same document is accepted. Raises StatusError 400 for another kind or
    version, a malformed document, or unknown fields under Strict.
    """
    check_kind(data, api_version, name, older)
    if validation not in ("Strict", "Warn"):
        return codec.decode(data, kind)
    obj, found = codec.decode_reporting(data, kind)
    report(found, ctx, validation, api_version, name)
    return obj


def check_kind(data: bytes, api_version: str, kind: str, older: str = "") -> None:
    """The body may leave out apiVersion and kind; what it says has to be right."""
    try:
        envelope = _envelope.decode(data)
    except msgspec.MsgspecError:
        return  # decoding proper has the better words for it
    version = api_version if older and envelope.api_version == older else envelope.api_version
    if envelope.kind and envelope.kind != kind:
        shown = version or api_version
        if version and version != api_version:
            raise errors.bad_request(
                f"the API version in the data ({version}) does not match the expected API version ({api_version})"
            )
        raise errors.bad_request(
            f'{envelope.kind} in version "{shown.rpartition("/")[2]}" cannot be handled as a {kind}: '
            f"the object provided is of another kind"
        )
    if version and version != api_version:
        raise errors.bad_request(
            f"the API version in the data ({version}) does not match the expected API version ({api_version})"
        )


def report(found: list[str], ctx: Context, validation: str, api_version: str, kind: str) -> None:
    """Unknown and duplicate fields: an error under Strict, warnings under Warn."""
    if not found:
        return
    if validation == "Strict":
        version = api_version.rpartition("/")[2]
        raise errors.bad_request(
            f'{kind} in version "{version}" cannot be handled as a {kind}: {fields.strict_decoding_error(found)}'
        )
    for message in found:
        ctx.warn(message)


def decode_body(endpoint: Endpoint, ctx: Context, data: bytes, validation: str) -> Any:
    """The body of a create or an update, as the stored type, with defaults."""
    resource = endpoint.resource
    obj = decode(data, resource.type, ctx, validation, api_version=resource.api_version, name=resource.kind)
    return finish(endpoint, obj)


def finish(endpoint: Endpoint, obj: Any) -> Any:
    """Pin apiVersion and kind, make values canonical, convert to the stored type and set defaults."""
    obj.api_version, obj.kind = endpoint.resource.api_version, endpoint.resource.kind
    canonicalize(obj)
    stored = endpoint.to_stored(obj)
    try:
        endpoint.strategy.default(stored)
    except ValueError as error:  # a value that only defaulting looks into, such as an empty quantity
        head = {"apiVersion": obj.api_version, "kind": obj.kind}
        raise errors.bad_request(fields.cannot_be_handled(head, endpoint.resource.type, str(error))) from None
    return stored
