"""Container logs, read straight from the files that Docker's json-file driver writes.

Going past dockerd makes followers cheap (a `stat` now and then, no connection, no goroutine) and keeps a slow reader
from ever holding up a container: reader and writer only share the file. The files of one container are
`<id>-json.log` and, rotated at 10 MiB, `.1` to `.4`, the higher the older. A follower goes by inode, so that a rename
under it neither loses nor repeats a line.

Lines follow upstream's format: with timestamps, RFC 3339 with nine digits and a blank before the line; a limit counts
the bytes of the output, timestamps included.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import msgspec

from kubelet.runtime import timestamps

CHUNK = 256 * 1024  # bytes read at once
POLL_MIN, POLL_MAX = 0.02, 0.25  # seconds between looks at a file that has nothing new
MAX_FILES = 10


class Entry(msgspec.Struct):
    """One line of the file; `log` ends in a newline unless it is a part (16 KiB) of a longer line."""

    log: str = ""
    stream: str = ""
    time: str = ""


_decode = msgspec.json.Decoder(Entry).decode


@dataclass(frozen=True, slots=True)
class Options:
    follow: bool = False
    since: str = ""  # as `timestamps` writes them
    tail: int | None = None
    timestamps: bool = False
    limit_bytes: int | None = None
    stream: str = ""  # "stdout", "stderr" or "" for both


class _Formatter:
    """Raw lines in, output out, until the limit is reached."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._left = options.limit_bytes
        self._inside_line: dict[str, bool] = {}
        self.done = self._left is not None and self._left <= 0

    def format(self, lines: list[bytes]) -> bytes:
        out: list[bytes] = []
        options = self._options
        for line in lines:
            if not line.strip(b"\0 \r\n"):
                continue
            try:
                entry = _decode(line.lstrip(b"\0"))
            except msgspec.DecodeError:
                continue  # torn by a crash of the node
            if options.stream and entry.stream != options.stream:
                continue
            stamp = timestamps.fixed(entry.time) if options.since or options.timestamps else ""
            if options.since and stamp < options.since:
                continue
            data = entry.log.encode("utf-8", "surrogatepass")
            if options.timestamps and not self._inside_line.get(entry.stream):
                data = stamp.encode() + b" " + data
            self._inside_line[entry.stream] = not data.endswith(b"\n")
            if self._left is not None:
                data = data[: self._left]
                self._left -= len(data)
            out.append(data)
            if self._left == 0:
                self.done = True
                break
        return b"".join(out)


def files_of(path: Path) -> list[Path]:
    """The container's log files that exist, oldest first."""
    rotated = [path.with_name(f"{path.name}.{number}") for number in range(MAX_FILES, 0, -1)]
    return [file for file in (*rotated, path) if file.exists()]


async def read(
    path: Path,
    options: Options,
    *,
    running: Callable[[], Awaitable[bool]] | None = None,
) -> AsyncIterator[bytes]:
    """The log as asked, in pieces. `running` tells a follower whether more may come. No file: no output."""
    formatter = _Formatter(options)
    cursor = await asyncio.to_thread(_Cursor.open, path, options)
    if cursor is None:
        if not options.follow or running is None:
            return
        # Docker makes the file when the container starts.
        while cursor is None:
            if not await running() and not path.exists():
                return
            await asyncio.sleep(POLL_MAX)
            cursor = await asyncio.to_thread(_Cursor.open, path, options)
    try:
        delay = POLL_MIN
        while True:
            # Asked before reading: what was written until the container's end is then read for certain.
            more_may_come = options.follow and running is not None and await running()
            progressed = False
            while not formatter.done and (lines := await asyncio.to_thread(cursor.read)) is not None:
                progressed = True
                if data := formatter.format(lines):
                    yield data
            if formatter.done or not more_may_come:
                return
            delay = POLL_MIN if progressed else delay
            while not cursor.grown() and running is not None and await running():
                await asyncio.sleep(delay)
                delay = min(delay * 1.5, POLL_MAX)
    finally:
        cursor.close()


class _Cursor:
    """A place in the chain of files. `read` blocks on the disk only."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self._path = path
        self._file = file
        self._pending = b""

    @classmethod
    def open(cls, path: Path, options: Options) -> _Cursor | None:
        """At the oldest line, or where the last `tail` lines begin."""
        for _ in range(5):
            try:
                files: list[BinaryIO] = [file.open("rb") for file in files_of(path)]
            except FileNotFoundError:
                continue  # rotated in between
            if not files:
                return None
            files = _unique(files)
            index = 0
            if options.tail is not None:
                index = _seek_tail(files, options)
            for number, file in enumerate(files):
                if number != index:
                    file.close()
            return cls(path, files[index])
        return None

    def read(self) -> list[bytes] | None:
        """Some whole lines, or None if there is nothing (yet)."""
        if os.fstat(self._file.fileno()).st_size < self._file.tell():
            self._file.seek(0)  # somebody emptied the file
        data = self._file.read(CHUNK)
        if not data:
            following = self._next_file()
            if following is None:
                return None
            # Whatever Docker wrote between the read above and the rotation:
            data = self._file.read(CHUNK)
            if not data:
                self._file.close()
                self._file, self._pending = following, b""
                return []
            following.close()
        *lines, self._pending = (self._pending + data).split(b"\n")
        return lines

    def _next_file(self) -> BinaryIO | None:
        """The file after this one, if this one was rotated away."""
        own = os.fstat(self._file.fileno())
        try:
            current = self._path.stat()
        except FileNotFoundError:
            return None  # in the middle of a rotation, or the container was removed
        if (current.st_dev, current.st_ino) == (own.st_dev, own.st_ino):
            return None
        files = files_of(self._path)
        try:
            inodes = [file.stat().st_ino for file in files]
            position = inodes.index(own.st_ino) + 1 if own.st_ino in inodes else 0
            return files[position].open("rb")
        except (FileNotFoundError, IndexError):
            return None  # rotating right now: next time

    def grown(self) -> bool:
        own = os.fstat(self._file.fileno())
        if own.st_size != self._file.tell():
            return True
        try:
            return self._path.stat().st_ino != own.st_ino
        except FileNotFoundError:
            return False

    def close(self) -> None:
        self._file.close()


def _unique(files: list[BinaryIO]) -> list[BinaryIO]:
    """A rotation while the files were opened shows one of them under two names."""
    seen: dict[int, BinaryIO] = {}
    for file in files:
        inode = os.fstat(file.fileno()).st_ino
        if inode in seen:
            file.close()
        else:
            seen[inode] = file
    return list(seen.values())


def _seek_tail(files: list[BinaryIO], options: Options) -> int:
    """Put one file at the place from which `tail` lines (of the stream asked for) remain; its index."""
    wanted = options.tail or 0
    for index in range(len(files) - 1, -1, -1):
        file = files[index]
        end = file.seek(0, os.SEEK_END)
        if wanted <= 0:
            return index
        position = end
        for start, line in _lines_backwards(file, end):
            if options.stream and f'"stream":"{options.stream}"'.encode() not in line:
                continue
            wanted -= 1
            position = start
            if wanted == 0:
                file.seek(position)
                return index
        file.seek(0)
    return 0


def _lines_backwards(file: BinaryIO, end: int) -> Iterator[tuple[int, bytes]]:
    """(offset, line) from the last line to the first; a line that is still being written does not count."""
    rest, position, last = b"", end, True
    while position > 0:
        size = min(CHUNK, position)
        position -= size
        file.seek(position)
        block = file.read(size) + rest
        lines = block.split(b"\n")
        rest = lines[0]
        offset = position + len(block)
        for line in reversed(lines[1:]):
            offset -= len(line)
            if not last:  # behind the last newline there is nothing, or a line still being written
                yield offset, line
            last = False
            offset -= 1
    if rest and not last:
        yield 0, rest
