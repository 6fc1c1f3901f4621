"""How expressions fail."""

from __future__ import annotations


class CompileError(ValueError):
    """The expression is no CEL, or its types do not fit; upstream's text, position included."""


class EvaluationError(ValueError):
    """The expression has no value for this input."""
