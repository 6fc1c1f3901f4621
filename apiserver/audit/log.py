"""The file of the audit log: one event a line, a new file when it is full, the oldest ones removed."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Protocol

_MEGABYTE = 2**20


class Sink(Protocol):
    """Where events go, one line of JSON each."""

    def write(self, line: bytes) -> None: ...

    def close(self) -> None: ...


class LogFile:
    """`path` is "-" for standard output. Sizes are in bytes, ages in seconds; 0 for no limit.

    A full file is renamed to `<name>-<time><suffix>`, as upstream's rotation does. Each line is handed to the kernel
    before the request goes on. Only the owner may read the files: requests can hold secrets.
    """

    def __init__(self, path: str, *, max_size: int = 100 * _MEGABYTE, max_backups: int = 0, max_age: float = 0) -> None:
        self._path = Path(path)
        self._max_size = max_size
        self._max_backups = max_backups
        self._max_age = max_age
        self._stdout = path == "-"
        self._file: BinaryIO = sys.stdout.buffer if self._stdout else self._open()
        self._size = 0 if self._stdout else os.fstat(self._file.fileno()).st_size

    def _open(self) -> BinaryIO:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        return os.fdopen(descriptor, "ab", buffering=0)

    def write(self, line: bytes) -> None:
        """Raises OSError if the line cannot be written."""
        if self._max_size and self._size and self._size + len(line) > self._max_size and not self._stdout:
            self._rotate()
        self._file.write(line)
        if self._stdout:
            self._file.flush()
        self._size += len(line)

    def close(self) -> None:
        if not self._stdout:
            self._file.close()

    def _rotate(self) -> None:
        self._file.close()
        moment = datetime.now(UTC).strftime("%Y-%m-%dT%H-%M-%S.%f")[:-3]
        backup = self._path.with_name(f"{self._path.stem}-{moment}{self._path.suffix}")
        number = 0
        while backup.exists():
            number += 1
            backup = self._path.with_name(f"{self._path.stem}-{moment}.{number}{self._path.suffix}")
        self._path.rename(backup)
        self._file, self._size = self._open(), 0
        self._remove_old()

    def _remove_old(self) -> None:
        backups = sorted(
            self._path.parent.glob(f"{self._path.stem}-*{self._path.suffix}"), key=lambda p: p.stat().st_mtime_ns
        )
        kept = backups[-self._max_backups :] if self._max_backups else backups
        if self._max_age:
            oldest = datetime.now(UTC).timestamp() - self._max_age
            kept = [backup for backup in kept if backup.stat().st_mtime >= oldest]
        for backup in set(backups) - set(kept):
            backup.unlink(missing_ok=True)
