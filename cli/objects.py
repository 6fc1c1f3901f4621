"""Small helpers over objects as JSON: safe reading of deep fields, names, and what belongs in messages."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

from cli.errors import Object

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


def dig(value: Any, *path: str | int, default: Any = None) -> Any:
    """The value at a path, or `default` where anything on the way is missing."""
    for step in path:
        if isinstance(value, dict):
            value = value.get(step)
        elif isinstance(value, list) and isinstance(step, int) and -len(value) <= step < len(value):
            value = value[step]
        else:
            return default
    return default if value is None else value


def name_of(obj: Object) -> str:
    return str(dig(obj, "metadata", "name", default=""))


def namespace_of(obj: Object) -> str:
    return str(dig(obj, "metadata", "namespace", default=""))


def labels_of(obj: Object) -> dict[str, str]:
    found = dig(obj, "metadata", "labels", default={})
    return found if isinstance(found, dict) else {}


def annotations_of(obj: Object) -> dict[str, str]:
    found = dig(obj, "metadata", "annotations", default={})
    return found if isinstance(found, dict) else {}


def kind_of(obj: Object) -> str:
    return str(obj.get("kind") or "")


def owner_of(obj: Object) -> Object | None:
    """The owner reference with `controller: true`."""
    return next((ref for ref in dig(obj, "metadata", "ownerReferences", default=[]) if ref.get("controller")), None)


def without_managed_fields(obj: Object) -> Object:
    """A copy for printing: `managedFields` is noise to a reader."""
    metadata = obj.get("metadata")
    if isinstance(metadata, dict) and "managedFields" in metadata:
        obj = {**obj, "metadata": {key: value for key, value in metadata.items() if key != "managedFields"}}
    if isinstance(obj.get("items"), list):
        obj = {**obj, "items": [without_managed_fields(item) for item in obj["items"]]}
    return obj


def clone(obj: Any) -> Any:
    return copy.deepcopy(obj)


def join(parts: Iterable[Any], none: str = "<none>") -> str:
    text = ",".join(str(part) for part in parts)
    return text or none


def selector_text(labels: dict[str, str] | None) -> str:
    """`a=b,c=d`, sorted, as label selectors are written."""
    return ",".join(f"{key}={value}" for key, value in sorted((labels or {}).items()))


def label_selector_text(selector: Object | None) -> str:
    """A `LabelSelector` as text; `<none>` for one that selects nothing, empty for everything."""
    if selector is None:
        return "<none>"
    parts = [(key, f"{key}={value}") for key, value in (selector.get("matchLabels") or {}).items()]
    for rule in selector.get("matchExpressions") or []:
        key, operator, values = rule.get("key", ""), rule.get("operator"), ",".join(sorted(rule.get("values") or []))
        shown = {"Exists": key, "DoesNotExist": f"!{key}", "In": f"{key} in ({values})"}.get(
            operator, f"{key} notin ({values})"
        )
        parts.append((key, shown))
    return ",".join(text for _, text in sorted(parts))
