"""Opens text in the user's editor, as `edit` and `create --edit` need it."""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
from pathlib import Path

from cli.env import Env
from cli.errors import CliError, Object

VARIABLES = ("KUBE_EDITOR", "VISUAL", "EDITOR")


def editor_command() -> str:
    return next((os.environ[name] for name in VARIABLES if os.environ.get(name)), "vi")


def edit_text(text: str, *, suffix: str) -> tuple[str, Path]:
    """The text after the editor closed, and its file (the caller removes it). Raises `CliError` if the editor fails."""
    handle, name = tempfile.mkstemp(prefix="pykubectl-edit-", suffix=suffix)
    with os.fdopen(handle, "w") as out:
        out.write(text)
    return reopen(Path(name)), Path(name)


def reopen(path: Path) -> str:
    command = editor_command()
    words = [os.environ.get("SHELL", "/bin/sh"), "-c", f"{command} {shlex.quote(str(path))}"]
    try:
        done = subprocess.run(words, check=False)
    except OSError as problem:
        raise CliError(f'unable to launch the editor "{command}"') from problem
    if done.returncode != 0:
        raise CliError(f'there was a problem with the editor "{command}"')
    return path.read_text()


async def edit_documents(env: Env, objects: list[Object]) -> list[Object]:
    """Each object after a round through the editor."""
    from cli.manifests import parse
    from cli.printers.yaml import to_yaml

    out: list[Object] = []
    for obj in objects:
        text, path = edit_text(to_yaml(obj), suffix=".yaml")
        path.unlink()
        documents = parse(text, "edited-file")
        if len(documents) != 1:
            raise CliError("Edit cancelled, no valid changes were saved.")
        out.append(documents[0].object)
    return out
