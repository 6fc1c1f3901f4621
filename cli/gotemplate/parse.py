"""The tree of a template. Every node knows where it stands, because an error while running says so."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from cli.gotemplate.lex import TemplateError, Token, tokens


@dataclass
class Node:
    """Where it stands, and its text for messages."""

    line: int
    column: int
    text: str


@dataclass
class Text(Node):
    pass


@dataclass
class Operand(Node):
    """`base` is dot, nil, constant, variable, word or pipe; `fields` are the `.a.b` behind it."""

    base: str
    value: Any = None
    fields: list[str] = field(default_factory=list)


@dataclass
class Pipe(Node):
    """`$x := a | b c`: the commands are lists of operands."""

    commands: list[list[Operand]] = field(default_factory=list)
    variables: list[str] = field(default_factory=list)
    assigns: bool = False


@dataclass
class Action(Node):
    pipe: Pipe


@dataclass
class Branch(Node):
    """`if`, `with` or `range`."""

    word: str
    pipe: Pipe
    body: list[Node]
    otherwise: list[Node]


@dataclass
class Jump(Node):
    """`break` or `continue`."""

    word: str


@dataclass
class Call(Node):
    """`template "name" pipe`."""

    name: str
    pipe: Pipe | None


class Parser:
    """Parses one text; `templates` holds what `define` and `block` named beside the root."""

    def __init__(self, source: str, name: str) -> None:
        self.name = name
        self.tokens = tokens(source, name)
        self.at = 0
        self.ranges = 0
        self.variables = ["$"]
        self.templates: dict[str, list[Node]] = {}
        body, ended = self._nodes()
        if ended:
            raise self._error(f"unexpected {{{{{ended}}}}}")
        self.templates[name] = body

    def _nodes(self) -> tuple[list[Node], str]:
        """Nodes up to the end, or to an `end` or `else` (whose word comes back, its action still open)."""
        out: list[Node] = []
        while self.at < len(self.tokens):
            token = self._next()
            if token.kind == "text":
                out.append(Text(token.line, token.column, token.text))
                continue
            self._skip()
            word = self._peek().text if self._peek().kind == "word" else ""
            if word in ("end", "else"):
                self._next()
                return out, word
            if word in ("if", "with", "range", "define", "block", "template", "break", "continue"):
                start = self._next()
                made = self._keyword(word, start)
                if made is not None:
                    out.append(made)
                continue
            pipe = self._pipe("command")
            self._close()
            out.append(Action(pipe.line, pipe.column, pipe.text, pipe))
        return out, ""

    def _keyword(self, word: str, start: Token) -> Node | None:
        if word in ("break", "continue"):
            if not self.ranges:
                raise self._error(f"{{{{{word}}}}} outside {{{{range}}}}")
            self._skip()
            self._close()
            return Jump(start.line, start.column, word, word)
        if word in ("define", "block", "template"):
            return self._named(word, start)
        return self._branch(word, start)

    def _named(self, word: str, start: Token) -> Node | None:
        self._skip()
        token = self._next()
        if token.kind != "constant" or not isinstance(token.value, str):
            raise self._error(f"unexpected {self._shown(token)} in {word} clause")
        name = token.value
        self._skip()
        pipe = None
        if word != "define" and self._peek().kind != "close":
            pipe = self._pipe(f"{word} clause")
        self._close()
        if word != "template":
            outside, self.variables = self.variables, ["$"]
            body, ended = self._nodes()
            if ended != "end":
                raise self._error("unexpected EOF" if not ended else f"unexpected {{{{{ended}}}}}")
            self._skip()
            self._close()
            self.variables = outside
            self.templates[name] = body
        return (
            None if word == "define" else Call(token.line, token.column, f"{{{{template {token.text}}}}}", name, pipe)
        )

    def _branch(self, word: str, start: Token) -> Branch:
        mark = len(self.variables)
        made = self._branch_inside(word, start)
        del self.variables[mark:]
        return made

    def _branch_inside(self, word: str, start: Token) -> Branch:
        self._skip()
        pipe = self._pipe(word)
        self._close()
        self.ranges += word == "range"
        body, ended = self._nodes()
        self.ranges -= word == "range"
        otherwise: list[Node] = []
        if ended == "else":
            self._skip()
            again = self._peek()
            if again.kind == "word" and again.text in ("if", "with") and word == again.text:
                self._next()
                # `else if` is an `if` inside the `else`, whose `end` closes both.
                otherwise = [self._branch(word, again)]
                return Branch(start.line, start.column, word, word, pipe, body, otherwise)
            self._close()
            otherwise, ended = self._nodes()
        if ended != "end":
            raise self._error("unexpected EOF" if not ended else f"expected end; found {{{{{ended}}}}}")
        self._skip()
        self._close()
        return Branch(start.line, start.column, word, word, pipe, body, otherwise)

    def _pipe(self, context: str) -> Pipe:
        first = self._peek()
        pipe = Pipe(first.line, first.column, "")
        begin = self.at
        self._declarations(pipe, context)
        while True:
            command = self._command(context)
            if not command:
                raise self._error(f"missing value for {context}")
            pipe.commands.append(command)
            self._skip()
            if self._peek().text != "|" or self._peek().kind != "char":
                break
            self._next()
        if not pipe.assigns:
            self.variables += pipe.variables
        pipe.text = "".join(token.text for token in self.tokens[begin : self.at]).strip()
        return pipe

    def _declarations(self, pipe: Pipe, context: str) -> None:
        """`$x :=`, `$x =`, and for ranges `$i, $x :=`."""
        start = self.at
        names: list[str] = []
        while self._peek().kind == "variable":
            names.append(self._next().text)
            self._skip()
            token = self._next()
            if token.text in (":=", "=") and token.kind == "char":
                pipe.variables, pipe.assigns = names, token.text == "="
                if pipe.assigns:
                    self._known(names)
                self._skip()
                return
            if token.text != "," or context != "range" or len(names) > 1:
                break
            self._skip()
        self.at = start

    def _command(self, context: str) -> list[Operand]:
        out: list[Operand] = []
        self._skip()
        while True:
            token = self._peek()
            if token.kind == "close" or (token.kind == "char" and token.text in "|)"):
                return out
            out.append(self._operand(context))
            spaced = self._skip()
            after = self._peek()
            if not spaced and after.kind != "close" and not (after.kind == "char" and after.text in "|)"):
                raise self._error(f"unexpected {self._shown(after)} in operand")

    def _operand(self, context: str) -> Operand:
        token = self._next()
        if token.kind == "field":
            made = Operand(token.line, token.column, token.text, "dot", fields=[token.text[1:]])
        elif token.kind == "char" and token.text == ".":
            made = Operand(token.line, token.column, ".", "dot")
        elif token.kind == "variable":
            self._known([token.text])
            made = Operand(token.line, token.column, token.text, "variable", token.text)
        elif token.kind == "constant":
            made = Operand(token.line, token.column, token.text, "constant", token.value)
        elif token.kind == "word":
            known = {"true": ("constant", True), "false": ("constant", False), "nil": ("nil", None)}
            base, value = known.get(token.text, ("word", token.text))
            made = Operand(token.line, token.column, token.text, base, value)
        elif token.kind == "char" and token.text == "(":
            self._skip()
            pipe = self._pipe("parenthesized pipeline")
            self._next()
            made = Operand(token.line, token.column, f"({pipe.text})", "pipe", pipe)
        else:
            raise self._error(f"unexpected {self._shown(token)} in {context}")
        if self._peek().kind == "field":
            # Go's chains stand where their second link does.
            made.line, made.column = self._peek().line, self._peek().column
        while self._peek().kind == "field":
            more = self._next()
            made.fields.append(more.text[1:])
            made.text += more.text
        return made

    def _known(self, names: list[str]) -> None:
        for name in names:
            if name not in self.variables:
                raise self._error(f'undefined variable "{name}"')

    def _peek(self) -> Token:
        return self.tokens[self.at] if self.at < len(self.tokens) else Token("close", "", None, 0, 0)

    def _next(self) -> Token:
        if self.at >= len(self.tokens):
            raise self._error("unexpected EOF")
        self.at += 1
        return self.tokens[self.at - 1]

    def _skip(self) -> bool:
        spaced = False
        while self._peek().kind == "space":
            self.at += 1
            spaced = True
        return spaced

    def _close(self) -> None:
        self._skip()
        token = self._next()
        if token.kind != "close":
            raise self._error(f"unexpected {self._shown(token)} in command")

    def _shown(self, token: Token) -> str:
        return f"<{token.text}>" if token.kind in ("word", "field", "variable") else f'"{token.text}"'

    def _error(self, text: str) -> TemplateError:
        line = self.tokens[min(self.at, len(self.tokens)) - 1].line if self.tokens else 1
        return TemplateError(f"template: {self.name}:{line}: {text}")
