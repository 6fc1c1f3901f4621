"""What the generated types are built from: the base struct, scalar types with their Go meaning, and default factories.

Invariants the rest of the project relies on:

- absent stays absent: an optional field is None and is not encoded; a required one has its zero value and always is;
- an unknown field is an error of the fast path, which `api.codec` turns into a dropped (or reported) field, so that
  strict field validation costs nothing when there is nothing to report.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

import msgspec

T = TypeVar("T")


class Struct(msgspec.Struct, kw_only=True, omit_defaults=True, rename="camel", forbid_unknown_fields=True):
    """Base of every API type."""


@dataclass(frozen=True)
class Marker:
    """Tells `api.schema` what a Python type means on the wire (`go` is the Go type that upstream's errors name)."""

    format: str
    go: str


Int32 = Annotated[int, msgspec.Meta(ge=-(2**31), le=2**31 - 1), Marker("int32", "int32")]
Int64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1), Marker("int64", "int64")]
QuantityValue = Annotated[str | int | float, Marker("quantity", "resource.Quantity")]
IntOrString = Annotated[int | str, Marker("int-or-string", "intstr.IntOrString")]
Time = Annotated[str, Marker("date-time", "v1.Time")]
MicroTime = Annotated[str, Marker("micro-time", "v1.MicroTime")]
Base64 = Annotated[str, Marker("byte", "[]uint8")]


#: JSON that is kept as text: managedFields are a third of an object and hardly anybody reads them.
RawJSON = msgspec.Raw
#: Its absence. msgspec leaves a default out only if it is this very object.
NO_JSON = msgspec.Raw(b"")


def constant(value: T) -> Callable[[], T]:
    """A default that msgspec always encodes: it leaves out only plain default values."""
    return lambda: value


def empty_list() -> list[Any]:
    """Default of a required list, encoded as `[]`."""
    return []


def empty_map() -> dict[str, Any]:
    """Default of a required map, encoded as `{}`."""
    return {}
