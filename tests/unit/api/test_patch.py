"""JSON, merge and strategic merge patches."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.errors import StatusError
from api.patch import json_patch, merge_patch, strategic_merge
from api.types.apps_v1 import Deployment
from api.types.core_v1 import Node, Pod, Service


def test_json_patch() -> None:
    doc = {"metadata": {"labels": {"a": "1"}}}
    patched = json_patch(doc, [{"op": "add", "path": "/metadata/labels/b", "value": "2"}])
    assert patched["metadata"]["labels"] == {"a": "1", "b": "2"}
    assert doc == {"metadata": {"labels": {"a": "1"}}}


@pytest.mark.parametrize(
    ("operations", "code"),
    [
        ({}, 400),
        ([{"op": "nonsense", "path": "/a"}], 400),
        ([{"op": "test", "path": "/a", "value": 2}], 422),
        ([{"op": "remove", "path": "/missing"}], 422),
        ([{"op": "add", "path": "/missing/deep", "value": 1}], 422),
        ([{"op": "add", "path": "/b", "value": 1}] * 10_001, 413),
    ],
)
def test_json_patches_that_are_refused(operations: Any, code: int) -> None:
    with pytest.raises(StatusError) as caught:
        json_patch({"a": 1}, operations)
    assert caught.value.code == code


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text("abc", max_size=2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)
objects = st.dictionaries(st.sampled_from("abc"), json_values, max_size=3)


@given(objects, objects)
def test_merge_patch_is_idempotent_and_leaves_its_arguments(doc: dict[str, Any], patch: dict[str, Any]) -> None:
    before = copy.deepcopy((doc, patch))
    once = merge_patch(doc, patch)
    assert merge_patch(once, patch) == once
    assert (doc, patch) == before
    assert all(key not in once for key, value in patch.items() if value is None)


def container(name: str, **fields: Any) -> dict[str, Any]:
    return {"name": name, **fields}


def pod(*containers: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return {"spec": {"containers": list(containers), **spec}}


def patched_names(patch: list[Any], *names: str) -> list[str]:
    result = strategic_merge(pod(*map(container, names)), {"spec": {"containers": patch}}, Pod)
    return [item["name"] for item in result["spec"]["containers"]]


def test_strategic_merges_lists_by_their_key() -> None:
    doc = pod(container("a", image="1"), container("b", image="1"))
    result = strategic_merge(doc, {"spec": {"containers": [{"name": "b", "image": "2"}, {"name": "c"}]}}, Pod)
    assert result["spec"]["containers"] == [
        {"name": "a", "image": "1"},
        {"name": "b", "image": "2"},
        {"name": "c"},
    ]
    assert doc == pod(container("a", image="1"), container("b", image="1"))


def test_strategic_directives_of_lists() -> None:
    assert patched_names([{"$patch": "delete", "name": "a"}], "a", "b") == ["b"]
    assert patched_names([{"name": "z"}, {"$patch": "replace"}], "a", "b") == ["z"]
    with pytest.raises(StatusError, match="does not contain declared merge key: name"):
        patched_names([{"image": "x"}], "a")
    with pytest.raises(StatusError, match="unknown patch type found: nope"):
        patched_names([{"$patch": "nope", "name": "a"}], "a")


def test_strategic_replaces_atomic_lists_and_removes_nulls() -> None:
    doc = pod(container("a", command=["x", "y"], tty=True), nodeName="n")
    patch = {"spec": {"containers": [{"name": "a", "command": ["z"], "tty": None}], "nodeName": None, "hostname": None}}
    assert strategic_merge(doc, patch, Pod) == pod(container("a", command=["z"]))


def test_strategic_replace_and_delete_of_maps() -> None:
    doc = {"metadata": {"labels": {"a": "1"}, "annotations": {"x": "y"}}}
    patch = {"metadata": {"labels": {"$patch": "replace", "b": "2"}, "annotations": {"$patch": "delete"}}}
    assert strategic_merge(doc, patch, Pod)["metadata"] == {"labels": {"b": "2"}, "annotations": {}}


def test_strategic_retain_keys() -> None:
    doc = {"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}}
    patch = {"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}}
    assert strategic_merge(doc, patch, Deployment) == {"spec": {"strategy": {"type": "Recreate"}}}
    with pytest.raises(StatusError, match="retainKeys"):
        wrong = {"spec": {"strategy": {"$retainKeys": ["type"], "rollingUpdate": {"maxSurge": 2}}}}
        strategic_merge(doc, wrong, Deployment)


def test_strategic_primitive_lists() -> None:
    doc = {"metadata": {"finalizers": ["a", "b", "c"]}}
    added = strategic_merge(doc, {"metadata": {"finalizers": ["d", "a"]}}, Pod)
    assert added["metadata"]["finalizers"] == ["d", "a", "b", "c"]
    removed = strategic_merge(doc, {"metadata": {"$deleteFromPrimitiveList/finalizers": ["b"]}}, Pod)
    assert removed["metadata"]["finalizers"] == ["a", "c"]
    both = {"metadata": {"$deleteFromPrimitiveList/finalizers": ["b"], "$setElementOrder/finalizers": ["c", "a"]}}
    assert strategic_merge(doc, both, Pod)["metadata"]["finalizers"] == ["c", "a"]


def test_strategic_element_order() -> None:
    doc = pod(*map(container, "abcd"))
    order = [{"name": name} for name in "dba"]
    result = strategic_merge(doc, {"spec": {"$setElementOrder/containers": order}}, Pod)
    assert [c["name"] for c in result["spec"]["containers"]] == ["c", "d", "b", "a"]
    patch = {
        "spec": {
            "$setElementOrder/containers": [{"name": "a"}, {"name": "x"}, {"name": "b"}],
            "containers": [{"name": "x", "image": "i"}],
        }
    }
    result = strategic_merge(pod(*map(container, "ab")), patch, Pod)
    assert [c["name"] for c in result["spec"]["containers"]] == ["a", "x", "b"]
    with pytest.raises(StatusError, match="doesn't match"):
        wrong = {"spec": {"$setElementOrder/containers": [{"name": "a"}], "containers": [{"name": "q"}]}}
        strategic_merge(doc, wrong, Pod)


def test_strategic_merge_keys_of_other_kinds() -> None:
    service = {"spec": {"ports": [{"port": 80, "name": "http"}, {"port": 443, "name": "https"}]}}
    result = strategic_merge(service, {"spec": {"ports": [{"port": 80, "nodePort": 30080}]}}, Service)
    assert {"port": 80, "name": "http", "nodePort": 30080} in result["spec"]["ports"]
    assert len(result["spec"]["ports"]) == 2
    node = {
        "status": {"conditions": [{"type": "Ready", "status": "True"}, {"type": "DiskPressure", "status": "False"}]}
    }
    result = strategic_merge(node, {"status": {"conditions": [{"type": "Ready", "status": "False"}]}}, Node)
    assert sorted((c["type"], c["status"]) for c in result["status"]["conditions"]) == [
        ("DiskPressure", "False"),
        ("Ready", "False"),
    ]
    with pytest.raises(StatusError, match="unable to find api field"):
        strategic_merge({"spec": {"foo": {}}}, {"spec": {"foo": {"a": 1}}}, Service)


def test_strategic_lists_have_items_of_one_kind() -> None:
    doc = pod(container("a", ports=[{"containerPort": 80}]))
    with pytest.raises(StatusError, match="lists of lists are not supported"):
        strategic_merge(doc, pod(container("a", ports=[[]])), Pod)
    with pytest.raises(StatusError, match="list element types are not identical"):
        strategic_merge(doc, pod(container("a", ports=[1])), Pod)
