"""Server-side apply and managedFields, over REST as kubectl and operators use them."""

from __future__ import annotations

from typing import Any

from tests.support.rest import Rest

CONFIGS = "/api/v1/namespaces/default/configmaps"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"


async def apply(
    rest: Rest,
    path: str,
    body: dict[str, Any],
    manager: str,
    *,
    force: bool = False,
    code: int = 200,
) -> dict[str, Any]:
    query = f"?fieldManager={manager}&force={'true' if force else 'false'}"
    return await rest.call("PATCH", path + query, body, code=code, Content_Type="application/apply-patch+yaml")


def config(**data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": data}


def managed(obj: dict[str, Any]) -> dict[tuple[str, str], Any]:
    return {(e["manager"], e["operation"]): e["fieldsV1"] for e in obj["metadata"].get("managedFields", [])}


def deployment(**spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "c", "image": "x:1", "ports": [{"containerPort": 80}]}]},
            },
            **spec,
        },
    }


async def test_applying_creates_owns_and_repeats_without_a_write(rest: Rest) -> None:
    made = await apply(rest, f"{CONFIGS}/a", config(x="1"), "me", code=201)
    assert managed(made) == {("me", "Apply"): {"f:data": {"f:x": {}}}}
    again = await apply(rest, f"{CONFIGS}/a", config(x="1"), "me")
    assert again["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]


async def test_what_is_no_longer_applied_goes_unless_another_wants_it(rest: Rest) -> None:
    await apply(rest, f"{CONFIGS}/a", config(x="1", y="1"), "me", code=201)
    await apply(rest, f"{CONFIGS}/a", config(y="1"), "other")
    nothing = {key: value for key, value in config().items() if key != "data"}
    left = await apply(rest, f"{CONFIGS}/a", nothing, "me")
    assert left["data"] == {"y": "1"}
    assert managed(left) == {("other", "Apply"): {"f:data": {"f:y": {}}}}


async def test_a_conflict_names_manager_and_field_and_force_takes_over(rest: Rest) -> None:
    await apply(rest, f"{CONFIGS}/a", config(x="1"), "me", code=201)
    refused = await apply(rest, f"{CONFIGS}/a", config(x="2"), "other", code=409)
    assert refused["message"] == 'Apply failed with 1 conflict: conflict with "me": .data.x'
    assert refused["details"]["causes"] == [
        {"reason": "FieldManagerConflict", "message": 'conflict with "me"', "field": ".data.x"}
    ]
    taken = await apply(rest, f"{CONFIGS}/a", config(x="2"), "other", force=True)
    assert taken["data"] == {"x": "2"}
    assert managed(taken) == {("other", "Apply"): {"f:data": {"f:x": {}}}}


async def test_a_writer_that_does_not_apply_takes_what_it_changes(rest: Rest) -> None:
    await apply(rest, f"{CONFIGS}/a", config(x="1", y="1"), "me", code=201)
    patch = {"data": {"x": "2"}}
    changed = await rest.call(
        "PATCH", f"{CONFIGS}/a?fieldManager=editor", patch, code=200, Content_Type="application/merge-patch+json"
    )
    assert managed(changed) == {
        ("me", "Apply"): {"f:data": {"f:y": {}}},
        ("editor", "Update"): {"f:data": {"f:x": {}}},
    }
    refused = await apply(rest, f"{CONFIGS}/a", config(x="1", y="1"), "me", code=409)
    assert refused["message"] == 'Apply failed with 1 conflict: conflict with "editor" using v1: .data.x'


async def test_lists_with_keys_are_shared_item_by_item(rest: Rest) -> None:
    await apply(rest, f"{DEPLOYMENTS}/web", deployment(), "me", code=201)
    sidecar = deployment()
    sidecar["spec"] = {"template": {"spec": {"containers": [{"name": "sidecar", "image": "y:1"}]}}}
    both = await apply(rest, f"{DEPLOYMENTS}/web", sidecar, "injector")
    assert [c["name"] for c in both["spec"]["template"]["spec"]["containers"]] == ["c", "sidecar"]
    without = {**sidecar, "spec": {}}
    one = await apply(rest, f"{DEPLOYMENTS}/web", without, "injector")
    assert [c["name"] for c in one["spec"]["template"]["spec"]["containers"]] == ["c"]
    mine = managed(one)["me", "Apply"]["f:spec"]["f:template"]["f:spec"]["f:containers"]
    assert mine == {
        'k:{"name":"c"}': {
            ".": {},
            "f:image": {},
            "f:name": {},
            "f:ports": {'k:{"containerPort":80,"protocol":"TCP"}': {".": {}, "f:containerPort": {}}},
        }
    }


async def test_the_first_apply_meets_what_was_there_before(rest: Rest) -> None:
    await rest.call("POST", f"{DEPLOYMENTS}?fieldManager=creator", deployment(replicas=3), code=201)
    refused = await apply(rest, f"{DEPLOYMENTS}/web", deployment(replicas=5), "me", code=409)
    assert refused["message"] == 'Apply failed with 1 conflict: conflict with "creator" using apps/v1: .spec.replicas'
    same = await apply(rest, f"{DEPLOYMENTS}/web", deployment(replicas=3), "me")
    assert {("me", "Apply"), ("creator", "Update")} == managed(same).keys()


async def test_status_writers_own_status_only(rest: Rest) -> None:
    await apply(rest, f"{DEPLOYMENTS}/web", deployment(replicas=3), "me", code=201)
    body = {"status": {"replicas": 2, "observedGeneration": 1}}
    done = await rest.call(
        "PATCH",
        f"{DEPLOYMENTS}/web/status?fieldManager=controller",
        body,
        code=200,
        Content_Type="application/merge-patch+json",
    )
    entry = next(e for e in done["metadata"]["managedFields"] if e["manager"] == "controller")
    assert entry["subresource"] == "status"
    assert entry["fieldsV1"] == {"f:status": {"f:observedGeneration": {}, "f:replicas": {}}}


async def test_an_apply_needs_a_manager_and_only_an_apply_may_force(rest: Rest) -> None:
    body = config(x="1")
    refused = await rest.call("PATCH", f"{CONFIGS}/a", body, code=422, Content_Type="application/apply-patch+yaml")
    assert "fieldManager: Required value: is required for apply patch" in refused["message"]
    forced = await rest.call(
        "PATCH", f"{CONFIGS}/a?force=true", {}, code=422, Content_Type="application/merge-patch+json"
    )
    assert "force: Forbidden: may not be specified for non-apply patch" in forced["message"]


async def test_clearing_managed_fields(rest: Rest) -> None:
    await apply(rest, f"{CONFIGS}/a", config(x="1"), "me", code=201)
    body = {"metadata": {"managedFields": []}}
    cleared = await rest.call("PATCH", f"{CONFIGS}/a", body, code=200, Content_Type="application/merge-patch+json")
    assert "managedFields" not in cleared["metadata"]


async def test_an_object_whose_items_cannot_be_told_apart_is_stored_untracked(rest: Rest) -> None:
    body = {"metadata": {"name": "sa"}, "imagePullSecrets": [{}, {}]}
    made = await rest.call("POST", "/api/v1/namespaces/default/serviceaccounts?fieldManager=me", body)
    assert made["kind"] == "ServiceAccount" or made["code"] < 500


async def test_a_quantity_that_is_none_is_the_clients_mistake(rest: Rest) -> None:
    path = "/apis/storage.k8s.io/v1/namespaces/default/csistoragecapacities"
    body = {"metadata": {"name": "c"}, "storageClassName": "x", "capacity": ""}
    refused = await rest.call("POST", path, body, code=400)
    assert "quantities must match the regular expression" in refused["message"]


async def test_the_first_apply_to_a_list_whose_items_cannot_be_told_apart(rest: Rest) -> None:
    accounts = "/api/v1/namespaces/default/serviceaccounts"
    base = {"apiVersion": "v1", "kind": "ServiceAccount"}
    for name, broken, code in (("a", {"imagePullSecrets": [{}]}, 200), ("b", {"secrets": [{}]}, 400)):
        await rest.call("POST", accounts, {**base, "metadata": {"name": name}, **broken}, code=201)
        nobody = {"metadata": {"managedFields": [{}]}}
        await rest.call("PATCH", f"{accounts}/{name}", nobody, code=200, Content_Type="application/merge-patch+json")
        applied = {**base, "metadata": {"name": name, "labels": {"x": "y"}}}
        answer = await apply(rest, f"{accounts}/{name}", applied, "me", code=code)
        if code == 400:
            assert answer["message"].startswith("failed to create typed live object: element 0: associative list")
