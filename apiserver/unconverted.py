"""How the pipeline learns that a conversion between versions has to be asked for before a request can go on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


class Unconverted(Exception):
    """Raised from synchronous code, before anything is written: `await resolve()`, then do it all again."""

    async def resolve(self) -> None:
        """Ask for the conversion. Raises StatusError if that fails."""
        raise NotImplementedError


async def converted(work: Callable[[], Awaitable[T]]) -> T:
    """What `work` answers; it is done again as long as it lacks a conversion. Raises StatusError for one that fails."""
    while True:
        try:
            return await work()
        except Unconverted as missing:
            await missing.resolve()
