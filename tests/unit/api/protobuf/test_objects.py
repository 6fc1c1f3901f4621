"""Every kind through protobuf and back, and the table against the types."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from api.protobuf import envelope
from api.protobuf.messages import fields, message_of
from api.schema import Node, struct_node
from tests.unit.api.protobuf.everything import filled, kinds

KINDS = list({(version, kind): (version, kind, type_) for version, kind, type_ in kinds()}.values())


@pytest.mark.parametrize(("api_version", "kind", "type_"), KINDS)
def test_nothing_of_an_object_is_lost(api_version: str, kind: str, type_: type[Any]) -> None:
    """All fields set; JSON to protobuf to JSON."""
    obj = filled(api_version, kind, type_)
    back = msgspec.json.decode(envelope.to_json(envelope.from_json(msgspec.json.encode(obj))))
    assert back == obj


@pytest.mark.parametrize(("api_version", "kind", "type_"), KINDS)
def test_every_field_of_the_types_is_in_the_table_and_no_other(api_version: str, kind: str, type_: type[Any]) -> None:
    message = message_of(api_version, kind)
    assert message is not None
    _compare(struct_node(type_), message, set())


def _compare(node: Node, message: str, seen: set[str]) -> None:
    if message in seen:
        return
    seen.add(message)
    known = _json_fields(message)
    extra = {"apiVersion", "kind"} if "metadata" in node.fields or "kind" not in known else set()
    assert set(node.fields) - extra <= set(known), message
    for name, type_ in known.items():
        if name not in node.fields:
            continue
        inner = node.fields[name].node
        inner = inner.element or inner
        if "." in type_ and inner.kind == "struct":
            _compare(inner, type_, seen)


def _json_fields(message: str) -> dict[str, str]:
    found = {}
    for field in fields(message):
        if field.json:
            found[field.json] = field.type
        else:
            found |= _json_fields(field.type)
    return found
