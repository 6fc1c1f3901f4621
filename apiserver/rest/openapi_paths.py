"""Paths of OpenAPI: every operation of every resource, with the parameters that clients look for."""

from __future__ import annotations

from typing import Any

import msgspec

from api.resources import Resource, Subresource, find_kind
from api.types import meta_v1
from apiserver.rest.openapi_schemas import Schemas

_PRODUCES = ["application/json", "application/yaml"]
_PATCHES = [
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
]
_INTEGERS = {"limit", "timeoutSeconds", "gracePeriodSeconds"}
_BOOLEANS = {"watch", "allowWatchBookmarks", "sendInitialEvents", "force", "orphanDependents"}
_LIST = (
    "allowWatchBookmarks",
    "continue",
    "fieldSelector",
    "labelSelector",
    "limit",
    "resourceVersion",
    "resourceVersionMatch",
    "sendInitialEvents",
    "timeoutSeconds",
    "watch",
)
_WRITE = ("dryRun", "fieldManager", "fieldValidation")
_DELETE = ("dryRun", "gracePeriodSeconds", "orphanDependents", "propagationPolicy")
_METHODS = {"get": "get", "update": "put", "patch": "patch", "delete": "delete", "create": "post"}
_ACTIONS = {"update": "put", "create": "post"}
_WORDS = {
    "get": "read the specified",
    "update": "replace the specified",
    "patch": "partially update the specified",
    "delete": "delete",
    "create": "create",
    "list": "list or watch objects of kind",
    "deletecollection": "delete collection of",
}


class Paths:
    """Adds the operations of resources to `found`; the shape of v2 or v3."""

    def __init__(self, schemas: Schemas, *, v3: bool) -> None:
        self.found: dict[str, Any] = {}
        self._schemas = schemas
        self._v3 = v3

    def add(self, resource: Resource) -> None:
        """All paths of a resource and its subresources."""
        base = f"/apis/{resource.group}/{resource.version}" if resource.group else f"/api/{resource.version}"
        scoped = f"{base}/namespaces/{{namespace}}" if resource.namespaced else base
        collection = f"{scoped}/{resource.plural}"
        verbs = resource.verbs
        self._put(collection, "get", "list", resource, "list" in verbs, listed=True)
        self._put(collection, "post", "create", resource, "create" in verbs)
        self._put(collection, "delete", "deletecollection", resource, "deletecollection" in verbs)
        if resource.namespaced and "list" in verbs:
            self._put(f"{base}/{resource.plural}", "get", "list", resource, True, listed=True)
        item = f"{collection}/{{name}}"
        for verb in ("get", "update", "patch", "delete"):
            self._put(item, _METHODS[verb], verb, resource, verb in verbs)
        for sub in resource.subresource_table:
            for verb in sub.verbs:
                if verb in _METHODS:
                    self._put(f"{item}/{sub.name}", _METHODS[verb], verb, resource, True, subresource=sub)

    def _put(
        self,
        path: str,
        method: str,
        verb: str,
        resource: Resource,
        served: bool,
        *,
        listed: bool = False,
        subresource: Subresource | None = None,
    ) -> None:
        if not served:
            return
        entry = self.found.setdefault(path, {"parameters": self._path_parameters(path)})
        kind = (
            (subresource.group, subresource.version, subresource.kind)
            if subresource
            else (resource.group, resource.version, resource.kind)
        )
        entry[method] = self._operation(path, verb, resource, kind, listed, subresource)

    def _operation(
        self,
        path: str,
        verb: str,
        resource: Resource,
        kind: tuple[str, str, str],
        listed: bool,
        subresource: Subresource | None,
    ) -> dict[str, Any]:
        group, version, name = kind
        body = self._body_type(kind, resource, subresource)
        answer: Any = meta_v1.Status if verb in ("delete", "deletecollection") else body
        answered = None
        if listed and isinstance(resource.type_ref, str):
            answer = resource.list_type
        elif listed:
            answered = self._schemas.custom_list(resource.type, resource.list_kind)
        tag = f"{(resource.group or 'core').split('.')[0]}_{resource.version}"
        operation: dict[str, Any] = {
            "description": f"{_WORDS[verb]} {name}",
            "operationId": _operation_id(path, verb, resource, subresource),
            "tags": [tag],
            "responses": self._responses(verb, answered or self._schemas.reference(answer)),
            "x-kubernetes-action": _ACTIONS.get(verb, verb),
            "x-kubernetes-group-version-kind": {"group": group, "kind": name, "version": version},
        }
        parameters = [self._query(parameter) for parameter in _parameters(verb)]
        sent: type[msgspec.Struct] | None = None
        if verb in ("create", "update"):
            sent = body
        elif verb in ("delete", "deletecollection"):
            sent = meta_v1.DeleteOptions
        if self._v3:
            if sent is not None:
                operation["requestBody"] = {"content": {"*/*": {"schema": self._schemas.reference(sent)}}}
            elif verb == "patch":
                patch = {"type": "object"}
                operation["requestBody"] = {"content": {kind: {"schema": patch} for kind in _PATCHES}}
        else:
            operation["consumes"] = _PATCHES if verb == "patch" else ["*/*"]
            operation["produces"] = _PRODUCES
            operation["schemes"] = ["https"]
            if sent is not None or verb == "patch":
                schema = self._schemas.reference(sent) if sent is not None else {"type": "object"}
                required = verb in ("create", "update", "patch")
                parameters.append({"in": "body", "name": "body", "required": required, "schema": schema})
        if parameters:
            operation["parameters"] = parameters
        return operation

    @staticmethod
    def _body_type(
        kind: tuple[str, str, str], resource: Resource, subresource: Subresource | None
    ) -> type[msgspec.Struct]:
        if subresource is None:
            return resource.type
        group, version, name = kind
        if kind == (resource.group, resource.version, resource.kind):
            return resource.type
        known = find_kind(f"{group}/{version}" if group else version, name)
        if known is not None:
            return known.type
        from importlib import import_module

        module = import_module(f"api.types.{(group or 'core').split('.')[0]}_{version}")
        return getattr(module, name, None) or resource.type

    def _responses(self, verb: str, reference: dict[str, Any]) -> dict[str, Any]:
        if self._v3:
            ok: dict[str, Any] = {
                "description": "OK",
                "content": {media: {"schema": reference} for media in _PRODUCES},
            }
        else:
            ok = {"description": "OK", "schema": reference}
        found = {"200": ok, "401": {"description": "Unauthorized"}}
        if verb in ("create", "update", "patch"):
            found["201"] = {**ok, "description": "Created"}
        return found

    def _path_parameters(self, path: str) -> list[dict[str, Any]]:
        found = []
        for name in ("name", "namespace"):
            if f"{{{name}}}" in path:
                found.append(self._parameter(name, "path", {"type": "string", "uniqueItems": True}, required=True))
        return found

    def _query(self, name: str) -> dict[str, Any]:
        kind = "integer" if name in _INTEGERS else "boolean" if name in _BOOLEANS else "string"
        return self._parameter(name, "query", {"type": kind, "uniqueItems": True})

    def _parameter(self, name: str, where: str, schema: dict[str, Any], *, required: bool = False) -> dict[str, Any]:
        entry: dict[str, Any] = {"name": name, "in": where}
        entry |= {"schema": schema} if self._v3 else schema
        if required:
            entry["required"] = True
        return entry


def _parameters(verb: str) -> tuple[str, ...]:
    if verb == "list":
        return _LIST
    if verb in ("create", "update"):
        return _WRITE
    if verb == "patch":
        return (*_WRITE, "force")
    if verb == "delete":
        return _DELETE
    return (*_DELETE, *_LIST) if verb == "deletecollection" else ()


def _operation_id(path: str, verb: str, resource: Resource, subresource: Subresource | None) -> str:
    action = {"get": "read", "update": "replace", "deletecollection": "deleteCollection"}.get(verb, verb)
    group = "".join(part.capitalize() for part in (resource.group or "core").split(".")[0].split("-"))
    scope = "Namespaced" if "{namespace}" in path else ""
    sub = subresource.name.capitalize() if subresource else ""
    suffix = "ForAllNamespaces" if verb == "list" and resource.namespaced and not scope else ""
    return f"{action}{group}{resource.version.capitalize()}{scope}{resource.kind}{sub}{suffix}"
