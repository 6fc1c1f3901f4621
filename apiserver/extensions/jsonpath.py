"""JSONPath for printer columns and scale paths: fields, indices, `[*]`, `..name`, filters `[?(@.type=="Ready")]`.

Source: k8s.io/client-go/util/jsonpath, of which definitions may use the part without ranges and functions.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

_TOKEN = re.compile(
    r"""\.\.(?P<deep>[A-Za-z0-9_\-]+|\*)
      | \.(?P<field>(?:\\.|[^.\[\]\\])+)
      | \['(?P<quoted>[^']*)'\] | \["(?P<double>[^"]*)"\]
      | \[(?P<index>-?\d+)\] | \[(?P<all>\*)\]
      | \[(?P<slice>-?\d*:-?\d*)\]
      | \[\?\((?P<filter>.*?)\)\]
    """,
    re.VERBOSE,
)
_FILTER = re.compile(r"^\s*(@[^=!<>\s]*)\s*(?:(==|!=|<=|>=|<|>)\s*(.+?))?\s*$")

Step = Callable[[Any], Iterator[Any]]


class JSONPath:
    """A parsed path. Raises ValueError for one that is none."""

    def __init__(self, text: str) -> None:
        self.text = text
        inner = text.strip()
        if inner.startswith("{") and inner.endswith("}"):
            inner = inner[1:-1]
        inner = inner.removeprefix("$")
        if inner and inner[0] not in ".[":
            inner = "." + inner
        self._steps: list[Step] = []
        at = 0
        while at < len(inner):
            match = _TOKEN.match(inner, at)
            if match is None:
                if inner[at:] == ".":
                    break
                raise ValueError(f"unexpected path at {inner[at:]!r}")
            self._steps.append(_step(match))
            at = match.end()

    def find(self, value: Any) -> list[Any]:
        """All values at this path, none if there is nothing."""
        found = [value]
        for step in self._steps:
            found = [item for start in found for item in step(start)]
        return found


@lru_cache(maxsize=2048)
def parsed(text: str) -> JSONPath:
    """The path, parsed once."""
    return JSONPath(text)


def first(text: str, value: Any) -> Any:
    """The first value at a path, or None."""
    try:
        found = parsed(text).find(value)
    except ValueError:
        return None
    return found[0] if found else None


def _step(match: re.Match[str]) -> Step:
    groups = match.groupdict()
    if (name := groups["deep"]) is not None:
        return lambda value: _deep(value, name)
    if groups["index"] is not None:
        position = int(groups["index"])
        return lambda value: iter(
            value[position : position + 1 or None] if isinstance(value, list) and -len(value) <= position else ()
        )
    if groups["all"] is not None:
        return _all
    if (text := groups["slice"]) is not None:
        low, high = (int(part) if part else None for part in text.split(":"))
        return lambda value: iter(value[low:high] if isinstance(value, list) else ())
    if (condition := groups["filter"]) is not None:
        test = _condition(condition)
        return lambda value: (item for item in (value if isinstance(value, list) else ()) if test(item))
    field = groups["field"]
    key = re.sub(r"\\(.)", r"\1", field) if field is not None else groups["quoted"] or groups["double"] or ""
    if key == "*":
        return _all
    return lambda value: iter([value[key]] if isinstance(value, dict) and key in value else ())


def _all(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from value.values()
    elif isinstance(value, list):
        yield from value


def _deep(value: Any, name: str) -> Iterator[Any]:
    if isinstance(value, dict):
        if name == "*":
            yield from value.values()
        elif name in value:
            yield value[name]
    for item in _all(value):
        yield from _deep(item, name)


def _condition(text: str) -> Callable[[Any], bool]:
    match = _FILTER.match(text)
    if match is None:
        raise ValueError(f"unsupported filter {text!r}")
    path, operator, literal = JSONPath(match[1].removeprefix("@")), match[2], match[3]
    if operator is None:
        return lambda item: bool(path.find(item))
    wanted = _literal(literal)

    def test(item: Any) -> bool:
        found = path.find(item)
        if not found:
            return False
        value = found[0]
        try:
            return bool(
                {
                    "==": lambda: value == wanted,
                    "!=": lambda: value != wanted,
                    "<": lambda: value < wanted,
                    ">": lambda: value > wanted,
                    "<=": lambda: value <= wanted,
                    ">=": lambda: value >= wanted,
                }[operator]()
            )
        except TypeError:
            return False

    return test


def _literal(text: str) -> Any:
    if text[:1] == "'" and text[-1:] == "'":
        return text[1:-1]
    try:
        return json.loads(text)
    except ValueError:
        return text
