"""The generated table of messages, read when the first client speaks protobuf."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

#: Kinds that every group has, whatever apiVersion they come with.
_COMMON = "meta_v1"


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a message. The table's generator says what types there are; `json` is empty for an embedded struct."""

    number: int
    json: str
    type: str
    many: str = ""  # "[" or "{"
    always: bool = False  # Go writes its zero too
    droppable: bool = False  # JSON leaves out its zero


@cache
def _table() -> dict[str, str]:
    from api.protobuf._table import TABLE

    return {name: rest for name, _, rest in (line.partition(" ") for line in TABLE.splitlines())}


@cache
def fields(message: str) -> tuple[Field, ...]:
    """The fields of `core_v1.Pod`, by number. Raises KeyError for a message that is not known."""
    return tuple(map(_field, _table()[message].split()))


def _field(text: str) -> Field:
    number, json, rest = text.split(":", 2)
    flag = rest[0] if rest[0] in "=?" else ""
    type_ = rest[1:] if flag else rest
    many = type_[0] if type_[0] in "[{" else ""
    return Field(
        int(number),
        json,
        type_[1:] if many else type_,
        many,
        always=bool(flag) and type_ != "y",
        droppable=flag == "?",
    )


@cache
def message_of(api_version: str, kind: str) -> str | None:
    """The message of a kind; None for one that has none, such as a custom one."""
    group, _, version = api_version.rpartition("/")
    name = f"{group.split('.')[0] or 'core'}_{version}.{kind}"
    if name in _table() and (group in ("", "apps", "autoscaling", "batch", "policy") or group.endswith(".k8s.io")):
        return name
    name = f"{_COMMON}.{kind}"
    return name if name in _table() else None
