"""Where and why an object is invalid: field paths and the errors that point at them, in upstream's words.

Source: k8s.io/apimachinery/pkg/util/validation/field; the types are those of StatusCause.reason.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import msgspec


class Path:
    """A field path: `Path("spec").child("containers").index(0).key("x")` is `spec.containers[0][x]`. Immutable.

    Its text is put together only when it is needed: validating a pod makes dozens of paths and shows none.
    """

    __slots__ = ("_parent", "_part")

    _parent: Path | None
    _part: str

    def __init__(self, *names: str) -> None:
        self._parent = None
        self._part = ".".join(names)

    def child(self, name: str, *more: str) -> Path:
        """A field of the struct here."""
        made = _new(Path)
        made._parent = self
        made._part = f".{'.'.join((name, *more))}" if more else f".{name}"
        return made

    def index(self, position: int) -> Path:
        """An element of the list here."""
        made = _new(Path)
        made._parent = self
        made._part = f"[{position}]"
        return made

    def key(self, key: str) -> Path:
        """An entry of the map here."""
        made = _new(Path)
        made._parent = self
        made._part = f"[{key}]"
        return made

    def __str__(self) -> str:
        parts = []
        here: Path | None = self
        while here is not None:
            parts.append(here._part)
            here = here._parent
        return "".join(reversed(parts)).removeprefix(".")

    def __repr__(self) -> str:
        return f"Path({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Path) and str(other) == str(self)

    def __hash__(self) -> int:
        return hash(str(self))


_new = object.__new__

_WORDS = {
    "FieldValueNotFound": "Not found",
    "FieldValueRequired": "Required value",
    "FieldValueDuplicate": "Duplicate value",
    "FieldValueInvalid": "Invalid value",
    "FieldValueNotSupported": "Unsupported value",
    "FieldValueForbidden": "Forbidden",
    "FieldValueTooLong": "Too long",
    "FieldValueTooMany": "Too many",
    "InternalError": "Internal error",
    "FieldValueTypeInvalid": "Invalid value",
}


@dataclass(frozen=True)
class FieldError:
    """One thing wrong with one field. `type` is a StatusCause reason, such as `FieldValueRequired`."""

    type: str
    field: str
    value: Any = None
    detail: str = ""

    @classmethod
    def required(cls, path: Path | str, detail: str = "") -> FieldError:
        """A value has to be given."""
        return cls("FieldValueRequired", str(path), "", detail)

    @classmethod
    def invalid(cls, path: Path | str, value: Any, detail: str) -> FieldError:
        """The value is malformed or doesn't fit others."""
        return cls("FieldValueInvalid", str(path), value, detail)

    @classmethod
    def not_supported(cls, path: Path | str, value: Any, valid: Iterable[str]) -> FieldError:
        """The value is none of an enumeration."""
        names = ", ".join(quote(name) for name in valid)
        return cls("FieldValueNotSupported", str(path), value, f"supported values: {names}" if names else "")

    @classmethod
    def duplicate(cls, path: Path | str, value: Any) -> FieldError:
        """The value has to be unique in its list."""
        return cls("FieldValueDuplicate", str(path), value)

    @classmethod
    def forbidden(cls, path: Path | str, detail: str) -> FieldError:
        """The field may not be set, or not be changed, here."""
        return cls("FieldValueForbidden", str(path), "", detail)

    @classmethod
    def too_long(cls, path: Path | str, value: Any, maximum: int) -> FieldError:
        """The value has more than `maximum` bytes; it is not repeated in the message."""
        detail = f"may not be more than {maximum} bytes" if maximum >= 0 else "value is too long"
        return cls("FieldValueTooLong", str(path), value, detail)

    @classmethod
    def too_many(cls, path: Path | str, actual: int, maximum: int) -> FieldError:
        """The list has more than `maximum` items."""
        items = "item" if maximum == 1 else "items"
        detail = f"must have at most {maximum} {items}" if maximum >= 0 else "has too many items"
        return cls("FieldValueTooMany", str(path), actual, detail)

    @classmethod
    def not_found(cls, path: Path | str, value: Any) -> FieldError:
        """The value names something that isn't there."""
        return cls("FieldValueNotFound", str(path), value)

    @classmethod
    def internal(cls, path: Path | str, error: BaseException | str) -> FieldError:
        """Validation itself failed."""
        return cls("InternalError", str(path), None, str(error))

    @classmethod
    def type_invalid(cls, path: Path | str, value: Any, detail: str) -> FieldError:
        """The value has the wrong type."""
        return cls("FieldValueTypeInvalid", str(path), value, detail)

    def error_body(self) -> str:
        """The message without the path: `Invalid value: "x": must be ...`."""
        words = _WORDS[self.type]
        omits_value = {"FieldValueRequired", "FieldValueForbidden", "FieldValueTooLong", "InternalError"}
        body = words if self.type in omits_value else f"{words}: {shown(self.value)}"
        return f"{body}: {self.detail}" if self.detail else body

    def __str__(self) -> str:
        return f"{self.field or '<nil>'}: {self.error_body()}"


def quote(text: str) -> str:
    """Go's %q, for what occurs in messages."""
    encoded = msgspec.json.encode(text).decode()
    return "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in encoded)


def shown(value: Any) -> str:
    """A value as upstream shows it: strings quoted, structs as JSON."""
    if value is None:
        return "null"
    if isinstance(value, str):
        return quote(value)
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    return msgspec.json.encode(value).decode()
