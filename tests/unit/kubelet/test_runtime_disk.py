"""What containers take on disk."""

from __future__ import annotations

from pathlib import Path

from kubelet.runtime.disk import INTERVAL, DiskUsage, Paths, tree_usage


def test_a_tree_is_counted_with_hard_links_once_and_without_links_followed(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 100_000)
    (tmp_path / "b").hardlink_to(tmp_path / "a")
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "loop").symlink_to(tmp_path)
    used, inodes = tree_usage(str(tmp_path))
    assert 100_000 <= used < 140_000
    assert inodes == 4  # the directory, a and b as one, inner, loop
    assert tree_usage(str(tmp_path / "none")) == (0, 1)


def test_measurements_are_kept_for_a_while_and_logs_count_with_their_rotations(tmp_path: Path) -> None:
    now = [0.0]
    usage = DiskUsage(clock=lambda: now[0])
    log = tmp_path / "c-json.log"
    log.write_bytes(b"x" * 50_000)
    log.with_name("c-json.log.1").write_bytes(b"x" * 50_000)
    paths = Paths(layer="", log=str(log))
    first = usage.of("c", paths)
    assert first.log_bytes >= 100_000
    log.unlink()
    assert usage.of("c", paths) == first
    now[0] += INTERVAL
    assert usage.of("c", paths).log_bytes < first.log_bytes


def test_paths_come_from_an_inspect() -> None:
    data = {"GraphDriver": {"Data": {"UpperDir": "/up"}}, "LogPath": "/log"}
    assert Paths.of(data) == Paths("/up", "/log")
    assert Paths.of({"GraphDriver": {"Data": None}, "LogPath": ""}) == Paths("", "")
