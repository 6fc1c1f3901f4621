"""Environment variables from a file that another container of the pod wrote (`fileKeyRef`, KEP-3721).

A line is `KEY=VALUE` or `KEY='VALUE'`; a quoted value may go over several lines; `#` starts a comment, blank lines
don't count.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from api.types.core_v1 import FileKeySelector

MAX_SIZE = 64 * 1024  # bytes

_VARIABLE = re.compile(r"[ \t]*([^\s=#'][^=\n]*?)[ \t]*=[ \t]*(?:'([^']*)'[ \t]*(?:#[^\n]*)?|([^'\n]*))(?:\n|\Z)")
_IGNORED = re.compile(r"[ \t]*(?:#[^\n]*)?(?:\n|\Z)")


def parse(text: str) -> dict[str, str]:
    """Raises ValueError at the first line that is none of what may stand there."""
    found: dict[str, str] = {}
    position = 0
    while position < len(text):
        if match := _VARIABLE.match(text, position):
            quoted, plain = match[2], match[3]
            found[match[1]] = plain.strip() if quoted is None else quoted
        elif not (match := _IGNORED.match(text, position)):
            line = text.count("\n", 0, position) + 1
            raise ValueError(f"invalid format at line {line}")
        position = match.end()
    return found


def variable(source: FileKeySelector, volumes: Mapping[str, Path]) -> str | None:
    """None if there is none and need not be. Raises ValueError with upstream's message."""
    volume = volumes.get(source.volume_name)
    if volume is None:
        raise ValueError(f'cannot find the volume "{source.volume_name}" referenced by FileKeyRef')
    path = os.path.realpath(volume / source.path)
    if not path.startswith(os.path.realpath(volume) + os.sep):
        raise ValueError(f'failed to read env file "{source.path}": it is outside of the volume')
    try:
        with Path(path).open("rb") as file:
            text = file.read(MAX_SIZE).decode()
        value = parse(text).get(source.key)
    except FileNotFoundError:
        value = None
    except (OSError, ValueError) as error:
        raise ValueError(f"couldn't parse env file: {error}") from None
    if value is None and not source.optional:
        raise ValueError(f'environment variable key "{source.key}" not found in file "{source.path}"')
    return value
