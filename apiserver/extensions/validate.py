"""Validation of values against a schema, with upstream's words.

Source: kube-openapi's validator and apiextensions-apiserver's `ValidateCustomResource`. On updates, what has not
changed is not judged again (KEP-4008, validation ratcheting): a schema may become stricter under existing objects.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import msgspec

from api.errors import FieldError
from apiserver.extensions.formats import FORMATS
from apiserver.extensions.schema import Schema

#: There is no old value to compare with.
NOTHING: Any = object()


def validate(document: dict[str, Any], schema: Schema, old: dict[str, Any] | None = None) -> list[FieldError]:
    """What is wrong with a whole object by the rules of its schema that need no CEL."""
    before = NOTHING if old is None else old
    found = list(_value(document, schema.raw, "", before))
    found += _lists(document, schema, "", before)
    found += _embedded(document, schema, "", root=True)
    return found


def validate_value(value: Any, schema: Schema, name: str) -> list[FieldError]:
    """The same for a value somewhere in an object."""
    found = list(_value(value, schema.raw, name, NOTHING))
    found += _lists(value, schema, name, NOTHING)
    return found


def kind_of(value: Any) -> str:
    """The JSON type, as messages name it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "integer"
    if isinstance(value, float):
        return "integer" if value.is_integer() else "number"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object"


def correlated(old: Any, name: str) -> Any:
    """The old value of a field."""
    return old.get(name, NOTHING) if isinstance(old, dict) else NOTHING


def correlated_items(items: list[Any], old: Any, list_type: str, keys: tuple[str, ...]) -> list[Any]:
    """For each item, the old item that it is the new version of: only lists that are maps can tell."""
    if not isinstance(old, list) or list_type != "map":
        return [NOTHING] * len(items)
    known = {_key(item, keys): item for item in old if isinstance(item, dict)}
    return [known.get(_key(item, keys), NOTHING) if isinstance(item, dict) else NOTHING for item in items]


def _key(item: dict[str, Any], keys: tuple[str, ...]) -> str:
    return msgspec.json.encode([item.get(key) for key in keys]).decode()


@lru_cache(maxsize=1024)
def pattern(text: str) -> re.Pattern[str]:
    """Go's regular expressions, as far as they differ from Python's: `\\z`, `(?P<`, POSIX classes."""
    translated = text.replace(r"\z", r"\Z")
    for name, members in (
        ("alpha", "a-zA-Z"),
        ("digit", "0-9"),
        ("alnum", "a-zA-Z0-9"),
        ("upper", "A-Z"),
        ("lower", "a-z"),
        ("space", r"\s"),
        ("word", r"\w"),
        ("xdigit", "0-9A-Fa-f"),
        ("punct", r"!-/:-@\[-`{-~"),
    ):
        translated = translated.replace(f"[:{name}:]", members)
    if translated.endswith("$") and not translated.endswith(r"\$"):
        translated = translated[:-1] + r"\Z"
    return re.compile(translated)


def _shown(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return msgspec.json.encode(value).decode()


def _wrong_type(name: str, wanted: str, value: Any) -> FieldError:
    kind = kind_of(value)
    return FieldError.type_invalid(name, kind, f'{name or "<nil>"} in body must be of type {wanted}: "{kind}"')


def _value(value: Any, raw: dict[str, Any], name: str, old: Any) -> Iterator[FieldError]:
    if old is not NOTHING and old == value:
        return
    if value is None:
        if raw.get("nullable") or not (raw.get("type") or raw.get("x-kubernetes-int-or-string")):
            return
        yield _wrong_type(name, raw.get("type") or "integer,string", value)
        return
    wanted = raw.get("type")
    kind = kind_of(value)
    if raw.get("x-kubernetes-int-or-string"):
        if kind not in ("integer", "string"):
            yield _wrong_type(name, "integer,string", value)
            return
    elif wanted and wanted != kind and not (wanted == "number" and kind == "integer"):
        yield _wrong_type(name, wanted, value)
        return
    allowed = raw.get("enum")
    if allowed is not None and not any(_same(value, option) for option in allowed):
        shown = [option if isinstance(option, str) else _shown(option) for option in allowed]
        yield FieldError.not_supported(name, value, shown)
    if isinstance(value, str):
        yield from _string(value, raw, name)
    elif isinstance(value, bool):
        pass
    elif isinstance(value, int | float):
        yield from _number(value, raw, name)
    elif isinstance(value, list):
        yield from _array(value, raw, name, old)
    elif isinstance(value, dict):
        yield from _object(value, raw, name, old)
    yield from _junctors(value, raw, name, old)


def _same(a: Any, b: Any) -> bool:
    return bool(a == b) and isinstance(a, bool) == isinstance(b, bool)


def _string(value: str, raw: dict[str, Any], name: str) -> Iterator[FieldError]:
    if (most := raw.get("maxLength")) is not None and len(value) > most:
        yield FieldError.too_long(name, value, most)
    if (least := raw.get("minLength")) is not None and len(value) < least:
        yield FieldError.invalid(name, value, f"{name} in body should be at least {least} chars long")
    if (wanted := raw.get("pattern")) and not pattern(wanted).search(value):
        yield FieldError.invalid(name, value, f"{name} in body should match '{wanted}'")
    form = raw.get("format")
    if form and (check := FORMATS.get(form)) and not check(value):
        yield FieldError.type_invalid(name, value, f"{name} in body must be of type {form}: {_shown(value)}")


def _number(value: float, raw: dict[str, Any], name: str) -> Iterator[FieldError]:
    form = raw.get("format")
    bits = {"int32": 31, "int64": 63}.get(form or "")
    if bits is not None and not -(2**bits) <= value < 2**bits:
        yield FieldError.invalid(name, value, f"Checked value must be of type integer with format {form}")
    if (most := raw.get("maximum")) is not None:
        exclusive = raw.get("exclusiveMaximum")
        if value >= most if exclusive else value > most:
            words = "less than" if exclusive else "less than or equal to"
            yield FieldError.invalid(name, value, f"{name} in body should be {words} {_shown(most)}")
    if (least := raw.get("minimum")) is not None:
        exclusive = raw.get("exclusiveMinimum")
        if value <= least if exclusive else value < least:
            words = "greater than" if exclusive else "greater than or equal to"
            yield FieldError.invalid(name, value, f"{name} in body should be {words} {_shown(least)}")
    step = raw.get("multipleOf")
    if step and abs(value / step - round(value / step)) > 1e-9:
        yield FieldError.invalid(name, value, f"{name} in body should be a multiple of {_shown(step)}")


def _array(value: list[Any], raw: dict[str, Any], name: str, old: Any) -> Iterator[FieldError]:
    items = raw.get("items")
    if isinstance(items, dict):
        keys = tuple(raw.get("x-kubernetes-list-map-keys") or ())
        before = correlated_items(value, old, raw.get("x-kubernetes-list-type") or "", keys)
        for index, item in enumerate(value):
            yield from _value(item, items, f"{name}[{index}]", before[index])
    if (most := raw.get("maxItems")) is not None and len(value) > most:
        yield FieldError.too_many(name, len(value), most)
    if (least := raw.get("minItems")) is not None and len(value) < least:
        yield FieldError.invalid(name, len(value), f"{name} in body should have at least {least} items")


def _object(value: dict[str, Any], raw: dict[str, Any], name: str, old: Any) -> Iterator[FieldError]:
    if (most := raw.get("maxProperties")) is not None and len(value) > most:
        yield FieldError.too_many(name, len(value), most)
    if (least := raw.get("minProperties")) is not None and len(value) < least:
        yield FieldError.invalid(name, len(value), f"{name} in body should have at least {least} properties")
    for required in raw.get("required") or ():
        if required not in value:
            yield FieldError.required(f"{name}.{required}" if name else required)
    properties, extra = raw.get("properties") or {}, raw.get("additionalProperties")
    for key, item in value.items():
        below = properties.get(key, extra)
        if isinstance(below, dict):
            yield from _value(item, below, f"{name}.{key}" if name else key, correlated(old, key))


def _junctors(value: Any, raw: dict[str, Any], name: str, old: Any) -> Iterator[FieldError]:
    if options := raw.get("allOf"):
        wrong = [errors for option in options if (errors := list(_value(value, option, name, NOTHING)))]
        if wrong:
            for errors in wrong:
                yield from errors
            yield FieldError.invalid(name, "", f'"{name}" must validate all the schemas (allOf)')
    if options := raw.get("anyOf"):
        yield from _alternatives(value, options, name, "at least one schema (anyOf)", lambda count: count >= 1)
    if options := raw.get("oneOf"):
        yield from _alternatives(value, options, name, "one and only one schema (oneOf)", lambda count: count == 1)
    option = raw.get("not")
    if option is not None and not list(_value(value, option, name, NOTHING)):
        yield FieldError.invalid(name, "", f'"{name}" must not validate the schema (not)')


def _alternatives(value: Any, options: list[Any], name: str, words: str, enough: Any) -> Iterator[FieldError]:
    failures = [list(_value(value, option, name, NOTHING)) for option in options]
    count = sum(not errors for errors in failures)
    if enough(count):
        return
    detail = f'"{name}" must validate {words}'
    if "oneOf" in words:
        detail += ". Found none valid" if count == 0 else f". Found {count} valid alternatives"
    yield FieldError.invalid(name, "", detail)
    if count == 0:
        yield from min(failures, key=len)


# -- lists that are sets or maps ---------------------------------------------------------------------------------------


def _lists(value: Any, schema: Schema, name: str, old: Any) -> Iterator[FieldError]:
    if old is not NOTHING and old == value:
        return
    if isinstance(value, dict):
        for key, item in value.items():
            below = schema.of(key)
            if below is not None:
                yield from _lists(item, below, f"{name}.{key}" if name else key, correlated(old, key))
    elif isinstance(value, list) and schema.items is not None:
        seen: set[str] = set()
        if schema.list_type in ("set", "map"):
            for index, item in enumerate(value):
                shown: Any = item
                if schema.list_type == "map":
                    if not isinstance(item, dict):
                        continue
                    shown = {key: item[key] for key in schema.list_keys if key in item}
                text = msgspec.json.encode(shown, order="sorted").decode()
                if text in seen:
                    yield FieldError.duplicate(f"{name}[{index}]", shown)
                seen.add(text)
        before = correlated_items(value, old, schema.list_type, schema.list_keys)
        for index, item in enumerate(value):
            yield from _lists(item, schema.items, f"{name}[{index}]", before[index])


# -- objects in objects ------------------------------------------------------------------------------------------------


def _embedded(value: Any, schema: Schema, name: str, *, root: bool = False) -> Iterator[FieldError]:
    if isinstance(value, list):
        if schema.items is not None:
            for index, item in enumerate(value):
                yield from _embedded(item, schema.items, f"{name}[{index}]")
        return
    if not isinstance(value, dict):
        return
    if schema.embedded and not root:
        for field in ("apiVersion", "kind"):
            where = f"{name}.{field}"
            if not value.get(field):
                yield FieldError.required(where, "must not be empty")
            elif not isinstance(value[field], str):
                yield FieldError.invalid(where, value[field], "must be a string")
    for key, item in value.items():
        below = schema.of(key)
        if below is not None and isinstance(item, dict | list):
            yield from _embedded(item, below, f"{name}.{key}" if name else key)
