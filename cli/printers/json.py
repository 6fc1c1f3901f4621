"""JSON as Go's encoder writes it: sorted keys, four spaces, `<`, `>` and `&` escaped."""

from __future__ import annotations

import json
from typing import Any


def _escape(text: str) -> str:
    return (
        text.replace("&", "\\u0026")
        .replace("<", "\\u003c")
        .replace(">", "\\u003e")
        .replace("\u2028", "\\u2028")
        .replace("\u2029", "\\u2029")
    )


def to_json(value: Any) -> str:
    return _escape(json.dumps(value, indent=4, sort_keys=True, ensure_ascii=False)) + "\n"


def compact(value: Any) -> str:
    return _escape(json.dumps(value, separators=(",", ":"), sort_keys=True, ensure_ascii=False))
