"""Set operations on FieldsV1, against the same operations on plain sets of paths."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.managed import elements, sets

_ELEMENTS = st.sampled_from(["f:a", "f:b", 'k:{"name":"x"}', 'k:{"name":"y"}', 'v:"s"', "i:0"])
_PATHS = st.lists(_ELEMENTS, min_size=1, max_size=4).map(tuple)
_SETS = st.sets(_PATHS, max_size=8)


def _set(paths: Any) -> sets.Set:
    return sets.make(*paths)


def _paths(whole: sets.Set) -> set[tuple[str, ...]]:
    return set(sets.iterate(whole))


@given(_SETS)
def test_a_set_holds_what_it_was_made_of(paths: set[tuple[str, ...]]) -> None:
    made = _set(paths)
    assert _paths(made) == paths
    assert all(sets.has(made, path) for path in paths)
    assert sets.parse(made) == made


@given(_SETS, _SETS)
def test_operations_are_those_of_sets(a: set[tuple[str, ...]], b: set[tuple[str, ...]]) -> None:
    assert _paths(sets.union(_set(a), _set(b))) == a | b
    assert _paths(sets.difference(_set(a), _set(b))) == a - b
    assert _paths(sets.intersection(_set(a), _set(b))) == a & b


@given(_SETS, _SETS)
def test_there_is_one_form_for_each_set(a: set[tuple[str, ...]], b: set[tuple[str, ...]]) -> None:
    assert sets.difference(sets.union(_set(a), _set(b)), _set(b - a)) == _set(a)
    assert list(sets.union(_set(a), _set(b))) == list(sets.union(_set(b), _set(a)))


@given(_SETS, _SETS)
def test_recursive_difference_takes_what_is_below(a: set[tuple[str, ...]], b: set[tuple[str, ...]]) -> None:
    left = {path for path in a if not any(path[: len(gone)] == gone for gone in b)}
    assert _paths(sets.recursive_difference(_set(a), _set(b))) == left


@given(_SETS)
def test_leaves_are_continued_by_nothing(a: set[tuple[str, ...]]) -> None:
    leaves = {path for path in a if not any(other != path and other[: len(path)] == path for other in a)}
    assert _paths(sets.leaves(_set(a))) == leaves


def test_arguments_are_left_alone() -> None:
    a, b = _set([("f:a",), ("f:b", "f:c")]), _set([("f:b",), ("f:b", "f:c"), ("f:d",)])
    before = repr(a), repr(b)
    for operation in (sets.union, sets.difference, sets.intersection, sets.recursive_difference):
        operation(a, b)
    assert (repr(a), repr(b)) == before


def test_keys_have_one_spelling_and_sort_by_their_value() -> None:
    parsed = sets.parse(
        {"f:ports": {'k:{"protocol":"TCP", "port": 443}': {".": {}}, 'k:{"port":80,"protocol":"TCP"}': {}, ".": {}}}
    )
    assert list(parsed["f:ports"]) == [".", 'k:{"port":80,"protocol":"TCP"}', 'k:{"port":443,"protocol":"TCP"}']
    assert parsed["f:ports"]['k:{"port":443,"protocol":"TCP"}'] == {}


@pytest.mark.parametrize("wrong", [{"a": {}}, {"f:a": 1}, {"k:[]": {}}, {"v:x": {}}, {"i:x": {}}, "x", []])
def test_what_is_no_set_is_refused(wrong: Any) -> None:
    with pytest.raises(ValueError):
        sets.parse(wrong)


def test_elements_of_the_future_are_dropped() -> None:
    assert sets.parse({"f:a": {}, "z:x": {}}) == {"f:a": {}}


def test_paths_are_shown_as_upstream_shows_them() -> None:
    path = ("f:spec", "f:containers", elements.key([("name", "web")]), "f:ports")
    port = elements.key([("protocol", "TCP"), ("containerPort", 80)])
    assert elements.path((*path, port)) == '.spec.containers[name="web"].ports[containerPort=80,protocol="TCP"]'
    assert elements.path(("f:metadata", "f:finalizers", elements.member("x/y"))) == '.metadata.finalizers[="x/y"]'
    assert elements.path(("f:list", "i:0")) == ".list[0]"


def test_a_filter_of_what_may_be_owned() -> None:
    keep = sets.Filter(include=[("f:spec", "f:containers", "*", "f:resources"), ("f:metadata", "f:name")])
    item = elements.key([("name", "c")])
    whole = _set(
        [
            ("f:metadata", "f:labels", "f:a"),
            ("f:spec", "f:nodeName"),
            ("f:spec", "f:containers", item, "f:image"),
            ("f:spec", "f:containers", item, "f:resources", "f:limits", "f:cpu"),
        ]
    )
    assert _paths(keep(whole)) == {("f:spec", "f:containers", item, "f:resources", "f:limits", "f:cpu")}
