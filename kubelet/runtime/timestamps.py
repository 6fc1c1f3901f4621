"""Times as the runtime interface has them: RFC 3339 in UTC with nine digits, which compare as text."""

from __future__ import annotations

import time


def now() -> str:
    return from_nanoseconds(time.time_ns())


def from_nanoseconds(value: int) -> str:
    seconds, nanoseconds = divmod(value, 1_000_000_000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{nanoseconds:09d}Z"


def from_seconds(value: float) -> str:
    return from_nanoseconds(round(value * 1_000_000_000))


def fixed(value: str) -> str:
    """Go's RFC3339Nano, whose trailing zeros are cut, with all nine digits; "" for Go's zero time."""
    if not value or value.startswith("0001-01-01"):
        return ""
    whole, _, fraction = value.rstrip("Z").partition(".")
    return f"{whole}.{fraction:0<9}Z"
