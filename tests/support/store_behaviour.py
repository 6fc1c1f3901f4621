"""What every store promises, as tests: subclass with a fixture `store`."""

from __future__ import annotations

import asyncio

import pytest

from apiserver.store import Change, Compacted, Conflict, Exists, FutureRevision, Store


class StoreBehaviour:
    """The contract of `apiserver.store.Store`."""

    async def test_a_created_key_is_read_back_at_its_revision(self, store: Store) -> None:
        revision = await store.create("/registry/a/b/x", b"1")
        record, now = await store.get("/registry/a/b/x")
        assert record == ("/registry/a/b/x", b"1", revision)
        assert now == revision == await store.revision()

    async def test_creating_twice_says_what_is_there(self, store: Store) -> None:
        revision = await store.create("/registry/a/b/x", b"1")
        with pytest.raises(Exists) as caught:
            await store.create("/registry/a/b/x", b"2")
        assert caught.value.current == ("/registry/a/b/x", b"1", revision)

    async def test_an_update_needs_the_newest_revision(self, store: Store) -> None:
        first = await store.create("/registry/a/b/x", b"1")
        second = await store.update("/registry/a/b/x", b"2", revision=first)
        assert second > first
        with pytest.raises(Conflict) as caught:
            await store.update("/registry/a/b/x", b"3", revision=first)
        assert caught.value.current == ("/registry/a/b/x", b"2", second)
        with pytest.raises(Conflict) as gone:
            await store.update("/registry/a/b/none", b"3", revision=first)
        assert gone.value.current is None

    async def test_a_delete_needs_the_newest_revision_and_frees_the_key(self, store: Store) -> None:
        first = await store.create("/registry/a/b/x", b"1")
        second = await store.update("/registry/a/b/x", b"2", revision=first)
        with pytest.raises(Conflict):
            await store.delete("/registry/a/b/x", revision=first)
        third = await store.delete("/registry/a/b/x", revision=second)
        assert (await store.get("/registry/a/b/x")) == (None, third)
        assert await store.create("/registry/a/b/x", b"4") > third

    async def test_a_list_is_in_order_and_in_pages_of_one_moment(self, store: Store) -> None:
        for name in "cabd":
            await store.create(f"/registry/a/b/{name}", name.encode())
        await store.create("/registry/a/bb/x", b"another resource")
        page = await store.list("/registry/a/b/", limit=2)
        assert [r.key[-1] for r in page.records] == ["a", "b"]
        assert (page.more, page.total) == (True, 4)
        await store.create("/registry/a/b/bb", b"later")
        rest = await store.list("/registry/a/b/", start=page.records[-1].key + "\0", revision=page.revision)
        assert [r.key[-1] for r in rest.records] == ["c", "d"]
        assert not rest.more

    async def test_a_list_of_the_past_shows_the_past(self, store: Store) -> None:
        first = await store.create("/registry/a/b/x", b"1")
        await store.update("/registry/a/b/x", b"2", revision=first)
        page = await store.list("/registry/a/b/", revision=first)
        assert [r.value for r in page.records] == [b"1"]
        with pytest.raises(FutureRevision):
            await store.list("/registry/a/b/", revision=first + 1000)

    async def test_a_watch_tells_every_change_after_its_revision_once(self, store: Store) -> None:
        first = await store.create("/registry/a/b/x", b"1")
        second = await store.update("/registry/a/b/x", b"2", revision=first)
        seen: list[Change] = []
        async with asyncio.timeout(10), asyncio.TaskGroup() as group:

            async def follow() -> None:
                async for batch in store.watch(first):
                    seen.extend(batch)
                    if len(seen) == 3:
                        return

            group.create_task(follow())
            await asyncio.sleep(0.05)
            third = await store.create("/registry/c/d/y", b"3")
            fourth = await store.delete("/registry/a/b/x", revision=second)
        assert seen == [
            ("/registry/a/b/x", b"2", second),
            ("/registry/c/d/y", b"3", third),
            ("/registry/a/b/x", None, fourth),
        ]

    async def test_compaction_forgets_the_past_and_says_so(self, store: Store) -> None:
        first = await store.create("/registry/a/b/x", b"1")
        second = await store.update("/registry/a/b/x", b"2", revision=first)
        third = await store.update("/registry/a/b/x", b"3", revision=second)
        await store.compact(third)
        with pytest.raises(Compacted):
            await store.list("/registry/a/b/", revision=first)
        with pytest.raises(Compacted):
            async with asyncio.timeout(10):
                async for _ in store.watch(first):
                    pass
        assert [r.value for r in (await store.list("/registry/a/b/")).records] == [b"3"]

    async def test_a_key_with_a_time_to_live_stays_for_now(self, store: Store) -> None:
        revision = await store.create("/registry/a/b/x", b"1", ttl=3600)
        await store.update("/registry/a/b/x", b"2", revision=revision, ttl=3600)
        record, _ = await store.get("/registry/a/b/x")
        assert record is not None and record.value == b"2"

    async def test_creates_at_once_have_revisions_of_their_own_and_can_be_followed_from_each(
        self, store: Store
    ) -> None:
        start = await store.revision()
        names = [f"/registry/a/b/{number:02}" for number in range(40)]
        made = await asyncio.gather(*(store.create(name, name.encode()) for name in names))
        assert len(set(made)) == len(names)
        assert min(made) > start
        assert max(made) == await store.revision()
        in_order = sorted(zip(made, names, strict=True))
        for since in (start, *sorted(made)[:-1]):
            wanted = [Change(name, name.encode(), revision) for revision, name in in_order if revision > since]
            told: list[Change] = []
            async with asyncio.timeout(60):
                async for batch in store.watch(since):
                    told.extend(batch)
                    if len(told) >= len(wanted):
                        break
            assert told == wanted
            page = await store.list("/registry/a/b/", revision=since)
            assert {record.key for record in page.records} == {name for revision, name in in_order if revision <= since}
        page = await store.list("/registry/a/b/")
        assert [record.revision for record in page.records] == made

    async def test_concurrent_creates_of_one_key_have_one_winner(self, store: Store) -> None:
        results = await asyncio.gather(
            *(store.create("/registry/a/b/x", str(i).encode()) for i in range(20)), return_exceptions=True
        )
        assert sum(isinstance(result, int) for result in results) == 1
