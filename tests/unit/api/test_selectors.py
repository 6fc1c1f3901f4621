"""Label and field selectors."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.selectors import (
    NOTHING,
    Requirement,
    Selector,
    parse_field_selector,
    parse_label_selector,
    selector_from,
)
from api.types.meta_v1 import LabelSelector, LabelSelectorRequirement

LABELS = {"app": "web", "tier": "front", "n": "5"}


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("", True),
        ("app=web", True),
        ("app==web,tier=front", True),
        ("app=db", False),
        ("app!=db", True),
        ("other!=x", True),
        ("other", False),
        ("!other", True),
        ("!app", False),
        ("app in (web, db)", True),
        ("app notin (web)", False),
        ("other notin (web)", True),
        ("other in ()", False),
        ("n>4,n<6", True),
        ("n>5", False),
        ("app>1", False),
    ],
)
def test_label_selectors(text: str, matches: bool) -> None:
    selector = parse_label_selector(text)
    assert selector.matches(LABELS) is matches
    assert parse_label_selector(str(selector)) == selector


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("app in web", "unable to parse requirement: found 'web' expected: '\\('"),
        ("app=a,", "expected: identifier after ','"),
        ("a b", "expected: in, notin, =, ==, !=, gt, lt"),
        ("-a=b", 'key: Invalid value: "-a": name part must consist of alphanumeric characters'),
        ("a=-b", 'values\\[0\\]\\[a\\]: Invalid value: "-b": a valid label must be an empty string or consist of'),
        ("a>b", "the value must be an integer"),
    ],
)
def test_malformed_label_selectors(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_label_selector(text)


keys = st.sampled_from(["a", "b", "example.com/c"])
values = st.sampled_from(["", "x", "y", "1"])
requirements = st.one_of(
    st.builds(lambda k, v: Requirement(k, "=", (v,)), keys, values),
    st.builds(lambda k, v: Requirement(k, "!=", (v,)), keys, values),
    st.builds(lambda k, v: Requirement(k, "in", tuple(sorted(v))), keys, st.sets(values, min_size=1)),
    st.builds(lambda k, v: Requirement(k, "notin", tuple(sorted(v))), keys, st.sets(values, min_size=1)),
    st.builds(lambda k: Requirement(k, "exists"), keys),
    st.builds(lambda k: Requirement(k, "!"), keys),
)


@given(st.lists(requirements, max_size=4), st.dictionaries(keys, values))
def test_what_is_printed_parses_to_the_same(found: list[Requirement], labels: dict[str, str]) -> None:
    selector = Selector(found)
    again = parse_label_selector(str(selector))
    assert again == selector
    assert again.matches(labels) == all(requirement.matches(labels) for requirement in found)


def test_label_selector_objects() -> None:
    assert not selector_from(None).matches({})
    assert selector_from(LabelSelector()).matches({}) and selector_from(LabelSelector()).matches(None)
    selector = selector_from(
        LabelSelector(
            match_labels={"app": "web"},
            match_expressions=[LabelSelectorRequirement(key="tier", operator="NotIn", values=["back"])],
        )
    )
    assert selector.matches(LABELS) and not selector.matches({"app": "web", "tier": "back"})
    assert str(selector) == "app=web,tier notin (back)"
    assert selector_from({"app": "web"}).required("app") == "web"
    assert not NOTHING.matches(LABELS) and not NOTHING.empty
    with pytest.raises(ValueError, match='"Near" is not a valid label selector operator'):
        selector_from(LabelSelector(match_expressions=[LabelSelectorRequirement(key="a", operator="Near")]))


def test_field_selectors() -> None:
    fields = {"metadata.name": "web", "status.phase": "Running", "spec.nodeName": ""}
    assert parse_field_selector("metadata.name=web,status.phase!=Failed").matches(fields)
    assert parse_field_selector("spec.nodeName=").matches(fields)
    assert not parse_field_selector("spec.nodeName!=").matches(fields)
    assert parse_field_selector("metadata.name==web").required("metadata.name") == "web"
    assert parse_field_selector("").empty
    assert parse_field_selector(r"a=b\,c").matches({"a": "b,c"})
    assert str(parse_field_selector(r"a=b\,c")) == r"a=b\,c"
    with pytest.raises(ValueError, match="can't understand 'nonsense'"):
        parse_field_selector("nonsense")
