"""Compiling expressions once and evaluating them often."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from cel_expr_python import cel
from cel_expr_python.ext import ext_bindings, ext_encoders, ext_optional

from apiserver.cel.failures import CompileError, EvaluationError
from apiserver.cel.library import functions

Type = cel.Type
_STATUS = re.compile(r"^[A-Z_]+: ")
_END = re.compile(r" \[[A-Z_]+\]$")
_NO_KEY = re.compile(r'^Key not found in map : "?(.*?)"?$')
_NO_INDEX = re.compile(r"^Index error: index=(-?\d+) size=\d+$")
_NO_OVERLOAD = re.compile(r"^No matching overloads found : (.*)$")


class Program:
    """A compiled expression."""

    def __init__(self, source: str, expression: Any) -> None:
        self.source = source
        self._expression = expression
        self.type: Any = expression.return_type()

    def run(self, variables: Mapping[str, Any]) -> Any:
        """The value for these variables. Raises EvaluationError."""
        try:
            result = self._expression.eval(data=variables)
        except RuntimeError as error:
            raise EvaluationError(_explained(str(error))) from None
        if result.type() == Type.ERROR:
            raise EvaluationError(_explained(str(result.plain_value())))
        if result.type() == Type.UNKNOWN:
            raise EvaluationError("the expression has no definite value")
        return result.plain_value()


@lru_cache(maxsize=64)
def _environment(variables: tuple[tuple[str, str], ...]) -> Any:
    declared = {name: _declared(kind) for name, kind in variables}
    extensions = [ext_optional.ExtOptional(), ext_bindings.ExtBindings(), ext_encoders.ExtEncoders()]
    return cel.NewEnv(variables=declared, extensions=extensions, functions=functions())


def _declared(kind: str) -> Any:
    plain = {
        "dyn": Type.DYN,
        "string": Type.STRING,
        "integer": Type.INT,
        "number": Type.DOUBLE,
        "boolean": Type.BOOL,
        "bool": Type.BOOL,
        "list": Type.LIST,
        "map": Type.MAP,
    }
    return plain[kind] if kind in plain else Type(kind)


@lru_cache(maxsize=8192)
def compile_(expression: str, variables: tuple[tuple[str, str], ...], *, result: str = "") -> Program:
    """Variables are (name, type), a type being `dyn`, a scalar or a message's name; `result` is what it has to answer.

    Raises CompileError.
    """
    try:
        compiled = _environment(variables).compile(expression)
    except RuntimeError as error:
        text = _END.sub("", _STATUS.sub("", str(error)))
        raise CompileError(f"compilation failed: {text}") from None
    program = Program(expression, compiled)
    if result and program.type not in (_declared(result), Type.DYN):
        raise CompileError(f"must evaluate to {result}")
    return program


def _explained(text: str) -> str:
    """The runtime's words as cel-go says them, which is what users look up."""
    text = _END.sub("", _STATUS.sub("", text))
    if match := _NO_KEY.match(text):
        return f"no such key: {match[1]}"
    if match := _NO_INDEX.match(text):
        return f"index out of bounds: {match[1]}"
    if match := _NO_OVERLOAD.match(text):
        return "no such overload"
    return {"divide by zero": "division by zero", "integer overflow": "integer overflow"}.get(text, text)
