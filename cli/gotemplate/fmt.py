"""Go's fmt for the values a template has: `%v` and friends, `print`, `println`, `printf`."""

from __future__ import annotations

import json
import math
import re
from decimal import Decimal
from typing import Any

_VERB = re.compile(r"%([-+# 0]*)(\d+|\*)?(?:\.(\d+|\*)?)?([a-zA-Z%])|%", re.S)


def go_type(value: Any) -> str:
    if value is None:
        return "<nil>"
    if isinstance(value, bool):
        return "bool"
    names = {int: "int64", float: "float64", str: "string", list: "[]interface {}", dict: "map[string]interface {}"}
    return names.get(type(value), type(value).__name__)


def go_float(value: float) -> str:
    """`%v` of a float64: the shortest form, with an exponent below 1e-4 and from 1e+21 on."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    if value == 0:
        return "0"
    sign, digits, exponent = Decimal(repr(value)).normalize().as_tuple()
    assert isinstance(exponent, int)
    text = "".join(map(str, digits))
    power = len(text) + exponent - 1
    if power < -4 or power >= 21:
        tail = f".{text[1:]}" if len(text) > 1 else ""
        shown = f"{text[0]}{tail}e{'-' if power < 0 else '+'}{abs(power):02d}"
    elif power >= len(text) - 1:
        shown = text + "0" * (power - len(text) + 1)
    elif power >= 0:
        shown = f"{text[: power + 1]}.{text[power + 1 :]}"
    else:
        shown = "0." + "0" * (-power - 1) + text
    return ("-" if sign else "") + shown


def show(value: Any) -> str:
    """`%v`."""
    if value is None:
        return "<nil>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return go_float(value)
    if isinstance(value, dict):
        return "map[" + " ".join(f"{key}:{show(item)}" for key, item in sorted(value.items())) + "]"
    if isinstance(value, list):
        return "[" + " ".join(show(item) for item in value) + "]"
    return str(value)


def sprint(values: tuple[Any, ...]) -> str:
    """`print`: a space between two operands when neither is a string."""
    out = ""
    for index, value in enumerate(values):
        if index and not isinstance(value, str) and not isinstance(values[index - 1], str):
            out += " "
        out += show(value)
    return out


def sprintf(template: str, values: tuple[Any, ...]) -> str:
    rest = list(values)

    def one(found: re.Match[str]) -> str:
        flags, width, precision, verb = found.groups()
        if verb is None:
            return "%!(NOVERB)"
        if verb == "%":
            return "%"
        if width == "*":
            width = str(int(rest.pop(0))) if rest else None
        if precision == "*":
            precision = str(int(rest.pop(0))) if rest else None
        if not rest:
            return f"%!{verb}(MISSING)"
        value = rest.pop(0)
        text = _verb(verb, flags, precision, value)
        if text is None:
            text = f"%!{verb}({go_type(value)}={show(value)})" if value is not None else f"%!{verb}(<nil>)"
        size = int(width) if width else 0
        if "-" in flags:
            return text.ljust(size)
        numeric = isinstance(value, (int, float)) and not isinstance(value, bool)
        if "0" in flags and numeric:
            return text.zfill(size)
        return text.rjust(size)

    out = _VERB.sub(one, template)
    if rest:
        out += "%!(EXTRA " + ", ".join(f"{go_type(value)}={show(value)}" for value in rest) + ")"
    return out


def _verb(verb: str, flags: str, precision: str | None, value: Any) -> str | None:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    plus = "+" if "+" in flags and number and value >= 0 else ""
    if verb == "v":
        return plus + show(value)
    if verb == "T":
        return go_type(value)
    if verb == "t":
        return show(value) if isinstance(value, bool) else None
    if isinstance(value, (list, dict)) and verb in "sdqxXfeg":
        return _nested(verb, flags, precision, value)
    if verb == "s":
        return (value[: int(precision)] if precision else value) if isinstance(value, str) else None
    if verb == "q":
        if isinstance(value, str):
            return json.dumps(value, ensure_ascii=False)
        return f"'{chr(value)}'" if isinstance(value, int) and not isinstance(value, bool) else None
    if verb in "xX" and isinstance(value, str):
        return value.encode().hex() if verb == "x" else value.encode().hex().upper()
    if verb in "dboxXcU" and isinstance(value, int) and not isinstance(value, bool):
        if verb == "c":
            return chr(value)
        if verb == "U":
            return f"U+{value:04X}"
        return plus + format(value, "d" if verb == "d" else verb)
    if verb in "feEgG" and isinstance(value, float):
        if verb in "gG" and precision is None:
            return plus + go_float(value)
        return plus + format(value, f".{precision if precision is not None else 6}{verb}")
    return None


def _nested(verb: str, flags: str, precision: str | None, value: Any) -> str:
    def inner(item: Any) -> str:
        found = _verb(verb, flags, precision, item)
        return found if found is not None else f"%!{verb}({go_type(item)}={show(item)})"

    if isinstance(value, dict):
        return "map[" + " ".join(f"{inner(key)}:{inner(item)}" for key, item in sorted(value.items())) + "]"
    return "[" + " ".join(inner(item) for item in value) + "]"
