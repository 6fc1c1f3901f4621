"""The managers of an object: `metadata.managedFields` by manager, and conflicts between them.

Source: apimachinery's managedfields/internal (managedfields.go, capmanagers.go, conflict.go).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

from api import errors
from api.managed import elements, sets
from api.managed.sets import EMPTY, Set
from api.types.meta_v1 import ManagedFieldsEntry, StatusCause

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
ANCIENT_CHANGES = "ancient-changes"
BEFORE_FIRST_APPLY = "before-first-apply"
MAX_UPDATE_MANAGERS = 10

APPLY = "Apply"
UPDATE = "Update"


class Identifier(msgspec.Struct, frozen=True):
    """Which manager: one that applies stays the same whatever version it applies in, one that updates does not."""

    manager: str
    operation: str
    api_version: str
    subresource: str

    def __str__(self) -> str:
        """As messages name it."""
        shown = elements.text(self.manager)
        if self.subresource:
            shown += f" with subresource {elements.text(self.subresource)}"
        return f"{shown} using {self.api_version}" if self.operation == UPDATE else shown


def identifier(manager: str, operation: str, api_version: str, subresource: str) -> Identifier:
    return Identifier(manager or "unknown", operation, "" if operation == APPLY else api_version, subresource)


#: What each manager owns. An entry is never changed once it is in here, but replaced.
Managed = dict[Identifier, ManagedFieldsEntry]


def decode(entries: Iterable[ManagedFieldsEntry] | None) -> Managed:
    """The managers of a stored object. Raises ValueError if a client managed to store something else."""
    managed: Managed = {}
    for index, entry in enumerate(entries or ()):
        if entry.operation not in (APPLY, UPDATE):
            raise ValueError("operation must be `Apply` or `Update`")
        if not entry.api_version:
            raise ValueError("apiVersion must not be empty")
        if entry.fields_type != "FieldsV1":
            if not entry.fields_type:
                raise ValueError(f"missing fieldsType in managed fields entry {index}")
            raise ValueError(f'invalid fieldsType "{entry.fields_type}" in managed fields entry {index}')
        subresource = entry.subresource or ""
        api_version = "" if entry.operation == APPLY else entry.api_version
        managed[Identifier(entry.manager or "", entry.operation, api_version, subresource)] = entry
    return managed


def parse(entries: Iterable[ManagedFieldsEntry] | None) -> Managed:
    """The managers that a client sent: their sets are checked as well. Raises ValueError."""
    managed = decode(entries)
    for name, entry in managed.items():
        text = bytes(entry.fields_v1)
        managed[name] = with_fields(entry, sets.parse(msgspec.json.decode(text) if text else None))
    return managed


def decode_or_nothing(entries: Iterable[ManagedFieldsEntry] | None) -> Managed:
    """The managers of a stored object; none if they cannot be read."""
    try:
        return decode(entries)
    except ValueError:
        return {}


def is_reset(entries: list[ManagedFieldsEntry] | None) -> bool:
    """Whether a client asks to forget all managers: an empty list, or one with an empty entry."""
    if entries is None:
        return False
    return not entries or (len(entries) == 1 and entries[0] == ManagedFieldsEntry())


def encode(managed: Managed) -> list[ManagedFieldsEntry] | None:
    """As an object carries them: appliers first, then by time."""
    if not managed:
        return None
    return sorted(managed.values(), key=_order) if len(managed) > 1 else list(managed.values())


def _order(entry: ManagedFieldsEntry) -> tuple[str, str, str, str, str]:
    return (
        entry.operation or "",
        entry.time or "",
        entry.manager or "",
        entry.api_version or "",
        entry.subresource or "",
    )


_REMEMBERED = 4096
_sets: dict[bytes, Set] = {}


def fields_of(entry: ManagedFieldsEntry) -> Set:
    """What an entry owns. Few sets are unlike any other, so those met lately are not parsed again."""
    text = bytes(entry.fields_v1)
    if not text:
        return EMPTY
    fields = _sets.get(text)
    if fields is None:
        fields = _remember(text, msgspec.json.decode(text) or EMPTY)
    return fields


def _remember(text: bytes, fields: Set) -> Set:
    if len(_sets) >= _REMEMBERED:
        _sets.clear()
    _sets[text] = fields
    return fields


def _text(fields: Set) -> msgspec.Raw:
    text = msgspec.json.encode(fields)
    _remember(text, fields)
    return msgspec.Raw(text)


def entry(
    name: Identifier, api_version: str, fields: Set, time: str | None, previous: ManagedFieldsEntry | None = None
) -> ManagedFieldsEntry:
    """A manager's new entry; `previous` is its last one, whose text can be used again if it owns the same."""
    same = previous is not None and fields_of(previous) is fields
    return ManagedFieldsEntry(
        manager=name.manager or None,
        operation=name.operation,
        api_version=api_version,
        time=time,
        fields_type="FieldsV1",
        fields_v1=previous.fields_v1 if same and previous is not None else _text(fields),
        subresource=name.subresource or None,
    )


def with_fields(old: ManagedFieldsEntry, fields: Set) -> ManagedFieldsEntry:
    """The entry of the same manager, owning something else."""
    return ManagedFieldsEntry(
        manager=old.manager,
        operation=old.operation,
        api_version=old.api_version,
        time=old.time,
        fields_type=old.fields_type,
        fields_v1=_text(fields),
        subresource=old.subresource,
    )


def cap(managed: Managed) -> None:
    """Put the oldest updates of a version together once more than ten managers have updated the object."""
    updaters = [name for name in managed if name.operation == UPDATE]
    left = len(updaters)
    if left <= MAX_UPDATE_MANAGERS:
        return
    updaters.sort(key=lambda name: (managed[name].time or "", str(name)))
    first_of: dict[str, Identifier] = {}
    for name in updaters:
        if left <= MAX_UPDATE_MANAGERS:
            return
        version = managed[name].api_version or ""
        if version not in first_of:
            first_of[version] = name
            continue
        bucket = Identifier(ANCIENT_CHANGES, UPDATE, version, "")
        if bucket not in managed:
            managed[bucket] = managed.pop(first_of[version])
        current = managed.pop(name)
        both = sets.union(fields_of(current), fields_of(managed[bucket]))
        managed[bucket] = entry(bucket, version, both, current.time)
        left -= 1


@dataclass(frozen=True, slots=True)
class Conflict:
    """A path that another manager owns."""

    manager: Identifier
    path: tuple[str, ...]


class Conflicts(Exception):
    """An apply that would change fields of others."""

    def __init__(self, conflicts: list[Conflict]) -> None:
        super().__init__("conflicts")
        self.conflicts = conflicts

    @property
    def paths(self) -> Set:
        return sets.make(*(conflict.path for conflict in self.conflicts))

    def without(self, allowed: Set) -> Conflicts:
        return Conflicts([conflict for conflict in self.conflicts if not sets.has(allowed, conflict.path)])

    def status(self) -> errors.StatusError:
        """409 in upstream's words, one cause per field."""
        found = [(str(c.manager), elements.path(c.path)) for c in self.conflicts]
        causes = [
            StatusCause(reason="FieldManagerConflict", message=f"conflict with {manager}", field=path)
            for manager, path in found
        ]
        if len(found) == 1:
            manager, path = found[0]
            return errors.apply_conflict(causes, f"Apply failed with 1 conflict: conflict with {manager}: {path}")
        lines = []
        for manager in sorted({manager for manager, _ in found}):
            lines.append(f"conflicts with {manager}:")
            lines += [f"- {path}" for owner, path in found if owner == manager]
        return errors.apply_conflict(causes, f"Apply failed with {len(found)} conflicts: " + "\n".join(lines))
