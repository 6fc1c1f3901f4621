"""kubectl's JSONPath templates: text with `{...}` expressions, `{range}...{end}`, filters, slices, unions.

The dialect is client-go's util/jsonpath, not RFC 9535: fields may hold escaped dots (`.metadata.labels.a\\.b/c`), a
quoted string inside braces is text, and results of one expression are joined by spaces.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

from cli.errors import CliError

Step = Callable[[list[Any], Any], list[Any]]
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", '"': '"', "'": "'", "b": "\b", "f": "\f", "v": "\v", "a": "\a"}
_END = set(" \t\n.,[]${}@()")


class Missing(Exception):
    """A key or index that is not there, when that is not allowed."""


class Template:
    """A parsed template. `render` gives the text, `find` each expression's values. Raises `CliError` if malformed."""

    def __init__(self, text: str, *, allow_missing: bool = True) -> None:
        self.text = text
        self.allow_missing = allow_missing
        self.nodes = _Parser(text, allow_missing).template()

    def render(self, data: Any) -> str:
        return "".join(format_results(result) for result in self.find(data))

    def find(self, data: Any) -> list[list[Any]]:
        try:
            return list(_run(self.nodes, data, data))
        except Missing as problem:
            raise CliError(f'error executing jsonpath "{self.text}": {problem}') from problem


class _Text:
    def __init__(self, text: str) -> None:
        self.text = text


class _Path:
    def __init__(self, steps: list[Step]) -> None:
        self.steps = steps

    def values(self, data: Any, root: Any) -> list[Any]:
        found = [data]
        for step in self.steps:
            found = step(found, root)
        return found


class _Range:
    def __init__(self, path: _Path, body: list[Any]) -> None:
        self.path = path
        self.body = body


def _run(nodes: Iterable[Any], data: Any, root: Any) -> Iterable[list[Any]]:
    for node in nodes:
        if isinstance(node, _Text):
            yield [node.text]
        elif isinstance(node, _Path):
            yield node.values(data, root)
        else:
            for item in node.path.values(data, root):
                yield from _run(node.body, item, root)


def format_results(values: list[Any]) -> str:
    return " ".join(format_value(value) for value in values)


def format_value(value: Any) -> str:
    if isinstance(value, str):
        return value
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (dict, list)):
        from cli.printers.json import compact

        return compact(value)
    return str(value)


def relaxed(expression: str) -> str:
    """Accepts `x.y`, `.x.y`, `{x.y}` and `{.x.y}` for `{.x.y}`, as custom-columns, sort-by and wait do."""
    text = expression.strip()
    if not text:
        return text
    match = re.fullmatch(r"\{?\s*\.?([^{}]+?)\s*\}?", text, re.S) or re.fullmatch(r"\{\s*\.?(.*?)\s*\}", text, re.S)
    if match is None:
        raise CliError(
            "unexpected path string, expected a 'name1.name2' or '.name1.name2' or '{name1.name2}' or '{.name1.name2}'"
        )
    body = match.group(1)
    return "{" + (body if body.startswith(("$", "@", "[", ".")) else f".{body}") + "}"


class _Parser:
    def __init__(self, text: str, allow_missing: bool) -> None:
        self.text = text
        self.pos = 0
        self.allow_missing = allow_missing

    def fail(self, why: str) -> CliError:
        return CliError(f"error parsing jsonpath {self.text}, {why}")

    def template(self) -> list[Any]:
        stack: list[tuple[_Path | None, list[Any]]] = [(None, [])]
        while self.pos < len(self.text):
            start = self.text.find("{", self.pos)
            if start < 0:
                stack[-1][1].append(_Text(self.text[self.pos :]))
                break
            if start > self.pos:
                stack[-1][1].append(_Text(self.text[self.pos : start]))
            self.pos = start + 1
            self._action(stack)
        if len(stack) > 1:
            raise self.fail("unterminated range")
        return stack[0][1]

    def _action(self, stack: list[tuple[_Path | None, list[Any]]]) -> None:
        while True:
            self._space()
            if self.pos >= len(self.text):
                raise self.fail("unclosed action")
            char = self.text[self.pos]
            if char == "}":
                self.pos += 1
                return
            word = re.match(r"(range|end)(?![A-Za-z0-9_])", self.text[self.pos :])
            if word and word.group(1) == "range":
                self.pos += 5
                self._space()
                stack.append((self._path("}"), []))
            elif word:
                self.pos += 3
                path, body = stack.pop()
                if path is None:
                    raise self.fail("not in range, nothing to end")
                stack[-1][1].append(_Range(path, body))
            elif char in "\"'":
                stack[-1][1].append(_Text(self._quoted()))
            elif re.match(r"-?\d", self.text[self.pos :]):
                match = re.match(r"-?\d+(\.\d+)?", self.text[self.pos :])
                assert match is not None
                self.pos += match.end()
                stack[-1][1].append(_Text(match.group()))
            else:
                stack[-1][1].append(self._path("}"))

    def _space(self) -> None:
        while self.pos < len(self.text) and self.text[self.pos] in " \t\r\n":
            self.pos += 1

    def _quoted(self) -> str:
        quote = self.text[self.pos]
        self.pos += 1
        out: list[str] = []
        while self.pos < len(self.text):
            char = self.text[self.pos]
            self.pos += 1
            if char == quote:
                return "".join(out)
            if char == "\\" and self.pos < len(self.text):
                escaped = self.text[self.pos]
                self.pos += 1
                if escaped == "u":
                    out.append(chr(int(self.text[self.pos : self.pos + 4], 16)))
                    self.pos += 4
                else:
                    out.append(_ESCAPES.get(escaped, "\\" + escaped))
            else:
                out.append(char)
        raise self.fail("unterminated quoted string")

    def _path(self, stop: str) -> _Path:
        steps: list[Step] = []
        begin = self.pos
        while self.pos < len(self.text):
            char = self.text[self.pos]
            if char == stop or char in " \t\r\n" or (stop == ")" and char in "=!<>"):
                break
            if char == "$":
                self.pos += 1
                steps.append(lambda values, root: [root])
            elif char == "@":
                self.pos += 1
            elif self.text.startswith("..", self.pos):
                self.pos += 2
                steps.append(_recurse)
                if self.pos < len(self.text) and self.text[self.pos] not in "[.":
                    steps.append(self._field(strict=False))
            elif char == ".":
                self.pos += 1
                nxt = self.text[self.pos : self.pos + 1]
                if nxt and nxt not in "[}" and nxt not in " \t\r\n":
                    steps.append(self._field(strict=True))
            elif char == "[":
                steps.append(self._bracket())
            elif not steps and (char.isalnum() or char == "_"):
                name = re.match(r"[\w-]*", self.text[self.pos :])
                raise self.fail(f"unrecognized identifier {name.group() if name else char}")
            elif stop == ")":
                raise self.fail("unterminated filter")
            else:
                raise self.fail(f"unrecognized character in action: U+{ord(char):04X} '{char}'")
        if self.pos == begin:
            raise self.fail("empty path")
        return _Path(steps)

    def _field(self, *, strict: bool) -> Step:
        if self.text[self.pos] == "*":
            self.pos += 1
            return _wildcard
        out: list[str] = []
        while self.pos < len(self.text):
            char = self.text[self.pos]
            if char == "\\" and self.pos + 1 < len(self.text):
                out.append(self.text[self.pos + 1])
                self.pos += 2
                continue
            if char in _END or char in "=!<>":
                break
            out.append(char)
            self.pos += 1
        name = "".join(out)
        if not name:
            raise self.fail("invalid field")
        return self._key(name, strict=strict)

    def _key(self, name: str, *, strict: bool = True) -> Step:
        allow = self.allow_missing or not strict

        def step(values: list[Any], root: Any) -> list[Any]:
            found = [value[name] for value in values if isinstance(value, dict) and name in value]
            if not found and not allow and values:
                raise Missing(f"{name} is not found")
            return found

        return step

    def _bracket(self) -> Step:
        self.pos += 1
        self._space()
        if self.text.startswith("?(", self.pos):
            return self._filter()
        if self.text[self.pos : self.pos + 1] in ("'", '"'):
            return self._names()
        end = self.text.find("]", self.pos)
        if end < 0:
            raise self.fail("unterminated array")
        body = self.text[self.pos : end].strip()
        self.pos = end + 1
        if body == "*":
            return _wildcard
        if "," in body:
            parts = [self._index(part.strip()) for part in body.split(",")]
            return lambda values, root: [found for part in parts for found in part(values, root)]
        return self._index(body)

    def _names(self) -> Step:
        keys: list[Step] = []
        while True:
            self._space()
            char = self.text[self.pos : self.pos + 1]
            if char in ("'", '"') and char:
                keys.append(self._key(self._quoted()))
            elif char == ",":
                self.pos += 1
            elif char == "]":
                self.pos += 1
                return lambda values, root: [found for key in keys for found in key(values, root)]
            else:
                raise self.fail("unterminated array")

    def _index(self, body: str) -> Step:
        match = re.fullmatch(r"(-?\d*)(?:(:)(-?\d*)(?::(\d*))?)?", body)
        if match is None or not body:
            if re.fullmatch(r"[\w./-]+", body):
                return self._key(body)
            raise self.fail(f"invalid array index {body}")
        first, colon, last, stride = match.groups()
        allow = self.allow_missing

        def one(values: list[Any], root: Any) -> list[Any]:
            out: list[Any] = []
            for value in values:
                if not isinstance(value, list):
                    continue
                index = int(first)
                if -len(value) <= index < len(value):
                    out.append(value[index])
                elif not allow:
                    raise Missing(f"array index out of bounds: index {index}, length {len(value)}")
            return out

        def some(values: list[Any], root: Any) -> list[Any]:
            cut = slice(int(first) if first else None, int(last) if last else None, int(stride) if stride else None)
            return [item for value in values if isinstance(value, list) for item in value[cut]]

        return some if colon else one

    def _filter(self) -> Step:
        self.pos += 2
        self._space()
        left = self._operand()
        self._space()
        operator = re.match(r"==|!=|<=|>=|<|>", self.text[self.pos :])
        right: _Path | _Text | float | bool | None = None
        if operator:
            self.pos += operator.end()
            self._space()
            right = self._operand()
            self._space()
        if not self.text.startswith(")", self.pos):
            raise self.fail("unterminated filter")
        self.pos += 1
        self._space()
        if not self.text.startswith("]", self.pos):
            raise self.fail("unclosed array expect ]")
        self.pos += 1
        sign = operator.group() if operator else ""

        def holds(item: Any, root: Any) -> bool:
            a = _operand_values(left, item, root)
            if not sign:
                return bool(a)
            b = _operand_values(right, item, root)
            if len(a) > 1 or len(b) > 1:
                raise CliError("can only compare one element at a time")
            return bool(a) and bool(b) and _compare(a[0], sign, b[0])

        def step(values: list[Any], root: Any) -> list[Any]:
            out: list[Any] = []
            for value in values:
                items = value if isinstance(value, list) else list(value.values()) if isinstance(value, dict) else []
                out.extend(item for item in items if holds(item, root))
            return out

        return step

    def _operand(self) -> _Path | _Text | float | bool | None:
        char = self.text[self.pos : self.pos + 1]
        if char and char in "\"'":
            return _Text(self._quoted())
        number = re.match(r"-?\d+(\.\d+)?(?=[\s)=!<>])", self.text[self.pos :])
        if number:
            self.pos += number.end()
            return float(number.group()) if number.group(1) else int(number.group())
        word = re.match(r"(true|false|null|nil)(?=[\s)=!<>])", self.text[self.pos :])
        if word:
            self.pos += word.end()
            return {"true": True, "false": False}.get(word.group())
        # An element without the field simply does not match; that is never an error.
        kept, self.allow_missing = self.allow_missing, True
        try:
            return self._path(")")
        finally:
            self.allow_missing = kept


def _operand_values(operand: Any, item: Any, root: Any) -> list[Any]:
    if isinstance(operand, _Path):
        return operand.values(item, root)
    return [operand.text if isinstance(operand, _Text) else operand]


def _compare(left: Any, sign: str, right: Any) -> bool:
    if isinstance(left, bool) != isinstance(right, bool) or isinstance(left, str) != isinstance(right, str):
        return sign == "!="
    if sign == "==":
        return bool(left == right)
    if sign == "!=":
        return bool(left != right)
    try:
        return bool({"<": left < right, ">": left > right, "<=": left <= right, ">=": left >= right}[sign])
    except TypeError:
        return False


def _wildcard(values: list[Any], root: Any) -> list[Any]:
    out: list[Any] = []
    for value in values:
        if isinstance(value, list):
            out.extend(value)
        elif isinstance(value, dict):
            out.extend(value.values())
    return out


def _recurse(values: list[Any], root: Any) -> list[Any]:
    out: list[Any] = []
    for value in values:
        out.append(value)
        if isinstance(value, dict):
            out.extend(_recurse(list(value.values()), root))
        elif isinstance(value, list):
            out.extend(_recurse(value, root))
    return out
