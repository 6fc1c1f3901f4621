"""What clients leave out, what they may get wrong, and what bytes that are no message do."""

from __future__ import annotations

import base64
import json
import random
from typing import Any

import pytest

from api.protobuf import decode, encode, envelope
from api.protobuf.wire import Malformed, integer, read_fields, read_varint
from tests.unit.api.protobuf.test_golden import GOLDEN


def through(message: str, value: dict[str, Any]) -> dict[str, Any]:
    return decode.message(message)(encode.message(message)(value))


@pytest.mark.parametrize("number", [0, 1, 127, 128, 300, -1, -(2**63), 2**63 - 1])
def test_integers(number: int) -> None:
    assert through("core_v1.ContainerPort", {"hostPort": number}).get("hostPort", 0) == number
    assert read_varint(integer(number), 0)[1] == len(integer(number))


def test_zeros_of_optional_values_are_left_out_as_json_does() -> None:
    """Go writes them; a pointer to zero is another matter."""
    written = encode.message("core_v1.Container")({"name": "c"})
    assert len(read_fields(written)) > 5
    assert decode.message("core_v1.Container")(written) == {"name": "c", "resources": {}}
    assert through("core_v1.Toleration", {"tolerationSeconds": 0}) == {"tolerationSeconds": 0}
    assert through("core_v1.SecurityContext", {"privileged": False, "runAsUser": 0}) == {
        "privileged": False,
        "runAsUser": 0,
    }
    assert through("core_v1.EnvVarSource", {"fieldRef": {"fieldPath": "x"}}) == {"fieldRef": {"fieldPath": "x"}}


def test_embedded_structs_are_flat_in_json_and_messages_in_protobuf() -> None:
    volume = {"name": "v", "emptyDir": {}}
    fields = dict(read_fields(encode.message("core_v1.Volume")(volume)))
    assert fields == {1: b"v", 2: bytes.fromhex("12020a00")}
    assert through("core_v1.Volume", volume) == volume


@pytest.mark.parametrize(
    ("text", "back"),
    [
        ("2026-11-20T12:00:00Z", "2026-11-20T12:00:00Z"),
        ("2026-11-20T13:00:00.9+01:00", "2026-11-20T12:00:00Z"),
        ("1969-12-31T23:59:59Z", "1969-12-31T23:59:59Z"),
        ("0001-01-01T00:00:00Z", None),
    ],
)
def test_times(text: str, back: str | None) -> None:
    assert through("meta_v1.ObjectMeta", {"deletionTimestamp": text}).get("deletionTimestamp") == back


def test_micro_times_have_microseconds() -> None:
    assert through("coordination_v1.LeaseSpec", {"renewTime": "2026-11-20T12:00:00.000001Z"}) == {
        "renewTime": "2026-11-20T12:00:00.000001Z"
    }


@pytest.mark.parametrize("value", [0, 80, -1, "", "web", "50%"])
def test_numbers_or_names(value: int | str) -> None:
    assert through("core_v1.TCPSocketAction", {"port": value}) == {"port": value}


@pytest.mark.parametrize(
    "schema",
    [
        {"items": {"type": "string"}},
        {"items": [{"type": "string"}, {"type": "integer"}]},
        {"additionalProperties": True},
        {"additionalProperties": False},
        {"additionalProperties": {"type": "string"}},
        {"dependencies": {"a": ["b", "c"], "d": {"type": "object"}}},
        {"default": {"a": [1, 2.5, None]}, "enum": ["x", 1, None]},
        {"maximum": 1.5, "x-kubernetes-preserve-unknown-fields": False},
    ],
)
def test_json_schemas(schema: dict[str, Any]) -> None:
    assert through("apiextensions_v1.JSONSchemaProps", schema) == schema


def test_later_values_win_and_messages_are_merged() -> None:
    first, second = {"metadata": {"name": "a", "labels": {"x": "1"}}}, {"metadata": {"name": "b"}}
    both = encode.message("core_v1.ConfigMap")(first) + encode.message("core_v1.ConfigMap")(second)
    assert decode.message("core_v1.ConfigMap")(both) == {"metadata": {"name": "b", "labels": {"x": "1"}}}


def test_unknown_fields_are_skipped() -> None:
    unknown = bytes.fromhex("f80605fa0602aabbf9060000000000000000fd0600000000")
    data = encode.message("core_v1.ConfigMap")({"data": {"a": "b"}}) + unknown
    assert decode.message("core_v1.ConfigMap")(data) == {"metadata": {}, "data": {"a": "b"}}


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("0200", "illegal tag 0"),
        ("0a", "unexpected EOF"),
        ("0a05", "unexpected EOF"),
        ("0a8080808080808080808001", "integer overflow"),
        ("0801", "wrong wireType = 0 for field Metadata"),
        ("0b", "illegal wireType 3"),
        ("22020801", "wrong wireType"),
        ("12020801", "wrong wireType = 0 for a string"),
        ("1204100112", "unexpected EOF"),
        ("12021001", "wrong wireType = 0 for field data"),
    ],
)
def test_what_is_wrong_is_said_in_words_of_go(data: str, words: str) -> None:
    with pytest.raises(Malformed, match=words):
        decode.message("core_v1.ConfigMap")(bytes.fromhex(data))


def test_packed_numbers_are_read_as_single_ones_are() -> None:
    """Go's clients do not pack, others may."""
    assert decode.message("resource_v1.DeviceAttribute")(bytes.fromhex("3203010203")) == {"ints": [1, 2, 3]}
    assert decode.message("resource_v1.DeviceAttribute")(bytes.fromhex("300130023003")) == {"ints": [1, 2, 3]}


def test_the_kind_may_be_left_to_the_path() -> None:
    body = b"k8s\x00\x0a\x00\x12" + bytes([4]) + bytes.fromhex("0a020a00")
    assert json.loads(envelope.to_json(body, "v1", "ConfigMap"))["kind"] == "ConfigMap"


def test_kinds_that_are_not_known() -> None:
    with pytest.raises(envelope.UnknownKind, match=r'no kind "Foo" is registered for version "example\.com/v1"'):
        envelope.from_json(b'{"apiVersion":"example.com/v1","kind":"Foo"}')
    with pytest.raises(envelope.UnknownKind):
        envelope.from_json(b'{"apiVersion":"core.example.com/v1","kind":"Pod"}')
    options = envelope.from_json(b'{"apiVersion":"policy/v1beta1","kind":"DeleteOptions","dryRun":["All"]}')
    assert json.loads(envelope.to_json(options))["dryRun"] == ["All"]


def test_broken_bytes_are_malformed_and_nothing_worse() -> None:
    """Bytes of real messages, cut and changed."""
    chance = random.Random(36)
    refused = 0
    for golden in GOLDEN:
        data = base64.b64decode(golden["protobuf"])
        for _ in range(150):
            broken = bytearray(data[: chance.randrange(4, len(data)) if chance.random() < 0.3 else None])
            for _ in range(chance.randrange(1, 4)):
                broken[chance.randrange(4, max(5, len(broken))) % len(broken)] = chance.randrange(256)
            try:
                json.loads(envelope.to_json(bytes(broken)))
            except (Malformed, envelope.UnknownKind):
                refused += 1
    assert refused > 100


def test_a_message_that_holds_itself_very_often() -> None:
    data = b""
    for _ in range(5000):
        data = b"\xe2\x01" + _length(data) + data  # field 28, `not`
    body = b"k8s\x00\x0a\x00\x12" + _length(data) + data
    schema = decode.message("apiextensions_v1.JSONSchemaProps")
    with pytest.raises(RecursionError):
        schema(data)
    with pytest.raises(Malformed):
        envelope.to_json(body, "apiextensions.k8s.io/v1", "JSONSchemaProps")


def _length(data: bytes) -> bytes:
    return integer(len(data))
