"""CEL, the Common Expression Language, with Kubernetes' functions: for schemas' rules, policies and match conditions.

Lives here: compiling and evaluating expressions over plain JSON values, on the `cel-expr-python` package (Google's own
runtime, so types are checked when an expression is compiled). May not live here: what an expression is for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from apiserver.cel.failures import CompileError, EvaluationError

if TYPE_CHECKING:
    from apiserver.cel.environment import Program

__all__ = ["CompileError", "EvaluationError", "compile_"]


def compile_(expression: str, variables: tuple[tuple[str, str], ...], *, result: str = "") -> Program:
    """A program, from memory if it was compiled before; see `environment.compile_`. Raises CompileError.

    The runtime takes 30 MB: it is loaded by the first expression, which most clusters never see.
    """
    from apiserver.cel.environment import compile_ as compile_now

    return compile_now(expression, variables, result=result)
