"""The functions a template can call: Go's own, and kubectl's `exists` and `base64decode`."""

from __future__ import annotations

import base64
import html
import inspect
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import quote_plus

from cli.gotemplate.fmt import go_type, show, sprint, sprintf
from cli.gotemplate.lex import TemplateError


def truth(value: Any) -> bool:
    """Go's notion: anything but false, 0, nil, and what is empty."""
    return bool(value)


def index(value: Any, *keys: Any) -> Any:
    for key in keys:
        if value is None:
            raise TemplateError("index of untyped nil")
        if isinstance(value, dict):
            if not isinstance(key, str):
                raise TemplateError(f"value has type {_key_type(key)}; should be string")
            value = value.get(key)
        elif isinstance(value, (list, str)):
            if isinstance(key, bool) or not isinstance(key, int):
                raise TemplateError(f"cannot index slice/array with type {_key_type(key)}")
            if not 0 <= key < len(value):
                raise TemplateError(f"index out of range: {key}")
            value = ord(value[key]) if isinstance(value, str) else value[key]
        else:
            raise TemplateError(f"can't index item of type {go_type(value)}")
    return value


def _key_type(key: Any) -> str:
    """An integer used as a key is nearly always one written in the template, and those are `int`."""
    return "int" if go_type(key) == "int64" else go_type(key)


def cut(value: Any, *bounds: int) -> Any:
    if not isinstance(value, (str, list)):
        raise TemplateError(f"can't slice item of type {go_type(value)}")
    start, end = (bounds[0] if bounds else 0), (bounds[1] if len(bounds) > 1 else len(value))
    if not 0 <= start <= end <= len(value):
        raise TemplateError(f"index out of range: {max(start, end)}")
    return value[start:end]


def length(value: Any) -> int:
    if not isinstance(value, (str, list, dict)):
        raise TemplateError(f"len of type {go_type(value)}" if value is not None else "len of nil pointer")
    return len(value.encode()) if isinstance(value, str) else len(value)


def _basic(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    kind = {int: "int", float: "float", str: "string"}.get(type(value))
    if kind is None:
        raise TemplateError("invalid type for comparison")
    return kind


def equal(first: Any, *others: Any) -> bool:
    if not others:
        raise TemplateError("missing argument for comparison")
    for other in others:
        if first is None or other is None:
            if first is other:
                return True
            continue
        if isinstance(first, (dict, list)) or isinstance(other, (dict, list)):
            raise TemplateError(f"non-comparable type {show(first)}: {go_type(first)}")
        if _basic(first) != _basic(other):
            raise TemplateError("incompatible types for comparison")
        if first == other:
            return True
    return False


def less(first: Any, second: Any) -> bool:
    kind = _basic(first)
    if kind != _basic(second):
        raise TemplateError("incompatible types for comparison")
    if kind == "bool":
        raise TemplateError("invalid type for comparison")
    return bool(first < second)


def exists(value: Any, *keys: Any) -> bool:
    """Whether there is something below these keys (kubectl's own function)."""
    try:
        return index(value, *keys) is not None
    except TemplateError:
        return False


def base64decode(text: str) -> str:
    try:
        return base64.b64decode(text, validate=True).decode(errors="replace")
    except (ValueError, TypeError) as problem:
        raise TemplateError(f"base64 decode failed: {problem}") from problem


def _html(values: tuple[Any, ...]) -> str:
    return html.escape(_text(values), quote=True).replace("&quot;", "&#34;").replace("&#x27;", "&#39;")


def _js(values: tuple[Any, ...]) -> str:
    text = json.dumps(_text(values), ensure_ascii=False)[1:-1].replace("'", "\\'")
    for char in "<>&=":
        text = text.replace(char, f"\\u{ord(char):04X}")
    return text


def _text(values: tuple[Any, ...]) -> str:
    return values[0] if len(values) == 1 and isinstance(values[0], str) else sprint(values)


# `and` and `or` are not here: they stop at the first value that decides, so `execute` evaluates their arguments.
FUNCTIONS: dict[str, Callable[..., Any]] = {
    "not": lambda value: not truth(value),
    "len": length,
    "index": index,
    "slice": cut,
    "print": lambda *values: sprint(values),
    "println": lambda *values: " ".join(show(value) for value in values) + "\n",
    "printf": lambda template, *values: sprintf(template, values),
    "eq": equal,
    "ne": lambda first, second: not equal(first, second),
    "lt": less,
    "le": lambda first, second: less(first, second) or equal(first, second),
    "gt": lambda first, second: not less(first, second) and not equal(first, second),
    "ge": lambda first, second: not less(first, second),
    "html": lambda *values: _html(values),
    "js": lambda *values: _js(values),
    "urlquery": lambda *values: quote_plus(_text(values)),
    "exists": exists,
    "base64decode": base64decode,
}


def arity(name: str, given: int) -> str:
    """How many arguments the function wants, in Go's words, if that is not what it was given."""
    parameters = inspect.signature(FUNCTIONS[name]).parameters.values()
    least = sum(one.kind is not one.VAR_POSITIONAL for one in parameters)
    if len(parameters) > least:
        return f"at least {least}" if given < least else ""
    return "" if given == least else str(least)
