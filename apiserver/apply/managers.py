"""metadata.managedFields: read, changed by a write, and written back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from api import time as api_time
from api.types.meta_v1 import ManagedFieldsEntry
from apiserver.apply import fieldset
from apiserver.apply.fieldset import Tree
from apiserver.apply.walk import Comparison

APPLY, UPDATE = "Apply", "Update"
BEFORE_FIRST_APPLY = "before-first-apply"

_MAX_UPDATERS = 10  # as upstream: older ones are merged into "ancient-changes"
_ANCIENT = "ancient-changes"

# Nobody manages what only the server sets.
_SERVERS = frozenset(("f:apiVersion", "f:kind"))
_SERVERS_METADATA = frozenset(
    f"f:{name}"
    for name in (
        "name",
        "namespace",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "selfLink",
        "uid",
        "generation",
        "managedFields",
        "resourceVersion",
    )
)


def owned(tree: Tree) -> Tree:
    """What of a set can be managed at all."""
    kept = {key: node for key, node in tree.items() if key not in _SERVERS}
    metadata = kept.get("f:metadata")
    if metadata:
        parts = {key: node for key, node in metadata.items() if key not in _SERVERS_METADATA}
        if parts and parts.keys() != {fieldset.SELF}:
            kept["f:metadata"] = parts
        else:
            del kept["f:metadata"]
    return kept


@dataclass(frozen=True)
class Key:
    """Who writes: an applier is known by its name alone, whatever version it uses."""

    manager: str
    operation: str
    api_version: str
    subresource: str = ""

    def __str__(self) -> str:
        if self.operation == APPLY:
            return f'"{self.manager}"'
        part = f' with subresource "{self.subresource}"' if self.subresource else ""
        return f'"{self.manager}"{part} using {self.api_version}'


class Managers:
    """All managers of one object."""

    def __init__(self, entries: Sequence[ManagedFieldsEntry] | None = None) -> None:
        self.sets: dict[Key, Tree] = {}
        self._times: dict[Key, str | None] = {}
        for entry in entries or ():
            key = Key(entry.manager or "", entry.operation or UPDATE, entry.api_version or "", entry.subresource or "")
            self.sets[key] = dict(entry.fields_v1 or {})
            self._times[key] = entry.time
        self._before = dict(self.sets)

    def __bool__(self) -> bool:
        return bool(self.sets)

    def find(self, key: Key) -> Key:
        """The entry of the same writer: an applier's may be of another version."""
        for known in self.sets:
            same = (known.manager, known.operation, known.subresource) == (key.manager, key.operation, key.subresource)
            if same and (key.operation == APPLY or known.api_version == key.api_version):
                return known
        return key

    def updated(self, comparison: Comparison, key: Key) -> None:
        """A writer that does not apply takes what it changed from everybody else."""
        changed = owned(fieldset.union(comparison.added, comparison.modified))
        removed = owned(comparison.removed)
        mine = self.find(key)
        for other, tree in list(self.sets.items()):
            if other != mine:
                self._set(other, fieldset.difference(fieldset.difference(tree, changed), removed))
        own = fieldset.union(fieldset.difference(self.sets.get(mine, {}), removed), changed)
        self._set(mine, own)

    def _set(self, key: Key, tree: Tree) -> None:
        if tree:
            self.sets[key] = tree
        else:
            self.sets.pop(key, None)

    def entries(self) -> list[ManagedFieldsEntry] | None:
        """As metadata has them: appliers by name, then the others by time. Times move only where sets changed."""
        now = api_time.now()
        found = []
        for key, tree in self.sets.items():
            same = self._before.get(key) == tree
            if same:
                tree = self._before[key]  # with its keys in the stored order: nothing changed, nothing is written
            found.append(
                ManagedFieldsEntry(
                    manager=key.manager,
                    operation=key.operation,
                    api_version=key.api_version,
                    subresource=key.subresource or None,
                    time=self._times.get(key) if same and self._times.get(key) else now,
                    fields_type="FieldsV1",
                    fields_v1=tree,
                )
            )
        appliers = [entry for entry in found if entry.operation == APPLY]
        others = [entry for entry in found if entry.operation != APPLY]
        appliers.sort(key=lambda entry: (entry.manager or "", entry.subresource or ""))
        others.sort(key=lambda entry: (entry.time or "", entry.manager or ""))
        return [*appliers, *_capped(others)] or None


def _capped(updaters: list[ManagedFieldsEntry]) -> list[ManagedFieldsEntry]:
    if len(updaters) <= _MAX_UPDATERS:
        return updaters
    excess = len(updaters) - _MAX_UPDATERS + 1
    tree: Tree = {}
    for entry in updaters[:excess]:
        tree = fieldset.union(tree, entry.fields_v1 or {})
    oldest: Any = updaters[excess - 1]
    ancient = ManagedFieldsEntry(
        manager=_ANCIENT,
        operation=UPDATE,
        api_version=oldest.api_version,
        time=oldest.time,
        fields_type="FieldsV1",
        fields_v1=tree,
    )
    return [ancient, *updaters[excess:]]
