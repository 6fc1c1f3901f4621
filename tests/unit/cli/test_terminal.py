"""The terminal of the person who types: nothing of it may get lost."""

from __future__ import annotations

import os
import pty
import select
import sys
import termios

import pytest

from cli.terminal import raw_mode


def test_what_was_typed_ahead_reaches_the_container(monkeypatch: pytest.MonkeyPatch) -> None:
    """`kubectl run -it`, and the first command typed while the image is being pulled."""
    master, slave = pty.openpty()
    with os.fdopen(slave, "rb", buffering=0) as terminal:
        monkeypatch.setattr(sys, "stdin", terminal)
        before = termios.tcgetattr(slave)
        os.write(master, b"hostname\n")
        assert select.select([terminal], [], [], 10)[0]
        with raw_mode(True):
            assert not termios.tcgetattr(slave)[3] & termios.ICANON
            assert select.select([terminal], [], [], 10)[0]
            assert os.read(slave, 100).strip() == b"hostname"
        assert termios.tcgetattr(slave) == before
    os.close(master)
