"""The shape of values as ownership sees it: what is one field, and which items of a list are the same item.

Built from the generated types (`type_of`), from a CRD's OpenAPI schema (`from_openapi`), or from nothing: then the
value decides (`deduced`). Source: structured-merge-diff's schema package and kube-openapi's schemaconv.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from api.managed import elements
from api.schema import Merge, Node, struct_node

Kind = Literal["scalar", "list", "map", "any"]

# Defaults of list keys: the document of Kubernetes' API that the types come from does not tell them.
_KEY_DEFAULTS = {
    "ContainerPort": {"protocol": "TCP"},
    "ServicePort": {"protocol": "TCP"},
    "LocalObjectReference": {"name": ""},
}

_SCALARS = {"string": "string", "byte": "string", "bool": "boolean", "int32": "numeric", "int64": "numeric"}
_SCALARS["float64"] = "numeric"


class Type:
    """`fields` of a structure, `element` of a list or map, `keys` of a list whose items are known by their keys.

    A structure has an `element` only if it admits fields it does not name. `leaf`: owned as a whole.
    """

    __slots__ = ("atomic", "defaults", "element", "fields", "item", "keys", "kind", "leaf", "scalar", "shapes")

    def __init__(
        self,
        kind: Kind,
        *,
        atomic: bool = False,
        scalar: str = "untyped",
        fields: dict[str, Type] | None = None,
        element: Type | None = None,
        keys: tuple[str, ...] = (),
        defaults: dict[str, Any] | None = None,
    ) -> None:
        self.kind = kind
        self.atomic = atomic
        self.scalar = scalar
        self.fields: dict[str, Type] = {} if fields is None else fields
        self.element = element
        self.keys = tuple(sorted(keys))
        self.defaults = defaults or {}
        self.leaf = kind == "scalar" or atomic
        #: What `compare` remembers about the structures it has seen: by their field names, in order.
        self.shapes: dict[tuple[str, ...], Any] = {}
        #: How an item with one key is written up to the value.
        self.item = "k:{" + elements.text(self.keys[0]) + ":" if len(self.keys) == 1 else ""

    def of(self, name: str) -> Type:
        """The type of a field. Raises KeyError for one that the structure does not have."""
        try:
            return self.fields[name]
        except KeyError:
            if self.element is None:
                raise
            return self.element

    def names(self, name: str) -> bool:
        """Whether it is a field that the structure names, rather than a key of a map."""
        try:
            self.fields[name]
        except KeyError:
            return False
        return True

    def resolve(self, value: Any) -> Type:
        """This type, or what a value makes of one that admits anything."""
        if self.kind != "any":
            return self
        if isinstance(value, dict):
            return _ANY_MAP
        return _ANY_LIST if isinstance(value, list) else _ANY_SCALAR


deduced = Type("any")
_ANY_MAP = Type("map", element=deduced)
_ANY_LIST = Type("list", atomic=True, element=deduced)
_ANY_SCALAR = Type("scalar")


class _Fields(dict[str, Type]):
    """Fields of a generated type, each made when first asked for: few of a kind's structures are ever met."""

    def __init__(self, node: Node) -> None:
        super().__init__()
        self._node = node

    def __missing__(self, name: str) -> Type:
        entry = self._node.fields[name]
        made = self[name] = _of_field(entry.node, entry.merge)
        return made


_made: dict[tuple[int, bool], Type] = {}
_scalars = {name: Type("scalar", scalar=name) for name in ("string", "boolean", "numeric", "untyped")}


def type_of(struct: type[msgspec.Struct]) -> Type:
    """The type of a generated struct."""
    return _of_struct(struct_node(struct), atomic=False)


def _of_struct(node: Node, *, atomic: bool) -> Type:
    name = (id(node), atomic)
    if name not in _made:
        _made[name] = Type("map", atomic=atomic, fields=_Fields(node))
    return _made[name]


def _of_field(node: Node, merge: Merge) -> Type:
    if node.kind == "struct":
        atomic = merge.map_type == "atomic" or (node.atomic and merge.map_type != "granular")
        return _of_struct(node, atomic=atomic)
    if node.kind == "map":
        assert node.element is not None
        return Type("map", atomic=merge.map_type == "atomic", element=_of_field(node.element, Merge()))
    if node.kind == "list":
        return _of_list(node, merge)
    if node.kind == "scalar":
        return _scalars[_SCALARS.get(node.format, "untyped")]
    return deduced


def _of_list(node: Node, merge: Merge) -> Type:
    assert node.element is not None
    list_type, keys = merge.list_type, merge.list_map_keys
    if not list_type and "merge" in merge.strategies:
        list_type, keys = ("map", (merge.merge_key,)) if merge.merge_key else ("set", ())
    element = _of_field(node.element, Merge())
    if list_type not in ("map", "set"):
        return Type("list", atomic=True, element=element)
    defaults = _KEY_DEFAULTS.get(node.element.go.rpartition(".")[2], {})
    own = {name: value for name, value in defaults.items() if name in keys}
    return Type("list", element=element, keys=keys if list_type == "map" else (), defaults=own)


def from_openapi(schema: dict[str, Any], *, root: bool = True) -> Type:
    """The type of a custom resource's version, by its structural schema (apiextensions/v1 JSONSchemaProps).

    The root's apiVersion, kind and metadata are those of every object, whatever the schema says of them.
    """
    made = _of_schema(schema)
    if root and made.kind == "map":
        from api.types.meta_v1 import ObjectMeta

        fields = {**made.fields, "apiVersion": _scalars["string"], "kind": _scalars["string"]}
        fields["metadata"] = type_of(ObjectMeta)
        return Type("map", atomic=made.atomic, fields=fields, element=made.element)
    return made


def _of_schema(schema: dict[str, Any]) -> Type:
    if schema.get("x-kubernetes-int-or-string"):
        return _scalars["untyped"]
    kind = schema.get("type", "")
    if kind == "array":
        items = schema.get("items") or {}
        element = _of_schema(items)
        list_type = schema.get("x-kubernetes-list-type", "atomic")
        if list_type not in ("map", "set"):
            return Type("list", atomic=True, element=element)
        keys = tuple(schema.get("x-kubernetes-list-map-keys") or ()) if list_type == "map" else ()
        described = items.get("properties") or {}
        defaults = {key: described[key]["default"] for key in keys if "default" in described.get(key, {})}
        return Type("list", element=element, keys=keys, defaults=defaults)
    if kind == "object":
        return _of_object(schema)
    if kind in ("string", "boolean", "integer", "number"):
        return _scalars[{"integer": "numeric", "number": "numeric"}.get(kind, kind)]
    return deduced


def _of_object(schema: dict[str, Any]) -> Type:
    atomic = schema.get("x-kubernetes-map-type") == "atomic"
    if schema.get("x-kubernetes-embedded-resource") and not schema.get("properties"):
        return Type("map", atomic=atomic, element=deduced)
    fields = {name: _of_schema(below) for name, below in (schema.get("properties") or {}).items()}
    more = schema.get("additionalProperties")
    element: Type | None = None
    if isinstance(more, dict):
        element = _of_schema(more)
    elif more or schema.get("x-kubernetes-preserve-unknown-fields") or (not fields and more is None):
        element = deduced
    return Type("map", atomic=atomic, fields=fields, element=element)
