"""Variables from files that other containers wrote."""

from __future__ import annotations

from pathlib import Path

import pytest

from api.types.core_v1 import FileKeySelector
from kubelet.env_file import parse, variable


def test_plain_quoted_and_multi_line_values() -> None:
    text = "# comment\n\nA=1\nB='two words # no comment' # comment\nC='x\ny'\n D = spaced \nE="
    assert parse(text) == {"A": "1", "B": "two words # no comment", "C": "x\ny", "D": "spaced", "E": ""}


def test_what_is_no_variable_is_refused_with_its_line() -> None:
    with pytest.raises(ValueError, match="line 2"):
        parse("A=1\nnonsense\n")


def test_only_files_of_the_volume_are_read(tmp_path: Path) -> None:
    volume = tmp_path / "volume"
    volume.mkdir()
    (tmp_path / "secret").write_text("A=1")
    (volume / "way-out").symlink_to("../secret")
    (volume / "env").write_text("A=2")
    assert variable(FileKeySelector(volume_name="v", path="env", key="A"), {"v": volume}) == "2"
    assert variable(FileKeySelector(volume_name="v", path="gone", key="A", optional=True), {"v": volume}) is None
    for path in ("way-out", "gone"):
        with pytest.raises(ValueError, match=path):
            variable(FileKeySelector(volume_name="v", path=path, key="A"), {"v": volume})
