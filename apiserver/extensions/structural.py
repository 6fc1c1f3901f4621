"""What a schema has to be, so that values can be pruned, defaulted and merged by it: structural.

Source: apiextensions-apiserver's schema validation ("Specifying a structural schema" in the documentation).
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from typing import Any

from api.errors import FieldError, Path
from apiserver.cel import CompileError
from apiserver.extensions.rules import Rule
from apiserver.extensions.schema import Schema, prune
from apiserver.extensions.validate import pattern, validate_value

_TYPES = ("array", "boolean", "integer", "number", "object", "string")
_UNSUPPORTED = {
    "$ref": "$ref is not supported",
    "definitions": "definitions is not supported",
    "dependencies": "dependencies is not supported",
    "patternProperties": "patternProperties is not supported",
    "id": "id is not supported",
    "additionalItems": "additionalItems is not supported",
}
_JUNCTORS = ("allOf", "anyOf", "oneOf")
_NOT_IN_JUNCTORS = {
    "type": "must be empty to be structural",
    "title": "must be empty to be structural",
    "description": "must be empty to be structural",
    "default": "must be undefined to be structural",
    "nullable": "must be false to be structural",
    "additionalProperties": "must be undefined to be structural",
    "x-kubernetes-preserve-unknown-fields": "must be false to be structural",
    "x-kubernetes-embedded-resource": "must be false to be structural",
    "x-kubernetes-int-or-string": "must be false to be structural",
    "x-kubernetes-list-map-keys": "must be empty to be structural",
    "x-kubernetes-list-type": "must be undefined to be structural",
    "x-kubernetes-map-type": "must be undefined to be structural",
}
_REASONS = ("FieldValueRequired", "FieldValueForbidden", "FieldValueInvalid", "FieldValueDuplicate")


def validate_schema(raw: dict[str, Any], path: Path) -> list[FieldError]:
    """Of a version's whole schema."""
    errors = list(_place(raw, path, root=True))
    if not errors:
        errors += _defaults(Schema(raw), path)
    if not errors:
        errors += _rules(Schema(raw), path)
    return errors


def _empty(value: Any) -> bool:
    return value is None or value == "" or value is False or value == [] or value == {}


def _place(raw: dict[str, Any], path: Path, *, root: bool = False, what: str = "root") -> Iterator[FieldError]:
    yield from _forbidden(raw, path)
    kind = raw.get("type")
    loose = raw.get("x-kubernetes-int-or-string") or raw.get("x-kubernetes-preserve-unknown-fields")
    if not kind:
        if root:
            yield FieldError.required(path.child("type"), "must not be empty at the root")
        elif not loose:
            yield FieldError.required(path.child("type"), f"must not be empty for specified {what}")
    elif root and kind != "object":
        yield FieldError.invalid(path.child("type"), kind, "must be object at the root")
    elif kind not in _TYPES:
        yield FieldError.not_supported(path.child("type"), kind, _TYPES)
    yield from _extensions(raw, path)
    properties, extra, items = raw.get("properties") or {}, raw.get("additionalProperties"), raw.get("items")
    if properties and extra is not None:
        yield FieldError.forbidden(
            path.child("additionalProperties"), "additionalProperties and properties are mutual exclusive"
        )
    for name, below in properties.items():
        at = path.child("properties").key(name)
        if (root or raw.get("x-kubernetes-embedded-resource")) and name == "metadata":
            yield from _metadata(below, at)
            continue
        yield from _place(below, at, what="object fields")
    if isinstance(extra, dict):
        yield from _place(extra, path.child("additionalProperties"), what="additionalProperties")
    elif extra is False:
        yield FieldError.forbidden(path.child("additionalProperties"), "additionalProperties cannot be set to false")
    if isinstance(items, list):
        yield FieldError.forbidden(path.child("items"), "items must be a schema object and not an array")
    elif isinstance(items, dict):
        yield from _place(items, path.child("items"), what="array items")
    elif kind == "array":
        yield FieldError.required(path.child("items"), "must be specified")
    for name in _JUNCTORS:
        for index, option in enumerate(raw.get(name) or ()):
            yield from _junctor(option, raw, path.child(name).index(index))
    if isinstance(option := raw.get("not"), dict):
        yield from _junctor(option, raw, path.child("not"))
    if text := raw.get("pattern"):
        try:
            pattern(text)
        except re.error as error:
            detail = f"must be a valid regular expression, but isn't: {error}"
            yield FieldError.invalid(path.child("pattern"), text, detail)


def _forbidden(raw: dict[str, Any], path: Path) -> Iterator[FieldError]:
    for name, words in _UNSUPPORTED.items():
        if not _empty(raw.get(name)):
            yield FieldError.forbidden(path.child(name), words)
    if raw.get("uniqueItems"):
        words = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic"
        yield FieldError.forbidden(path.child("uniqueItems"), words)
    if raw.get("type") == "null":
        yield FieldError.forbidden(path.child("type"), "type cannot be set to null, use nullable as an alternative")


def _metadata(raw: dict[str, Any], path: Path) -> Iterator[FieldError]:
    if raw.get("type") not in (None, "", "object"):
        yield FieldError.invalid(path.child("type"), raw["type"], "must be object")
    if set(raw.get("properties") or ()) - {"name", "generateName"} or raw.get("additionalProperties") is not None:
        words = "must not specify anything other than name and generateName, but metadata is implicitly specified"
        yield FieldError.forbidden(path, words)


def _extensions(raw: dict[str, Any], path: Path) -> Iterator[FieldError]:
    kind, properties = raw.get("type"), raw.get("properties") or {}
    if raw.get("x-kubernetes-preserve-unknown-fields") is False:
        yield FieldError.invalid(path.child("x-kubernetes-preserve-unknown-fields"), False, "must be true or undefined")
    if raw.get("x-kubernetes-int-or-string") and kind:
        words = "must be empty if x-kubernetes-int-or-string is true"
        yield FieldError.invalid(path.child("type"), kind, words)
    if raw.get("x-kubernetes-embedded-resource"):
        if kind != "object":
            words = "must be object if x-kubernetes-embedded-resource is true"
            yield FieldError.invalid(path.child("type"), kind or "", words)
        if not properties and not raw.get("x-kubernetes-preserve-unknown-fields"):
            words = (
                "must not be empty if x-kubernetes-embedded-resource is true without "
                "x-kubernetes-preserve-unknown-fields"
            )
            yield FieldError.required(path.child("properties"), words)
    if (map_type := raw.get("x-kubernetes-map-type")) is not None:
        if kind != "object":
            words = f"must be object if x-kubernetes-map-type is specified as {map_type}"
            yield (
                FieldError.invalid(path.child("type"), kind or "", words)
                if kind
                else FieldError.required(path.child("type"), words)
            )
        if map_type not in ("atomic", "granular"):
            yield FieldError.not_supported(path.child("x-kubernetes-map-type"), map_type, ("atomic", "granular"))
    list_type, keys = raw.get("x-kubernetes-list-type"), raw.get("x-kubernetes-list-map-keys")
    if list_type is not None:
        if kind != "array":
            words = f"must be array if x-kubernetes-list-type is specified as {list_type}"
            if kind:
                yield FieldError.invalid(path.child("type"), kind, words)
            else:
                yield FieldError.required(path.child("type"), words)
        if list_type not in ("atomic", "set", "map"):
            yield FieldError.not_supported(path.child("x-kubernetes-list-type"), list_type, ("atomic", "map", "set"))
    if keys and list_type != "map":
        at = path.child("x-kubernetes-list-type")
        words = "must be map if x-kubernetes-list-map-keys is non-empty"
        yield FieldError.required(at, words) if list_type is None else FieldError.invalid(at, list_type, words)
    if list_type == "map":
        yield from _list_keys(raw, keys or [], path)
    elif list_type == "set" and isinstance(items := raw.get("items"), dict):
        yield from _set_items(items, path.child("items"))


def _list_keys(raw: dict[str, Any], keys: list[str], path: Path) -> Iterator[FieldError]:
    at = path.child("x-kubernetes-list-map-keys")
    items = raw.get("items")
    if not keys:
        yield FieldError.required(at, "must not be empty if x-kubernetes-list-type is map")
    if not isinstance(items, dict):
        yield FieldError.required(path.child("items"), "must have a schema if x-kubernetes-list-type is map")
        return
    if items.get("type") != "object":
        words = "must be object if parent array's x-kubernetes-list-type is map"
        yield FieldError.invalid(path.child("items").child("type"), items.get("type") or "", words)
    if items.get("nullable"):
        words = "cannot be nullable when x-kubernetes-list-type is map"
        yield FieldError.forbidden(path.child("items").child("nullable"), words)
    properties, required = items.get("properties") or {}, items.get("required") or []
    for index, key in enumerate(keys):
        if key in keys[:index]:
            yield FieldError.duplicate(at.index(index), key)
        if key not in properties:
            words = "entries must all be names of item properties"
            yield FieldError.invalid(at.index(index), key, words)
            continue
        where = path.child("items").child("properties").key(key)
        if properties[key].get("type") in ("array", "object"):
            words = "must be a scalar type if parent array's x-kubernetes-list-type is map"
            yield FieldError.invalid(where.child("type"), properties[key]["type"], words)
        if key not in required and properties[key].get("default") is None:
            words = (
                "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property"
            )
            yield FieldError.required(where.child("default"), words)


def _set_items(items: dict[str, Any], path: Path) -> Iterator[FieldError]:
    if items.get("nullable"):
        words = "cannot be nullable when x-kubernetes-list-type is set"
        yield FieldError.forbidden(path.child("nullable"), words)
    kind = items.get("type")
    if kind == "object" and items.get("x-kubernetes-map-type") != "atomic":
        words = "must be atomic as item of a list with x-kubernetes-list-type=set"
        yield FieldError.invalid(path.child("x-kubernetes-map-type"), items.get("x-kubernetes-map-type"), words)
    if kind == "array" and items.get("x-kubernetes-list-type") not in (None, "atomic"):
        words = "must be atomic as item of a list with x-kubernetes-list-type=set"
        yield FieldError.invalid(path.child("x-kubernetes-list-type"), items.get("x-kubernetes-list-type"), words)


def _junctor(raw: dict[str, Any], outside: dict[str, Any], path: Path) -> Iterator[FieldError]:
    allowed = bool(outside.get("x-kubernetes-int-or-string"))
    for name, words in _NOT_IN_JUNCTORS.items():
        if not _empty(raw.get(name)) and not (name == "type" and allowed):
            yield FieldError.forbidden(path.child(name), words)
    known = outside.get("properties") or {}
    for name, below in (raw.get("properties") or {}).items():
        at = path.child("properties").key(name)
        if name not in known and not outside.get("additionalProperties"):
            outer = str(path)
            yield FieldError.required(
                re.sub(r"\.(allOf|anyOf|oneOf)\[\d+\].*$|\.not.*$", "", outer) + f".properties[{name}]",
                f"because it is defined in {at}",
            )
        else:
            found = known.get(name)
            yield from _junctor(below, found if isinstance(found, dict) else {"additionalProperties": True}, at)
    items = raw.get("items")
    if isinstance(items, dict):
        outer_items = outside.get("items")
        yield from _junctor(items, outer_items if isinstance(outer_items, dict) else {}, path.child("items"))
    for name in _JUNCTORS:
        for index, option in enumerate(raw.get(name) or ()):
            yield from _junctor(option, outside, path.child(name).index(index))
    if isinstance(option := raw.get("not"), dict):
        yield from _junctor(option, outside, path.child("not"))


def _defaults(schema: Schema, path: Path) -> Iterator[FieldError]:
    """A default has to be what validation would let through, and nothing that pruning takes away."""
    if schema.has_default:
        at = path.child("default")
        pruned = copy.deepcopy(schema.default)
        prune(pruned, schema, root=False)
        if pruned != schema.default:
            yield FieldError.invalid(at, schema.default, "must not have unknown fields")
        yield from validate_value(schema.default, schema, str(at))
    for name, below in schema.properties.items():
        yield from _defaults(below, path.child("properties").key(name))
    if isinstance(schema.extra, Schema):
        yield from _defaults(schema.extra, path.child("additionalProperties"))
    if schema.items is not None:
        yield from _defaults(schema.items, path.child("items"))


def _rules(schema: Schema, path: Path, *, transitions: bool = True) -> Iterator[FieldError]:
    for index, raw in enumerate(schema.rules):
        at = path.child("x-kubernetes-validations").index(index)
        yield from _rule(raw, schema, at, transitions)
    for name, below in schema.properties.items():
        yield from _rules(below, path.child("properties").key(name), transitions=transitions)
    if isinstance(schema.extra, Schema):
        yield from _rules(schema.extra, path.child("additionalProperties"), transitions=transitions)
    if schema.items is not None:
        same = transitions and schema.list_type == "map"
        yield from _rules(schema.items, path.child("items"), transitions=same)


def _rule(raw: dict[str, Any], schema: Schema, path: Path, transitions: bool) -> Iterator[FieldError]:
    text, message = str(raw.get("rule") or "").strip(), raw.get("message")
    if not text:
        yield FieldError.required(path.child("rule"), "rule is not specified")
        return
    if message is not None:
        if message and not message.strip():
            yield FieldError.invalid(path.child("message"), message, "message must be non-empty if specified")
        elif "\n" in message.strip():
            yield FieldError.invalid(path.child("message"), message, "message must not contain line breaks")
    elif "\n" in text and not raw.get("messageExpression"):
        yield FieldError.required(path.child("message"), "message must be specified if rule contains line breaks")
    reason = raw.get("reason")
    if reason is not None and reason not in _REASONS:
        yield FieldError.not_supported(path.child("reason"), reason, _REASONS)
    field_path = raw.get("fieldPath")
    if field_path and not _exists(field_path, schema):
        yield FieldError.invalid(
            path.child("fieldPath"), field_path, "fieldPath must be a valid path: does not refer to a valid field"
        )
    try:
        rule = Rule({**raw, "messageExpression": ""}, schema)
    except CompileError as error:
        yield FieldError.invalid(path.child("rule"), text, str(error))
        return
    if rule.transition and not transitions:
        where = path.child("rule")
        words = "oldSelf cannot be used on the uncorrelatable portion of the schema within"
        yield FieldError.invalid(where, text, f"{words} {path}")
    if raw.get("optionalOldSelf") is not None and not rule.transition:
        words = "optionalOldSelf may not be set if oldSelf is not used in rule"
        yield FieldError.invalid(path.child("optionalOldSelf"), raw["optionalOldSelf"], words)
    expression = raw.get("messageExpression")
    if expression:
        try:
            Rule(raw, schema)
        except CompileError as error:
            yield FieldError.invalid(path.child("messageExpression"), expression, str(error))


def _exists(field_path: str, schema: Schema | None) -> bool:
    for name, quoted in re.findall(r"\.([A-Za-z_][\w-]*)|\['([^']+)'\]", field_path):
        schema = schema.of(name or quoted) if schema is not None else None
        if schema is None:
            return False
    return field_path.startswith((".", "["))
