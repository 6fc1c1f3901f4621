"""Field validation: unknown and duplicate fields and wrong types, reported with upstream's words and paths.

Everything here walks raw JSON beside a type's `api.schema` node. It is the slow path of decoding: a flawless document
is never walked.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, cast

import msgspec

from api.quantity import FORMAT_WRONG
from api.schema import ANY, Node, struct_node
from api.types.meta_v1 import ObjectMeta
from api.unstructured import is_unstructured

_GO_KIND = {str: "string", bool: "bool", int: "number", float: "number", dict: "object", list: "array"}


class _Duplicates(dict[str, Any]):
    """A JSON object that remembers which of its keys came more than once."""

    repeated: tuple[str, ...] = ()


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = _Duplicates(pairs)
    if len(made) != len(pairs):
        seen: set[str] = set()
        made.repeated = tuple(dict.fromkeys(k for k, _ in pairs if k in seen or seen.add(k)))  # type: ignore[func-returns-value]
    return made


def text(data: bytes | str) -> str:
    """The document as text, for messages."""
    return data if isinstance(data, str) else bytes(data).decode("utf-8", "replace")


def parse(data: bytes | str) -> Any:
    """Raw JSON values. Raises msgspec.DecodeError."""
    return msgspec.json.decode(data)


def syntax_error(data: bytes | str) -> str:
    """Why a document is not JSON, in the words of Go's parser for the cases people meet."""
    content = text(data)
    if not content.strip():
        return "unexpected end of JSON input"
    try:
        json.loads(content)
    except json.JSONDecodeError as error:
        if error.pos >= len(content.rstrip()) or error.msg.startswith("Unterminated"):
            return "unexpected end of JSON input"
        return f"invalid character {_go_char(content[error.pos])} looking for beginning of value"
    except (RecursionError, ValueError):
        pass
    return "the document is not valid JSON"


def _go_char(char: str) -> str:
    return {"'": "'\\''", '"': "'\"'"}.get(char, f"'{char}'")


def cannot_be_handled(value: Any, kind: type[Any], message: str) -> str:
    """Upstream's sentence around a decoding error."""
    given = value if isinstance(value, dict) else {}
    version = str(given.get("apiVersion") or getattr(kind(), "api_version", "v1"))
    name = str(given.get("kind") or kind.__name__)
    return f'{name} in version "{version.rsplit("/", 1)[-1]}" cannot be handled as a {kind.__name__}: {message}'


def type_error(value: Any, node: Node) -> str:
    """The first value that doesn't fit the type, as Go's JSON decoder says it, or "" if there is none."""
    return next(_type_errors(value, node, node, (), ""), "")


def _type_errors(value: Any, node: Node, owner: Node, path: tuple[str, ...], owner_name: str) -> Iterator[str]:
    if value is None or node.kind == "any":
        return
    if node.kind == "scalar":
        yield from _scalar_errors(value, node, path, owner_name)
    elif node.kind == "list" and isinstance(value, list):
        assert node.element is not None
        for item in value:
            yield from _type_errors(item, node.element, owner, path, owner_name)
    elif node.kind == "map" and isinstance(value, dict):
        assert node.element is not None
        for key, item in value.items():
            yield from _type_errors(item, node.element, owner, (*path, key), owner_name)
    elif node.kind == "struct" and isinstance(value, dict):
        name = node.go.split(".", 1)[1]
        for key, item in value.items():
            if entry := node.fields.get(key):
                yield from _type_errors(item, entry.node, node, (*path, key), name)
    else:
        yield _cannot_unmarshal(_GO_KIND[_base(value)], node.go, path, owner_name)


def _base(value: Any) -> type[Any]:
    return next(kind for kind in (bool, str, int, float, dict, list) if isinstance(value, kind))


def _scalar_errors(value: Any, node: Node, path: tuple[str, ...], owner_name: str) -> Iterator[str]:
    kind = _GO_KIND[_base(value)]
    match node.format:
        case "quantity":
            if kind not in ("string", "number"):
                yield FORMAT_WRONG
        case "int-or-string":
            if kind not in ("string", "number") or isinstance(value, float):
                yield f"json: cannot unmarshal {_literal(kind, value)} into Go value of type int32"
        case "date-time" | "micro-time":
            if kind != "string":
                yield f"json: cannot unmarshal {kind} into Go value of type string"
        case "int32" | "int64":
            bits = 31 if node.format == "int32" else 63
            fits = kind == "number" and float(value).is_integer() and -(2**bits) <= value < 2**bits
            if not fits:
                yield _cannot_unmarshal(_literal(kind, value), node.go, path, owner_name)
        case "float64":
            if kind != "number":
                yield _cannot_unmarshal(kind, node.go, path, owner_name)
        case "byte":
            if kind != "string":
                yield _cannot_unmarshal(kind, node.go, path, owner_name)
        case expected:
            if kind != expected:
                yield _cannot_unmarshal(kind, node.go, path, owner_name)


def _literal(kind: str, value: Any) -> str:
    return f"number {msgspec.json.encode(value).decode()}" if kind == "number" else kind


def _cannot_unmarshal(what: str, go: str, path: tuple[str, ...], owner_name: str) -> str:
    if not path:
        return f"json: cannot unmarshal {what} into Go value of type {go}"
    return f"json: cannot unmarshal {what} into Go struct field {owner_name}.{'.'.join(path)} of type {go}"


_ZERO = {"string": "", "bool": False, "int32": 0, "int64": 0, "float64": 0.0, "quantity": "0", "int-or-string": 0}


def known(value: Any, node: Node) -> Any:
    """The part of a raw value that the type knows; nulls are left out, or zero where they can't be."""
    if node.kind == "struct" and isinstance(value, dict):
        return {
            key: known(item, entry.node)
            for key, item in value.items()
            if (entry := node.fields.get(key)) and (item is not None or entry.node is ANY)
        }
    if node.kind in ("list", "map"):
        assert node.element is not None
        if isinstance(value, list):
            return [known(_zero(node.element) if item is None else item, node.element) for item in value]
        if isinstance(value, dict):
            return {k: known(_zero(node.element) if v is None else v, node.element) for k, v in value.items()}
    if node.format in ("int32", "int64") and isinstance(value, float):
        return int(value)
    if node.format == "raw" and not isinstance(value, msgspec.Raw):
        return msgspec.Raw(msgspec.json.encode(value))
    return value


def _zero(node: Node) -> Any:
    if node.kind == "scalar":
        return _ZERO.get(node.format, "")
    return {"struct": {}, "map": {}, "list": []}.get(node.kind)


def strict_errors(data: bytes | str, kind: type[Any]) -> list[str]:
    """The unknown and duplicate fields of a document: `unknown field "spec.containers[0].imagee"`.

    Empty for a document that has none, and for one that can't be decoded at all.
    """
    try:
        value = json.loads(text(data), object_pairs_hook=_pairs)
    except ValueError:
        return []
    # Upstream's decoder reports each of them once, unknown fields in the order it meets them.
    return list(dict.fromkeys(_strict_document(value, kind)))


def unknown_fields(value: Any, kind: type[Any]) -> list[str]:
    """The same for values that are already parsed (from YAML or out of a patch): unknown fields only."""
    return list(dict.fromkeys(_strict_document(value, kind)))


def _strict_document(value: Any, kind: type[Any]) -> Iterator[str]:
    if not is_unstructured(kind):
        yield from _strict(value, struct_node(cast("type[msgspec.Struct]", kind)), "")
        return
    if not isinstance(value, dict):
        return
    # Whatever the schema prunes is unknown; what it does not describe may still be there twice.
    yield from _strict(value, _ANYTHING, "")
    yield from _strict(value.get("metadata"), struct_node(ObjectMeta), "metadata")
    if kind.shape is not None:
        yield from (f'unknown field "{path}"' for path in kind.shape.unknown(value))


_ANYTHING = Node("map", "map[string]interface {}")
_ANYTHING.element = _ANYTHING


def strict_decoding_error(found: list[str]) -> str:
    """The error that fieldValidation=Strict answers with."""
    return "strict decoding error: " + ", ".join(found)


def may_have_duplicates(data: bytes | str) -> bool:
    """Whether a key may be repeated somewhere: False is certain.

    A repeated key is one that plain decoding loses, so what looks like keys is counted before and after.
    """
    raw = data if isinstance(data, bytes) else data.encode()
    plain = msgspec.json.encode(msgspec.json.decode(raw))
    return raw.count(b'":') != plain.count(b'":')


def _strict(value: Any, node: Node, path: str) -> Iterator[str]:
    if isinstance(value, list):
        if node.kind == "list":
            assert node.element is not None
            for index, item in enumerate(value):
                yield from _strict(item, node.element, f"{path}[{index}]")
        return
    if not isinstance(value, dict) or node.kind == "any":
        return
    repeated = getattr(value, "repeated", ())
    for key, item in value.items():
        child = f"{path}.{key}" if path else key
        if key in repeated:
            yield f'duplicate field "{child}"'
        if node.kind == "struct":
            if entry := node.fields.get(key):
                yield from _strict(item, entry.node, child)
            else:
                yield f'unknown field "{child}"'
        elif node.kind == "map":
            assert node.element is not None
            yield from _strict(item, node.element, child)
