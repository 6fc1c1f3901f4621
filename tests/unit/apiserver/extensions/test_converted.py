"""What a conversion webhook may answer, and what is said of an answer that is none."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from apiserver.extensions.converted import checked

SENT: dict[str, Any] = {
    "apiVersion": "g/v1",
    "kind": "K",
    "metadata": {"name": "n", "namespace": "s", "uid": "u", "generation": 3, "labels": {"a": "b"}, "finalizers": ["f"]},
    "size": 1,
}


def answer(count: int = 1, **changes: Any) -> dict[str, Any]:
    """A good answer; `changes` go to its last object, "metadata.x" below it."""
    made = [{**copy.deepcopy(SENT), "apiVersion": "g/v2"} for _ in range(count)]
    for name, value in changes.items():
        place: Any = made[-1]
        *above, last = name.split("__")
        for part in above:
            place = place[part]
        place[last] = value
    response = {"uid": "1", "result": {"status": "Success"}, "convertedObjects": made}
    return {"apiVersion": "apiextensions.k8s.io/v1", "response": response}


def test_labels_and_annotations_are_its_to_change_and_no_other_metadata() -> None:
    given = answer(size=2)
    changed = {"name": "n", "namespace": "s", "uid": "u", "annotations": {"x": "y"}, "generation": 9, "finalizers": []}
    given["response"]["convertedObjects"][0]["metadata"] = changed
    (made,) = checked(given, "1", [SENT], "g/v2")
    assert made["size"] == 2
    kept = {"name": "n", "namespace": "s", "uid": "u", "generation": 3, "finalizers": ["f"]}
    assert made["metadata"] == {**kept, "annotations": {"x": "y"}}
    assert SENT["metadata"]["labels"] == {"a": "b"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"apiVersion": "g/v3"},
            "returned invalid object at index 0: invalid groupVersion (expected g/v2, received g/v3)",
        ),
        ({"kind": "L"}, "returned invalid object at index 0: invalid kind (expected K, received L)"),
        ({"metadata__name": "m"}, "returned invalid object: must have the same name: n != m"),
        ({"metadata__namespace": None}, "returned invalid object: must have the same namespace: s != "),
        ({"metadata__uid": "v"}, "returned invalid object: must have the same UID: u != v"),
        (
            {"metadata__labels": []},
            "returned invalid metadata: invalid metadata.labels of type []interface {} in converted object",
        ),
        (
            {"metadata__annotations": {"k": 1}},
            "returned invalid metadata: metadata.annotations[k] must be a string, but is int64 in converted object",
        ),
    ],
)
def test_an_answer_that_breaks_the_contract(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as caught:
        checked(answer(**changes), "1", [SENT], "g/v2")
    assert str(caught.value) == message


def test_labels_that_are_none() -> None:
    with pytest.raises(ValueError, match=r'^returned invalid metadata: metadata.labels: Invalid value: "-": '):
        checked(answer(metadata__labels={"-": "b"}), "1", [SENT], "g/v2")


def test_of_several_objects_the_wrong_one_is_named() -> None:
    with pytest.raises(ValueError) as caught:
        checked(answer(2, kind="L"), "1", [SENT, SENT], "g/v2")
    assert str(caught.value) == "returned invalid converted object at index 1: invalid kind (expected K, received L)"
    with pytest.raises(ValueError, match=r"^returned invalid metadata in object at index 1: invalid metadata.labels"):
        checked(answer(2, metadata__labels=1), "1", [SENT, SENT], "g/v2")


@pytest.mark.parametrize(
    ("response", "message"),
    [
        (None, "failed: no response provided"),
        ({"uid": "2"}, 'failed: expected response.uid="1", got "2"'),
        ({"uid": "1"}, "failed: response.result.status was '', not 'Success'"),
        ({"uid": "1", "result": {"status": "Failure", "message": "no"}}, "failed: no"),
        ({"uid": "1", "result": {"status": "Success"}}, "returned 0 objects, expected 1"),
    ],
)
def test_an_answer_without_objects(response: Any, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        checked({"apiVersion": "apiextensions.k8s.io/v1", "response": response}, "1", [SENT], "g/v2")
    assert str(caught.value) == message
