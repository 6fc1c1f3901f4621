"""`-o kyaml`: YAML without its traps (KEP-5295): flow style, every string quoted, keys only where they need it."""

from __future__ import annotations

import re
from typing import Any

_PLAIN_KEY = re.compile(r"[^\W](?:[-./\w]*\w)?")
# A key that some YAML would read as something else than text is quoted, whatever today's YAML says.
_OTHER = re.compile(
    r"""true|false|yes|no|on|off|y|n|null|nan|infinity
      | [-+]?\d[\d_]*(?:\.[\d_]*)?(?:e[-+]?\d+)?
      | 0x[0-9a-f_]+ | 0o[0-7_]+ | 0b[01_]+
      | \d[\d_]*(?::[0-5]?\d)+(?:\.\d*)?
      | \d{4}-\d{1,2}-\d{1,2}.*""",
    re.X | re.I,
)
_ESCAPES = {
    '"': '\\"',
    "\\": "\\\\",
    "\r": "\\r",
    "\a": "\\a",
    "\b": "\\b",
    "\v": "\\v",
    "\f": "\\f",
    "\0": "\\0",
    "\x1b": "\\e",
    "\x85": "\\N",
    "\xa0": "\\_",
    "\u2028": "\\L",
    "\u2029": "\\P",
}


def to_kyaml(value: Any) -> str:
    """One document with its `---`."""
    return f"---\n{_render(value, 0)}\n"


def _render(value: Any, indent: int) -> str:
    if isinstance(value, dict):
        return _map(value, indent)
    if isinstance(value, list):
        return _list(value, indent)
    if isinstance(value, str):
        return _string(value, indent)
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _map(value: dict[str, Any], indent: int) -> str:
    if not value:
        return "{}"
    inner = " " * (indent + 2)
    rows = [f"{inner}{_key(key)}: {_render(item, indent + 2)},\n" for key, item in sorted(value.items())]
    return "{\n" + "".join(rows) + " " * indent + "}"


def _list(value: list[Any], indent: int) -> str:
    if not value:
        return "[]"
    if all(isinstance(item, (dict, list)) for item in value):
        # Brackets of containers stand together: `[{`, `}, {`, `}]`.
        return "[" + ", ".join(_render(item, indent) for item in value) + "]"
    inner = " " * (indent + 2)
    return "[\n" + "".join(f"{inner}{_render(item, indent + 2)},\n" for item in value) + " " * indent + "]"


def _key(key: str) -> str:
    plain = _PLAIN_KEY.fullmatch(key) and not _OTHER.fullmatch(key)
    return key if plain else f'"{_escaped(key)}"'


def _string(value: str, indent: int) -> str:
    if "\n" not in value:
        return f'"{_escaped(value)}"'
    *lines, last = value.split("\n")
    out = '"\\\n'
    for line in lines:
        out += f"{_line(line, indent)}\\n\\\n"
    if last:
        out += f"{_line(last, indent)}\\\n"
    return out + " " * (indent + 2) + '"'


def _line(line: str, indent: int) -> str:
    """A line of a folded string; one that begins with space says so, since folding would eat it."""
    return " " * (indent + 2) + ("\\" if line[:1].isspace() else " ") + _escaped(line)


def _escaped(text: str) -> str:
    def one(char: str) -> str:
        if char in _ESCAPES:
            return _ESCAPES[char]
        if char.isprintable() or char in "\t ":
            return char
        code = ord(char)
        return f"\\x{code:02X}" if code < 256 else f"\\u{code:04X}" if code < 65536 else f"\\U{code:08X}"

    return "".join(one(char) for char in text)
