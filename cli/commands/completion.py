"""`completion`: a shell script that completes pykubectl's commands and flags."""

from __future__ import annotations

from cli.env import Env
from cli.errors import UsageError
from cli.framework import PROG
from cli.framework import command as declare

SHELLS = ("bash", "zsh", "fish")


@declare(
    "completion",
    usage="SHELL",
    help="Output shell completion code for the specified shell (bash, zsh or fish).",
    examples="""
    # Load the completion code for bash into the current shell
    source <(kubectl completion bash)

    # Load it for every zsh session
    echo 'source <(kubectl completion zsh)' >> ~/.zshrc
    """,
)
def command(env: Env, args: tuple[str, ...]) -> None:
    if len(args) != 1:
        raise UsageError("Shell not specified." if not args else "Too many arguments. Expected only the shell type.")
    if args[0] not in SHELLS:
        raise UsageError(f'Unsupported shell type "{args[0]}".')
    from click.shell_completion import get_completion_class

    from cli.main import root

    made = get_completion_class(args[0])
    if made is None:
        raise UsageError(f'Unsupported shell type "{args[0]}".')
    env.out(made(root, {}, PROG, f"_{PROG.upper()}_COMPLETE").source())
