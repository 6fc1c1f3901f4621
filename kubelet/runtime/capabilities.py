"""What the kernel lets this node do: pods ask for capabilities and OOM scores that a node in a container cannot give.

A node without CAP_SYS_RESOURCE (as in docker-compose) can neither grant that capability nor lower an OOM score. The
rule: give what can be given, say once what can't.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterable
from pathlib import Path

log = logging.getLogger(__name__)

# Linux capabilities in the order of their bits, capability.h.
NAMES = (
    "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP",
    "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER",
    "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE",
    "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP",
    "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF",
    "CHECKPOINT_RESTORE",
)  # fmt: skip


def bare(name: str) -> str:
    """`CAP_NET_ADMIN`, `net_admin` and `NET_ADMIN` are the same."""
    return name.upper().removeprefix("CAP_")


@functools.cache
def grantable(proc: Path = Path("/proc")) -> frozenset[str]:
    """The capabilities in this process' bounding set; dockerd on the same node has the same."""
    last = len(NAMES) - 1
    try:
        last = int((proc / "sys/kernel/cap_last_cap").read_text())
    except OSError:
        pass
    status = (proc / "self/status").read_text()
    mask = next(int(line.split()[1], 16) for line in status.splitlines() if line.startswith("CapBnd:"))
    return frozenset(name for bit, name in enumerate(NAMES) if bit <= last and mask >> bit & 1)


def all_grantable(granted: Iterable[str] | None = None) -> bool:
    """Whether `privileged` can mean what it says."""
    return set(NAMES) <= set(grantable() if granted is None else granted)


def expand(names: Iterable[str], granted: frozenset[str]) -> list[str]:
    """Capabilities to add, `ALL` spelled out where it can't all be given, without those that can't be given at all."""
    wanted = {bare(name) for name in names}
    if "ALL" in wanted:
        return ["ALL"] if all_grantable(granted) else sorted(granted)
    for name in sorted((wanted & set(NAMES)) - granted):
        _say_once(f"this node cannot grant CAP_{name}: not in its own bounding set")
    # A name the kernel does not know stays, so that dockerd refuses it in its own words.
    return sorted(name for name in wanted if name in granted or name not in NAMES)


def oom_score(score: int | None, granted: frozenset[str]) -> int | None:
    """`score`, raised to 0 where the kernel forbids less."""
    if score is not None and score < 0 and "SYS_RESOURCE" not in granted:
        _say_once("this node cannot set a negative oom_score_adj (no CAP_SYS_RESOURCE): 0 is set instead")
        return 0
    return score


@functools.cache
def _say_once(message: str) -> None:
    log.warning(message)
