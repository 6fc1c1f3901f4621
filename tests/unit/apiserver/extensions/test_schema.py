"""Pruning and defaulting, whatever schema and value come along."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from apiserver.extensions.schema import Schema, prune, set_defaults
from apiserver.extensions.validate import validate_value

NAMES = st.sampled_from(["a", "b", "c", "d"])
SCALARS = st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=3)
VALUES = st.recursive(SCALARS, lambda v: st.lists(v, max_size=3) | st.dictionaries(NAMES, v, max_size=4), max_leaves=12)


def _object(below: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    properties = st.fixed_dictionaries({"type": st.just("object"), "properties": st.dictionaries(NAMES, below)})
    preserved = st.just({"type": "object", "x-kubernetes-preserve-unknown-fields": True})
    mapped = st.fixed_dictionaries({"type": st.just("object"), "additionalProperties": below})
    listed = st.fixed_dictionaries({"type": st.just("array"), "items": below})
    return properties | preserved | mapped | listed


SCHEMAS = st.recursive(
    st.sampled_from(
        [
            {"type": "string"},
            {"type": "string", "default": "x"},
            {"type": "integer", "default": 3},
            {"type": "object", "properties": {"a": {"type": "string", "default": "y"}}, "default": {}},
            {"type": "boolean", "nullable": True},
        ]
    ),
    _object,
    max_leaves=8,
)


def _fits(value: Any, schema: Schema | None) -> bool:
    """Whether nothing is left that the schema does not name."""
    if isinstance(value, list):
        return (schema is not None and schema.items is None and schema.preserve) or all(
            _fits(item, schema.items if schema else None) for item in value
        )
    if not isinstance(value, dict):
        return True
    if schema is None:
        return not value
    if schema.preserve:
        return True
    return all(schema.of(name) is not None and _fits(item, schema.of(name)) for name, item in value.items())


@given(VALUES, SCHEMAS)
def test_pruning_leaves_what_is_known_and_tells_what_it_took(value: Any, raw: dict[str, Any]) -> None:
    schema = Schema(raw)
    pruned = copy.deepcopy(value)
    dropped: list[str] = []
    prune(pruned, schema, dropped=dropped)
    assert _fits(pruned, schema)
    assert (pruned == value) == (not dropped)
    again = copy.deepcopy(pruned)
    prune(again, schema)
    assert again == pruned


@given(VALUES, SCHEMAS)
def test_defaults_take_nothing_away_and_are_final(value: Any, raw: dict[str, Any]) -> None:
    schema = Schema(raw)
    made = copy.deepcopy(value)
    set_defaults(made, schema)
    again = copy.deepcopy(made)
    set_defaults(again, schema)
    assert again == made
    if isinstance(value, dict) and isinstance(made, dict):
        assert value.keys() <= made.keys()


@given(VALUES, SCHEMAS)
def test_validation_has_an_answer_for_everything(value: Any, raw: dict[str, Any]) -> None:
    schema = Schema(raw)
    for error in validate_value(value, schema, "spec"):
        assert error.field.startswith("spec")
        assert str(error)


def test_null_gives_way_to_a_default_unless_it_is_allowed() -> None:
    raw = {
        "type": "object",
        "properties": {
            "a": {"type": "string", "default": "x"},
            "b": {"type": "string", "default": "x", "nullable": True},
        },
    }
    value = {"a": None, "b": None}
    set_defaults(value, Schema(raw))
    assert value == {"a": "x", "b": None}
