"""The protobuf form of /openapi/v2, read back with a decoder of the wire format that knows nothing of our encoder."""

from __future__ import annotations

import json
from typing import Any

from apiserver.rest.openapi_v2_protobuf import document


def fields(data: bytes) -> list[tuple[int, Any]]:
    """The (number, value) pairs of one message; length-delimited values as bytes."""

    def varint(at: int) -> tuple[int, int]:
        value = shift = 0
        while True:
            byte = data[at]
            value |= (byte & 0x7F) << shift
            at, shift = at + 1, shift + 7
            if not byte & 0x80:
                return value, at

    found, at = [], 0
    while at < len(data):
        tag, at = varint(at)
        if tag & 7 == 0:
            value, at = varint(at)
            found.append((tag >> 3, value))
        elif tag & 7 == 1:
            found.append((tag >> 3, data[at : at + 8]))
            at += 8
        else:
            length, at = varint(at)
            found.append((tag >> 3, data[at : at + length]))
            at += length
    return found


def one(data: bytes, *path: int) -> Any:
    for number in path:
        [data] = [value for n, value in fields(data) if n == number]
    return data


GVK = [{"group": "", "kind": "Pod", "version": "v1"}]
SWAGGER = {
    "swagger": "2.0",
    "info": {"title": "Kubernetes", "version": "v1.36.0"},
    "paths": {
        "/api/v1/pods": {
            "patch": {
                "operationId": "patchPod",
                "parameters": [
                    {"in": "query", "name": "fieldValidation", "type": "string", "uniqueItems": True},
                    {"in": "body", "name": "body", "required": True, "schema": {"$ref": "#/definitions/Pod"}},
                ],
                "responses": {"200": {"description": "OK", "schema": {"$ref": "#/definitions/Pod"}}},
                "x-kubernetes-group-version-kind": GVK[0],
            }
        }
    },
    "definitions": {
        "Pod": {
            "type": "object",
            "required": ["spec"],
            "properties": {"names": {"type": "array", "items": {"type": "string"}}, "n": {"default": 3}},
            "additionalProperties": {"type": "string"},
            "x-kubernetes-group-version-kind": GVK,
        }
    },
}


def test_a_definition_with_all_that_kubectl_reads() -> None:
    data = document(SWAGGER)
    assert one(data, 1) == b"2.0"
    assert one(data, 2, 1) == b"Kubernetes"
    pod = one(data, 9, 1, 2)
    assert one(data, 9, 1, 1) == b"Pod"
    assert one(pod, 22, 1) == b"object"
    assert one(pod, 19) == b"spec"
    assert one(pod, 21, 1, 22, 1) == b"string"
    properties = {one(p, 1): one(p, 2) for _, p in fields(one(pod, 25))}
    assert one(properties[b"names"], 23, 1, 22, 1) == b"string"
    assert one(properties[b"n"], 5, 2) == b"3"
    extension = one(pod, 31)
    assert one(extension, 1) == b"x-kubernetes-group-version-kind"
    assert json.loads(one(extension, 2, 2)) == GVK


def test_an_operation_with_its_parameters() -> None:
    path = one(document(SWAGGER), 8, 2)
    assert one(path, 1) == b"/api/v1/pods"
    patch = one(path, 2, 8)
    assert one(patch, 5) == b"patchPod"
    query, body = (value for number, value in fields(patch) if number == 8)
    assert one(query, 1, 2, 3, 4) == b"fieldValidation"
    assert one(query, 1, 2, 3, 20) == 1
    assert one(body, 1, 1, 2) == b"body"
    assert one(body, 1, 1, 5, 1) == b"#/definitions/Pod"
    response = one(patch, 9, 1)
    assert one(response, 1) == b"200"
    assert one(response, 2, 1, 2, 1, 1) == b"#/definitions/Pod"
    assert json.loads(one(patch, 13, 2, 2)) == GVK[0]
