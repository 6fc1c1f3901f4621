"""CEL's string functions (cel-go's strings extension). Here rather than the runtime's own, which admits no namesakes:
lists have an `indexOf`, too."""

from __future__ import annotations

import json
from typing import Any

from cel_expr_python import cel

T = cel.Type
_STRINGS = T.List(T.STRING)
_ANY_LIST = T.List(T.DYN)


def _at(text: str, index: int) -> str:
    if not 0 <= index <= len(text):
        raise ValueError(f"index out of range: {index}")
    return text[index : index + 1]


def _index(text: str, wanted: str, start: int = 0) -> int:
    if not 0 <= start <= len(text):
        raise ValueError(f"index out of range: {start}")
    return text.find(wanted, start)


def _last_index(text: str, wanted: str, start: int | None = None) -> int:
    if start is None:
        return text.rfind(wanted)
    if not 0 <= start <= len(text):
        raise ValueError(f"index out of range: {start}")
    return text.rfind(wanted, 0, start + len(wanted))


def _substring(text: str, start: int, end: int | None = None) -> str:
    last = len(text) if end is None else end
    if not 0 <= start <= len(text):
        raise ValueError(f"index out of range: {start}")
    if not 0 <= last <= len(text):
        raise ValueError(f"index out of range: {last}")
    if start > last:
        raise ValueError(f"invalid substring range. start: {start}, end: {last}")
    return text[start:last]


def _split(text: str, separator: str, limit: int = -1) -> list[str]:
    if limit == 0:
        return []
    if not separator:
        parts = list(text)
        return parts if limit < 0 or len(parts) <= limit else [*parts[: limit - 1], "".join(parts[limit - 1 :])]
    return text.split(separator, limit - 1 if limit > 0 else -1)


def _ascii(upper: bool) -> Any:
    def convert(text: str) -> str:
        return "".join((c.upper() if upper else c.lower()) if c.isascii() else c for c in text)

    return convert


def _shown(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, list):
        return "[" + ", ".join(map(_shown, value)) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(sorted(f"{_shown(key)}: {_shown(item)}" for key, item in value.items())) + "}"
    return f"{value:g}" if isinstance(value, float) else str(getattr(value, "text", value))


def _format(form: str, values: list[Any]) -> str:
    found: list[str] = []
    given = iter(values)
    at = 0
    while at < len(form):
        if form[at] != "%":
            found.append(form[at])
            at += 1
            continue
        at += 1
        if form[at : at + 1] == "%":
            found.append("%")
            at += 1
            continue
        end = at
        while end < len(form) and form[end] in ".0123456789":
            end += 1
        precision, clause = form[at:end], form[end : end + 1]
        if clause not in ("s", "d", "f", "e", "b", "x", "X", "o"):
            raise ValueError(f'could not parse formatting clause: unrecognized formatting clause "{clause}"')
        try:
            value = next(given)
        except StopIteration:
            raise ValueError(f"index {len(values)} out of range") from None
        found.append(_clause(clause, precision, value))
        at = end + 1
    return "".join(found)


def _clause(clause: str, precision: str, value: Any) -> str:
    if clause == "s":
        return _shown(value)
    if clause in ("f", "e"):
        return f"{float(value):{precision or '.6'}{clause}}"
    if clause in ("x", "X") and isinstance(value, str | bytes):
        text = (value.encode() if isinstance(value, str) else value).hex()
        return text.upper() if clause == "X" else text
    if not isinstance(value, int):
        raise ValueError(f"error during formatting: {clause} clause can only be used on integers")
    return f"{int(value):{clause}}"


def _replace(text: str, old: str, new: str, limit: int = -1) -> str:
    return text.replace(old, new, limit)


ROWS: tuple[Any, ...] = (
    ("charAt", True, T.STRING, (T.STRING, T.INT), _at),
    ("indexOf", True, T.INT, (T.STRING, T.STRING), _index),
    ("indexOf", True, T.INT, (T.STRING, T.STRING, T.INT), _index),
    ("lastIndexOf", True, T.INT, (T.STRING, T.STRING), _last_index),
    ("lastIndexOf", True, T.INT, (T.STRING, T.STRING, T.INT), _last_index),
    ("join", True, T.STRING, (_STRINGS,), "".join),
    ("join", True, T.STRING, (_STRINGS, T.STRING), lambda parts, separator: separator.join(parts)),
    ("lowerAscii", True, T.STRING, (T.STRING,), _ascii(False)),
    ("upperAscii", True, T.STRING, (T.STRING,), _ascii(True)),
    ("replace", True, T.STRING, (T.STRING, T.STRING, T.STRING), _replace),
    ("replace", True, T.STRING, (T.STRING, T.STRING, T.STRING, T.INT), _replace),
    ("reverse", True, T.STRING, (T.STRING,), lambda text: text[::-1]),
    ("split", True, _STRINGS, (T.STRING, T.STRING), _split),
    ("split", True, _STRINGS, (T.STRING, T.STRING, T.INT), _split),
    ("substring", True, T.STRING, (T.STRING, T.INT), _substring),
    ("substring", True, T.STRING, (T.STRING, T.INT, T.INT), _substring),
    ("trim", True, T.STRING, (T.STRING,), str.strip),
    ("format", True, T.STRING, (T.STRING, _ANY_LIST), _format),
    ("strings.quote", False, T.STRING, (T.STRING,), lambda text: json.dumps(text, ensure_ascii=False)),
)
