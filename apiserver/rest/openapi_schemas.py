"""Schemas of the built-in types, for OpenAPI v2 and v3, made from the structs themselves.

Descriptions are those of the installed lightkube-models package: its docstrings carry upstream's texts.
"""

from __future__ import annotations

import ast
import importlib.util
import re
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec

from api.generate_tables import BY_VALUE
from api.resources import Resource
from api.schema import Field, Node, struct_node
from api.types.meta_v1 import ListMeta, ObjectMeta
from api.unstructured import is_unstructured
from apiserver.extensions import openapi as custom

_PACKAGES = {
    "meta": "io.k8s.apimachinery.pkg.apis.meta",
    "apiextensions": "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions",
    "apiregistration": "io.k8s.kube-aggregator.pkg.apis.apiregistration",
}
_QUANTITY = "io.k8s.apimachinery.pkg.api.resource.Quantity"
_INT_OR_STRING = "io.k8s.apimachinery.pkg.util.intstr.IntOrString"
_TIME = "io.k8s.apimachinery.pkg.apis.meta.v1.Time"
_MICRO_TIME = "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime"
_SCALARS: dict[str, dict[str, Any]] = {
    "string": {"type": "string"},
    "bool": {"type": "boolean"},
    "int32": {"type": "integer", "format": "int32"},
    "int64": {"type": "integer", "format": "int64"},
    "float64": {"type": "number", "format": "double"},
    "byte": {"type": "string", "format": "byte"},
}
_NAMED = {"quantity": _QUANTITY, "int-or-string": _INT_OR_STRING, "date-time": _TIME, "micro-time": _MICRO_TIME}
_NOT_REQUIRED = {"apiVersion", "kind", "metadata"}
_PARAMETER = re.compile(r"^ *\* \*\*(\w+)\*\* ``[^`]*`` - ?(.*)$")


def name_of(struct: type[msgspec.Struct]) -> str:
    """`io.k8s.api.core.v1.Pod`."""
    module = struct.__module__.rpartition(".")[2]
    group, _, version = module.rpartition("_")
    if struct.__name__ == "Info" and group == "meta":
        return "io.k8s.apimachinery.pkg.version.Info"
    return f"{_PACKAGES.get(group, f'io.k8s.api.{group}')}.{version}.{struct.__name__}"


class Schemas:
    """Collects the schemas of whatever is referred to. `root` is where references point: v2 and v3 differ."""

    def __init__(self, root: str, *, v3: bool) -> None:
        self.found: dict[str, Any] = {}
        self._root = root
        self._v3 = v3
        self._kinds: dict[str, list[dict[str, str]]] = {}

    def mark(self, resource: Resource) -> None:
        """The kind that a struct and its list are the bodies of."""
        if is_unstructured(resource.type):
            return
        names: list[tuple[Any, str]] = [(resource.type, resource.kind)]
        if resource.list_kind and isinstance(resource.type_ref, str):
            names.append((resource.list_type, resource.list_kind))
        for struct, kind in names:
            known = self._kinds.setdefault(name_of(struct), [])
            entry = {"group": resource.group, "kind": kind, "version": resource.version}
            if entry not in known:
                known.append(entry)

    def reference(self, struct: type[Any]) -> dict[str, Any]:
        """A reference to a type's schema, which is added if it is new."""
        if is_unstructured(struct):
            return self._custom(struct)
        name = name_of(struct)
        if name not in self.found:
            self.found[name] = {}  # types refer to themselves
            self.found[name] = self._struct(struct, name)
        return {"$ref": self._root + name}

    def _custom(self, kind: Any) -> dict[str, Any]:
        name = custom.name_of(kind)
        if name not in self.found:
            self.found[name] = custom.schema(kind, self.reference(ObjectMeta), v3=self._v3)
        return {"$ref": self._root + name}

    def custom_list(self, kind: Any, list_kind: str) -> dict[str, Any]:
        """A reference to the list of a custom kind."""
        name = custom.name_of(kind).rpartition(".")[0] + "." + list_kind
        if name not in self.found:
            self.found[name] = custom.list_schema(kind, list_kind, self.reference(kind), self.reference(ListMeta))
        return {"$ref": self._root + name}

    def _struct(self, struct: type[msgspec.Struct], name: str) -> dict[str, Any]:
        node = struct_node(struct)
        texts = descriptions(struct)
        properties: dict[str, Any] = {}
        required = []
        top = {"apiVersion", "kind"} <= node.fields.keys()
        for key, entry in node.fields.items():
            properties[key] = self._property(entry, texts.get(key, ""))
            by_value = f"{struct.__name__}.{entry.attribute}" in BY_VALUE or f"{struct.__name__}.{key}" in BY_VALUE
            hidden = key in _NOT_REQUIRED or (top and key in ("spec", "status"))
            if entry.required and not hidden and not by_value:
                required.append(key)
        schema: dict[str, Any] = {"type": "object", "properties": properties}
        if texts.get(""):
            schema["description"] = texts[""]
        if required:
            schema["required"] = required
        if node.atomic:
            schema["x-kubernetes-map-type"] = "atomic"
        if name in self._kinds:
            schema["x-kubernetes-group-version-kind"] = self._kinds[name]
        return schema

    def _property(self, entry: Field, description: str) -> dict[str, Any]:
        shape = self._node(entry.node)
        reference = shape.get("$ref")
        if reference is not None and self._v3:
            shape = {"allOf": [{"$ref": reference}], "default": {}} if entry.required else {"allOf": [shape]}
        merge = entry.merge
        if description:
            shape["description"] = description
        if merge.list_type:
            shape["x-kubernetes-list-type"] = merge.list_type
        if merge.list_map_keys:
            shape["x-kubernetes-list-map-keys"] = list(merge.list_map_keys)
        if merge.map_type:
            shape["x-kubernetes-map-type"] = merge.map_type
        if merge.merge_key:
            shape["x-kubernetes-patch-merge-key"] = merge.merge_key
        if merge.strategies:
            shape["x-kubernetes-patch-strategy"] = ",".join(merge.strategies)
        return shape

    def _node(self, node: Node) -> dict[str, Any]:
        if node.kind == "struct":
            assert node.struct is not None
            return self.reference(node.struct)
        if node.kind == "list":
            assert node.element is not None
            return {"type": "array", "items": self._wrapped(node.element)}
        if node.kind == "map":
            assert node.element is not None
            return {"type": "object", "additionalProperties": self._wrapped(node.element)}
        if node.kind == "any":
            return {"type": "object"}
        if node.format in _NAMED:
            name = _NAMED[node.format]
            self.found.setdefault(name, self._named(name))
            return {"$ref": self._root + name}
        return dict(_SCALARS.get(node.format, {"type": "string"}))

    def _wrapped(self, node: Node) -> dict[str, Any]:
        shape = self._node(node)
        if self._v3 and "$ref" in shape:
            return {"allOf": [shape]}
        return shape

    def _named(self, name: str) -> dict[str, Any]:
        if name in (_TIME, _MICRO_TIME):
            return {"type": "string", "format": "date-time"}
        if name == _QUANTITY:
            if self._v3:
                return {"oneOf": [{"type": "string"}, {"type": "number"}]}
            return {"type": "string"}
        if self._v3:
            return {"format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}]}
        return {"type": "string", "format": "int-or-string"}


@lru_cache(maxsize=4096)
def descriptions(struct: type[msgspec.Struct]) -> dict[str, str]:
    """JSON name -> text of a struct's fields, "" -> text of the struct; empty if the package has none."""
    documentation = _docstrings(struct.__module__.rpartition(".")[2]).get(struct.__name__)
    return _parse(documentation) if documentation else {}


@lru_cache(maxsize=64)
def _docstrings(module: str) -> dict[str, str]:
    """Read, not imported: the models import the client library they belong to, which is not needed here."""
    spec = importlib.util.find_spec("lightkube")
    for folder in (spec.submodule_search_locations if spec else None) or ():
        path = Path(folder) / "models" / f"{module}.py"
        if path.is_file():
            classes = (node for node in ast.parse(path.read_bytes()).body if isinstance(node, ast.ClassDef))
            return {node.name: ast.get_docstring(node, clean=False) or "" for node in classes}
    return {}


def _parse(documentation: str) -> dict[str, str]:
    found: dict[str, list[str]] = {"": []}
    lines = documentation.split("\n")
    current = ""
    for line in lines:
        stripped = line[4:] if line.startswith("    ") else line
        if stripped.strip() == "**parameters**":
            current = "-"
            continue
        match = _PARAMETER.match(stripped)
        if match:
            current = match[1].rstrip("_") if match[1].endswith("_") else match[1]
            found[current] = [match[2].strip()]
        elif current != "-":
            found.setdefault(current, []).append(stripped.strip())
    return {key: _joined(parts) for key, parts in found.items()}


def _joined(parts: list[str]) -> str:
    """Lines of a paragraph joined, paragraphs apart."""
    paragraphs: list[list[str]] = [[]]
    for part in parts:
        if part:
            paragraphs[-1].append(part)
        elif paragraphs[-1]:
            paragraphs.append([])
    return "\n\n".join(" ".join(paragraph) for paragraph in paragraphs if paragraph)
