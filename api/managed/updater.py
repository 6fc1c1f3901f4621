"""What a write does to who owns what, and what an apply does to the object.

Values come with their version: managers keep their paths in the version they wrote in, so a change is looked at in
each of those. Source: structured-merge-diff's merge/update.go.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from api.managed import entries, sets
from api.managed.compare import Comparison, compare
from api.managed.entries import Conflict, Conflicts, Identifier, Managed, fields_of
from api.managed.fields import field_set, reconciled, with_named_fields
from api.managed.merge import merge
from api.managed.prune import remove
from api.managed.sets import EMPTY, Filter, Set
from api.managed.types import Type


class Versioned(NamedTuple):
    """A value of a version of its kind."""

    value: dict[str, Any]
    api_version: str
    type: Type


#: The same object in another version; None if that version is not known (any more).
Convert = Callable[[Versioned, str], Versioned | None]


@dataclass(frozen=True)
class Updater:
    """`keep`: what a write through this endpoint may own at all, in whatever version."""

    convert: Convert
    keep: Filter

    def update(self, live: Versioned, new: Versioned, managed: Managed, writer: Identifier) -> Set:
        """Take what the change removes from all managers, and what it overwrites from all but the writer.

        Answers what the writer wrote: that is left to be added to what it owns.
        """
        comparison = compare(live.value, new.value, live.type)
        self._release(live, new, comparison, managed, writer=writer, force=True)
        return self.keep(comparison.written)

    def apply(
        self, live: Versioned, applied: Versioned, managed: Managed, itself: Identifier, *, force: bool
    ) -> Versioned | None:
        """Merge, prune, settle ownership. Answers the new object, None if it is as before. Raises Conflicts."""
        self._reconcile(live, managed)
        version = applied.api_version
        merged = Versioned(merge(live.value, applied.value, live.type), version, live.type)
        last = managed.get(itself)
        owned = self.keep(field_set(applied.value, applied.type))
        managed[itself] = entries.entry(itself, version, owned, last.time if last is not None else None)
        new = merged
        # If all that was applied last time still is, nothing can go.
        if last is not None and (last.api_version != version or sets.difference(fields_of(last), owned)):
            new = self._prune(merged, managed, fields_of(last), last.api_version or version)
        comparison = compare(live.value, new.value, live.type)
        self._release(live, new, comparison, managed, itself=itself, force=force)
        return None if live.value == new.value else new

    def _reconcile(self, live: Versioned, managed: Managed) -> None:
        for name, entry in managed.items():
            if entry.api_version == live.api_version:
                fields = fields_of(entry)
                changed = reconciled(fields, live.value, live.type)
                if changed is not fields:
                    managed[name] = entries.with_fields(entry, changed)

    def _release(
        self,
        live: Versioned,
        new: Versioned,
        comparison: Comparison,
        managed: Managed,
        *,
        itself: Identifier | None = None,
        writer: Identifier | None = None,
        force: bool,
    ) -> None:
        changes: dict[str, Comparison | None] = {
            new.api_version: comparison.filtered(self.keep),
        }
        conflicts: list[Conflict] = []
        after: list[tuple[Identifier, Set]] = []
        for name, entry in managed.items():
            version = entry.api_version or ""
            if name == itself:
                if not fields_of(entry):
                    after.append((name, EMPTY))
                continue
            if version not in changes:
                changes[version] = self._compare_in(live, new, version)
            change = changes[version]
            if change is None:  # a version that is no longer known
                after.append((name, EMPTY))
                continue
            fields = fields_of(entry)
            taken = sets.intersection(fields, change.written) if fields and name != writer else EMPTY
            if taken and not force:
                conflicts += [Conflict(name, path) for path in sets.iterate(taken)]
            rest = sets.difference(sets.difference(fields, taken), change.removed)
            if rest is not fields or not rest:
                after.append((name, rest))
        if conflicts:
            raise Conflicts(sorted(conflicts, key=lambda conflict: str(conflict.manager)))
        for name, rest in after:
            if rest:
                managed[name] = entries.with_fields(managed[name], rest)
            else:
                del managed[name]

    def _compare_in(self, live: Versioned, new: Versioned, version: str) -> Comparison | None:
        before, after = self.convert(live, version), self.convert(new, version)
        if before is None or after is None:
            return None
        return compare(before.value, after.value, before.type).filtered(self.keep)

    # -- what an apply removes ------------------------------------------------------------------------------------

    def _prune(self, merged: Versioned, managed: Managed, last: Set, last_version: str) -> Versioned:
        """Without what this manager applied last time, not this time, and nobody else owns."""
        before = self.convert(merged, last_version)
        if before is None:
            return merged
        pruned = _removed(before, with_named_fields(last, before.type))
        pruned = self._add_back_owned(before, pruned, managed)
        pruned = self._add_back_dangling(before, pruned, last)
        return self.convert(pruned, merged.api_version) or merged

    def _add_back_owned(self, merged: Versioned, pruned: Versioned, managed: Managed) -> Versioned:
        owned: dict[str, Set] = {}
        for entry in managed.values():
            version = entry.api_version or ""
            owned[version] = sets.union(owned.get(version, EMPTY), fields_of(entry))
        # In the version pruned in first: another may not be reachable without a field that was pruned.
        for version in sorted(owned, key=lambda v: v != merged.api_version):
            whole, part = self.convert(merged, version), self.convert(pruned, version)
            if whole is None or part is None:
                continue
            everything = with_named_fields(field_set(whole.value, whole.type), whole.type)
            kept = with_named_fields(field_set(part.value, part.type), part.type)
            others = with_named_fields(owned[version], whole.type)
            merged, pruned = whole, _removed(whole, sets.difference(everything, sets.union(kept, others)))
        return pruned

    def _add_back_dangling(self, merged: Versioned, pruned: Versioned, last: Set) -> Versioned:
        """Only what the manager owned goes: not what nobody does."""
        part = self.convert(pruned, merged.api_version)
        if part is None:
            return merged
        kept = with_named_fields(field_set(part.value, part.type), part.type)
        everything = with_named_fields(field_set(merged.value, merged.type), merged.type)
        gone = sets.intersection(sets.difference(everything, kept), with_named_fields(last, merged.type))
        return _removed(merged, gone)


def _removed(versioned: Versioned, paths: Set) -> Versioned:
    return Versioned(remove(versioned.value, paths, versioned.type) or {}, versioned.api_version, versioned.type)
