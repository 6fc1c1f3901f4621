"""`$(VAR)` references in env values, commands and arguments (core/v1 Container.command).

`$$` is a literal dollar sign; a reference to something unknown, or one that is not closed, stays as it is written.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping


def expand(text: str, lookup: Callable[[str], str | None]) -> str:
    """Replace every reference that `lookup` knows."""
    if "$" not in text:
        return text
    out: list[str] = []
    cursor = 0
    while (dollar := text.find("$", cursor)) >= 0 and dollar + 1 < len(text):
        out.append(text[cursor:dollar])
        following = text[dollar + 1]
        if following == "$":
            out.append("$")
            cursor = dollar + 2
        elif following == "(" and (end := text.find(")", dollar + 2)) >= 0:
            reference = text[dollar + 2 : end]
            value = lookup(reference)
            out.append(f"$({reference})" if value is None else value)
            cursor = end + 1
        elif following == "(":
            out.append("$(")
            cursor = dollar + 2
        else:
            out.append("$" + following)
            cursor = dollar + 2
    out.append(text[cursor:])
    return "".join(out)


def expand_env(text: str, *scopes: Mapping[str, str]) -> str:
    """`expand` from maps; the first that has the name wins."""

    def lookup(reference: str) -> str | None:
        return next((scope[reference] for scope in scopes if reference in scope), None)

    return expand(text, lookup)


def expand_strict(text: str, scope: Mapping[str, str]) -> str:
    """As for subPathExpr: an unknown reference is an error. Raises ValueError in upstream's words."""
    missing: list[str] = []

    def lookup(reference: str) -> str | None:
        if reference not in scope:
            missing.append(reference)
        return scope.get(reference)

    expanded = expand(text, lookup)
    if missing:
        raise ValueError(f"missing value for {missing[0]!r}".replace("'", '"'))
    return expanded
