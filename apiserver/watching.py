"""One open watch: which events it wants, what they become for it, and a bounded buffer between cache and client.

A selector turns changes into what the watcher may see: an object that starts to match is ADDED, one that stops to
match is DELETED (with its last matching state). A watcher that does not keep up is ended, never waited for.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence

from api.errors import StatusError
from apiserver.entries import Entry

_BUFFER_EVENTS = 20_000
_BUFFER_BYTES = 128 * 2**20

Match = Callable[[Entry], bool]


class Item:
    """One event as a client gets it; equal for all watchers who see it alike, so its encodings are made once."""

    __slots__ = ("_frame", "entry", "json", "message", "revision", "type")

    def __init__(self, type: str, entry: Entry | None, revision: int, json: bytes) -> None:
        self.type = type
        self.entry = entry
        self.revision = revision
        self.json = json
        self.message: bytes | None = None  # in protobuf, once a client has asked for that
        self._frame: bytes | None = None

    @property
    def frame(self) -> bytes:
        """A line of a watch response."""
        if self._frame is None:
            self._frame = b'{"type":"%b","object":%b}\n' % (self.type.encode(), self.json)
        return self._frame


class Event:
    """A change of one object: `new` is None for a deletion, `old` for a creation."""

    __slots__ = ("_added", "_changed", "_deleted", "new", "old", "revision", "size")

    def __init__(self, revision: int, new: Entry | None, old: Entry | None) -> None:
        self.revision = revision
        self.new = new
        self.old = old
        self.size = len((new or old).json) if new or old else 0  # type: ignore[union-attr]
        self._added: Item | None = None
        self._changed: Item | None = None
        self._deleted: Item | None = None

    def seen_by(self, match: Match | None) -> Item | None:
        """What a watcher with this selector is told, if anything."""
        new = self.new is not None and (match is None or match(self.new))
        old = self.old is not None and (match is None or match(self.old))
        if new and old:
            if self._changed is None:
                assert self.new is not None
                self._changed = Item("MODIFIED", self.new, self.revision, self.new.json)
            return self._changed
        if new:
            if self._added is None:
                assert self.new is not None
                self._added = Item("ADDED", self.new, self.revision, self.new.json)
            return self._added
        if old:
            if self._deleted is None:
                assert self.old is not None
                self._deleted = Item("DELETED", self.old, self.revision, moved(self.old, self.revision))
            return self._deleted
        return None


def moved(entry: Entry, revision: int) -> bytes:
    """The object's last state under the revision at which the watcher lost it."""
    was = b'"resourceVersion":"%d"' % entry.revision
    return entry.json.replace(was, b'"resourceVersion":"%d"' % revision, 1)


class Watcher:
    """The buffer of one watch. Filled synchronously by the cache, drained by `next`."""

    def __init__(self, match: Match | None) -> None:
        self.match = match
        self.after = 0  # events up to this revision are not for this watcher, even if they are still to come
        self._items: deque[Item] = deque()
        self._bytes = 0
        self._waiting: asyncio.Future[None] | None = None
        self._ended = False
        self._error: StatusError | None = None
        self._exempt = 0
        self._exempt_bytes = 0

    def preload(self, events: Iterable[Event]) -> None:
        """Events that happened before the watch was opened; exempt from the bound, as the window is bounded."""
        for event in events:
            if item := event.seen_by(self.match):
                self._items.append(item)
                self._bytes += len(item.json)

    def preload_items(self, items: Iterable[Item]) -> None:
        """The initial state."""
        for item in items:
            self._items.append(item)
            self._bytes += len(item.json)

    def offer(self, events: Sequence[Event]) -> bool:
        """Take new events; False if the watcher was too slow and has been ended."""
        match, items = self.match, self._items
        before = len(items)
        for event in events:
            if (item := event.seen_by(match)) is not None and event.revision > self.after:
                items.append(item)
                self._bytes += len(item.json)
        if len(items) == before:
            return True
        if len(items) - self._exempt > _BUFFER_EVENTS or (before and self._bytes > _BUFFER_BYTES + self._exempt_bytes):
            self.end(None)
            return False
        self._wake()
        return True

    def exempt_preloaded(self) -> None:
        """The initial state does not count against the bound: it has no cost beyond what the cache holds anyway."""
        self._exempt = len(self._items)
        self._exempt_bytes = self._bytes

    def end(self, error: StatusError | None) -> None:
        """No more events; the client is told `error` if there is one."""
        self._ended = True
        self._error = error
        self._wake()

    @property
    def idle(self) -> bool:
        """Nothing is waiting: the client has seen everything up to the feed's position."""
        return not self._items and not self._ended

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    async def next(self, timeout: float | None = None) -> list[Item] | None:
        """The next events in order, [] when `timeout` seconds passed without any, None when the watch has ended.

        Raises the StatusError the watch ended with.
        """
        if not self._items and not self._ended:
            loop = asyncio.get_running_loop()
            self._waiting = loop.create_future()
            handle = loop.call_later(timeout, self._wake) if timeout is not None else None
            try:
                await self._waiting
            finally:
                self._waiting = None
                if handle is not None:
                    handle.cancel()
        if self._items:
            items = list(self._items)
            self._items.clear()
            self._bytes = self._exempt = self._exempt_bytes = 0
            return items
        if self._ended:
            if self._error is not None:
                raise self._error
            return None
        return []
