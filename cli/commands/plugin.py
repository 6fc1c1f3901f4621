"""`plugin list`: which commands of others are on PATH, and which of them can never run."""

from __future__ import annotations

import os

from cli.env import Env
from cli.errors import CliError
from cli.framework import command as declare
from cli.framework import flag, group
from cli.plugins import PREFIXES, available

command = group("plugin", help="Provides utilities for interacting with plugins.")


@declare(
    "list",
    usage="[flags]",
    help="""
    List all available plugin files on a user's PATH: executable, anywhere on the PATH, with a name that begins with
    "kubectl-" or "pykubectl-".
    """,
    group=command,
)
@flag("--name-only", help="If true, display only the binary name of each plugin, rather than its full path.")
def list_plugins(env: Env, args: tuple[str, ...], name_only: bool) -> None:
    from cli.main import HELPS

    seen: dict[str, str] = {}
    found = list(available())
    if not found:
        raise CliError("unable to find any kubectl plugins in your PATH")
    env.out("The following compatible plugins are available:\n")
    warnings: list[str] = []
    for path in found:
        env.out(path.name if name_only else path)
        words = path.name.removeprefix(next(f"{prefix}-" for prefix in PREFIXES if path.name.startswith(f"{prefix}-")))
        if not os.access(path, os.X_OK):
            warnings.append(f"{path} identified as a kubectl plugin, but it is not executable")
        if path.name in seen:
            warnings.append(f"{path} is overshadowed by a similarly named plugin: {seen[path.name]}")
        elif words.replace("_", "-") in HELPS:
            warnings.append(f'{path.name} overwrites existing command: "kubectl {words}"')
        seen.setdefault(path.name, str(path))
    for text in warnings:
        env.err(f"  - warning: {text}")
    if warnings:
        count = len(warnings)
        raise CliError("one plugin warning was found" if count == 1 else f"{count} plugin warnings were found")
