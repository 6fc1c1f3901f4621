"""Prints a server-side Table (meta.k8s.io/v1) as kubectl's human output.

Columns are aligned per run of rows of one kind; in a watch the widths seen so far are kept, so that late rows line up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from cli.errors import Object
from cli.human import age
from cli.objects import labels_of

MIN_WIDTH, PADDING = 6, 3


@dataclass
class TableOptions:
    wide: bool = False
    headers: bool = True
    namespace_column: bool = False
    kind_prefix: str = ""
    show_labels: bool = False
    label_columns: Sequence[str] = ()
    event_column: bool = False


@dataclass
class TablePrinter:
    """Turns tables into lines. One printer per kind: it writes its header once."""

    options: TableOptions
    widths: list[int] = field(default_factory=list)
    columns: list[Object] = field(default_factory=list)
    started: bool = False

    def lines(self, table: Object, *, event: str = "") -> list[str]:
        if table.get("columnDefinitions"):
            self.columns = list(table["columnDefinitions"])
        rows = [self._cells(row, event) for row in table.get("rows") or []]
        if not rows:
            return []
        if not self.started and self.options.headers:
            rows.insert(0, self._header())
        self.started = True
        return self._align(rows)

    def _visible(self) -> list[int]:
        return [i for i, column in enumerate(self.columns) if self.options.wide or not column.get("priority")]

    def _header(self) -> list[str]:
        out = ["EVENT"] if self.options.event_column else []
        if self.options.namespace_column:
            out.append("NAMESPACE")
        out.extend(str(self.columns[i].get("name", "")).upper() for i in self._visible())
        out.extend(label.rsplit("/", 1)[-1].upper() for label in self.options.label_columns)
        if self.options.show_labels:
            out.append("LABELS")
        return out

    def _cells(self, row: Object, event: str) -> list[str]:
        obj = row.get("object") or {}
        cells = row.get("cells") or []
        out = [event] if self.options.event_column else []
        if self.options.namespace_column:
            out.append(str((obj.get("metadata") or {}).get("namespace") or ""))
        first = True
        for index in self._visible():
            text = cell_text(cells[index] if index < len(cells) else None)
            if first and self.options.kind_prefix and self.columns[index].get("name", "").lower() == "name":
                text = f"{self.options.kind_prefix}/{text}"
            first = False
            out.append(text)
        labels = labels_of(obj)
        out.extend(labels.get(name, "") for name in self.options.label_columns)
        if self.options.show_labels:
            out.append(",".join(f"{key}={value}" for key, value in sorted(labels.items())) or "<none>")
        return out

    def _align(self, rows: list[list[str]]) -> list[str]:
        count = max(len(row) for row in rows)
        widths = [*self.widths, *([MIN_WIDTH] * (count - len(self.widths)))]
        for row in rows:
            for index, cell in enumerate(row[:-1]):
                widths[index] = max(widths[index], len(cell) + PADDING)
        self.widths = widths
        return ["".join(cell.ljust(widths[i]) for i, cell in enumerate(row[:-1])) + row[-1] for row in rows]


def cell_text(value: Any) -> str:
    """A cell as Go prints it; only the first line of a long text."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str):
        return str(value)
    for index, char in enumerate(value):
        if char in "\n\r\f":
            return value[:index] + "..."
    return value.replace("\x1b", "^[")


def plain_table(objects: Sequence[Object]) -> Object:
    """The table of a server that makes none: NAME and AGE."""
    return {
        "columnDefinitions": [{"name": "Name", "type": "string"}, {"name": "Age", "type": "string"}],
        "rows": [
            {
                "cells": [
                    (obj.get("metadata") or {}).get("name", ""),
                    age((obj.get("metadata") or {}).get("creationTimestamp")),
                ],
                "object": obj,
            }
            for obj in objects
        ],
    }
