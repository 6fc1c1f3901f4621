"""Exponential backoff per key, as client-go's flowcontrol.Backoff: the delay grows with every `next` and is forgotten
when nothing happened for twice the maximum. Times are `time.monotonic` seconds unless given."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(slots=True)
class _Entry:
    delay: float
    updated: float


class Backoff:
    def __init__(self, initial: float, maximum: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.initial = initial
        self.maximum = maximum
        self._clock = clock
        self._entries: dict[str, _Entry] = {}

    def next(self, key: str) -> float:
        """Start or lengthen the key's delay; returns it in seconds."""
        now = self._clock()
        entry = self._entries.get(key)
        if entry is None or now - entry.updated > 2 * self.maximum:
            entry = self._entries[key] = _Entry(self.initial, now)
        else:
            entry.delay = min(entry.delay * 2, self.maximum)
            entry.updated = now
        return entry.delay

    def delay(self, key: str) -> float:
        """The key's present delay in seconds, 0 if it has none."""
        entry = self._entries.get(key)
        return entry.delay if entry else 0.0

    def remaining(self, key: str, since: float | None = None) -> float:
        """Seconds left of the delay, counted from `since` or from the last `next`; 0 if it is over or was never set."""
        entry = self._entries.get(key)
        if entry is None:
            return 0.0
        now = self._clock()
        if now - entry.updated > 2 * self.maximum:
            return 0.0
        return max(0.0, entry.delay - (now - (entry.updated if since is None else since)))

    def reset(self, key: str) -> None:
        self._entries.pop(key, None)

    def collect(self) -> None:
        """Forget what has been quiet for twice the maximum."""
        now = self._clock()
        self._entries = {k: e for k, e in self._entries.items() if now - e.updated <= 2 * self.maximum}


def duration(seconds: float) -> str:
    """A Go duration as upstream prints backoffs: 10s, 1m20s, 5m0s."""
    whole = int(seconds)
    if whole != seconds and seconds < 60:
        return f"{seconds:g}s"
    hours, rest = divmod(whole, 3600)
    minutes, secs = divmod(rest, 60)
    if hours:
        return f"{hours}h{minutes}m{secs}s"
    return f"{minutes}m{secs}s" if minutes else f"{secs}s"
