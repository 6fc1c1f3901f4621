"""JSON values as expressions see them.

A schema tells what JSON cannot: that a number is a double, a string a time or bytes, and which names are fields, whose
names are escaped where they are no identifiers (`self.foo__dash__bar`).
"""

from __future__ import annotations

import base64
import binascii
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from api import duration
from api import time as api_time

if TYPE_CHECKING:
    from apiserver.extensions.schema import Schema

_RESERVED = frozenset(
    [
        "true",
        "false",
        "null",
        "in",
        "as",
        "break",
        "const",
        "continue",
        "else",
        "for",
        "function",
        "if",
        "import",
        "let",
        "loop",
        "package",
        "namespace",
        "return",
        "var",
        "void",
        "while",
    ]
)


def escape(name: str) -> str:
    """A field's name as expressions write it; empty if they cannot."""
    if name in _RESERVED:
        return f"__{name}__"
    escaped = name.replace("__", "__underscores__")
    escaped = escaped.replace(".", "__dot__").replace("-", "__dash__").replace("/", "__slash__")
    return escaped if escaped.isascii() and escaped.isidentifier() else ""


def value_of(value: Any, schema: Schema | None) -> Any:
    """The value of a field of this schema."""
    if schema is None or value is None or isinstance(value, bool):
        return value
    if isinstance(value, dict):
        found = {}
        for name, below in value.items():
            known = schema.properties.get(name)
            if known is not None:
                if below is None and not known.nullable:
                    continue
                found[escape(name) or name] = value_of(below, known)
            else:
                found[name] = value_of(below, schema.of(name))
        return found
    if isinstance(value, list):
        return [value_of(item, schema.items) for item in value]
    if schema.type == "number" and isinstance(value, int):
        return float(value)
    if schema.type == "integer" and isinstance(value, float):
        return int(value)
    if isinstance(value, str):
        return _string(value, str(schema.raw.get("format") or ""))
    return value


def _string(value: str, form: str) -> Any:
    try:
        if form in ("date-time", "datetime"):
            return timestamp(api_time.parse(value))
        if form == "date":
            return timestamp(datetime.fromisoformat(value).replace(tzinfo=UTC))
        if form == "duration":
            made = Duration()
            made.FromTimedelta(timedelta(seconds=duration.parse(value)))
            return made
        if form == "byte":
            return base64.b64decode(value, validate=True)
    except (ValueError, binascii.Error):
        return value  # validation of the format has refused it already
    return value


def timestamp(moment: datetime) -> Timestamp:
    """A time as an expression's variable."""
    made = Timestamp()
    made.FromDatetime(moment)
    return made
