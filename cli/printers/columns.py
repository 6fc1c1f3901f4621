"""`-o custom-columns=NAME:.metadata.name,...`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from cli.errors import CliError, Object
from cli.jsonpath import Template, relaxed
from cli.printers.tabwriter import align


class Columns:
    def __init__(self, spec: str, *, headers: bool = True) -> None:
        if not spec:
            raise CliError("custom-columns format specified but no custom columns given")
        self.headers = headers
        self.titles: list[str] = []
        self.templates: list[Template] = []
        for part in _split(spec):
            title, colon, path = part.partition(":")
            if not colon or not title:
                raise CliError(f"unexpected custom-columns spec: {part}, expected <header>:<json-path-expr>")
            self.titles.append(title)
            self.templates.append(Template(relaxed(path)))

    @classmethod
    def from_file(cls, path: str, *, headers: bool = True) -> Columns:
        """A file of two lines: the headers, and under each its path."""
        try:
            lines = Path(path).read_text().splitlines()
        except OSError as problem:
            raise CliError(
                f"error reading template {path}, open {path}: {(problem.strerror or '').lower()}"
            ) from problem
        titles, paths = (lines[0].split() if lines else []), (lines[1].split() if len(lines) > 1 else [])
        if not titles or len(titles) != len(paths):
            raise CliError(f"number of headers ({len(titles)}) and field specifications ({len(paths)}) don't match")
        return cls(",".join(f"{title}:{path}" for title, path in zip(titles, paths, strict=True)), headers=headers)

    def text(self, objects: list[Object]) -> str:
        rows = [self.titles] if self.headers else []
        for obj in objects:
            row = []
            for template in self.templates:
                values = [value for result in template.find(obj) for value in result]
                row.append(",".join(go_value(value) for value in values) or "<none>")
            rows.append(row)
        return align("".join("\t".join(row) + "\n" for row in rows), minwidth=6, padding=3)


def _split(spec: str) -> list[str]:
    """Commas separate columns, except inside brackets."""
    return re.split(r",(?![^\[\]]*\])", spec)


def go_value(value: Any) -> str:
    """Go's `%v`."""
    if value is None:
        return "<none>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "map[" + " ".join(f"{key}:{go_value(item)}" for key, item in sorted(value.items())) + "]"
    if isinstance(value, list):
        return "[" + " ".join(go_value(item) for item in value) + "]"
    return str(value)
