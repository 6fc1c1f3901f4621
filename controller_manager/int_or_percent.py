"""IntOrString values that may be percentages of something, such as maxSurge."""

from __future__ import annotations

import math


def scaled(value: int | str | None, total: int, *, round_up: bool) -> int:
    """`3` is 3, `"25%"` a quarter of `total`. Raises ValueError for anything else."""
    if value is None:
        return 0
    if isinstance(value, int):
        return value
    if not value.endswith("%"):
        raise ValueError(f"invalid value for IntOrString: invalid type: string is not a percentage: {value!r}")
    exact = int(value[:-1]) * total / 100
    return math.ceil(exact) if round_up else math.floor(exact)
