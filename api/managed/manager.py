"""Ownership as one endpoint sees it: a resource in a version, or one of its subresources.

`update` for every write that is not an apply; `apply` for server-side apply. Both are given plain JSON values without
managedFields, and the managers as they were. Source: apimachinery's managedfields package.
"""

from __future__ import annotations

from typing import Any

import msgspec

from api import errors
from api.managed import entries, sets
from api.managed.check import TypedError, check
from api.managed.compare import compare
from api.managed.entries import BEFORE_FIRST_APPLY, LAST_APPLIED, Conflicts, Identifier, Managed, fields_of
from api.managed.fields import field_set
from api.managed.sets import EMPTY, Filter, Set
from api.managed.types import Type
from api.managed.updater import Convert, Updater, Versioned

_ANNOTATIONS_LIMIT = 256 * 1024  # bytes

# Set by the server, or what tells which object it is: owned by nobody.
STRIPPED = sets.fields(
    "apiVersion",
    "kind",
    "metadata",
    "metadata.name",
    "metadata.namespace",
    "metadata.creationTimestamp",
    "metadata.selfLink",
    "metadata.uid",
    "metadata.clusterName",
    "metadata.generation",
    "metadata.managedFields",
    "metadata.resourceVersion",
)


def _only_version(versioned: Versioned, version: str) -> Versioned | None:
    return versioned if version == versioned.api_version else None


class FieldManager:
    """`empty` is the object that has nothing set: what a new object is compared with."""

    def __init__(
        self,
        type_: Type,
        api_version: str,
        kind: str,
        *,
        empty: dict[str, Any] | None = None,
        subresource: str = "",
        keep: Filter = sets.ALL,
        convert: Convert = _only_version,
    ) -> None:
        self.type = type_
        self.api_version = api_version
        self.kind = kind
        self.subresource = subresource
        self.empty: dict[str, Any] = empty or {}
        self.filter = keep
        self._updater = Updater(lambda value, v: value if value.api_version == v else convert(value, v), keep)

    def _versioned(self, value: dict[str, Any]) -> Versioned:
        return Versioned(value, self.api_version, self.type)

    def create(self, new: dict[str, Any], manager: str, time: str) -> Managed:
        """The managers of a new object."""
        managed: Managed = {}
        self.update(self.empty, new, managed, manager, time)
        return managed

    def update(
        self, live: dict[str, Any], new: dict[str, Any], managed: Managed, manager: str, time: str | None
    ) -> bool:
        """Note who wrote what; answers whether anything was written. Parts that are equal may be left out of both.

        `time` is the entry's new one. Raises ValueError for values that their type cannot tell apart.
        """
        name = self._updater_name(manager)
        written = self._updater.update(self._versioned(live), self._versioned(new), managed, name)
        return self.write(managed, sets.difference(written, STRIPPED), manager, time)

    def written(self, live: dict[str, Any], new: dict[str, Any]) -> Set:
        """What a write sets that can be owned."""
        return sets.difference(self.filter(compare(live, new, self.type).written), STRIPPED)

    def write(self, managed: Managed, owned: Set, manager: str, time: str | None) -> bool:
        """Give a manager what it wrote; answers whether that was anything."""
        if not owned:
            return False
        name = self._updater_name(manager)
        if (previous := managed.get(name)) is not None:
            owned = sets.union(fields_of(previous), owned)
        managed[name] = entries.entry(name, self.api_version, owned, time, previous)
        entries.cap(managed)
        return True

    def _updater_name(self, manager: str) -> Identifier:
        return entries.identifier(manager, entries.UPDATE, self.api_version, self.subresource)

    def apply(
        self,
        live: dict[str, Any],
        applied: dict[str, Any],
        managed: Managed,
        manager: str,
        time: str,
        *,
        force: bool = False,
        exists: bool = True,
    ) -> tuple[dict[str, Any], Managed]:
        """The object with what `manager` applies, and its managers.

        Raises StatusError: 400 for a configuration that does not fit, 409 for conflicts.
        """
        self._check_applied(applied)
        managed = dict(managed)
        if not managed and exists:
            try:
                self.update(self.empty, live, managed, BEFORE_FIRST_APPLY, time)
            except ValueError as error:  # what is stored has been written by somebody who knows no such lists
                raise errors.bad_request(f"failed to create typed live object: {error}") from None
        try:
            new, after = self._apply(live, applied, managed, manager, time, force=force)
        except Conflicts as conflicts:
            left = self._not_from_client_side(conflicts, live) if manager == "kubectl" else conflicts
            if left is not None:
                raise left.status() from None
            new, after = self._apply(live, applied, managed, manager, time, force=True)
        if manager == "kubectl":
            new = _sync_last_applied(new, applied)
        return new, after

    def _apply(
        self, live: dict[str, Any], applied: dict[str, Any], managed: Managed, manager: str, time: str, *, force: bool
    ) -> tuple[dict[str, Any], Managed]:
        managed = dict(managed)
        name = entries.identifier(manager, entries.APPLY, self.api_version, self.subresource)
        try:
            new = self._updater.apply(self._versioned(live), self._versioned(applied), managed, name, force=force)
        except (TypedError, ValueError) as error:
            raise errors.bad_request(f"failed to merge config: {error}") from None
        self._strip(managed, name, time if new is not None else None)
        return (live if new is None else new.value), managed

    def _strip(self, managed: Managed, name: Identifier, time: str | None) -> None:
        entry = managed.get(name)
        if entry is None:
            return
        owned = sets.difference(fields_of(entry), STRIPPED)
        if owned:
            managed[name] = entries.entry(name, self.api_version, owned, time or entry.time)
        else:
            del managed[name]

    def _check_applied(self, applied: dict[str, Any]) -> None:
        api_version, kind = applied.get("apiVersion") or "", applied.get("kind") or ""
        if (api_version, kind) != (self.api_version, self.kind):
            group, _, version = str(api_version).rpartition("/")
            raise errors.bad_request(f"invalid object type: {group}/{version}, Kind={kind}")
        metadata = applied.get("metadata")
        if isinstance(metadata, dict) and metadata.get("managedFields") is not None:
            raise errors.bad_request("metadata.managedFields must be nil")
        try:
            check(applied, self.type)
        except TypedError as error:
            raise errors.bad_request(f"failed to create typed patch object ({self._name(applied)}): {error}") from None

    def _name(self, applied: dict[str, Any]) -> str:
        metadata = applied.get("metadata") if isinstance(applied.get("metadata"), dict) else {}
        assert isinstance(metadata, dict)
        group, _, version = self.api_version.rpartition("/")
        named = f"{metadata.get('namespace') or ''}/{metadata.get('name') or ''}"
        return f"{named}; {group}/{version}, Kind={self.kind}"

    def _not_from_client_side(self, conflicts: Conflicts, live: dict[str, Any]) -> Conflicts | None:
        """The conflicts without those that are kubectl's own from when it applied on the client's side; None if that
        is all of them."""
        allowed = self._last_applied_fields(live)
        left = conflicts.without(allowed)
        return left if left.conflicts else None

    def _last_applied_fields(self, live: dict[str, Any]) -> Set:
        """What the annotation of a client-side apply says was applied, as far as it still is so."""
        text = ((live.get("metadata") or {}).get("annotations") or {}).get(LAST_APPLIED)
        if not text:
            return EMPTY
        try:
            last = msgspec.json.decode(text, type=dict[str, Any])
            if last.get("apiVersion") != self.api_version:
                return EMPTY
            check(last, self.type)
            comparison = compare(last, live, self.type)
            fields = field_set(last, self.type)
        except (msgspec.MsgspecError, ValueError):
            return EMPTY
        for changed in (comparison.modified, comparison.added, comparison.removed):
            fields = sets.difference(fields, changed)
        return fields


def _sync_last_applied(new: dict[str, Any], applied: dict[str, Any]) -> dict[str, Any]:
    """Keep the annotation of client-side apply as kubectl would, if the object has it: old kubectls may come back."""
    metadata = new.get("metadata") or {}
    annotations = metadata.get("annotations") or {}
    if not annotations.get(LAST_APPLIED):
        return new
    own = dict(applied)
    own["metadata"] = dict(own.get("metadata") or {})
    if isinstance(own["metadata"].get("annotations"), dict):
        kept = {name: value for name, value in own["metadata"]["annotations"].items() if name != LAST_APPLIED}
        own["metadata"]["annotations"] = kept
        if not kept:
            del own["metadata"]["annotations"]
    text = msgspec.json.encode(own, order="sorted").decode() + "\n"
    annotations = {**annotations, LAST_APPLIED: text}
    if sum(len(name.encode()) + len(value.encode()) for name, value in annotations.items()) > _ANNOTATIONS_LIMIT:
        del annotations[LAST_APPLIED]
    return {**new, "metadata": {**metadata, "annotations": annotations}}
