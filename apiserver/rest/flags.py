"""Boolean query parameters, as upstream reads them: there, and neither `false` nor `0`.

Source: Convert_Slice_string_To_bool of apimachinery. Python clients write `True`.
"""

from __future__ import annotations

from collections.abc import Mapping


def is_set(query: Mapping[str, str], name: str) -> bool:
    """Whether the parameter says yes; a parameter without a value does."""
    value = query.get(name)
    return value is not None and value.lower() not in ("false", "0")
