"""Rows of server-side Tables: columns and cells of every built-in kind, as upstream's `kubectl get` shows them.

Lives here: pure functions from an object to a list of cells, one module per family of kinds, and what they share.
May not live here: deciding which columns a client sees; all are sent, those of a priority above 0 are for `-o wide`.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from api.selectors import selector_from
from api.types import core_v1, meta_v1
from apiserver.strategy import Column

_MINUTE, _HOUR, _DAY, _YEAR = 60, 3600, 86400, 365 * 86400


def columns(*names: str) -> tuple[Column, ...]:
    """Columns from their short form: `+` marks those of `-o wide`, a type other than string follows a colon."""
    made = []
    for text in names:
        wide = text.startswith("+")
        name, _, kind = text.removeprefix("+").partition(":")
        made.append(
            Column(name, type=kind or "string", format="name" if name == "Name" else "", priority=1 if wide else 0)
        )
    return tuple(made)


def human_duration(seconds: float) -> str:
    """`3d4h`: two units at most, finer where it is short (apimachinery's duration.HumanDuration)."""
    whole = int(seconds)
    if whole < -1:
        return "<invalid>"
    if whole < 0:
        return "0s"
    if whole < 2 * _MINUTE:
        return f"{whole}s"
    minutes = whole // _MINUTE
    if minutes < 10:
        return f"{minutes}m{whole % 60}s" if whole % 60 else f"{minutes}m"
    if minutes < 180:
        return f"{minutes}m"
    hours = whole // _HOUR
    if hours < 8:
        return f"{hours}h{minutes % 60}m" if minutes % 60 else f"{hours}h"
    if hours < 48:
        return f"{hours}h"
    days = hours // 24
    if hours < 192:
        return f"{days}d{hours % 24}h" if hours % 24 else f"{days}d"
    if whole < 2 * _YEAR:
        return f"{days}d"
    years = days // 365
    if whole < 8 * _YEAR:
        return f"{years}y{days % 365}d" if days % 365 else f"{years}y"
    return f"{years}y"


def seconds_of(timestamp: str) -> float:
    """Unix time of an RFC 3339 timestamp."""
    return datetime.fromisoformat(timestamp).timestamp()


def age(timestamp: str | None) -> str:
    """Time since a timestamp, `<unknown>` without one."""
    if not timestamp:
        return "<unknown>"
    return human_duration(time.time() - seconds_of(timestamp))


def format_labels(labels: Mapping[str, str] | None) -> str:
    """`a=b,c=d`, or `<none>`."""
    if not labels:
        return "<none>"
    return ",".join(f"{key}={labels[key]}" for key in sorted(labels))


def format_selector(selector: meta_v1.LabelSelector | None) -> str:
    """The selector in query form; `<none>` for one that is absent or selects everything."""
    if selector is None:
        return "<none>"
    try:
        return str(selector_from(selector)) or "<none>"
    except ValueError:
        return "<error>"


def containers_and_images(containers: Iterable[core_v1.Container]) -> tuple[str, str]:
    """The two cells that describe a pod template."""
    found = list(containers)
    return ",".join(c.name for c in found), ",".join(c.image or "" for c in found)


def list_with_more(items: list[str], count: int, maximum: int) -> str:
    """The first few of many: `a,b,c + 4 more...`, or `<unset>`."""
    shown = ",".join(items)
    if count > maximum:
        return f"{shown} + {count - maximum} more..."
    return shown or "<unset>"


def yes_no(value: bool | None) -> str:
    """Go's spelling of an optional boolean in a string column."""
    return "<unset>" if value is None else "True" if value else "False"


#: Upstream's default table: for the kinds that its printers do not know, such as Role, LimitRange and CRDs.
CREATED_AT = columns("Name", "Created At:date")
#: For the few kinds whose printer has nothing to say but the age.
NAME_AND_AGE = columns("Name", "Age")


def created_at_cells(obj: Any) -> list[Any]:
    return [obj.metadata.name, obj.metadata.creation_timestamp]


def name_and_age_cells(obj: Any) -> list[Any]:
    return [obj.metadata.name, age(obj.metadata.creation_timestamp)]
