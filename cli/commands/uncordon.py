"""`uncordon`: marks nodes as schedulable."""

from __future__ import annotations

from typing import Any

from cli.env import Env
from cli.errors import UsageError, raise_all
from cli.framework import command as declare
from cli.nodes import set_unschedulable
from cli.resources import Target, fetch_all, resolve
from cli.writing import Writer, dry_run_option, each, selector_option


@declare("uncordon", usage="NODE", help="Mark node as schedulable.")
@dry_run_option
@selector_option
async def command(env: Env, args: tuple[str, ...], **params: Any) -> None:
    if not args and not params["selector"]:
        raise UsageError("USAGE: uncordon NODE [flags]")
    names = tuple(name.removeprefix("node/").removeprefix("nodes/") for name in args)
    found, problems = await fetch_all(env, await resolve(env, ("nodes", *names)), labels=params["selector"])
    writer = Writer(env, dry_run=params["dry_run"])

    async def one(target: Target) -> None:
        await set_unschedulable(writer, target, False)

    await each(found, one)
    raise_all(problems)
