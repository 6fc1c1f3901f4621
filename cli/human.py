"""Durations, ages and times as kubectl writes and reads them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from cli.errors import CliError

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")


def parse_duration(text: str) -> float:
    """Seconds in a Go duration (`1h30m`, `-5s`, `0`). Raises `CliError` with Go's words."""
    body = text.strip()
    sign = -1.0 if body.startswith("-") else 1.0
    body = body.lstrip("+-")
    if body == "0":
        return 0.0
    total, end = 0.0, 0
    for match in _PART.finditer(body):
        if match.start() != end:
            break
        total += float(match.group(1)) * _UNITS[match.group(2)]
        end = match.end()
    if not body or end != len(body):
        if re.fullmatch(r"[\d.]+", body):
            raise CliError(f'time: missing unit in duration "{text}"')
        raise CliError(f'time: invalid duration "{text}"')
    return sign * total


def go_duration(seconds: float) -> str:
    """Go's `Duration.String()`: `1m30s`, `500ms`, `0s`."""
    if seconds == 0:
        return "0s"
    sign, left = ("-", -seconds) if seconds < 0 else ("", seconds)
    if left < 1:
        for unit, size in (("ms", 1e-3), ("µs", 1e-6), ("ns", 1e-9)):
            if left >= size:
                return f"{sign}{_number(left / size)}{unit}"
    hours, rest = divmod(left, 3600)
    minutes, secs = divmod(rest, 60)
    out = f"{int(hours)}h" if hours else ""
    if hours or minutes:
        out += f"{int(minutes)}m"
    return f"{sign}{out}{_number(secs)}s"


def _number(value: float) -> str:
    return f"{value:.9f}".rstrip("0").rstrip(".")


def human_duration(seconds: float) -> str:
    """apimachinery's `HumanDuration`: two units at most, fewer as it grows (`90s`, `5m30s`, `3h20m`, `4d`)."""
    total = int(seconds)
    if total < -1:
        return "<invalid>"
    if total < 0:
        return "0s"
    if total < 60 * 2:
        return f"{total}s"
    minutes = total // 60
    if minutes < 10:
        secs = total % 60
        return f"{minutes}m" if secs == 0 else f"{minutes}m{secs}s"
    if minutes < 60 * 3:
        return f"{minutes}m"
    hours = total // 3600
    if hours < 8:
        mins = minutes % 60
        return f"{hours}h" if mins == 0 else f"{hours}h{mins}m"
    if hours < 48:
        return f"{hours}h"
    if hours < 24 * 8:
        rest = hours % 24
        return f"{hours // 24}d" if rest == 0 else f"{hours // 24}d{rest}h"
    if hours < 24 * 365 * 2:
        return f"{hours // 24}d"
    if hours < 24 * 365 * 8:
        days = (hours // 24) % 365
        years = hours // 24 // 365
        return f"{years}y" if days == 0 else f"{years}y{days}d"
    return f"{hours // 24 // 365}y"


def parse_time(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def now() -> datetime:
    return datetime.now(UTC)


def age(timestamp: str | None) -> str:
    """How long ago, as the AGE column shows it; `<unknown>` without a time."""
    if not timestamp:
        return "<unknown>"
    try:
        then = parse_time(timestamp)
    except ValueError:
        return "<invalid>"
    return human_duration((now() - then).total_seconds())


def rfc1123(timestamp: str | None) -> str:
    """`Mon, 02 Jan 2006 15:04:05 +0000` in local time, as describe shows times."""
    if not timestamp:
        return "<unset>"
    return parse_time(timestamp).astimezone().strftime("%a, %d %b %Y %H:%M:%S %z")


def seconds(value: float) -> timedelta:
    return timedelta(seconds=value)
