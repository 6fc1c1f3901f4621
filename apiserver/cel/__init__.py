"""CEL, the Common Expression Language, with Kubernetes' functions: for schemas' rules, policies and match conditions.

Lives here: compiling and evaluating expressions over plain JSON values, on the `cel-expr-python` package (Google's own
runtime, so types are checked when an expression is compiled). May not live here: what an expression is for.
"""

from apiserver.cel.environment import CompileError, EvaluationError, Program, compile_

__all__ = ["CompileError", "EvaluationError", "Program", "compile_"]
