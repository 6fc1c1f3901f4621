"""`options`: the flags every command understands."""

from __future__ import annotations

from cli.env import Env
from cli.framework import command as declare
from cli.framework import global_options


@declare("options", usage="[flags]", help="Print the list of flags inherited by all commands.")
def command(env: Env, args: tuple[str, ...]) -> None:
    env.out("The following options can be passed to any command:\n")
    for one in sorted(global_options(), key=lambda item: max(item.opts, key=len)):
        names = ", ".join(sorted(one.opts, key=len))
        shown = "false" if one.is_flag else "[]" if one.multiple else "0" if one.name == "verbosity" else "''"
        env.out(f"    {names}={shown}:\n\t{one.help}\n")
