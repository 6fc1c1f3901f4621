"""OpenAPI documents of aggregated servers: fetched now and then, and made part of what this server shows.

Version 3 has one document for each group and version, so another server's are shown as they are; of a server that knows
only version 2 they are made from that. Version 2 is one document for all: paths come in if they are the group's, what
schemas they need comes along, and one that differs from its namesake gets another name. Source: kube-aggregator.
"""

from __future__ import annotations

import copy
import hashlib
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import msgspec

from api import codec

_AGE = 60.0  # seconds between questions to one server
_JSON = "application/json"
_V2 = "#/definitions/"
_V3 = "#/components/schemas/"

#: GET of a path of the other server: the body, or None if it does not serve that.
Get = Callable[[str], Awaitable[bytes | None]]


@dataclass
class _Known:
    asked: float = 0.0  # time.monotonic()
    raw: list[bytes] = field(default_factory=list)
    v2: dict[str, Any] = field(default_factory=dict)
    v3: bytes = b""


class Documents:
    """What is known of every APIService; `refresh` asks, all else answers from memory."""

    def __init__(self) -> None:
        self._known: dict[str, _Known] = {}

    async def refresh(self, name: str, group: str, version: str, get: Get) -> bool:
        """Ask the server behind an APIService if it is time to. True if its documents have changed."""
        known = self._known.setdefault(name, _Known(asked=-_AGE))
        if time.monotonic() - known.asked < _AGE:
            return False
        known.asked = time.monotonic()
        path = f"apis/{group}/{version}"
        v2 = await get("/openapi/v2") or b""
        v3 = await get(await _location(path, get)) or b""
        if known.raw == [v2, v3]:
            return False
        known.raw = [v2, v3]
        known.v2 = _own_paths(_object(v2), f"/{path}")
        known.v3 = v3 if _object(v3) else (codec.encode(to_v3(known.v2)) if known.v2 else b"")
        return True

    def forget(self, names: set[str]) -> bool:
        """Drop all but these APIServices. True if there were others."""
        gone = self._known.keys() - names
        for name in gone:
            del self._known[name]
        return bool(gone)

    def v3(self, group: str, version: str) -> bytes:
        """The document of a group's version; empty if its server shows none."""
        known = self._known.get(f"{version}.{group}")
        return known.v3 if known is not None else b""

    def merge_v2(self, document: dict[str, Any]) -> None:
        """Add all of them to this server's own document, in place."""
        for _, known in sorted(self._known.items()):
            if known.v2:
                merge(document, copy.deepcopy(known.v2))


async def _location(path: str, get: Get) -> str:
    """Where the other server shows a group's document, by its own index."""
    index = _object(await get("/openapi/v3") or b"").get("paths")
    entry = index.get(path) if isinstance(index, dict) else None
    url = entry.get("serverRelativeURL") if isinstance(entry, dict) else None
    parts = urlsplit(url if isinstance(url, str) else "")
    if not parts.path.startswith("/openapi/v3/") or parts.netloc:
        return f"/openapi/v3/{path}"
    return parts.path + (f"?{parts.query}" if parts.query else "")


def _object(body: bytes) -> dict[str, Any]:
    try:
        value = msgspec.json.decode(body)
    except msgspec.MsgspecError:
        return {}
    return value if isinstance(value, dict) else {}


def hash_of(document: bytes) -> str:
    """What tells clients that a document has changed."""
    return hashlib.sha512(document).hexdigest().upper()


# -- version 2 ---------------------------------------------------------------------------------------------------------


def _own_paths(document: dict[str, Any], prefix: str) -> dict[str, Any]:
    """The part of a document that is about paths below `prefix`, with the definitions that it needs."""
    given = document.get("paths")
    if not isinstance(given, dict):
        return {}
    paths = {path: item for path, item in given.items() if path == prefix or path.startswith(f"{prefix}/")}
    definitions = document.get("definitions")
    definitions = definitions if isinstance(definitions, dict) else {}
    needed: dict[str, Any] = {}
    waiting = [paths]
    while waiting:
        for name in _references(waiting.pop()):
            if name not in needed and name in definitions:
                needed[name] = definitions[name]
                waiting.append(definitions[name])
    return {"paths": paths, "definitions": needed} if paths else {}


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        reference = value.get("$ref")
        if isinstance(reference, str) and reference.startswith(_V2):
            yield reference.removeprefix(_V2)
        for below in value.values():
            yield from _references(below)
    elif isinstance(value, list):
        for below in value:
            yield from _references(below)


def merge(document: dict[str, Any], other: dict[str, Any]) -> None:
    """Add another document's paths and definitions; a definition that means something else here gets a new name."""
    mine: dict[str, Any] = document.setdefault("definitions", {})
    renamed: dict[str, str] = {}
    for name, schema in other["definitions"].items():
        chosen, number = name, 1
        while chosen in mine and mine[chosen] != schema:
            number += 1
            chosen = f"{name}_v{number}"
        if chosen != name:
            renamed[name] = chosen
    for name, schema in other["definitions"].items():
        mine.setdefault(renamed.get(name, name), _pointing(schema, _V2, _V2, renamed))
    paths = document.setdefault("paths", {})
    for path, item in other["paths"].items():
        paths.setdefault(path, _pointing(item, _V2, _V2, renamed))


def _pointing(value: Any, old: str, new: str, renamed: dict[str, str]) -> Any:
    """The same with other references."""
    if isinstance(value, list):
        return [_pointing(below, old, new, renamed) for below in value]
    if not isinstance(value, dict):
        return value
    made = {key: _pointing(below, old, new, renamed) for key, below in value.items()}
    reference = made.get("$ref")
    if isinstance(reference, str) and reference.startswith(old):
        name = reference.removeprefix(old)
        made["$ref"] = new + renamed.get(name, name)
    return made


# -- from version 2 to version 3 ---------------------------------------------------------------------------------------


def to_v3(document: dict[str, Any]) -> dict[str, Any]:
    """A document of version 2 as one of version 3 (OpenAPI 3.0: "Migrating from 2.0")."""
    moved = _pointing(document, _V2, _V3, {})
    paths = {path: _path_v3(item) for path, item in moved.get("paths", {}).items()}
    info = {"title": "Kubernetes", "version": "unversioned"}
    return {"openapi": "3.0.0", "info": info, "paths": paths, "components": {"schemas": moved.get("definitions", {})}}


def _path_v3(item: dict[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for key, value in item.items():
        if key == "parameters":
            made[key] = [_parameter_v3(parameter) for parameter in value]
        else:
            made[key] = _operation_v3(value) if isinstance(value, dict) and "responses" in value else value
    return made


def _operation_v3(operation: dict[str, Any]) -> dict[str, Any]:
    made = {key: value for key, value in operation.items() if key not in ("consumes", "produces", "schemes")}
    consumes, produces = operation.get("consumes") or [_JSON], operation.get("produces") or [_JSON]
    parameters = operation.get("parameters") or []
    body = next((parameter for parameter in parameters if parameter.get("in") == "body"), None)
    if parameters:
        made["parameters"] = [_parameter_v3(p) for p in parameters if p.get("in") not in ("body", "formData")]
    if body is not None:
        content = {kind: {"schema": body.get("schema", {})} for kind in consumes}
        made["requestBody"] = {"content": content, "required": bool(body.get("required"))}
    responses = made["responses"] = {}
    for code, response in operation["responses"].items():
        answer = {key: value for key, value in response.items() if key not in ("schema", "headers", "examples")}
        if "schema" in response:
            answer["content"] = {kind: {"schema": response["schema"]} for kind in produces}
        responses[code] = answer
    return made


def _parameter_v3(parameter: dict[str, Any]) -> dict[str, Any]:
    if "$ref" in parameter or "schema" in parameter:
        return parameter
    outside = ("name", "in", "description", "required", "allowEmptyValue")
    made = {key: value for key, value in parameter.items() if key in outside}
    kept = ("collectionFormat", *outside)
    made["schema"] = {key: value for key, value in parameter.items() if key not in kept}
    return made
