"""`kustomize`: what `apply -k` would apply, as YAML."""

from __future__ import annotations

from pathlib import Path

from cli.env import Env
from cli.errors import CliError
from cli.framework import command as declare
from cli.framework import option
from cli.kustomize import build
from cli.printers.yaml import to_yaml


@declare(
    "kustomize",
    usage="DIR",
    help="""
    Build a set of KRM resources using a 'kustomization.yaml' file. The DIR argument must be a path to a directory
    containing 'kustomization.yaml'; without one the current directory is meant.

    Helm charts, plugins, remote resources, replacements and vars need the program kustomize itself.
    """,
    examples="""
    # Build the current working directory
    kubectl kustomize

    # Build some shared configuration directory
    kubectl kustomize /home/config/production
    """,
)
@option("-o", "--output", help="If specified, write output to this path.")
def command(env: Env, args: tuple[str, ...], output: str) -> None:
    if len(args) > 1:
        raise CliError("specify one path to kustomization.yaml")
    objects = build(args[0] if args else ".", lambda words: env.err(f"# Warning: {words}"))
    text = "---\n".join(to_yaml(obj) for obj in objects)
    if output:
        Path(output).write_text(text)
    else:
        env.out(text, end="")
