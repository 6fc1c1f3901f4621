"""Objects to JSON and back.

Decoding is lenient as Go's is: unknown fields are dropped, null means absent. That is the slow path; a document
without either, which is nearly every one, is decoded by msgspec alone. `api.fields` reports what is dropped here.
"""

from __future__ import annotations

import copy
import weakref
from typing import Any, TypeVar

import msgspec

from api import errors, fields, unstructured
from api.resources import find_kind
from api.schema import struct_node
from api.unstructured import Unstructured

T = TypeVar("T")
S = TypeVar("S")

_encoder = msgspec.json.Encoder(enc_hook=unstructured.enc_hook)


class _Envelope(msgspec.Struct):
    api_version: str = msgspec.field(default="", name="apiVersion")
    kind: str = ""


_envelope = msgspec.json.Decoder(_Envelope)


_decoders: weakref.WeakKeyDictionary[type[Any], msgspec.json.Decoder[Any]] = weakref.WeakKeyDictionary()


def decoder(kind: type[T]) -> msgspec.json.Decoder[T]:
    """A decoder that takes documents without unknown fields and nulls only, unless the kind is a custom one."""
    return msgspec.json.Decoder(kind, dec_hook=unstructured.dec_hook)


def _decoder(kind: type[T]) -> msgspec.json.Decoder[T]:
    found = _decoders.get(kind)
    if found is None:
        found = _decoders[kind] = decoder(kind)
    return found


def encode(obj: Any) -> bytes:
    """JSON, compact."""
    return _encoder.encode(obj)


def decode(data: bytes | str, kind: type[T]) -> T:
    """An object of a type from its JSON.

    Raises StatusError (400 BadRequest) in upstream's words if the document is not JSON or a value has the wrong type.
    """
    try:
        return _decoder(kind).decode(data)
    except msgspec.ValidationError as error:
        if unstructured.is_unstructured(kind):
            raise errors.bad_request(f"couldn't get version/kind; json parse error: {error}") from None
        try:
            values = fields.parse(data)
        except msgspec.DecodeError:  # the wrong value stood before what is no JSON at all
            raise errors.bad_request(fields.syntax_error(data)) from None
        return _lenient(values, kind, error)
    except msgspec.DecodeError:
        raise errors.bad_request(fields.syntax_error(data)) from None


def decode_reporting(data: bytes | str, kind: type[S]) -> tuple[S, list[str]]:
    """`decode`, and what fieldValidation=Strict or Warn has to report: unknown and duplicate fields."""
    if issubclass(kind, Unstructured):
        return decode(data, kind), fields.strict_errors(data, kind)
    try:
        obj = _decoder(kind).decode(data)
        if fields.may_have_duplicates(data):
            return obj, fields.strict_errors(data, kind)
        return obj, []
    except msgspec.MsgspecError:
        return decode(data, kind), fields.strict_errors(data, kind)


def decode_any(data: bytes | str) -> Any:
    """A built-in object by its apiVersion and kind. Raises StatusError (400) if they name no known kind."""
    try:
        envelope = _envelope.decode(data)
    except msgspec.ValidationError:
        raise errors.bad_request("couldn't get version/kind; json parse error: the document is not an object") from None
    except msgspec.DecodeError:
        raise errors.bad_request(fields.syntax_error(data)) from None
    resource = find_kind(envelope.api_version, envelope.kind)
    if not envelope.kind:
        raise errors.bad_request(f"Object 'Kind' is missing in '{fields.text(data)}'")
    if resource is None:
        group_version = envelope.api_version
        raise errors.bad_request(f'no kind "{envelope.kind}" is registered for version "{group_version}"')
    return decode(data, resource.type)


def to_dict(obj: Any) -> dict[str, Any]:
    """The object as plain JSON values, nothing shared with it but scalars and free-form values."""
    if isinstance(obj, Unstructured):
        return copy.deepcopy(obj.document())
    converted: dict[str, Any] = msgspec.to_builtins(obj, enc_hook=_plain)
    return converted


def _plain(raw: Any) -> Any:
    if isinstance(raw, msgspec.Raw):
        return msgspec.json.decode(raw) if bytes(raw) else None
    raise NotImplementedError(f"{type(raw).__name__} is no JSON")


def _raw(value: Any) -> Any:
    """An object or its metadata with the sets of managedFields as text again, as the types have them."""
    if isinstance(value, dict) and isinstance(metadata := value.get("metadata"), dict):
        kept = _raw(metadata)
        return value if kept is metadata else {**value, "metadata": kept}
    entries = value.get("managedFields") if isinstance(value, dict) else None
    if not entries or not isinstance(entries, list):
        return value
    kept = []
    for entry in entries:
        if isinstance(entry, dict) and isinstance(fields := entry.get("fieldsV1"), dict):
            entry = {**entry, "fieldsV1": msgspec.Raw(msgspec.json.encode(fields))}
        kept.append(entry)
    return {**value, "managedFields": kept}


def from_dict(kind: type[T], value: dict[str, Any]) -> T:
    """An object from plain JSON values; the same leniency and errors as `decode`."""
    if unstructured.is_unstructured(kind):
        return kind.build(copy.deepcopy(value))  # type: ignore[attr-defined, no-any-return]
    try:
        return msgspec.convert(_raw(value), kind)
    except msgspec.ValidationError as error:
        return _lenient(value, kind, error)


def deepcopy(obj: T) -> T:
    """An independent copy. Through JSON: for a Pod that is ten times as fast as `copy.deepcopy`."""
    return _decoder(type(obj)).decode(_encoder.encode(obj))


def _lenient(value: Any, kind: type[T], error: msgspec.ValidationError) -> T:
    if not (isinstance(kind, type) and issubclass(kind, msgspec.Struct)):
        raise errors.bad_request(str(error)) from None
    node = struct_node(kind)
    if message := fields.type_error(value, node):
        raise errors.bad_request(fields.cannot_be_handled(value, kind, message)) from None
    try:
        converted: T = msgspec.convert(fields.known(value, node), kind)
    except msgspec.ValidationError as unexplained:
        raise errors.bad_request(fields.cannot_be_handled(value, kind, str(unexplained))) from None
    return converted
