"""A store in front of another that keeps some resources encrypted, as an EncryptionConfiguration says."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path

from apiserver.store import Change, Changes, Conflict, Exists, Page, Record, Store
from apiserver.store.encryption import Configuration, Transformer, Undecryptable, load

log = logging.getLogger(__name__)

RELOAD_INTERVAL = 5.0  # seconds between looks at the file


class EncryptedStore:
    """Raises ValueError or OSError if the file cannot be used; a later one that cannot be used is logged and ignored.

    A value that no key can read is tried once more with the file as it is now: perhaps another server has already been
    given the new key.
    """

    def __init__(self, inner: Store, path: str | Path) -> None:
        self._inner = inner
        self._path = Path(path)
        self._stamp = self._path.stat().st_mtime_ns
        self._configuration: Configuration = load(self._path)
        self._written: dict[str, bytes] = {}  # what each key's newest known value begins with

    def outdated(self, key: str) -> bool:
        """Whether the value is kept under another key than a write would use now: then even an update that changes
        nothing is written, which is how objects are moved to a new key.
        """
        transformer = self._configuration.transformer(key)
        known = self._written.get(key)
        return transformer is not None and known is not None and known != transformer.prefix

    def reload(self) -> bool:
        """Use the file as it is now; False if it has not changed or cannot be used."""
        try:
            stamp = self._path.stat().st_mtime_ns
            if stamp == self._stamp:
                return False
            self._configuration, self._stamp = load(self._path), stamp
        except (OSError, ValueError) as error:
            log.error("the encryption configuration stays as it was: %s", error)
            return False
        log.info("encryption configuration reloaded")
        return True

    async def keep_fresh(self, interval: float = RELOAD_INTERVAL) -> None:
        """Follow changes of the file, until cancelled."""
        while True:
            await asyncio.sleep(interval)
            self.reload()

    # -- values ---------------------------------------------------------------------------------------------------

    def _sealed(self, key: str, value: bytes) -> bytes:
        transformer = self._configuration.transformer(key)
        return value if transformer is None else transformer.to_store(key, value)

    def _opened(self, key: str, data: bytes) -> bytes:
        transformer = self._configuration.transformer(key)
        if transformer is None:
            return data
        try:
            value, prefix = transformer.from_store(key, data)
        except Undecryptable:
            if not self.reload():
                raise
            value, prefix = self._again(key, data)
        self._written[key] = prefix
        return value

    def _again(self, key: str, data: bytes) -> tuple[bytes, bytes]:
        transformer: Transformer | None = self._configuration.transformer(key)
        return (data, b"") if transformer is None else transformer.from_store(key, data)

    def _record(self, record: Record) -> Record:
        return Record(record.key, self._opened(record.key, record.value), record.revision)

    # -- the store ------------------------------------------------------------------------------------------------

    async def get(self, key: str) -> tuple[Record | None, int]:
        record, revision = await self._inner.get(key)
        return (None if record is None else self._record(record)), revision

    async def list(self, prefix: str, *, start: str = "", limit: int = 0, revision: int = 0) -> Page:
        page = await self._inner.list(prefix, start=start, limit=limit, revision=revision)
        return page._replace(records=[self._record(record) for record in page.records])

    async def create(self, key: str, value: bytes, *, ttl: int = 0) -> int:
        try:
            return await self._inner.create(key, self._sealed(key, value), ttl=ttl)
        except Exists as error:
            raise Exists(self._record(error.current)) from None

    async def update(self, key: str, value: bytes, *, revision: int, ttl: int = 0) -> int:
        try:
            return await self._inner.update(key, self._sealed(key, value), revision=revision, ttl=ttl)
        except Conflict as error:
            raise self._conflict(error) from None

    async def delete(self, key: str, *, revision: int) -> int:
        try:
            return await self._inner.delete(key, revision=revision)
        except Conflict as error:
            raise self._conflict(error) from None

    def _conflict(self, error: Conflict) -> Conflict:
        return Conflict(None if error.current is None else self._record(error.current))

    async def revision(self) -> int:
        return await self._inner.revision()

    async def watch(self, revision: int) -> AsyncIterator[Changes]:
        async for batch in self._inner.watch(revision):
            yield [self._change(change) for change in batch]

    def _change(self, change: Change) -> Change:
        if change.value is None:
            self._written.pop(change.key, None)
            return change
        return Change(change.key, self._opened(change.key, change.value), change.revision)

    def earlier(self, revision: int, writes: int) -> int:
        return self._inner.earlier(revision, writes)

    async def compact(self, revision: int) -> None:
        await self._inner.compact(revision)

    async def close(self) -> None:
        await self._inner.close()
