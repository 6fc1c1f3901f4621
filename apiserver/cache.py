"""The watch cache of one resource: its newest state in key order, and a window of the events that led there.

Each version of an object is encoded once; LISTs and watchers share the bytes. State, window and watchers change in one
synchronous step per batch, so a list taken at a revision and a watch opened at that revision fit without gap or repeat.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left, bisect_right, insort
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec

from api import codec, errors
from api.unstructured import is_unstructured
from apiserver.entries import Entry, with_revision, without_revision
from apiserver.feed import Feed
from apiserver.store import Change, Record, Store
from apiserver.watching import Event, Watcher

_WINDOW_EVENTS = 16_384
_WINDOW_BYTES = 64 * 2**20
_DECODED_ENTRIES = 4_096  # above this many objects, decoded forms are not kept beside the bytes

Describe = Callable[[Any], tuple[dict[str, str] | None, dict[str, str]]]


class Cache:
    """Reads never block once `start` is done. `describe` answers an object's labels and selectable fields.

    `index` names a selectable field with few values per object (a pod's node) that is looked up often.
    """

    def __init__(
        self, store: Store, feed: Feed, prefix: str, type_: type[Any], describe: Describe, *, index: str = ""
    ) -> None:
        self._store = store
        self._feed = feed
        self.prefix = prefix
        self.decoder: msgspec.json.Decoder[Any] = codec.decoder(type_)
        self._custom = is_unstructured(type_)
        self._describe = describe
        self._entries: dict[str, Entry] = {}
        self._keys: list[str] = []
        self._index_field = index
        self._index: dict[str, set[str]] = {}
        self._window: deque[Event] = deque()
        self._window_bytes = 0
        self._window_start = 0  # every event after this revision is in the window
        self._watchers: dict[Watcher, None] = {}
        self._pending: list[Change] | None = None
        self._starting: asyncio.Task[None] | None = None
        self.ready = False

    @property
    def revision(self) -> int:
        return self._feed.revision

    def __len__(self) -> int:
        return len(self._entries)

    # -- filling --------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Load the state and join the feed; concurrent callers share the work."""
        if self.ready:
            return
        if self._starting is None:
            self._starting = asyncio.create_task(self._load())
            self._starting.add_done_callback(self._started)
        await asyncio.shield(self._starting)

    def _started(self, task: asyncio.Task[None]) -> None:
        self._starting = None
        if not task.cancelled() and task.exception() is not None:
            self._feed.detach(self.prefix)

    async def _load(self) -> None:
        self._pending = []
        self._feed.attach(self.prefix, self.apply)
        revision = self._feed.revision
        start = ""
        while True:
            page = await self._store.list(self.prefix, start=start, limit=1000, revision=revision)
            for record in page.records:
                self._put(self._entry(record))
            if not page.more:
                break
            start = page.records[-1].key + "\0"
            await asyncio.sleep(0)
        self._window_start = revision
        pending, self._pending = self._pending, None
        self.ready = True
        self.apply([change for change in pending if change.revision > revision])

    def reset(self) -> None:
        """Forget everything and end all watches: the feed has a gap. The next reader loads the state again."""
        for watcher in list(self._watchers):
            watcher.end(errors.expired(f"too old resource version: the watch cache of {self.prefix} was rebuilt"))
        self._watchers.clear()
        self._feed.detach(self.prefix)
        self._entries.clear()
        self._keys.clear()
        self._index.clear()
        self._window.clear()
        self._window_bytes = 0
        self.ready = False

    def stop(self) -> None:
        """End all watches quietly (shutdown, or the resource is gone)."""
        for watcher in list(self._watchers):
            watcher.end(None)
        self._watchers.clear()
        self._feed.detach(self.prefix)

    def renew(self, type_: type[Any], describe: Describe) -> None:
        """Take what is stored for another type from now on; what is cached changes without an event."""
        self.decoder, self._describe, self._custom = codec.decoder(type_), describe, is_unstructured(type_)
        for key, old in self._entries.items():
            self._entries[key] = self._entry(Record(key, without_revision(old.json, old.revision), old.revision))

    def end_watches(self) -> None:
        """Let all watchers start anew."""
        for watcher in list(self._watchers):
            watcher.end(None)
        self._watchers.clear()

    def _entry(self, record: Record) -> Entry:
        obj = self.decoder.decode(record.value)
        labels, fields = self._describe(obj)
        meta = obj.metadata
        json = with_revision(codec.encode(obj) if self._custom else record.value, record.revision)
        entry = Entry(record.key, record.revision, json, meta.name or "", meta.namespace or "", labels, fields)
        if record.revision > self._window_start and self.ready:
            # Some watchers (the node authorizer) want the object; it is here anyway. `apply` takes it off again.
            meta.resource_version = str(record.revision)
            entry.remember(obj)
        return entry

    def _put(self, entry: Entry) -> None:
        old = self._entries.get(entry.key)
        if old is None:
            insort(self._keys, entry.key)
        self._entries[entry.key] = entry
        if self._index_field:
            value = entry.fields[self._index_field]
            if old is not None and (before := old.fields[self._index_field]) != value:
                self._index[before].discard(entry.key)
            self._index.setdefault(value, set()).add(entry.key)

    def _remove(self, entry: Entry) -> None:
        del self._entries[entry.key]
        del self._keys[bisect_left(self._keys, entry.key)]
        if self._index_field:
            value = entry.fields[self._index_field]
            keys = self._index[value]
            keys.discard(entry.key)
            if not keys:
                del self._index[value]

    def apply(self, changes: Sequence[Change]) -> None:
        """What the feed calls with the changes of this resource."""
        if self._pending is not None:
            self._pending.extend(changes)
            return
        events = []
        for change in changes:
            old = self._entries.get(change.key)
            if change.value is None:
                if old is None:
                    continue
                self._remove(old)
                events.append(Event(change.revision, None, old))
            else:
                entry = self._entry(Record(change.key, change.value, change.revision))
                self._put(entry)
                events.append(Event(change.revision, entry, old))
        for event in events:
            self._window.append(event)
            self._window_bytes += event.size
        while len(self._window) > _WINDOW_EVENTS or (self._window_bytes > _WINDOW_BYTES and len(self._window) > 100):
            dropped = self._window.popleft()
            self._window_bytes -= dropped.size
            self._window_start = dropped.revision
        cut_off = [watcher for watcher in self._watchers if not watcher.offer(events)]
        for watcher in cut_off:
            del self._watchers[watcher]
        for event in events:
            if event.new is not None:
                event.new.remember(None)
            if event.old is not None:
                event.old.remember(None)

    # -- reading --------------------------------------------------------------------------------------------------

    def get(self, key: str) -> Entry | None:
        return self._entries.get(key)

    def decoded(self, entry: Entry) -> Any:
        """The typed object of an entry; shared, never mutate it."""
        if len(self._entries) <= _DECODED_ENTRIES:
            return entry.decoded(self.decoder)
        return self.decoder.decode(entry.json)

    def range(self, prefix: str, *, after: str = "") -> Iterator[Entry]:
        """Entries whose key starts with `prefix` in key order, from key `after` (inclusive) on."""
        keys, entries = self._keys, self._entries
        if not keys:
            return iter(())
        if prefix == self.prefix and not after:
            return iter([entries[key] for key in keys])
        low = bisect_left(keys, max(prefix, after))
        high = bisect_right(keys, prefix + "\U0010ffff")
        return iter([entries[key] for key in keys[low:high]])

    def indexed(self, field: str, value: str) -> Iterator[Entry] | None:
        """Entries with this value of the indexed field in key order, or None if the field has no index."""
        if field != self._index_field:
            return None
        return iter([self._entries[key] for key in sorted(self._index.get(value, ()))])

    # -- watching -------------------------------------------------------------------------------------------------

    def watch(self, watcher: Watcher, revision: int) -> None:
        """Give the watcher all events after `revision`, then every new one. Raises StatusError 410 if too old."""
        if revision < self._window_start:
            raise errors.expired(f"too old resource version: {revision} ({self._window_start})")
        if revision < self._feed.revision:
            missed = []
            for event in reversed(self._window):
                if event.revision <= revision:
                    break
                missed.append(event)
            missed.reverse()
            watcher.preload(missed)
        self._watchers[watcher] = None

    def unwatch(self, watcher: Watcher) -> None:
        self._watchers.pop(watcher, None)
