"""From client-side to server-side apply: the fields that client-side apply set go over to the manager that applies now.

Without it they would have two owners, and leaving one out of the manifest would never remove it (KEP-2155).
"""

from __future__ import annotations

from typing import Any

from cli.errors import Object
from cli.objects import clone, dig


def upgrade_patch(obj: Object, old: set[str], manager: str) -> list[Object] | None:
    """The JSON patch that moves ownership from the `old` managers, or None where they own nothing."""
    entries: list[Object] = dig(obj, "metadata", "managedFields", default=[])
    mine = next((one for one in entries if _is(one, "Apply", {manager})), None)
    theirs = [one for one in entries if _is(one, "Update", old)]
    if mine is None or not theirs:
        return None
    merged = clone(mine)
    for one in theirs:
        if one.get("apiVersion") == merged.get("apiVersion"):
            merged["fieldsV1"] = union(merged.get("fieldsV1") or {}, one.get("fieldsV1") or {})
    kept = [merged if one is mine else one for one in entries if one not in theirs]
    return [
        {"op": "replace", "path": "/metadata/managedFields", "value": kept},
        {"op": "replace", "path": "/metadata/resourceVersion", "value": dig(obj, "metadata", "resourceVersion")},
    ]


def _is(entry: Object, operation: str, managers: set[str]) -> bool:
    whole = not entry.get("subresource")
    return entry.get("operation") == operation and entry.get("manager") in managers and whole


def union(left: dict[str, Any], right: dict[str, Any]) -> dict[str, Any]:
    """Two sets of fields (FieldsV1) as one."""
    out = dict(left)
    for key, value in right.items():
        out[key] = union(out.get(key) or {}, value)
    return out
