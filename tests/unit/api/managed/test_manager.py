"""Scenarios of server-side apply: who owns what after which writes, what goes, and what conflicts."""

from __future__ import annotations

import copy
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api import codec
from api.errors import StatusError
from api.managed import FieldManager, Filter, Managed, entries, sets, type_of
from api.managed.compare import compare
from api.managed.elements import path
from api.managed.scale import to_parent, to_scale
from api.types import apps_v1, core_v1
from tests.unit.api.managed.test_typed import PODS

LAST_APPLIED = entries.LAST_APPLIED


class Object:
    """A stored object as an endpoint keeps it. `now` is the time of the next write."""

    def __init__(self, kind: type[Any] = apps_v1.Deployment) -> None:
        self.type = kind
        empty = codec.to_dict(kind())
        self.kind = {"apiVersion": empty["apiVersion"], "kind": empty["kind"]}
        self.fm = FieldManager(
            type_of(kind), empty["apiVersion"], empty["kind"], empty=empty, keep=Filter(sets.fields("status"))
        )
        self.live: dict[str, Any] = empty
        self.managed: Managed = {}
        self.exists = False
        self.now = "t0"

    def apply(self, manager: str, force: bool = False, **fields: Any) -> bool:
        """Whether it changed the object."""
        config = {**self.kind, **copy.deepcopy(fields)}
        before = copy.deepcopy(config), copy.deepcopy(self.live)
        new, self.managed = self.fm.apply(
            self.live, config, self.managed, manager, self.now, force=force, exists=self.exists
        )
        assert (config, self.live) == before, "what is passed in is left alone"
        changed = new is not self.live
        if changed:
            self.live = codec.to_dict(codec.from_dict(self.type, new))
        self.exists = True
        return changed

    def update(self, manager: str, **fields: Any) -> None:
        new = {**self.kind, **copy.deepcopy(fields)}
        if self.exists or self.managed:
            self.fm.update(self.live, new, self.managed, manager, self.now)
        else:
            self.managed = self.fm.create(new, manager, self.now)
        self.live, self.exists = new, True

    def owned(self, manager: str, operation: str = "Apply") -> list[str]:
        return [
            path(p)
            for name, entry in self.managed.items()
            if (name.manager, name.operation) == (manager, operation)
            for p in sets.iterate(entries.fields_of(entry))
        ]

    def time(self, manager: str) -> str | None:
        return next(entry.time for name, entry in self.managed.items() if name.manager == manager)


def _deployment(image: str = "nginx", **spec: Any) -> dict[str, Any]:
    containers = [{"name": "web", "image": image}]
    return {
        "metadata": {"name": "web", "namespace": "d"},
        "spec": {"template": {"spec": {"containers": containers}}, **spec},
    }


def test_applying_creates_and_owns_what_it_says() -> None:
    obj = Object()
    assert obj.apply("a", **_deployment(replicas=3))
    assert obj.owned("a") == [
        ".spec.replicas",
        '.spec.template.spec.containers[name="web"]',
        '.spec.template.spec.containers[name="web"].image',
        '.spec.template.spec.containers[name="web"].name',
    ]


def test_applying_the_same_again_changes_nothing_not_even_the_time() -> None:
    obj = Object()
    obj.apply("a", **_deployment())
    before = copy.deepcopy(obj.managed)
    obj.now = "t1"
    assert not obj.apply("a", **_deployment())
    assert obj.managed == before


def test_another_value_conflicts_with_its_owner_in_upstreams_words() -> None:
    obj = Object()
    obj.update("kubectl-client-side-apply", **_deployment(replicas=1))
    with pytest.raises(StatusError) as caught:
        obj.apply("me", **_deployment(replicas=2))
    error = caught.value
    assert (error.code, error.reason) == (409, "Conflict")
    assert error.message == (
        'Apply failed with 1 conflict: conflict with "kubectl-client-side-apply" using apps/v1: .spec.replicas'
    )
    (cause,) = error.causes
    assert (cause.reason, cause.field) == ("FieldManagerConflict", ".spec.replicas")
    assert cause.message == 'conflict with "kubectl-client-side-apply" using apps/v1'


def test_several_conflicts_are_listed_by_manager() -> None:
    obj = Object()
    obj.apply("b", **_deployment(replicas=1))
    obj.update("x", **_deployment(replicas=1, paused=True))
    with pytest.raises(StatusError) as caught:
        obj.apply("me", **_deployment(image="other", replicas=2, paused=False))
    assert caught.value.message == (
        "Apply failed with 3 conflicts: "
        'conflicts with "b":\n- .spec.replicas\n- .spec.template.spec.containers[name="web"].image\n'
        'conflicts with "x" using apps/v1:\n- .spec.paused'
    )


def test_a_manager_of_a_subresource_is_named_with_it() -> None:
    obj = Object()
    obj.apply("a", **_deployment())
    name = entries.identifier("hpa", entries.UPDATE, "apps/v1", "scale")
    obj.managed[name] = entries.entry(name, "apps/v1", sets.fields("spec.replicas"), "t")
    obj.live["spec"]["replicas"] = 5
    with pytest.raises(StatusError) as caught:
        obj.apply("a", **_deployment(replicas=1))
    assert 'conflict with "hpa" with subresource "scale" using apps/v1: .spec.replicas' in caught.value.message


def test_force_takes_fields_over() -> None:
    obj = Object()
    obj.apply("a", **_deployment(replicas=1))
    obj.apply("b", force=True, **_deployment(replicas=2))
    assert obj.live["spec"]["replicas"] == 2
    assert ".spec.replicas" not in obj.owned("a")
    assert ".spec.replicas" in obj.owned("b")


def test_the_same_value_is_shared_and_stays_until_the_last_owner_lets_go() -> None:
    obj = Object()
    obj.apply("a", **_deployment(replicas=1))
    obj.now = "t1"
    assert not obj.apply("b", metadata={"name": "web"}, spec={"replicas": 1})
    assert obj.owned("b") == [".spec.replicas"] and ".spec.replicas" in obj.owned("a")
    obj.apply("a", **_deployment())
    assert obj.live["spec"]["replicas"] == 1
    assert obj.time("a") == "t0"
    obj.now = "t2"
    assert obj.apply("b", metadata={"name": "web"})
    assert "replicas" not in obj.live["spec"]
    assert obj.owned("b") == []


def test_what_a_manager_no_longer_applies_goes_with_all_that_only_held_it() -> None:
    obj = Object()
    obj.apply(
        "a", metadata={"name": "w", "labels": {"x": "1"}}, spec={"template": {"metadata": {"labels": {"a": "b"}}}}
    )
    obj.apply("a", metadata={"name": "w"}, spec={"template": {"metadata": {}}})
    assert "labels" not in obj.live["metadata"]
    assert "labels" not in obj.live["spec"]["template"]["metadata"]


def test_items_nobody_applies_any_more_go_and_those_of_others_stay() -> None:
    def containers(*names: str) -> dict[str, Any]:
        items = [{"name": name, "image": name} for name in names]
        return {"metadata": {"name": "w"}, "spec": {"template": {"spec": {"containers": items}}}}

    obj = Object()
    obj.apply("a", **containers("one", "two"))
    obj.apply("b", **containers("side"))
    obj.apply("a", **containers("two"))
    assert [c["name"] for c in obj.live["spec"]["template"]["spec"]["containers"]] == ["two", "side"]


def test_an_item_stays_if_another_manager_owns_something_in_it() -> None:
    obj = Object()
    obj.apply("a", **_deployment())
    web = {"name": "web", "imagePullPolicy": "Always"}
    obj.apply("b", metadata={"name": "web"}, spec={"template": {"spec": {"containers": [web]}}})
    obj.apply("a", metadata={"name": "web"}, spec={"replicas": 1})
    assert obj.live["spec"]["template"]["spec"]["containers"] == [{**web, "resources": {}}]


def test_what_an_update_set_stays_when_an_applier_lets_go_of_the_rest() -> None:
    obj = Object()
    obj.apply("a", metadata={"name": "w", "labels": {"x": "1", "y": "1"}})
    live = copy.deepcopy(obj.live)
    live["metadata"]["labels"]["z"] = "1"
    obj.update("editor", **live)
    obj.apply("a", metadata={"name": "w", "labels": {"y": "1"}})
    assert obj.live["metadata"]["labels"] == {"y": "1", "z": "1"}


def test_an_update_takes_what_it_changes_and_releases_what_it_removes() -> None:
    obj = Object()
    obj.apply("a", **_deployment(replicas=1, paused=True))
    obj.now = "t1"
    obj.update("kubectl-edit", **_deployment(replicas=5))
    assert ".spec.replicas" not in obj.owned("a") and ".spec.paused" not in obj.owned("a")
    assert obj.owned("kubectl-edit", "Update") == [".spec.replicas"]
    assert (obj.time("a"), obj.time("kubectl-edit")) == ("t0", "t1")


def test_an_update_that_only_removes_makes_no_manager() -> None:
    obj = Object()
    obj.update("a", **_deployment(replicas=1))
    obj.now = "t1"
    obj.update("b", **_deployment())
    assert {name.manager for name in obj.managed} == {"a"}
    assert obj.time("a") == "t0"


def test_an_object_without_managers_belongs_to_before_first_apply() -> None:
    obj = Object()
    obj.live, obj.exists = {**obj.kind, **_deployment(replicas=1)}, True
    with pytest.raises(StatusError, match=r'conflict with "before-first-apply" using apps/v1: \.spec\.replicas'):
        obj.apply("a", **_deployment(replicas=2))
    obj.apply("a", **_deployment(image="nginx"))
    assert ".spec.replicas" in obj.owned("before-first-apply", "Update")


def test_status_is_not_owned_through_the_resource_itself() -> None:
    obj = Object()
    obj.apply("a", **_deployment(), status={"replicas": 3})
    assert not [p for p in obj.owned("a") if p.startswith(".status")]


def test_nobody_owns_what_names_the_object() -> None:
    obj = Object()
    meta = {"name": "w", "namespace": "d", "generateName": "w-", "uid": "1", "resourceVersion": "2"}
    obj.apply("a", metadata=meta)
    assert obj.owned("a") == [".metadata.generateName"]
    assert not Object().apply("a", metadata={}) or True
    empty = Object()
    empty.apply("a", metadata={"name": "w"})
    assert empty.managed == {}


def test_more_than_ten_updaters_become_ancient_changes() -> None:
    obj = Object()
    obj.apply("applier", **_deployment())
    for index in range(12):
        obj.now = f"t{index:02}"
        live = copy.deepcopy(obj.live)
        live["metadata"].setdefault("annotations", {})[f"a{index}"] = "x"
        obj.update(f"u{index:02}", **live)
    updaters = {name.manager for name in obj.managed if name.operation == "Update"}
    assert len(updaters) == 10
    assert updaters >= {"ancient-changes", "u11", "u03"} and not updaters & {"u00", "u01", "u02"}
    assert obj.time("ancient-changes") == "t02"
    assert set(obj.owned("ancient-changes", "Update")) >= {".metadata.annotations.a0", ".metadata.annotations.a2"}


def test_managers_are_listed_appliers_first_then_by_time() -> None:
    obj = Object()
    obj.now = "t2"
    obj.update("u", **_deployment(replicas=1))
    obj.now = "t3"
    obj.apply("z", **_deployment())
    obj.now = "t4"
    obj.apply("b", metadata={"name": "web", "labels": {"a": "b"}})
    listed = entries.encode(obj.managed)
    assert listed is not None
    # z took nothing that it changed: it has no time.
    assert [(e.manager, e.operation, e.time) for e in listed] == [
        ("z", "Apply", None),
        ("b", "Apply", "t4"),
        ("u", "Update", "t2"),
    ]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"apiVersion": "apps/v1beta1"}, "invalid object type: apps/v1beta1, Kind=Deployment"),
        ({"kind": ""}, "invalid object type: apps/v1, Kind="),
        ({"metadata": {"name": "x", "managedFields": [{}]}}, "metadata.managedFields must be nil"),
        (
            {"metadata": {"name": "x", "namespace": "n"}, "spec": {"nope": 1}},
            "failed to create typed patch object (n/x; apps/v1, Kind=Deployment): "
            ".spec.nope: field not declared in schema",
        ),
    ],
)
def test_what_cannot_be_applied(config: dict[str, Any], message: str) -> None:
    with pytest.raises(StatusError) as caught:
        Object().apply("a", **config)
    assert (caught.value.code, caught.value.message) == (400, message)


def test_kubectl_comes_from_client_side_apply_without_conflict() -> None:
    config = _deployment(replicas=1)
    obj = Object()
    text = msgspec.json.encode({**obj.kind, **config}).decode()
    annotated = copy.deepcopy(config)
    annotated["metadata"]["annotations"] = {LAST_APPLIED: text}
    obj.update("kubectl-client-side-apply", **annotated)
    obj.apply("kubectl", **_deployment(replicas=2))
    assert obj.live["spec"]["replicas"] == 2
    kept = msgspec.json.decode(obj.live["metadata"]["annotations"][LAST_APPLIED])
    assert kept["spec"]["replicas"] == 2
    assert obj.live["metadata"]["annotations"][LAST_APPLIED].endswith("}\n")


def test_kubectl_does_not_take_what_others_changed_since_its_client_side_apply() -> None:
    config = _deployment(replicas=1)
    obj = Object()
    annotated = copy.deepcopy(config)
    text = msgspec.json.encode({**obj.kind, **config}).decode()
    annotated["metadata"]["annotations"] = {LAST_APPLIED: text}
    obj.update("kubectl-client-side-apply", **annotated)
    scaled = copy.deepcopy(annotated)
    scaled["spec"]["replicas"] = 7
    obj.update("scaler", **scaled)
    with pytest.raises(StatusError) as caught:
        obj.apply("kubectl", **_deployment(image="new", replicas=2))
    assert [cause.field for cause in caught.value.causes] == [".spec.replicas"]


def test_an_annotation_that_no_longer_fits_goes() -> None:
    obj = Object()
    annotations = {LAST_APPLIED: "{}", "big": "x" * 262_000}
    obj.update("kubectl-client-side-apply", metadata={"name": "w", "annotations": annotations})
    obj.apply("kubectl", **_deployment())
    assert LAST_APPLIED not in obj.live["metadata"]["annotations"]


@pytest.mark.parametrize(
    "entry",
    [
        {"operation": "Steal", "apiVersion": "v1", "fieldsType": "FieldsV1"},
        {"operation": "Apply", "fieldsType": "FieldsV1"},
        {"operation": "Apply", "apiVersion": "v1"},
        {"operation": "Apply", "apiVersion": "v1", "fieldsType": "FieldsV2"},
        {"operation": "Apply", "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": {"x": {}}},
    ],
)
def test_managers_that_cannot_be_read_are_refused(entry: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        entries.parse([codec.from_dict(entries.ManagedFieldsEntry, entry)])


def test_what_resets_managers() -> None:
    assert entries.is_reset([]) and entries.is_reset([entries.ManagedFieldsEntry()])
    assert not entries.is_reset(None) and not entries.is_reset([entries.ManagedFieldsEntry(manager="a")])


PATHS = {"apps/v1": ("f:spec", "f:replicas")}


def test_a_scale_shows_who_owns_replicas_and_gives_them_back() -> None:
    obj = Object()
    obj.apply("a", **_deployment(replicas=1))
    obj.apply("b", metadata={"name": "web", "labels": {"x": "y"}})
    scale = to_scale(obj.managed, PATHS)
    assert [(name.manager, entry.api_version) for name, entry in scale.items()] == [("a", "autoscaling/v1")]
    assert to_parent(obj.managed, scale, "apps/v1", PATHS) == obj.managed


def test_scaling_takes_replicas_from_who_applied_them() -> None:
    obj = Object()
    obj.apply("a", **_deployment(replicas=1))
    scaler = entries.identifier("hpa", entries.UPDATE, "autoscaling/v1", "scale")
    scale = {scaler: entries.entry(scaler, "autoscaling/v1", sets.fields("spec.replicas"), "t9")}
    obj.managed = to_parent(obj.managed, scale, "apps/v1", PATHS)
    assert ".spec.replicas" not in obj.owned("a")
    (entry,) = [e for n, e in obj.managed.items() if n.manager == "hpa"]
    assert (entry.api_version, entry.subresource, entry.time) == ("apps/v1", "scale", "t9")
    assert entries.fields_of(entry) == sets.fields("spec.replicas")


_MANAGERS = st.sampled_from(["a", "b"])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(_MANAGERS, PODS), min_size=1, max_size=5))
def test_applying_is_idempotent_and_sets_what_it_says(writes: list[tuple[str, dict[str, Any]]]) -> None:
    obj = Object(core_v1.Pod)
    for manager, config in writes:
        config = copy.deepcopy(config)
        config.setdefault("metadata", {})["name"] = "p"
        obj.apply(manager, force=True, **config)
        gap = compare({**obj.kind, **config}, obj.live, obj.fm.type)
        assert not gap.removed and not gap.modified
        managed, live = copy.deepcopy(obj.managed), copy.deepcopy(obj.live)
        obj.apply(manager, **config)
        assert compare(live, obj.live, obj.fm.type).same
        assert entries.encode(managed) == entries.encode(obj.managed)


@settings(max_examples=60, deadline=None)
@given(PODS, PODS)
def test_an_applier_that_lets_go_of_everything_leaves_what_others_applied(
    first: dict[str, Any], second: dict[str, Any]
) -> None:
    obj, alone = Object(core_v1.Pod), Object(core_v1.Pod)
    for config in (first, second):
        config.setdefault("metadata", {})["name"] = "p"
    obj.apply("a", **copy.deepcopy(first))
    obj.apply("b", force=True, **copy.deepcopy(second))
    obj.apply("a", metadata={"name": "p"})
    alone.apply("b", **copy.deepcopy(second))
    difference = compare(alone.live, obj.live, obj.fm.type)
    assert not difference.removed and not difference.modified
    # What an atomic field or a list that b took over held before is b's; nothing of a's alone is left but
    # structures without anything in them.
    left = [p for p in sets.iterate(sets.leaves(difference.added)) if _value(obj.live, p)]
    assert not left


def _value(live: dict[str, Any], steps: tuple[str, ...]) -> Any:
    from api.managed.prune import extract

    return extract(live, sets.make(steps), type_of(core_v1.Pod))


@settings(max_examples=60, deadline=None)
@given(PODS, PODS)
def test_every_field_of_an_update_has_one_owner(old: dict[str, Any], new: dict[str, Any]) -> None:
    obj = Object(core_v1.Pod)
    for pod in (old, new):
        pod.setdefault("metadata", {})["name"] = "p"
        pod.setdefault("spec", {}).setdefault("containers", [])
    obj.update("a", **old)
    obj.update("b", **new)
    shared = sets.intersection(*(_owned(obj, manager) for manager in ("a", "b")))
    assert shared == {}
    everything = sets.union(_owned(obj, "a"), _owned(obj, "b"))
    assert everything == obj.fm.written(obj.fm.empty, {**obj.kind, **new})


def _owned(obj: Object, manager: str) -> sets.Set:
    found = [entries.fields_of(entry) for name, entry in obj.managed.items() if name.manager == manager]
    return found[0] if found else {}
