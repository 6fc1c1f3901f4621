"""Reading and following json-file logs, with rotations at the worst moments."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from kubelet.runtime import logs
from kubelet.runtime.logs import Options


def line(text: str, stream: str = "stdout", second: int = 0, end: str = "\n") -> str:
    entry = {"log": text + end, "stream": stream, "time": f"2026-01-01T00:00:{second:02d}.5Z"}
    return json.dumps(entry, separators=(",", ":")) + "\n"


async def collect(path: Path, options: Options, **settings: Any) -> bytes:
    return b"".join([data async for data in logs.read(path, options, **settings)])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "c-json.log"


async def test_streams_timestamps_since_and_limit(path: Path) -> None:
    path.write_text(line("a", second=1) + line("b", "stderr", second=2) + line("c", second=3))
    assert await collect(path, Options()) == b"a\nb\nc\n"
    assert await collect(path, Options(stream="stderr")) == b"b\n"
    assert await collect(path, Options(since="2026-01-01T00:00:02.500000000Z")) == b"b\nc\n"
    assert await collect(path, Options(timestamps=True, stream="stderr")) == b"2026-01-01T00:00:02.500000000Z b\n"
    assert await collect(path, Options(timestamps=True, limit_bytes=12)) == b"2026-01-01T0"
    assert await collect(path, Options(limit_bytes=3)) == b"a\nb"
    assert await collect(path, Options(limit_bytes=0)) == b""


async def test_parts_of_a_long_line_get_one_timestamp(path: Path) -> None:
    path.write_text(line("part1 ", end="") + line("other", "stderr") + line("part2"))
    out = (await collect(path, Options(timestamps=True))).decode()
    assert out.count("2026-") == 2
    assert await collect(path, Options(stream="stdout")) == b"part1 part2\n"


@pytest.mark.parametrize(("tail", "expected"), [(0, ""), (1, "5"), (2, "45"), (3, "345"), (5, "12345"), (99, "12345")])
async def test_tail_reaches_back_over_rotated_files(path: Path, tail: int, expected: str) -> None:
    path.with_name("c-json.log.2").write_text(line("1"))
    path.with_name("c-json.log.1").write_text(line("2") + line("3"))
    path.write_text(line("4") + line("5"))
    assert (await collect(path, Options(tail=tail))).decode().replace("\n", "") == expected


async def test_tail_counts_only_the_stream_asked_for(path: Path) -> None:
    path.write_text(line("1") + line("2", "stderr") + line("3") + line("4", "stderr") + line("5", "stderr"))
    assert await collect(path, Options(tail=2, stream="stdout")) == b"1\n3\n"


async def test_tail_of_a_large_file(path: Path) -> None:
    path.write_text("".join(line(f"{number}") for number in range(20_000)))
    assert (await collect(path, Options(tail=15_000))).split()[0] == b"5000"


async def test_torn_lines_are_passed_over(path: Path) -> None:
    path.write_text(line("a") + '{"log":"torn\n' + "\0" * 10 + line("b") + '{"log":"unfinished')
    assert await collect(path, Options()) == b"a\nb\n"
    assert await collect(path, Options(tail=1)) == b"b\n"


async def test_no_file_is_no_output(path: Path) -> None:
    assert await collect(path, Options()) == b""


class Writer:
    """A container that writes, and a driver that rotates."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.alive = True
        self.number = 0

    async def running(self) -> bool:
        return self.alive

    def write(self, count: int) -> None:
        with self.path.open("a") as file:
            for _ in range(count):
                self.number += 1
                file.write(line(str(self.number)))

    def rotate(self, keep: int = 5) -> None:
        for index in range(keep - 1, 0, -1):
            older = self.path if index == 1 else self.path.with_name(f"{self.path.name}.{index - 1}")
            if older.exists():
                older.rename(self.path.with_name(f"{self.path.name}.{index}"))
        self.path.touch()


async def test_following_through_rotations_loses_and_repeats_nothing(path: Path) -> None:
    writer = Writer(path)
    writer.write(3)
    got: list[bytes] = []

    async def follow() -> None:
        async for data in logs.read(path, Options(follow=True), running=writer.running):
            got.append(data)

    task = asyncio.create_task(follow())
    for round_ in range(12):
        writer.write(5)
        writer.rotate()
        if round_ % 3 == 0:
            writer.write(2)
            writer.rotate()  # twice before the reader looks
        await asyncio.sleep(0.03)
    writer.write(1)
    writer.alive = False
    async with asyncio.timeout(10):
        await task
    assert b"".join(got).split() == [str(number).encode() for number in range(1, writer.number + 1)]


async def test_what_is_written_just_before_the_end_is_read(path: Path) -> None:
    writer = Writer(path)
    writer.write(1)
    calls = 0

    async def running() -> bool:
        nonlocal calls
        calls += 1
        if calls == 2:
            writer.write(1)
            return False
        return calls < 2

    assert await collect(path, Options(follow=True), running=running) == b"1\n2\n"


async def test_following_waits_for_the_file(path: Path) -> None:
    writer = Writer(path)
    task = asyncio.create_task(collect(path, Options(follow=True), running=writer.running))
    await asyncio.sleep(0.05)
    writer.write(2)
    writer.alive = False
    async with asyncio.timeout(10):
        assert await task == b"1\n2\n"


async def test_following_goes_on_after_the_file_was_emptied(path: Path) -> None:
    writer = Writer(path)
    writer.write(3)
    reader = logs.read(path, Options(follow=True), running=writer.running)
    assert await anext(reader) == b"1\n2\n3\n"
    path.write_text("")
    writer.write(1)
    assert await anext(reader) == b"4\n"
    writer.alive = False
    assert [data async for data in reader] == []
