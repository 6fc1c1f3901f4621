"""Runs a parsed template on one value."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from cli.gotemplate.fmt import show
from cli.gotemplate.functions import FUNCTIONS, arity, truth
from cli.gotemplate.lex import TemplateError
from cli.gotemplate.parse import Action, Branch, Call, Jump, Node, Operand, Parser, Pipe, Text

_NOTHING = object()
MAX_DEPTH = 1000


class _Jumped(Exception):
    def __init__(self, word: str) -> None:
        self.word = word


class Template:
    """A parsed template. `allow_missing=False` makes a key that is not there an error. Raises `TemplateError`."""

    def __init__(self, source: str, *, name: str = "output", allow_missing: bool = True) -> None:
        self.source = source
        self.name = name
        self.allow_missing = allow_missing
        self.templates = Parser(source, name).templates
        for nodes in self.templates.values():
            _check_words(nodes, name)

    def render(self, data: Any) -> str:
        run = _Run(self)
        run.nodes(self.templates[self.name], data, [("$", data)])
        return "".join(run.out)


class _Run:
    def __init__(self, template: Template) -> None:
        self.template = template
        self.current = template.name
        self.depth = 0
        self.out: list[str] = []

    def nodes(self, nodes: list[Node], dot: Any, scope: list[tuple[str, Any]]) -> None:
        mark = len(scope)
        try:
            for node in nodes:
                self._node(node, dot, scope)
        finally:
            del scope[mark:]

    def _node(self, node: Node, dot: Any, scope: list[tuple[str, Any]]) -> None:
        if isinstance(node, Text):
            self.out.append(node.text)
        elif isinstance(node, Action):
            value = self.pipe(node.pipe, dot, scope)
            if not node.pipe.variables:
                self.out.append("<no value>" if value is None else show(value))
        elif isinstance(node, Jump):
            raise _Jumped(node.word)
        elif isinstance(node, Call):
            self._call(node, dot, scope)
        elif isinstance(node, Branch):
            mark = len(scope)
            if node.word == "range":
                self._range(node, dot, scope)
            else:
                value = self.pipe(node.pipe, dot, scope)
                inner = value if node.word == "with" and truth(value) else dot
                self.nodes(node.body if truth(value) else node.otherwise, inner, scope)
            del scope[mark:]

    def _call(self, node: Call, dot: Any, scope: list[tuple[str, Any]]) -> None:
        body = self.template.templates.get(node.name)
        if body is None:
            raise self._error(node, f'template "{node.name}" not defined')
        if self.depth >= MAX_DEPTH:
            raise self._error(node, f"exceeded maximum template depth ({MAX_DEPTH})")
        value = self.pipe(node.pipe, dot, scope) if node.pipe else None
        before, self.current = self.current, node.name
        self.depth += 1
        self.nodes(body, value, [("$", value)])
        self.depth -= 1
        self.current = before

    def _range(self, node: Branch, dot: Any, scope: list[tuple[str, Any]]) -> None:
        value = self.pipe(node.pipe, dot, scope, declare=False)
        pairs: list[tuple[Any, Any]]
        if value is None:
            pairs = []
        elif isinstance(value, dict):
            pairs = sorted(value.items())
        elif isinstance(value, list):
            pairs = list(enumerate(value))
        elif isinstance(value, int) and not isinstance(value, bool):
            pairs = [(number, number) for number in range(value)]
        else:
            raise self._error(node.pipe, f"range can't iterate over {show(value)}")
        names = node.pipe.variables
        for key, item in pairs:
            mark = len(scope)
            bound = [item] if len(names) == 1 else [key, item][: len(names)]
            for name, one in zip(names, bound, strict=True):
                if node.pipe.assigns:
                    self._assign(name, one, scope)
                else:
                    scope.append((name, one))
            try:
                self.nodes(node.body, item, scope)
            except _Jumped as jump:
                if jump.word == "break":
                    break
            finally:
                del scope[mark:]
        if not pairs:
            self.nodes(node.otherwise, dot, scope)

    def pipe(self, pipe: Pipe, dot: Any, scope: list[tuple[str, Any]], *, declare: bool = True) -> Any:
        value: Any = _NOTHING
        for command in pipe.commands:
            value = self._command(command, dot, scope, value)
        if declare:
            for name in pipe.variables:
                if pipe.assigns:
                    self._assign(name, value, scope)
                else:
                    scope.append((name, value))
        return value

    def _assign(self, name: str, value: Any, scope: list[tuple[str, Any]]) -> None:
        index = next(i for i in range(len(scope) - 1, -1, -1) if scope[i][0] == name)
        scope[index] = (name, value)

    def _command(self, command: list[Operand], dot: Any, scope: list[tuple[str, Any]], final: Any) -> Any:
        first = command[0]
        if first.base == "word":
            return self._fields(first, self._function(first, command, dot, scope, final))
        if len(command) > 1 or final is not _NOTHING:
            what = (
                "nil is not a command" if first.base == "nil" else f"can't give argument to non-function {first.text}"
            )
            raise self._error(first, what)
        if first.base == "nil":
            raise self._error(first, "nil is not a command")
        return self._value(first, dot, scope)

    def _function(
        self, first: Operand, command: list[Operand], dot: Any, scope: list[tuple[str, Any]], final: Any
    ) -> Any:
        name, operands = str(first.value), command[1:]
        if name in ("and", "or"):
            value: Any = final
            for operand in operands:
                value = self._value(operand, dot, scope)
                if truth(value) == (name == "or"):
                    return value
            if value is _NOTHING:
                raise self._error(first, f"wrong number of args for {name}: want at least 1 got 0")
            return value if final is _NOTHING else final
        arguments = [self._value(operand, dot, scope) for operand in operands]
        if final is not _NOTHING:
            arguments.append(final)
        wanted = arity(name, len(arguments))
        if wanted:
            raise self._error(first, f"wrong number of args for {name}: want {wanted} got {len(arguments)}")
        try:
            return FUNCTIONS[name](*arguments)
        except TemplateError as problem:
            where = replace(first, text=" ".join(operand.text for operand in command))
            raise self._error(where, f"error calling {name}: {problem}") from problem

    def _value(self, operand: Operand, dot: Any, scope: list[tuple[str, Any]]) -> Any:
        if operand.base == "dot":
            value = dot
        elif operand.base == "variable":
            value = next(one for name, one in reversed(scope) if name == operand.value)
        elif operand.base == "pipe":
            value = self.pipe(operand.value, dot, scope)
        elif operand.base == "word":
            value = self._function(operand, [operand], dot, scope, _NOTHING)
        else:
            value = operand.value
        return self._fields(operand, value)

    def _fields(self, operand: Operand, value: Any) -> Any:
        for name in operand.fields:
            if value is None:
                if not self.template.allow_missing:
                    raise self._error(operand, f'nil data; no entry for key "{name}"')
                return None
            if not isinstance(value, dict):
                raise self._error(operand, f"can't evaluate field {name} in type interface {{}}")
            if name not in value and not self.template.allow_missing:
                raise self._error(operand, f'map has no entry for key "{name}"')
            value = value.get(name)
        return value

    def _error(self, node: Node, text: str) -> TemplateError:
        where = f"{self.template.name}:{node.line}:{node.column}"
        return TemplateError(f'template: {where}: executing "{self.current}" at <{node.text}>: {text}')


def _check_words(nodes: list[Node], name: str) -> None:
    """A function that does not exist is found when the template is parsed, whether or not it would be reached."""

    def pipe_words(pipe: Pipe) -> None:
        for command in pipe.commands:
            for operand in command:
                if operand.base == "pipe":
                    pipe_words(operand.value)
                elif operand.base == "word" and operand.value not in FUNCTIONS and operand.value not in ("and", "or"):
                    raise TemplateError(f'template: {name}:{operand.line}: function "{operand.value}" not defined')

    for node in nodes:
        if isinstance(node, (Action, Branch, Call)) and node.pipe is not None:
            pipe_words(node.pipe)
        if isinstance(node, Branch):
            _check_words(node.body, name)
            _check_words(node.otherwise, name)
