"""Entering network namespaces from threads of this process.

A socket belongs for ever to the namespace in which it was made, so code that wants to act inside a pod's namespace goes
there for the microseconds it takes to open a socket, and comes back. `setns` moves only the calling thread.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def path_of(pid: int) -> str:
    return f"/proc/{pid}/ns/net"


def _setns(fd: int) -> None:
    if _libc.setns(fd, CLONE_NEWNET) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"setns: {os.strerror(code)}")


def inside(pid: int, action: Callable[[], T]) -> T:
    """`action()` in the network namespace of process `pid`. For worker threads only; raises OSError."""
    here = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        there = os.open(path_of(pid), os.O_RDONLY | os.O_CLOEXEC)
        try:
            _setns(there)
        finally:
            os.close(there)
        try:
            return action()
        finally:
            _setns(here)
    finally:
        os.close(here)
