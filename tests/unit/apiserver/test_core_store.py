"""The store in memory keeps the contract, and forgets what has run out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest_asyncio

from apiserver.store import Store
from apiserver.store.memory import MemoryStore
from tests.support.store_behaviour import StoreBehaviour


class TestMemoryStore(StoreBehaviour):
    @pytest_asyncio.fixture
    async def store(self) -> AsyncIterator[Store]:
        made = MemoryStore()
        yield made
        await made.close()

    async def test_a_key_is_deleted_when_its_time_is_up(self, store: Store) -> None:
        revision = await store.create("/registry/a/b/x", b"1", ttl=1)
        async with asyncio.timeout(10):
            async for batch in store.watch(revision):
                assert [change.value for change in batch] == [None]
                return
