"""Three-way patches: the wire form kubectl sends, and that the server arrives at what was meant."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.patch import merge_patch, strategic_merge
from api.schema import struct_node
from api.types.apps_v1 import Deployment
from cli.errors import CliError
from cli.strategic import schema_for, three_way, three_way_json, two_way

SCHEMA = struct_node(Deployment)


def deployment(*containers: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return {"spec": {**spec, "template": {"spec": {"containers": list(containers)}}}}


def container(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "image": f"{name}:1", **more}


def containers_of(patch: dict[str, Any]) -> Any:
    return patch["spec"]["template"]["spec"]


def test_no_change_is_an_empty_patch() -> None:
    same = deployment(container("a"))
    assert three_way(same, same, deployment(container("a", imagePullPolicy="Always"), replicas=1), SCHEMA) == {}


def test_changed_image_is_merged_by_name() -> None:
    live = deployment(container("a", imagePullPolicy="Always"), container("b"))
    before = deployment(container("a"), container("b"))
    after = deployment({"name": "a", "image": "a:2"}, container("b"))
    assert containers_of(three_way(before, after, live, SCHEMA)) == {
        "$setElementOrder/containers": [{"name": "a"}, {"name": "b"}],
        "containers": [{"image": "a:2", "name": "a"}],
    }


def test_removed_container_is_deleted_only_if_we_applied_it() -> None:
    live = deployment(container("a"), container("b"), container("injected"))
    patch = three_way(deployment(container("a"), container("b")), deployment(container("a")), live, SCHEMA)
    assert containers_of(patch) == {
        "$setElementOrder/containers": [{"name": "a"}],
        "containers": [{"$patch": "delete", "name": "b"}],
    }
    merged = strategic_merge(live, patch, Deployment)
    assert [one["name"] for one in merged["spec"]["template"]["spec"]["containers"]] == ["a", "injected"]


def test_removed_field_becomes_null() -> None:
    before, after = deployment(container("a"), paused=True, replicas=2), deployment(container("a"), replicas=2)
    live = deployment(container("a"), paused=True, replicas=2, revisionHistoryLimit=10)
    assert three_way(before, after, live, SCHEMA) == {"spec": {"paused": None}}


def test_a_field_set_by_others_stays() -> None:
    live = deployment(container("a"), replicas=7)
    assert three_way(deployment(container("a")), deployment(container("a")), live, SCHEMA) == {}


def test_strategy_with_retain_keys() -> None:
    before = deployment(strategy={"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}})
    after = deployment(strategy={"type": "Recreate"})
    patch = three_way(before, after, before, SCHEMA)
    assert patch["spec"]["strategy"] == {"$retainKeys": ["type"], "rollingUpdate": None, "type": "Recreate"}
    assert strategic_merge(before, patch, Deployment)["spec"]["strategy"] == {"type": "Recreate"}


def test_primitive_list_with_merge_strategy() -> None:
    before = {"metadata": {"finalizers": ["a", "b"]}}
    patch = three_way(before, {"metadata": {"finalizers": ["a"]}}, before, SCHEMA)
    assert patch["metadata"]["$deleteFromPrimitiveList/finalizers"] == ["b"]
    assert patch["metadata"]["$setElementOrder/finalizers"] == ["a"]


def test_atomic_list_is_replaced() -> None:
    before = deployment(container("a", args=["x", "y"]))
    patch = two_way(before, deployment(container("a", args=["x"])), SCHEMA)
    assert containers_of(patch)["containers"] == [{"args": ["x"], "name": "a"}]


def test_missing_merge_key_is_an_error() -> None:
    with pytest.raises(CliError, match="does not contain declared merge key: name"):
        two_way(deployment(container("a")), deployment({"image": "x"}), SCHEMA)


def test_true_is_not_one() -> None:
    assert three_way_json({}, {"a": True}, {"a": 1}) == {"a": True}


def test_json_merge_for_custom_resources() -> None:
    original = {"spec": {"a": 1, "gone": 2, "inner": {"x": 1}}}
    modified = {"spec": {"a": 1, "b": {}, "inner": {}}}
    current = {"spec": {"a": 5, "gone": 2, "inner": {"x": 1, "y": 1}}, "status": {"z": 1}}
    patch = three_way_json(original, modified, current)
    assert patch == {"spec": {"a": 1, "b": {}, "gone": None, "inner": {"x": None}}}
    assert merge_patch(current, patch) == {"spec": {"a": 1, "b": {}, "inner": {"y": 1}}, "status": {"z": 1}}


def test_which_kinds_have_a_schema() -> None:
    assert schema_for("apps/v1", "Deployment") is SCHEMA
    assert schema_for("rbac.authorization.k8s.io/v1", "Role") is not None
    assert schema_for("example.com/v1", "Deployment") is None
    assert schema_for("apps/v1", "Nope") is None


_names = st.lists(st.sampled_from("abcdef"), unique=True, min_size=1, max_size=5)
_sets = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            "args": st.lists(st.sampled_from("xyz"), min_size=1, max_size=2),
            "env": st.just([{"name": "E", "value": "1"}]),
        },
    ),
    min_size=5,
    max_size=5,
)


@given(_names, _names, _sets, _sets)
def test_two_way_patch_always_arrives(old: list[str], new: list[str], some: list[Any], others: list[Any]) -> None:
    """The server's strategic merge of our patch gives the wanted object, elements in the wanted order."""
    before = deployment(*(container(name, **extra) for name, extra in zip(old, some, strict=False)))
    after = deployment(*(container(name, **extra) for name, extra in zip(new, others, strict=False)))
    patch = two_way(before, after, SCHEMA)
    assert strategic_merge(before, patch, Deployment) == after
