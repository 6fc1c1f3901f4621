"""Types of objects for checking expressions: a kind's fields as a message, so that the compiler knows them.

Nothing is evaluated with them: expressions run on plain values. What may be of several types is a JSON value, which the
compiler takes for anything.
"""

from __future__ import annotations

import itertools
import re
from functools import lru_cache
from typing import Any

import msgspec
from google.protobuf import descriptor_pb2, descriptor_pool, struct_pb2, timestamp_pb2

from api.schema import Node, struct_node
from apiserver.cel.environment import compile_
from apiserver.cel.failures import CompileError
from apiserver.cel.values import escape

_Field = descriptor_pb2.FieldDescriptorProto
_VALUE = f".{struct_pb2.Value.DESCRIPTOR.full_name}"
_SCALARS = {
    "bool": _Field.TYPE_BOOL,
    "byte": _Field.TYPE_BYTES,
    "float64": _Field.TYPE_DOUBLE,
    "int32": _Field.TYPE_INT64,
    "int64": _Field.TYPE_INT64,
    "string": _Field.TYPE_STRING,
    "": _Field.TYPE_STRING,
}
_STRUCT = re.compile(r" not found in struct '[^']*'")
_PREFIX = "compilation failed: "
_numbers = itertools.count(1)


@lru_cache(maxsize=1024)
def type_of(kind: type[msgspec.Struct]) -> str:
    """The name of the type of a kind's objects, for the declaration of a variable."""
    made = _File(f"checked{next(_numbers)}")
    name = made.message(struct_node(kind))
    made.register()
    return name.removeprefix(".")


def complaint(expression: str, variables: tuple[tuple[str, str], ...]) -> str:
    """What is wrong with an expression over variables of these types, in cel-go's words; empty if nothing."""
    try:
        compile_(expression.strip(), variables)
    except CompileError as error:
        return _STRUCT.sub("", str(error).removeprefix(_PREFIX)).rstrip()
    return ""


class _File:
    """A file of messages: one for each struct that a kind is made of."""

    def __init__(self, package: str) -> None:
        self._package = package
        self._file = descriptor_pb2.FileDescriptorProto(name=f"{package}.proto", package=package, syntax="proto3")
        self._file.dependency.append(struct_pb2.DESCRIPTOR.name)
        self._file.dependency.append(timestamp_pb2.DESCRIPTOR.name)
        self._made: dict[Any, str] = {}

    def register(self) -> None:
        """Let the compiler know them."""
        descriptor_pool.Default().AddSerializedFile(self._file.SerializeToString())

    def message(self, node: Node) -> str:
        """The name of a struct's message."""
        if node.struct in self._made:
            return self._made[node.struct]
        local = f"M{len(self._made)}"
        name = self._made[node.struct] = f".{self._package}.{local}"
        message = self._file.message_type.add(name=local)
        for number, (json_name, field) in enumerate(node.fields.items(), start=1):
            if (escaped := escape(json_name)) != "":
                self._field(message, escaped, number, field.node)
        return name

    def _field(self, message: descriptor_pb2.DescriptorProto, name: str, number: int, node: Node) -> None:
        field = message.field.add(name=name, number=number, label=_Field.LABEL_OPTIONAL)
        if node.kind == "map" and node.element is not None:
            entry = message.nested_type.add(name=_entry(name))
            entry.options.map_entry = True
            entry.field.add(name="key", number=1, type=_Field.TYPE_STRING, label=_Field.LABEL_OPTIONAL)
            self._value(entry.field.add(name="value", number=2, label=_Field.LABEL_OPTIONAL), node.element)
            field.label, field.type = _Field.LABEL_REPEATED, _Field.TYPE_MESSAGE
            field.type_name = f".{self._package}.{message.name}.{entry.name}"
        elif node.kind == "list" and node.element is not None:
            field.label = _Field.LABEL_REPEATED
            self._value(field, node.element)
        else:
            self._value(field, node)

    def _value(self, field: Any, node: Node) -> None:
        field.type = _Field.TYPE_MESSAGE
        if node.kind == "struct":
            field.type_name = self.message(node)
        elif node.kind == "scalar" and node.format == "date-time":
            field.type_name = f".{timestamp_pb2.Timestamp.DESCRIPTOR.full_name}"
        elif node.kind == "scalar" and node.format in _SCALARS:
            field.type = _SCALARS[node.format]
        else:
            field.type_name = _VALUE


def _entry(field: str) -> str:
    """The name that a map's entries have to have."""
    return "".join(part[:1].upper() + part[1:] for part in field.split("_")) + "Entry"
