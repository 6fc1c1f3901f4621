"""Creates that come together are sent together, and still each has its own outcome."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from apiserver.store import Exists, Record, Rejected, Unavailable
from apiserver.store.grouping import Create, Creates
from apiserver.store.revisions import MOST


class Backend:
    """Notes what is sent; `hold` keeps every transaction waiting until it is set."""

    def __init__(self) -> None:
        self.sent: list[list[str]] = []
        self.kept: dict[str, bytes] = {}
        self.tried_again: list[bool] = []
        self.hold = asyncio.Event()
        self.hold.set()
        self.lost = False  # transactions are applied, and their answers are not
        self.limit = 1 << 30
        self.creates = Creates(self.alone, self.together)

    async def alone(self, key: str, value: bytes, retried: bool) -> int:
        self.sent.append([key])
        self.tried_again.append(retried)
        await asyncio.sleep(0)
        await self.hold.wait()
        if key in self.kept and not (retried and self.kept[key] == value):
            raise Exists(Record(key, self.kept[key], 1))
        self.kept[key] = value
        return len(self.sent)

    async def together(self, creates: Sequence[Create]) -> tuple[Sequence[int], bool]:
        self.sent.append([create.key for create in creates])
        await asyncio.sleep(0)
        await self.hold.wait()
        if sum(len(create.value) for create in creates) > self.limit:
            raise Rejected("too large")
        if any(create.key in self.kept for create in creates):
            return (), False
        self.kept.update((create.key, create.value) for create in creates)
        if self.lost:
            return (), True
        return [len(self.sent)] * len(creates), False


@pytest.fixture
def backend() -> Backend:
    return Backend()


async def several(backend: Backend, *keys: str, value: bytes = b"") -> list[int | BaseException]:
    tasks = [asyncio.create_task(backend.creates.create(key, value or key.encode())) for key in keys]
    await asyncio.sleep(0)
    return await asyncio.gather(*tasks, return_exceptions=True)


async def test_one_that_comes_alone_goes_alone_and_the_others_follow_together(backend: Backend) -> None:
    await several(backend, "a", "b", "c", "d")
    assert backend.sent == [["a"], ["b", "c", "d"]]
    await several(backend, "e")
    assert backend.sent[-1] == ["e"]
    assert set(backend.kept) == set("abcde")


async def test_a_taken_key_fails_only_its_own_create(backend: Backend) -> None:
    backend.kept["c"] = b"old"
    outcomes = await several(backend, "a", "b", "c", "d")
    assert [isinstance(outcome, Exists) for outcome in outcomes] == [False, False, True, False]
    assert backend.kept == {"a": b"a", "b": b"b", "c": b"old", "d": b"d"}


async def test_a_lost_answer_is_no_conflict(backend: Backend) -> None:
    backend.lost = True
    outcomes = await several(backend, "a", "b", "c")
    assert all(isinstance(outcome, int) for outcome in outcomes)
    assert backend.tried_again == [False, True, True]


async def test_a_key_is_written_once_in_a_transaction(backend: Backend) -> None:
    outcomes = await several(backend, "a", "b", "b", "c")
    assert backend.sent == [["a"], ["b", "c"], ["b"]]
    assert [isinstance(outcome, Exists) for outcome in outcomes] == [False, False, True, False]


async def test_what_is_too_large_together_is_sent_one_by_one(backend: Backend) -> None:
    backend.limit = 5
    assert all(isinstance(outcome, int) for outcome in await several(backend, "a", "b", "c", value=b"12345"))
    assert backend.sent == [["a"], ["b", "c"], ["b"], ["c"]]


async def test_a_transaction_has_its_limits(backend: Backend) -> None:
    keys = [f"{number:03}" for number in range(2 * MOST + 2)]
    await several(backend, *keys)
    assert [len(sent) for sent in backend.sent] == [1, MOST, MOST, 1]
    backend.sent.clear()
    await several(backend, "x", "y", "z", value=bytes(400 * 1024))
    assert [len(sent) for sent in backend.sent] == [1, 1, 1]


async def test_whoever_leaves_before_it_is_sent_leaves_nothing_behind(backend: Backend) -> None:
    backend.hold.clear()
    tasks = [asyncio.create_task(backend.creates.create(key, b"")) for key in "abc"]
    await asyncio.sleep(0)
    tasks[1].cancel()
    await asyncio.sleep(0)
    backend.hold.set()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert backend.sent == [["a"], ["c"]]
    backend.hold.clear()
    tasks = [asyncio.create_task(backend.creates.create(key, b"")) for key in "def"]
    await asyncio.sleep(0)
    tasks[0].cancel()
    while backend.sent[-1] != ["e", "f"]:
        await asyncio.sleep(0)
    tasks[1].cancel()
    backend.hold.set()
    await tasks[2]
    assert "e" in backend.kept


async def test_a_store_that_is_gone_fails_all_and_nobody_waits_for_ever(backend: Backend) -> None:
    async def gone(creates: Sequence[Create]) -> tuple[Sequence[int], bool]:
        raise Unavailable("etcd does not answer")

    backend.creates = Creates(backend.alone, gone)
    first, *others = await several(backend, "a", "b", "c")
    assert isinstance(first, int)
    assert all(isinstance(outcome, Unavailable) for outcome in others)
    assert len(others) == 2
    assert isinstance(await backend.creates.create("d", b""), int)
