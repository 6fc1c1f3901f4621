"""The local end of an interactive session: raw mode, window sizes, and standard input as a stream."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import termios
import threading
import tty
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

CHUNK = 32 * 1024


def is_terminal() -> bool:
    return sys.stdin is not None and sys.stdin.isatty()


@contextmanager
def raw_mode(wanted: bool) -> Iterator[None]:
    """Puts the terminal into raw mode and always restores it."""
    if not wanted or not is_terminal():
        yield
        return
    fd = sys.stdin.fileno()
    before = termios.tcgetattr(fd)
    try:
        tty.setraw(fd, termios.TCSADRAIN)  # what was typed ahead is for the container
        yield
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, before)


async def standard_input() -> AsyncIterator[bytes]:
    """Chunks of standard input, read on a daemon thread: works for pipes, files and terminals, never delays exit."""
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[bytes] = asyncio.Queue(maxsize=8)

    def pump() -> None:
        fd = sys.stdin.fileno()
        while True:
            try:
                data = os.read(fd, CHUNK)
                asyncio.run_coroutine_threadsafe(queue.put(data), loop).result()
            except (OSError, RuntimeError):
                return
            if not data:
                return

    threading.Thread(target=pump, daemon=True, name="stdin").start()
    while data := await queue.get():
        yield data


async def window_sizes() -> AsyncIterator[tuple[int, int]]:
    """The terminal's (columns, rows) now and after every change."""
    loop = asyncio.get_running_loop()
    changed = asyncio.Event()
    changed.set()
    loop.add_signal_handler(signal.SIGWINCH, changed.set)
    try:
        while True:
            await changed.wait()
            changed.clear()
            try:
                size = os.get_terminal_size(sys.stdin.fileno())
            except OSError:
                return
            yield size.columns, size.lines
    finally:
        loop.remove_signal_handler(signal.SIGWINCH)
