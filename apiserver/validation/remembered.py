"""Specs that were found without fault are not looked at again: most pods are copies of one template.

Only for rules that depend on the spec alone. What is compared is the whole spec as JSON, so that nothing can slip
through; what has a fault is never remembered.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from api import codec

Found = TypeVar("Found")

_REMEMBERED = 256
_SIZE = 16 * 1024  # bytes of one spec's JSON


def if_unseen(rules: Callable[[Any], list[Found]]) -> Callable[[Any], list[Found]]:
    """The rules, skipped for a spec that they have already found nothing in."""
    flawless: set[bytes] = set()

    def check(spec: Any) -> list[Found]:
        json = codec.encode(spec)
        if json in flawless:
            return []
        found = rules(spec)
        if not found and len(json) <= _SIZE:
            if len(flawless) >= _REMEMBERED:
                flawless.clear()
            flawless.add(json)
        return found

    return check
