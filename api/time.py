"""Time as the API writes it: RFC 3339 in UTC, whole seconds for Time and microseconds for MicroTime."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from functools import lru_cache

_LAYOUT = "2006-01-02T15:04:05Z07:00"
_FRACTION = re.compile(r"\.(\d+)")
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:\d\d)", re.ASCII)


def now() -> str:
    """The current time as metav1.Time writes it: `2026-01-02T03:04:05Z`."""
    return _second(int(time.time()))


@lru_cache(maxsize=1)
def _second(seconds: int) -> str:
    return format_time(datetime.fromtimestamp(seconds, UTC))


def now_micro() -> str:
    """The current time as metav1.MicroTime writes it: `2026-01-02T03:04:05.000006Z`."""
    return format_micro(datetime.now(UTC))


def format_time(moment: datetime) -> str:
    """An aware datetime as metav1.Time."""
    return f"{_utc(moment).isoformat(timespec='seconds')}Z"


def format_micro(moment: datetime) -> str:
    """An aware datetime as metav1.MicroTime."""
    return f"{_utc(moment).isoformat(timespec='microseconds')}Z"


def _utc(moment: datetime) -> datetime:
    """Naive, since isoformat, which unlike strftime gives a year four digits everywhere, would write +00:00."""
    return moment.astimezone(UTC).replace(tzinfo=None)


def parse(text: str) -> datetime:
    """An aware datetime from RFC 3339 text. Raises ValueError in the words of Go's time package."""
    if not _RFC3339.fullmatch(text):
        raise ValueError(f'parsing time "{text}" as "{_LAYOUT}": cannot parse "{text}" as "2006"')
    try:
        # Nanoseconds are legal on the wire; datetime holds six digits.
        return datetime.fromisoformat(_FRACTION.sub(lambda m: "." + m[1][:6].ljust(6, "0"), text.replace(",", ".")))
    except ValueError:
        raise ValueError(f'parsing time "{text}": {_out_of_range(text)} out of range') from None


def _out_of_range(text: str) -> str:
    month, day, hour, minute = (int(text[a:b]) for a, b in ((5, 7), (8, 10), (11, 13), (14, 16)))
    if not 1 <= month <= 12:
        return "month"
    if hour > 23:
        return "hour"
    if minute > 59:
        return "minute"
    return "day" if not 1 <= day <= 31 or int(text[17:19]) <= 59 else "second"


def seconds_since(text: str | None) -> float:
    """Seconds from a time to now; infinite for a time that is not set."""
    return (datetime.now(UTC) - parse(text)).total_seconds() if text else float("inf")
