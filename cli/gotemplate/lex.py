"""Cuts a template into text and the tokens inside `{{` and `}}`, with Go's rules for trimming and comments."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from typing import Any


class TemplateError(Exception):
    """A template that cannot be parsed or executed, in Go's words."""


@dataclass(frozen=True)
class Token:
    """`kind` is one of text, open, close, space, field, variable, word, constant, char. `value` is its meaning."""

    kind: str
    text: str
    value: Any
    line: int
    column: int


_SPACE = " \t\r\n"
_OPEN = re.compile(r"\{\{(-[ \t\r\n])?(/\*)?")
_NUMBER = (
    r"[+-]?(?:0[xX][0-9a-fA-F_]+|0[bB][01_]+|0[oO][0-7_]+|(?:[0-9][0-9_]*\.?[0-9_]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)"
)
_TOKENS = re.compile(
    rf"""(?P<close>[ \t\r\n]-\}}\}}|\}}\}})
  | (?P<space>[ \t\r\n]+)
  | (?P<string>"(?:\\.|[^"\\\n])*")
  | (?P<raw>`[^`]*`)
  | (?P<rune>'(?:\\.|[^'\\\n])+')
  | (?P<number>{_NUMBER})(?![A-Za-z0-9_])
  | (?P<field>\.[A-Za-z_][A-Za-z0-9_]*)
  | (?P<variable>\$[A-Za-z0-9_]*)
  | (?P<word>[A-Za-z_][A-Za-z0-9_]*)
  | (?P<char>:=|[.=|(),])""",
    re.X,
)


def tokens(source: str, name: str) -> list[Token]:
    """All tokens of a template. Raises `TemplateError`."""
    out: list[Token] = []
    here, trim = 0, False
    while True:
        found = _OPEN.search(source, here)
        text = source[here : found.start() if found else len(source)]
        if trim:
            text = text.lstrip(_SPACE)
        if found and found.group(1):
            text = text.rstrip(_SPACE)
        if text:
            out.append(Token("text", text, text, _line(source, here), 0))
        if found is None:
            return out
        here = found.end()
        if found.group(2):
            end = source.find("*/", here)
            if end < 0:
                raise _error(name, source, found.start(), "unclosed comment")
            closing = re.compile(r"([ \t\r\n]-)?\}\}").match(source, end + 2)
            if closing is None:
                raise _error(name, source, end, "comment ends before closing delimiter")
            here, trim = closing.end(), bool(closing.group(1))
            continue
        out.append(Token("open", "{{", None, _line(source, found.start()), _column(source, found.start())))
        here, trim = _action(source, here, name, out)


def _action(source: str, here: int, name: str, out: list[Token]) -> tuple[int, bool]:
    """The tokens of one action; where it ends, and whether it trims what follows."""
    depth = 0
    while True:
        found = _TOKENS.match(source, here)
        if found is None:
            if here >= len(source):
                raise _error(name, source, here, "unclosed action")
            if source[here] in "\"`'":
                kind = {'"': "quoted string", "`": "raw quoted string", "'": "character constant"}[source[here]]
                raise _error(name, source, here, f"unterminated {kind}")
            raise _error(name, source, here, f"unexpected {_shown(source[here])} in command")
        kind, text = found.lastgroup or "", found.group()
        token = Token(kind, text, text, _line(source, here), _column(source, here))
        if kind == "close":
            if depth:
                raise _error(name, source, here, "unclosed left paren")
            out.append(token)
            return found.end(), text.startswith(tuple(_SPACE))
        if kind in ("string", "raw", "rune", "number"):
            token = Token("constant", text, _constant(kind, text, name, source, here), token.line, token.column)
        elif kind == "char" and text in "()":
            depth += 1 if text == "(" else -1
            if depth < 0:
                raise _error(name, source, here, "unexpected right paren")
        out.append(token)
        here = found.end()


def _constant(kind: str, text: str, name: str, source: str, here: int) -> Any:
    if kind == "raw":
        return text[1:-1]
    try:
        if kind == "string":
            return ast.literal_eval(text)
        if kind == "rune":
            value = ast.literal_eval(text)
            if len(value) != 1:
                raise ValueError
            return ord(value)
        plain = text.replace("_", "")
        if re.fullmatch(r"[+-]?0[0-7]+", plain):
            return int(plain, 8)
        return int(plain, 0) if re.fullmatch(r"[+-]?(\d+|0[xXbBoO][0-9a-fA-F]+)", plain) else float(plain)
    except (ValueError, SyntaxError) as problem:
        raise _error(name, source, here, f"bad constant: {text}") from problem


def _shown(char: str) -> str:
    return f'"{char}"' if char.isprintable() else f"U+{ord(char):04X}"


def _line(source: str, at: int) -> int:
    return source.count("\n", 0, at) + 1


def _column(source: str, at: int) -> int:
    return at - (source.rfind("\n", 0, at) + 1)


def _error(name: str, source: str, at: int, text: str) -> TemplateError:
    return TemplateError(f"template: {name}:{_line(source, at)}: {text}")
