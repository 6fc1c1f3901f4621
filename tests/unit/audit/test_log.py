"""The audit log's file: nothing is lost when a new one is begun, and only as many are kept as asked for."""

from __future__ import annotations

import stat
from pathlib import Path

from apiserver.audit.log import LogFile


def lines(directory: Path) -> list[bytes]:
    found = sorted(directory.iterdir(), key=lambda path: path.stat().st_mtime_ns)
    return [line for path in found for line in path.read_bytes().splitlines()]


def test_a_full_file_is_put_aside_and_no_line_is_lost_or_torn(tmp_path: Path) -> None:
    log = LogFile(str(tmp_path / "audit.log"), max_size=100)
    for number in range(20):
        log.write(b"%02d %b\n" % (number, b"x" * 30))
    log.close()
    assert sorted(lines(tmp_path)) == [b"%02d %b" % (number, b"x" * 30) for number in range(20)]
    assert all(path.stat().st_size <= 100 for path in tmp_path.iterdir())
    assert len(list(tmp_path.glob("audit-*.log"))) == 9


def test_only_so_many_old_files_are_kept(tmp_path: Path) -> None:
    log = LogFile(str(tmp_path / "audit.log"), max_size=10, max_backups=2)
    for number in range(10):
        log.write(b"line %03d\n" % number)
    log.close()
    assert lines(tmp_path) == [b"line 007", b"line 008", b"line 009"]


def test_a_restart_goes_on_in_the_same_file_that_nobody_else_may_read(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "audit.log"
    for text in (b"one\n", b"two\n"):
        log = LogFile(str(path))
        log.write(text)
        log.close()
    assert path.read_bytes() == b"one\ntwo\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
