"""A store in memory: multi-version like etcd, for tests and for trying things out. Nothing survives the process."""

from __future__ import annotations

import asyncio
from bisect import bisect_left, bisect_right, insort
from collections.abc import AsyncIterator

from apiserver.store import Change, Changes, Compacted, Conflict, Exists, FutureRevision, Page, Record


class MemoryStore:
    """Keeps every version since the last compaction."""

    def __init__(self) -> None:
        self._revision = 1  # etcd starts at 1 as well
        self._compacted = 0
        self._keys: list[str] = []
        self._versions: dict[str, list[Change]] = {}
        self._log: list[Change] = []
        self._changed = asyncio.Event()
        self._timers: dict[str, asyncio.TimerHandle] = {}

    async def get(self, key: str) -> tuple[Record | None, int]:
        return self._at(key, self._revision), self._revision

    async def list(self, prefix: str, *, start: str = "", limit: int = 0, revision: int = 0) -> Page:
        at = revision or self._revision
        if at > self._revision:
            raise FutureRevision(at)
        if revision and revision < self._compacted:
            raise Compacted(self._compacted)
        records: list[Record] = []
        count = 0
        for index in range(bisect_left(self._keys, max(prefix, start)), len(self._keys)):
            key = self._keys[index]
            if not key.startswith(prefix):
                break
            record = self._at(key, at)
            if record is None:
                continue
            count += 1
            if not limit or len(records) < limit:
                records.append(record)
        return Page(records, self._revision, count > len(records), count)

    async def create(self, key: str, value: bytes, *, ttl: int = 0) -> int:
        current = self._at(key, self._revision)
        if current is not None:
            raise Exists(current)
        return self._write(key, value, ttl)

    async def update(self, key: str, value: bytes, *, revision: int, ttl: int = 0) -> int:
        current = self._at(key, self._revision)
        if current is None or current.revision != revision:
            raise Conflict(current)
        return self._write(key, value, ttl)

    async def delete(self, key: str, *, revision: int) -> int:
        current = self._at(key, self._revision)
        if current is None or current.revision != revision:
            raise Conflict(current)
        return self._write(key, None, 0)

    async def revision(self) -> int:
        return self._revision

    async def watch(self, revision: int) -> AsyncIterator[Changes]:
        while True:
            if revision < self._compacted - 1:
                raise Compacted(self._compacted)
            batch = self._log[bisect_right(self._log, revision, key=_revision_of) :]
            if batch:
                revision = batch[-1].revision
                yield batch
            else:
                await self._changed.wait()

    def earlier(self, revision: int, writes: int) -> int:
        return max(1, revision - writes)

    async def compact(self, revision: int) -> None:
        if revision > self._revision:
            raise FutureRevision(revision)
        self._compacted = max(self._compacted, revision)
        self._log = self._log[bisect_left(self._log, self._compacted, key=_revision_of) :]
        gone = []
        for key, versions in self._versions.items():
            kept = max(0, bisect_right(versions, self._compacted, key=_revision_of) - 1)
            if versions[kept].value is None and versions[kept].revision <= self._compacted:
                kept += 1
            del versions[:kept]
            if not versions:
                gone.append(key)
        for key in gone:
            del self._versions[key]
            del self._keys[bisect_left(self._keys, key)]

    async def close(self) -> None:
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def outdated(self, key: str) -> bool:
        return False

    def _at(self, key: str, revision: int) -> Record | None:
        versions = self._versions.get(key)
        if not versions:
            return None
        index = bisect_right(versions, revision, key=_revision_of) - 1
        if index < 0:
            return None
        version = versions[index]
        return None if version.value is None else Record(key, version.value, version.revision)

    def _write(self, key: str, value: bytes | None, ttl: int) -> int:
        self._revision += 1
        change = Change(key, value, self._revision)
        versions = self._versions.get(key)
        if versions is None:
            insort(self._keys, key)
            versions = self._versions[key] = []
        versions.append(change)
        self._log.append(change)
        if timer := self._timers.pop(key, None):
            timer.cancel()
        if ttl:
            self._timers[key] = asyncio.get_running_loop().call_later(ttl, self._expire, key)
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
        return self._revision

    def _expire(self, key: str) -> None:
        del self._timers[key]
        self._write(key, None, 0)


def _revision_of(change: Change) -> int:
    return change.revision
