"""Commands of others: executables on PATH named `kubectl-...` (or `pykubectl-...`), run as if they were ours."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from cli.errors import CliError

PREFIXES = ("pykubectl", "kubectl")


def find(words: Sequence[str]) -> tuple[Path, list[str]] | None:
    """The plugin of the longest run of leading words (`a b-c` is `kubectl-a-b_c`), and the words left for it."""
    names: list[str] = []
    for word in words:
        if word.startswith("-"):
            break
        names.append(word.replace("-", "_"))
    for count in range(len(names), 0, -1):
        for prefix in PREFIXES:
            path = _on_path("-".join([prefix, *names[:count]]))
            if path is not None:
                return path, list(words[count:])
    return None


def _on_path(name: str) -> Path | None:
    for folder in _folders():
        path = folder / name
        if path.is_file() and os.access(path, os.X_OK):
            return path
    return None


def run(path: Path, words: Sequence[str]) -> None:
    """Becomes the plugin; returns only by raising."""
    try:
        os.execv(path, [str(path), *words])
    except OSError as problem:
        raise CliError(f"fork/exec {path}: {(problem.strerror or '').lower()}") from problem


def available() -> Iterator[Path]:
    """Every file that looks like a plugin, in PATH's order."""
    for folder in _folders():
        try:
            entries = sorted(folder.iterdir())
        except OSError:
            continue
        yield from (one for one in entries if one.name.startswith(tuple(f"{prefix}-" for prefix in PREFIXES)))


def _folders() -> list[Path]:
    parts = [part for part in os.environ.get("PATH", "").split(os.pathsep) if part.strip()]
    return [Path(part) for part in dict.fromkeys(parts)]
