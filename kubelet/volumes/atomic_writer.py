"""Files that change all at once: the layout that configMap, secret, downwardAPI and projected volumes share.

    ..2026_01_31_10_00_00.123456789/   the present contents
    ..data -> ..2026_01_31_...         swapped by one rename
    key -> ..data/key                  what containers read

A reader that holds a directory open sees one version or the other, never a mixture. As upstream's AtomicWriter.
"""

from __future__ import annotations

import os
import secrets
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

DATA, NEW_DATA = "..data", "..data_tmp"


@dataclass(frozen=True, slots=True)
class Projected:
    """One file of a payload."""

    data: bytes
    mode: int
    user: int | None = None


Payload = Mapping[str, Projected]  # relative path -> file


def validate_path(path: str) -> None:
    """Raises ValueError for paths that would leave the volume or collide with the machinery."""
    if not path:
        raise ValueError('invalid path: must not be empty: ""')
    if path.startswith("/"):
        raise ValueError(f"invalid path: must be relative path: {path}")
    parts = path.split("/")
    if ".." in parts:
        raise ValueError(f"invalid path: must not contain '..': {path}")
    if parts[0].startswith(".."):
        raise ValueError(f"invalid path: must not start with '..': {path}")


def write(target: Path, payload: Payload, prepare: Callable[[Path], None] | None = None) -> bool:
    """Make `target` show exactly `payload`; returns whether anything changed.

    `prepare` sees the new contents before anyone else does (ownership). Raises OSError, ValueError.
    """
    for path in payload:
        validate_path(path)
    current = target / DATA
    before = str(current.readlink()) if current.is_symlink() else None
    if before is not None and _same(target / before, payload):
        _link(target, payload)
        return False
    fresh = _fresh_directory(target)
    for path, file in payload.items():
        place = fresh / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(file.data)
        place.chmod(file.mode)  # the umask must not weigh in
        if file.user is not None:
            os.chown(place, file.user, -1)
    if prepare is not None:
        prepare(fresh)
    swap = target / NEW_DATA
    swap.unlink(missing_ok=True)
    swap.symlink_to(fresh.name)
    swap.rename(current)
    _link(target, payload)
    for entry in os.scandir(target):
        if entry.name.startswith("..") and entry.name != fresh.name and entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path, ignore_errors=True)
    return True


def _fresh_directory(target: Path) -> Path:
    now = time.time_ns()
    stamp = time.strftime("..%Y_%m_%d_%H_%M_%S", time.gmtime(now // 10**9))
    fresh = target / f"{stamp}.{now % 10**9:09d}{secrets.randbelow(10)}"
    fresh.mkdir(mode=0o755)
    fresh.chmod(0o755)
    return fresh


def _same(directory: Path, payload: Payload) -> bool:
    found = {
        str(Path(parent, name).relative_to(directory)) for parent, _, names in os.walk(directory) for name in names
    }
    if found != payload.keys():
        return False
    return all((directory / path).read_bytes() == file.data for path, file in payload.items())


def _link(target: Path, payload: Payload) -> None:
    """One link for each first path component, and none for what is gone."""
    wanted = {path.split("/")[0] for path in payload}
    for name in wanted:
        link = target / name
        if not link.is_symlink():
            link.symlink_to(f"{DATA}/{name}")
    for entry in os.scandir(target):
        if entry.is_symlink() and not entry.name.startswith("..") and entry.name not in wanted:
            Path(entry.path).unlink()
