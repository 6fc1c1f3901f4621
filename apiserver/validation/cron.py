"""Cron schedules as robfig/cron reads them: five fields, or a descriptor such as `@daily` or `@every 1h`."""

from __future__ import annotations

import re
from dataclasses import dataclass

_MONTHS = {name: number for number, name in enumerate(
    ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"), 1
)}  # fmt: skip
_DAYS = {name: number for number, name in enumerate(("sun", "mon", "tue", "wed", "thu", "fri", "sat"))}
_DESCRIPTORS = frozenset({"@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"})


@dataclass(frozen=True)
class _Field:
    low: int
    high: int
    names: dict[str, int]


_FIELDS = (
    _Field(0, 59, {}), _Field(0, 23, {}), _Field(1, 31, {}), _Field(1, 12, _MONTHS), _Field(0, 6, _DAYS)
)  # fmt: skip


def schedule_error(schedule: str) -> str:
    """What is wrong with a schedule in robfig/cron's words; empty if it is a good one."""
    try:
        _parse(schedule)
    except ValueError as error:
        return str(error)
    return ""


def _parse(schedule: str) -> None:
    if not schedule:
        raise ValueError("empty spec string")
    if schedule.startswith(("TZ=", "CRON_TZ=")):
        _zone, _, schedule = schedule.partition(" ")
        schedule = schedule.strip()
    if schedule.startswith("@"):
        if schedule in _DESCRIPTORS:
            return
        if schedule.startswith("@every "):
            from api.duration import parse

            text = schedule.removeprefix("@every ")
            try:
                parse(text)
            except ValueError as error:
                raise ValueError(f"failed to parse duration {schedule}: {error}") from None
            return
        raise ValueError(f"unrecognized descriptor: {schedule}")
    fields = schedule.split()
    if len(fields) != len(_FIELDS):
        raise ValueError(f"expected exactly 5 fields, found {len(fields)}: [{' '.join(fields)}]")
    for text, field in zip(fields, _FIELDS, strict=True):
        for part in re.split(",", text):
            if part:
                _range(part, field)


def _range(text: str, field: _Field) -> None:
    span, slash, step_text = text.partition("/")
    if "/" in step_text:
        raise ValueError(f"too many slashes: {text}")
    low_text, dash, high_text = span.partition("-")
    if low_text in ("*", "?"):
        low, high = field.low, field.high
    else:
        if "-" in high_text:
            raise ValueError(f"too many hyphens: {text}")
        low = _number(low_text, field)
        high = _number(high_text, field) if dash else field.high if slash else low
    if slash and _integer(step_text) == 0:
        raise ValueError(f"step of range should be a positive number: {text}")
    if low < field.low:
        raise ValueError(f"beginning of range ({low}) below minimum ({field.low}): {text}")
    if high > field.high:
        raise ValueError(f"end of range ({high}) above maximum ({field.high}): {text}")
    if low > high:
        raise ValueError(f"beginning of range ({low}) beyond end of range ({high}): {text}")


def _number(text: str, field: _Field) -> int:
    named = field.names.get(text.lower())
    return _integer(text) if named is None else named


def _integer(text: str) -> int:
    if not re.fullmatch(r"[+-]?[0-9]+", text, re.ASCII):
        raise ValueError(f'failed to parse int from {text}: strconv.Atoi: parsing "{text}": invalid syntax')
    number = int(text)
    if number < 0:
        raise ValueError(f"negative number ({number}) not allowed: {text}")
    return number
