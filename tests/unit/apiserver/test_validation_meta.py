"""Metadata: names, labels, annotations, owners, finalizers, and what an update may not touch."""

# ruff: noqa: E501 (messages and documents in tables are easier to compare unbroken)
from __future__ import annotations

import pytest

from api.types.meta_v1 import ObjectMeta, OwnerReference
from apiserver.validation import names
from apiserver.validation.meta import validate_object_meta, validate_object_meta_update

SUBDOMAIN = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    r"'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)


def create(**fields: object) -> list[str]:
    meta = ObjectMeta(**{"name": "web", "namespace": "default", **fields})  # type: ignore[arg-type]
    return [str(e) for e in validate_object_meta(meta, True, names.dns1123_subdomain)]


def update(new: dict[str, object], old: dict[str, object] | None = None) -> list[str]:
    base: dict[str, object] = {"name": "web", "namespace": "default", "uid": "u", "resource_version": "1"}
    after, before = ObjectMeta(**{**base, **new}), ObjectMeta(**{**base, **(old or {})})  # type: ignore[arg-type]
    return [str(e) for e in validate_object_meta_update(after, before)]


def test_good() -> None:
    assert create(labels={"app.kubernetes.io/name": "web", "empty": ""}, annotations={"Any.Case/Key": "v"}) == []
    assert create(generate_name="web-") == []
    assert update({}) == []


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"name": None}, ["metadata.name: Required value: name or generateName is required"]),
        ({"name": "Web_1"}, [f'metadata.name: Invalid value: "Web_1": {SUBDOMAIN}']),
        ({"name": "a" * 254}, [f'metadata.name: Invalid value: "{"a" * 254}": must be no more than 253 characters']),
        ({"generate_name": "Web-"}, [f'metadata.generateName: Invalid value: "Web-": {SUBDOMAIN}']),
        ({"namespace": None}, ["metadata.namespace: Required value"]),
        ({"labels": {"a/b/c": "x"}}, [
            "metadata.labels: Invalid value: \"a/b/c\": a qualified name must consist of alphanumeric characters, '-', "
            "'_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or "
            "'123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an optional DNS "
            "subdomain prefix and '/' (e.g. 'example.com/MyName')"]),
        ({"labels": {"a": "b c"}}, [
            "metadata.labels: Invalid value: \"b c\": a valid label must be an empty string or consist of "
            "alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. "
            "'MyValue',  or 'my_value',  or '12345', regex used for validation is "
            "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"]),
        ({"annotations": {"k": "x" * 262144}}, ["metadata.annotations: Too long: may not be more than 262144 bytes"]),
        ({"finalizers": ["mine"]}, [
            'metadata.finalizers[0]: Invalid value: "mine": '
            "name is neither a standard finalizer name nor is it fully qualified"]),
        ({"owner_references": [OwnerReference(api_version="v1", kind="Pod", name="a", uid="")]}, [
            'metadata.ownerReferences.uid: Invalid value: "": must not be empty']),
    ],
)  # fmt: skip
def test_refused_on_creation(fields: dict[str, object], expected: list[str]) -> None:
    assert create(**fields) == expected


def test_two_controllers() -> None:
    owners = [OwnerReference(api_version="v1", kind="Pod", name=name, uid=name, controller=True) for name in ("a", "b")]
    (error,) = create(owner_references=owners)
    assert error.endswith(
        'Only one reference can have Controller set to true. Found "true" in references for Pod/a and Pod/b'
    )


@pytest.mark.parametrize(
    ("new", "old", "expected"),
    [
        ({"name": "other"}, {}, ['metadata.name: Invalid value: "other": field is immutable']),
        ({"uid": "x"}, {}, ['metadata.uid: Invalid value: "x": field is immutable']),
        ({"resource_version": None}, {}, ['metadata.resourceVersion: Invalid value: "": must be specified for an update']),
        ({"generation": 1}, {"generation": 2}, ["metadata.generation: Invalid value: 1: must not be decremented"]),
        (
            {"finalizers": ["a/new"], "deletion_timestamp": "2026-01-01T00:00:00Z"},
            {"deletion_timestamp": "2026-01-01T00:00:00Z"},
            ["metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, "
             'found new finalizers []string{"a/new"}'],
        ),
    ],
)  # fmt: skip
def test_refused_on_update(new: dict[str, object], old: dict[str, object], expected: list[str]) -> None:
    assert update(new, old) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("web", []),
        ("a.b", ["must not contain dots"]),
        ("x" * 64, ["must be no more than 63 characters"]),
    ],
)
def test_label_names(name: str, expected: list[str]) -> None:
    assert names.dns1123_label(name) == expected
