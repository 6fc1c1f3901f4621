"""How the pipeline learns that a conversion between versions has to be asked for before a request can go on."""

from __future__ import annotations


class Unconverted(Exception):
    """Raised from synchronous code, before anything is written: `await resolve()`, then do it all again."""

    async def resolve(self) -> None:
        """Ask for the conversion. Raises StatusError if that fails."""
        raise NotImplementedError
