"""Reading and writing the `conditions` lists that all kinds have in nearly the same form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from api import time as api_time

C = TypeVar("C")


def find(conditions: Sequence[C] | None, type: str) -> C | None:
    for condition in conditions or ():
        if condition.type == type:  # type: ignore[attr-defined]
            return condition
    return None


def is_true(conditions: Sequence[Any] | None, type: str) -> bool:
    condition = find(conditions, type)
    return condition is not None and condition.status == "True"


def replaced(conditions: Sequence[C] | None, new: C) -> list[C]:
    """The list with `new` in the place of the one of its type, or at the end.

    `lastTransitionTime` of the old one is kept if the status is the same, and set to now if it is not set.
    """
    result = list(conditions or ())
    fresh: Any = new
    for position, condition in enumerate(result):
        old: Any = condition
        if old.type == fresh.type:
            if old.status == fresh.status:
                fresh.last_transition_time = old.last_transition_time
            fresh.last_transition_time = fresh.last_transition_time or api_time.now()
            result[position] = new
            return result
    fresh.last_transition_time = fresh.last_transition_time or api_time.now()
    result.append(new)
    return result


def without(conditions: Sequence[C] | None, type: str) -> list[C] | None:
    """The list without one type; None if nothing is left."""
    return [c for c in conditions or () if c.type != type] or None  # type: ignore[attr-defined]
