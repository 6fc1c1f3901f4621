"""Schemas of custom kinds as /openapi publishes them: for `kubectl explain`, and clients that check before they send.

Source: apiextensions-apiserver's openapi builder. Version 2 of OpenAPI cannot say all that a schema says; what it
cannot say is left out, so that old clients do not refuse what the server takes.
"""

from __future__ import annotations

import copy
from typing import Any

from api.unstructured import Unstructured

_API_VERSION = (
    "APIVersion defines the versioned schema of this representation of an object. Servers should convert recognized "
    "schemas to the latest internal value, and may reject unrecognized values. More info: "
    "https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#resources"
)
_KIND = (
    "Kind is a string value representing the REST resource this object represents. Servers may infer this from the "
    "endpoint the client submits requests to. Cannot be updated. In CamelCase. More info: "
    "https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#types-kinds"
)
_METADATA = (
    "Standard object's metadata. More info: "
    "https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata"
)
_LIST_METADATA = (
    "Standard list metadata. More info: "
    "https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#types-kinds"
)
_NOT_IN_V2 = ("nullable", "oneOf", "anyOf", "allOf", "not", "x-kubernetes-validations")


def name_of(kind: type[Unstructured]) -> str:
    """`com.example.stable.v1.CronTab`."""
    group, _, version = kind.version.rpartition("/")
    return ".".join([*reversed(group.split(".")), version, kind.of_kind])


def schema(kind: type[Unstructured], metadata: dict[str, Any], *, v3: bool) -> dict[str, Any]:
    """The schema of the kind; `metadata` refers to ObjectMeta."""
    made: dict[str, Any] = copy.deepcopy(kind.openapi)
    if not v3:
        made = _for_v2(made)
    if made.get("x-kubernetes-preserve-unknown-fields") and not made.get("properties") and not v3:
        made = {key: made[key] for key in ("description",) if key in made}
        made["type"] = "object"
    else:
        _envelope(made, metadata, v3=v3)
        _embedded(made, metadata, v3=v3)
    group, _, version = kind.version.rpartition("/")
    made["x-kubernetes-group-version-kind"] = [{"group": group, "kind": kind.of_kind, "version": version}]
    return made


def list_schema(
    kind: type[Unstructured], list_kind: str, item: dict[str, Any], metadata: dict[str, Any]
) -> dict[str, Any]:
    """The schema of a list of the kind."""
    group, _, version = kind.version.rpartition("/")
    plural = f"List of {kind.of_kind}. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md"
    return {
        "description": f"{list_kind} is a list of {kind.of_kind}",
        "type": "object",
        "required": ["items"],
        "properties": {
            "apiVersion": {"description": _API_VERSION, "type": "string"},
            "items": {"description": plural, "type": "array", "items": item},
            "kind": {"description": _KIND, "type": "string"},
            "metadata": {"description": _LIST_METADATA, **metadata},
        },
        "x-kubernetes-group-version-kind": [{"group": group, "kind": list_kind, "version": version}],
    }


def _envelope(made: dict[str, Any], metadata: dict[str, Any], *, v3: bool) -> None:
    reference: dict[str, Any] = {"allOf": [metadata]} if v3 else metadata
    made["properties"] = {
        **(made.get("properties") or {}),
        "apiVersion": {"description": _API_VERSION, "type": "string"},
        "kind": {"description": _KIND, "type": "string"},
        "metadata": {"description": _METADATA, **reference},
    }


def _embedded(made: dict[str, Any], metadata: dict[str, Any], *, v3: bool) -> None:
    below = [made.get("items"), made.get("additionalProperties"), *(made.get("properties") or {}).values()]
    for place in below:
        if isinstance(place, dict):
            if place.get("x-kubernetes-embedded-resource"):
                _envelope(place, metadata, v3=v3)
            _embedded(place, metadata, v3=v3)


def _for_v2(place: dict[str, Any]) -> dict[str, Any]:
    """What OpenAPI v2 can say of it."""
    made = {key: value for key, value in place.items() if key not in _NOT_IN_V2}
    if place.get("nullable"):
        made.pop("type", None)
        made.pop("items", None)
        made.pop("properties", None)
        made.pop("additionalProperties", None)
    if place.get("x-kubernetes-preserve-unknown-fields"):
        made.pop("items", None)
        if made.get("type") == "object" and "properties" not in made:
            made.pop("additionalProperties", None)
    if place.get("x-kubernetes-int-or-string"):
        made.pop("type", None)
    if isinstance(made.get("properties"), dict):
        made["properties"] = {name: _for_v2(below) for name, below in made["properties"].items()}
    for name in ("items", "additionalProperties"):
        if isinstance(made.get(name), dict):
            made[name] = _for_v2(made[name])
    return made
