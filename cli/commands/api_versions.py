"""`api-versions`: the server's group versions."""

from __future__ import annotations

from cli.env import Env
from cli.framework import command as declare


@declare(
    "api-versions",
    usage="[flags]",
    help='Print the supported API versions on the server, in the form of "group/version".',
)
async def command(env: Env, args: tuple[str, ...]) -> None:
    await env.discovery.refresh()
    names = [
        f"{group.name}/{version}" if group.name else version
        for group in await env.discovery.groups()
        for version in group.versions
    ]
    for name in sorted(names):
        env.out(name)
