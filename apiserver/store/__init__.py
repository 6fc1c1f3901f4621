"""Where objects are kept: one small interface, as kine's, with etcd and an in-memory implementation.

Everything above knows only this module. The invariants it relies on:

- every write makes a new revision, larger than all before, and one change that `watch` delivers in revision order;
- a write is acknowledged only when it is durable, and is applied at most once however often it had to be retried;
- `revision()`, and `get` and `list` without a revision, are linearizable.

Lives here: the interface and its implementations. May not live here: anything that knows what is inside a value.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import NamedTuple, Protocol


class Record(NamedTuple):
    """One version of one key; `revision` is that of its last write."""

    key: str
    value: bytes
    revision: int


class Change(NamedTuple):
    """A write as `watch` tells it: `value` is None if the key was deleted."""

    key: str
    value: bytes | None
    revision: int


Changes = list[Change]


class Page(NamedTuple):
    """Part of a list. `total` is how many keys the range holds in all at `revision`, this page and later ones."""

    records: list[Record]
    revision: int
    more: bool
    total: int


class Exists(Exception):
    """`create` found the key; `current` is what is there."""

    def __init__(self, current: Record) -> None:
        super().__init__(current.key)
        self.current = current


class Conflict(Exception):
    """`update` or `delete` found another revision than the expected one; `current` is None if the key is gone."""

    def __init__(self, current: Record | None) -> None:
        super().__init__(current.key if current else "")
        self.current = current


class Compacted(Exception):
    """The revision asked for is no longer kept; `revision` is the oldest one that can be read."""

    def __init__(self, revision: int) -> None:
        super().__init__(f"compacted up to revision {revision}")
        self.revision = revision


class FutureRevision(Exception):
    """The revision asked for has not happened yet."""


class Unavailable(Exception):
    """The store did not answer in time. A write may or may not have been applied."""


class Rejected(Exception):
    """The store will never take this request (a value that is too large, say)."""


class Store(Protocol):
    """A sorted map with revisions. Keys are text, ordered by their bytes; every method may raise Unavailable."""

    async def get(self, key: str) -> tuple[Record | None, int]:
        """The newest version of a key and the store's revision."""
        ...

    async def list(self, prefix: str, *, start: str = "", limit: int = 0, revision: int = 0) -> Page:
        """Keys with this prefix in order, from `start` (inclusive) on, as they were at `revision` (0: now).

        Raises Compacted or FutureRevision for a revision that cannot be read.
        """
        ...

    async def create(self, key: str, value: bytes, *, ttl: int = 0) -> int:
        """Store a new key and answer its revision. With `ttl` it is deleted after that many seconds. Raises Exists."""
        ...

    async def update(self, key: str, value: bytes, *, revision: int, ttl: int = 0) -> int:
        """Replace the version `revision` of a key and answer the new revision. Raises Conflict."""
        ...

    async def delete(self, key: str, *, revision: int) -> int:
        """Delete the version `revision` of a key and answer the revision of the deletion. Raises Conflict."""
        ...

    async def revision(self) -> int:
        """The newest revision."""
        ...

    def earlier(self, revision: int, writes: int) -> int:
        """A revision at least so many writes before this one, or the first."""
        ...

    def watch(self, revision: int) -> AsyncIterator[Changes]:
        """All changes of all keys after `revision`, in order, without gap or repeat across reconnects.

        A batch never splits a transaction. Raises Compacted if the changes are no longer kept.
        """
        ...

    async def compact(self, revision: int) -> None:
        """Forget versions that were replaced before `revision`."""
        ...

    async def close(self) -> None: ...

    def outdated(self, key: str) -> bool:
        """Whether a write would keep the value in another form than it has now (under a newer key, say)."""
        ...
