"""Values that CEL passes around and only functions look into: quantities, URLs, addresses, authorizer checks.

The runtime carries protobuf messages through expressions, so each such type is a message with one text in it.
"""

from __future__ import annotations

from typing import Any

from cel_expr_python import cel
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_PACKAGE = "kubernetes"
_NAMES = (
    "Quantity",
    "URL",
    "IP",
    "CIDR",
    "Semver",
    "Authorizer",
    "PathCheck",
    "GroupCheck",
    "ResourceCheck",
    "Decision",
)


def _classes() -> dict[str, Any]:
    pool = descriptor_pool.Default()
    document = descriptor_pb2.FileDescriptorProto(name="pykube/cel.proto", package=_PACKAGE, syntax="proto3")
    for name in _NAMES:
        field = document.message_type.add(name=name).field.add(name="text", number=1)
        field.type = descriptor_pb2.FieldDescriptorProto.TYPE_STRING
        field.label = descriptor_pb2.FieldDescriptorProto.LABEL_OPTIONAL
        if name == "Authorizer":
            field = document.message_type[-1].field.add(name="requestResource", number=2)
            field.type = descriptor_pb2.FieldDescriptorProto.TYPE_MESSAGE
            field.type_name = f".{_PACKAGE}.ResourceCheck"
            field.label = descriptor_pb2.FieldDescriptorProto.LABEL_OPTIONAL
    pool.AddSerializedFile(document.SerializeToString())
    return {n: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{n}")) for n in _NAMES}


_CLASSES = _classes()
TYPES: dict[str, Any] = {name: cel.Type(f"{_PACKAGE}.{name}") for name in _NAMES}


def message(name: str, text: str, **fields: Any) -> Any:
    """A value of the type."""
    return _CLASSES[name](text=text, **fields)


#: A parameter that takes every value: the runtime dispatches on kinds, and `dyn` is none.
ANYTHING: Any = cel.Type("google.protobuf.Any")
