"""Runs the admission plugins that care for a write, in order."""

from __future__ import annotations

from typing import Any

from apiserver.admission import Operation
from apiserver.strategy import Context


async def admit_mutating(ctx: Context, operation: Operation, new: Any, old: Any) -> None:
    """Let the plugins change the object. Raises what a plugin refuses with."""
    for plugin in ctx.registry.admission:
        if plugin.handles(ctx, operation):
            await plugin.mutate(ctx, operation, new, old)


async def admit_validating(ctx: Context, operation: Operation, new: Any, old: Any) -> None:
    """Let the plugins refuse the final object."""
    for plugin in ctx.registry.admission:
        if plugin.handles(ctx, operation):
            await plugin.validate(ctx, operation, new, old)
