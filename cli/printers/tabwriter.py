"""Column alignment by the rules of Go's text/tabwriter, which kubectl's layouts depend on.

A column is a run of consecutive lines that have a tab-terminated cell in that position; the text after a line's last
tab belongs to no column.
"""

from __future__ import annotations


def align(text: str, *, minwidth: int = 0, padding: int = 2) -> str:
    """Replaces the tabs of `text` with spaces."""
    lines = [line.split("\t") for line in text.split("\n")]
    out: list[str] = []
    widths: list[int] = []

    def write(start: int, end: int) -> None:
        for line in lines[start:end]:
            parts: list[str] = []
            for index, cell in enumerate(line):
                parts.append(cell)
                if index < len(widths):
                    parts.append(" " * (widths[index] - len(cell)))
            out.append("".join(parts))

    def layout(start: int, end: int) -> None:
        column = len(widths)
        here = start
        while here < end:
            if column >= len(lines[here]) - 1:
                here += 1
                continue
            write(start, here)
            start = here
            width = minwidth
            while here < end and column < len(lines[here]) - 1:
                width = max(width, len(lines[here][column]) + padding)
                here += 1
            widths.append(width)
            layout(start, here)
            widths.pop()
            start = here
        write(start, end)

    layout(0, len(lines))
    return "\n".join(out)
