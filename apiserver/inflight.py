"""How many requests may be under way: reads and writes each have a limit, beyond which a client is told to come back.

Watches and streams do not count: they last, and cost little. Whoever is in `system:masters` always gets an answer, so
that an overloaded server can be looked at. Source: WithMaxInFlightLimit of apiserver's generic filters.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from api import errors
from apiserver.auth import User
from apiserver.auth.authorizers import MASTERS

READS, WRITES = 400, 200  # upstream's defaults


class InFlight:
    """0 is no limit."""

    def __init__(self, reads: int = READS, writes: int = WRITES) -> None:
        self._limits = (reads, writes)
        self._under_way = [0, 0]

    @contextmanager
    def entered(self, user: User, *, writes: bool) -> Iterator[None]:
        """Raises StatusError 429 with the seconds to wait if there are too many already."""
        kind = int(writes)
        limit = self._limits[kind]
        if limit and self._under_way[kind] >= limit and MASTERS not in user.groups:
            raise errors.too_many_requests("Too many requests, please try again later.")
        self._under_way[kind] += 1
        try:
            yield
        finally:
            self._under_way[kind] -= 1
