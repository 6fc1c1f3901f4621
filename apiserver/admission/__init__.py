"""Admission: plugins that may change (mutate) or refuse (validate) a write after it is decoded and authorized.

Lives here: the plugin interface and one file per plugin, with upstream's plugin names. May not live here: rules of a
single resource that hold regardless of cluster policy; those are validation and belong to its strategy.
"""

from __future__ import annotations

from typing import Any, Literal, Protocol

from apiserver.strategy import Context

Operation = Literal["CREATE", "UPDATE", "DELETE", "CONNECT"]


class AdmissionPlugin(Protocol):
    """Refuses by raising `StatusError` (usually 403 forbidden) with upstream's words."""

    name: str

    def handles(self, ctx: Context, operation: Operation) -> bool:
        """Cheap check, called for each write; most plugins care for a few resources."""
        ...

    async def mutate(self, ctx: Context, operation: Operation, new: Any, old: Any) -> None: ...

    async def validate(self, ctx: Context, operation: Operation, new: Any, old: Any) -> None: ...
