"""Comparing, merging, pruning and checking values of built-in types and of none."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.managed import sets
from api.managed.check import TypedError, check
from api.managed.compare import compare
from api.managed.fields import field_set, reconciled, with_named_fields
from api.managed.merge import merge
from api.managed.prune import extract, remove
from api.managed.types import deduced, from_openapi, type_of
from api.types import apps_v1, core_v1, policy_v1

POD = type_of(core_v1.Pod)
DEPLOYMENT = type_of(apps_v1.Deployment)
SERVICE = type_of(core_v1.Service)


def _paths(whole: sets.Set) -> list[str]:
    from api.managed import elements

    return [elements.path(path) for path in sets.iterate(whole)]


def _containers(*containers: dict[str, Any]) -> dict[str, Any]:
    return {"spec": {"containers": list(containers)}}


def test_items_of_a_map_are_known_by_their_keys_with_defaults() -> None:
    new = _containers({"name": "c", "ports": [{"containerPort": 80}, {"containerPort": 80, "protocol": "UDP"}]})
    found = _paths(compare({"spec": {"containers": None}}, new, POD).added)
    assert '.spec.containers[name="c"].ports[containerPort=80,protocol="TCP"].containerPort' in found
    assert '.spec.containers[name="c"].ports[containerPort=80,protocol="UDP"].protocol' in found
    assert ".spec" not in found and ".spec.containers" not in found


def test_atomic_lists_maps_and_structures_are_one_field() -> None:
    old = {"spec": {"selector": {"matchLabels": {"a": "b"}}, "template": {"spec": {"nodeSelector": {"x": "y"}}}}}
    new = {"spec": {"selector": {"matchLabels": {"a": "c"}}, "template": {"spec": {"nodeSelector": {"x": "z"}}}}}
    assert _paths(compare(old, new, DEPLOYMENT).modified) == [".spec.selector", ".spec.template.spec.nodeSelector"]
    pod = _containers({"name": "c", "command": ["a", "b"]})
    assert '.spec.containers[name="c"].command' in _paths(field_set(pod, POD))


def test_a_selector_of_a_disruption_budget_is_atomic_because_its_type_is() -> None:
    value = {"spec": {"selector": {"matchLabels": {"a": "b"}}}}
    assert _paths(field_set(value, type_of(policy_v1.PodDisruptionBudget))) == [".spec.selector"]


def test_granular_where_the_field_says_so() -> None:
    value = {"spec": {"claimRef": {"name": "a", "namespace": "b"}}}
    assert _paths(field_set(value, type_of(core_v1.PersistentVolume))) == [
        ".spec.claimRef.name",
        ".spec.claimRef.namespace",
    ]


def test_what_a_manager_applies_owns_items_and_keys_but_not_what_only_holds_them() -> None:
    value = {"metadata": {"labels": {"a": "b"}, "finalizers": ["x/y"]}, "spec": {"ports": [{"port": 80}], "type": None}}
    assert _paths(field_set(value, SERVICE)) == [
        '.metadata.finalizers[="x/y"]',
        ".metadata.labels.a",
        ".spec.type",
        '.spec.ports[port=80,protocol="TCP"]',
        '.spec.ports[port=80,protocol="TCP"].port',
    ]


def test_duplicates_are_owned_as_one() -> None:
    old = _containers({"name": "c", "env": [{"name": "A", "value": "1"}]})
    twice = _containers({"name": "c", "env": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]})
    change = compare(old, twice, POD)
    env = '.spec.containers[name="c"].env[name="A"]'
    assert _paths(change.added) == [env]
    assert f"{env}.value" in _paths(change.removed)
    other = _containers({"name": "c", "env": [{"name": "A", "value": "1"}, {"name": "A", "value": "3"}]})
    assert _paths(compare(twice, other, POD).modified) == [env]
    with pytest.raises(TypedError, match=r'duplicate entries for key \[name="A"\]'):
        check(twice, POD)
    check(twice, POD, duplicates=True)


def test_merging_keeps_the_live_order_and_appends_in_the_applied_one() -> None:
    def pod(*names: str) -> dict[str, Any]:
        return _containers(*({"name": name} for name in names))

    def order(live: str, applied: str) -> str:
        merged = merge(pod(*live), pod(*applied), POD)
        return "".join(container["name"] for container in merged["spec"]["containers"])

    assert order("abc", "b") == "abc"
    assert order("abc", "cd") == "abcd"
    assert order("ab", "ba") == "ba"
    assert order("abcd", "dxa") == "bcdxa"
    assert order("", "ab") == "ab"


def test_merging_fills_in_items_that_exist() -> None:
    live = _containers({"name": "c", "image": "old", "args": ["a"]}, {"name": "side"})
    merged = merge(live, _containers({"name": "c", "image": "new"}), POD)
    assert merged == _containers({"name": "c", "image": "new", "args": ["a"]}, {"name": "side"})
    assert live["spec"]["containers"][0]["image"] == "old"


def test_removing_the_last_of_something_leaves_null() -> None:
    value = {"metadata": {"labels": {"a": "b"}, "name": "x"}}
    removed = remove(value, sets.make(("f:metadata", "f:labels", "f:a")), POD)
    assert removed == {"metadata": {"labels": None, "name": "x"}}
    named = with_named_fields(sets.make(("f:metadata", "f:labels", "f:a")), POD)
    assert remove(value, named, POD) is None


def test_extracting_what_a_manager_owns_names_the_items() -> None:
    value = _containers({"name": "c", "image": "i", "args": ["a"]}, {"name": "d", "image": "j"})
    owned = sets.make(("f:spec", "f:containers", 'k:{"name":"c"}', "f:image"))
    assert extract(value, owned, POD) == _containers({"name": "c", "image": "i"})


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"spec": {"replica": 1}}, ".spec.replica: field not declared in schema"),
        ({"spec": {"replicas": "1"}}, ".spec.replicas: expected numeric (int or float), got string"),
        (
            {"metadata": {"labels": {"a": 1}}},
            ".metadata.labels.a: expected string, got &value.valueUnstructured{Value:1}",
        ),
        ({"spec": {"paused": "x"}}, ".spec.paused: expected boolean, got &{x}"),
        ({"spec": []}, ".spec: expected map, got &{[]}"),
        (
            {"spec": {"template": {"spec": {"containers": [{"image": "x"}]}}}},
            ".spec.template.spec.containers: element 0: associative list with keys has an element that omits key field "
            '"name" (and doesn\'t have default value)',
        ),
        (
            {"spec": {"a": 1, "b": 2}},
            "errors:\n  .spec.a: field not declared in schema\n  .spec.b: field not declared in schema",
        ),
    ],
)
def test_what_does_not_fit_is_told_in_upstreams_words(value: dict[str, Any], message: str) -> None:
    with pytest.raises(TypedError) as caught:
        check(value, DEPLOYMENT)
    assert str(caught.value) == message


def test_without_a_schema_maps_are_granular_and_lists_atomic() -> None:
    old = {"spec": {"a": {"x": 1}, "l": [1]}}
    new = {"spec": {"a": {"x": 1, "y": 2}, "l": [1, 2], "m": {}}}
    change = compare(old, new, deduced)
    assert _paths(change.added) == [".spec.m", ".spec.a.y"]
    assert _paths(change.modified) == [".spec.l"]
    assert merge(old, {"spec": {"a": {"z": 3}}}, deduced) == {"spec": {"a": {"x": 1, "z": 3}, "l": [1]}}


def test_a_value_may_change_its_kind_without_a_schema() -> None:
    change = compare({"a": {"x": 1}}, {"a": "s"}, deduced)
    assert _paths(change.modified) == [".a"]
    assert _paths(change.removed) == [".a.x"]


CRD = {
    "type": "object",
    "properties": {
        "spec": {
            "type": "object",
            "properties": {
                "rules": {
                    "type": "array",
                    "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["host", "port"],
                    "items": {
                        "type": "object",
                        "properties": {"host": {"type": "string"}, "port": {"type": "integer", "default": 80}},
                    },
                },
                "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                "whole": {"type": "object", "x-kubernetes-map-type": "atomic", "additionalProperties": {}},
                "size": {"x-kubernetes-int-or-string": True},
            },
        }
    },
}


def test_the_schema_of_a_custom_resource() -> None:
    custom = from_openapi(CRD)
    value = {
        "apiVersion": "x/v1",
        "metadata": {"labels": {"a": "b"}},
        "spec": {"rules": [{"host": "h"}], "free": {"a": {"b": 1}}, "whole": {"x": 1}, "size": "10%"},
    }
    check(value, custom)
    assert '.spec.rules[host="h",port=80].host' in _paths(field_set(value, custom))
    assert ".spec.whole" in _paths(field_set(value, custom))
    with pytest.raises(TypedError, match="field not declared in schema"):
        check({"spec": {"nope": 1}}, custom)


def test_ownership_follows_a_schema_that_changes() -> None:
    atomic = {**CRD["properties"]["spec"]["properties"]["free"], "x-kubernetes-map-type": "atomic"}  # type: ignore[index]
    schema: dict[str, Any] = {"type": "object", "properties": {"free": atomic}}
    granular = from_openapi({"type": "object", "properties": {"free": {"type": "object", "additionalProperties": {}}}})
    live = {"free": {"a": "1", "b": "2"}}
    assert reconciled(sets.make(("f:free", "f:a")), live, from_openapi(schema)) == {"f:free": {}}
    assert _paths(reconciled({"f:free": {}}, live, granular)) == [".free", ".free.a", ".free.b"]


_NAMES = st.sampled_from("abcd")
_VALUES = st.sampled_from(["1", "2"])
_CONTAINER = st.fixed_dictionaries(
    {"name": _NAMES},
    optional={
        "image": _VALUES,
        "args": st.lists(_VALUES, max_size=2),
        "env": st.lists(
            st.fixed_dictionaries({"name": _NAMES, "value": _VALUES}), unique_by=lambda e: e["name"], min_size=1
        ),
    },
)
_OBJECTS = st.fixed_dictionaries(
    {},
    optional={
        "metadata": st.fixed_dictionaries(
            {},
            optional={
                "labels": st.dictionaries(_NAMES, _VALUES, min_size=1),
                "finalizers": st.lists(_NAMES, unique=True, min_size=1),
            },
        ),
        "spec": st.fixed_dictionaries(
            {},
            optional={
                "containers": st.lists(_CONTAINER, unique_by=lambda c: c["name"], min_size=1),
                "nodeName": _VALUES,
                "nodeSelector": st.dictionaries(_NAMES, _VALUES, min_size=1),
            },
        ),
    },
)

# Structures without anything in them are fields of their own: left out, so that the properties below are simple.
PODS = _OBJECTS.map(lambda pod: {name: value for name, value in pod.items() if value})


@given(PODS, PODS)
def test_a_change_and_its_reverse(old: dict[str, Any], new: dict[str, Any]) -> None:
    forth, back = compare(old, new, POD), compare(new, old, POD)
    assert forth.added == back.removed
    assert forth.removed == back.added
    assert forth.modified == back.modified
    assert forth.same == (old == new) or _only_order(old, new)


def _only_order(old: Any, new: Any) -> bool:
    """Sets and maps that differ in order alone are the same."""
    return old != new and compare(old, new, POD).same


@given(PODS, PODS)
def test_merging_sets_what_was_applied_and_removes_nothing(live: dict[str, Any], applied: dict[str, Any]) -> None:
    merged = merge(live, applied, POD)
    assert not compare(live, merged, POD).removed
    assert sets.difference(field_set(applied, POD), field_set(merged, POD)) == {}
    assert compare(merged, merge(merged, applied, POD), POD).same


@given(PODS)
def test_extracting_everything_gives_the_value(value: dict[str, Any]) -> None:
    assert compare(value, extract(value, field_set(value, POD), POD), POD).added == {}
