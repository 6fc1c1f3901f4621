"""How long to wait before trying again."""

from __future__ import annotations

import random


def jitter(seconds: float, factor: float = 1.0) -> float:
    """Between `seconds` and `seconds * (1 + factor)`, so that many clients do not come back together."""
    return seconds * (1.0 + random.random() * factor)


class Backoff:
    """Exponential with jitter: `first`, twice as much, ..., at most `cap` seconds; `reset` after a success."""

    def __init__(self, first: float = 0.1, cap: float = 5.0, factor: float = 2.0) -> None:
        self._first, self._cap, self._factor = first, cap, factor
        self._next = first

    def next(self) -> float:
        wait, self._next = self._next, min(self._next * self._factor, self._cap)
        return jitter(wait, 0.5)

    def reset(self) -> None:
        self._next = self._first
