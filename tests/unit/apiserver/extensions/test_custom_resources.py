"""Custom resources as clients meet them, through the REST face."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.support.rest import Rest
from tests.unit.apiserver.extensions.crontab import DEFINITIONS, OBJECTS, condition, crontab, defined, definition


@pytest.fixture
async def crontabs(rest: Rest) -> Rest:
    await defined(rest, definition())
    return rest


async def test_is_discovered_once_established(crontabs: Rest) -> None:
    group = await crontabs.call("GET", "/apis/stable.example.com/v1", code=200)
    listed = {entry["name"]: entry for entry in group["resources"]}
    assert set(listed) == {"crontabs", "crontabs/status", "crontabs/scale"}
    assert listed["crontabs"]["shortNames"] == ["ct"]
    assert listed["crontabs"]["categories"] == ["all"]
    assert listed["crontabs"]["singularName"] == "crontab"
    assert listed["crontabs/scale"]["group"] == "autoscaling"
    document = await crontabs.call("GET", "/openapi/v3/apis/stable.example.com/v1", code=200)
    schema = document["components"]["schemas"]["com.example.stable.v1.CronTab"]
    assert schema["properties"]["spec"]["required"] == ["cronSpec"]
    assert {"apiVersion", "kind", "metadata"} <= schema["properties"].keys()


async def test_defaults_and_prunes(crontabs: Rest) -> None:
    made = await crontabs.call("POST", OBJECTS, crontab(unknown=1, free={"any": {"thing": 1}}), code=201)
    assert made["spec"] == {"cronSpec": "* * *", "free": {"any": {"thing": 1}}, "image": "busybox", "replicas": 1}
    assert 'unknown field \\"spec.unknown\\"' in crontabs.last.headers["Warning"]
    assert made["metadata"]["generation"] == 1
    strict = await crontabs.call("POST", f"{OBJECTS}?fieldValidation=Strict", crontab("b", unknown=1), code=400)
    assert 'strict decoding error: unknown field "spec.unknown"' in strict["message"]


async def test_refuses_in_upstreams_words(crontabs: Rest) -> None:
    wrong = crontab(replicas="x", kind="z", port=True, ports=[{"name": "a"}, {"name": "a"}])
    wrong["spec"]["cronSpec"] = "x"
    refused = await crontabs.call("POST", OBJECTS, wrong, code=422)
    causes = {cause["field"]: cause["message"] for cause in refused["details"]["causes"]}
    assert causes == {
        "spec.cronSpec": r"""Invalid value: "x": spec.cronSpec in body should match '^[\d*/ ]+$'""",
        "spec.replicas": 'Invalid value: "string": spec.replicas in body must be of type integer: "string"',
        "spec.kind": 'Unsupported value: "z": supported values: "a", "b"',
        "spec.port": 'Invalid value: "boolean": spec.port in body must be of type integer,string: "boolean"',
        "spec.ports[1]": 'Duplicate value: {"name":"a"}',
    }
    missing = crontab()
    del missing["spec"]["cronSpec"]
    refused = await crontabs.call("POST", OBJECTS, missing, code=422)
    assert refused["message"] == 'CronTab.stable.example.com "a" is invalid: spec.cronSpec: Required value'


async def test_rules_of_cel(crontabs: Rest) -> None:
    refused = await crontabs.call("POST", OBJECTS, crontab(replicas=5, max=2), code=422)
    assert refused["details"]["causes"][0]["message"] == 'Invalid value: "object": at most 2'
    await crontabs.call("POST", OBJECTS, crontab(), code=201)
    merge = {"Content_Type": "application/merge-patch+json"}
    changed = {"spec": {"image": "other"}}
    refused = await crontabs.call("PATCH", f"{OBJECTS}/a", json.dumps(changed), code=422, **merge)
    cause = refused["details"]["causes"][0]
    assert (cause["field"], cause["message"]) == ("spec.image", 'Invalid value: "object": image is immutable')


async def test_status_is_separate(crontabs: Rest) -> None:
    made = await crontabs.call("POST", OBJECTS, {**crontab(), "status": {"replicas": 7}}, code=201)
    assert "status" not in made
    made["status"], made["spec"]["replicas"] = {"replicas": 3}, 9
    after = await crontabs.call("PUT", f"{OBJECTS}/a/status", made, code=200)
    assert (after["status"], after["spec"]["replicas"]) == ({"replicas": 3}, 1)
    assert after["metadata"]["generation"] == 1
    after["spec"]["replicas"], after["status"] = 2, {}
    again = await crontabs.call("PUT", f"{OBJECTS}/a", after, code=200)
    assert (again["status"], again["spec"]["replicas"]) == ({"replicas": 3}, 2)
    assert again["metadata"]["generation"] == 2
    del again["metadata"]["resourceVersion"]
    refused = await crontabs.call("PUT", f"{OBJECTS}/a", again, code=422)
    assert "metadata.resourceVersion: Invalid value: 0: must be specified for an update" in refused["message"]


async def test_scales(crontabs: Rest) -> None:
    await crontabs.call("POST", OBJECTS, crontab(), code=201)
    scale = await crontabs.call("GET", f"{OBJECTS}/a/scale", code=200)
    assert (scale["kind"], scale["spec"]) == ("Scale", {"replicas": 1})
    scale["spec"]["replicas"] = 4
    assert (await crontabs.call("PUT", f"{OBJECTS}/a/scale", scale, code=200))["spec"] == {"replicas": 4}
    assert (await crontabs.call("GET", f"{OBJECTS}/a", code=200))["spec"]["replicas"] == 4


async def test_lists_as_a_table_and_by_field(crontabs: Rest) -> None:
    await crontabs.call("POST", OBJECTS, crontab("a"), code=201)
    await crontabs.call("POST", OBJECTS, crontab("b", image="other"), code=201)
    table = await crontabs.call("GET", OBJECTS, Accept="application/json;as=Table;v=v1;g=meta.k8s.io", code=200)
    assert [column["name"] for column in table["columnDefinitions"]] == ["Name", "Spec", "Replicas"]
    assert [row["cells"] for row in table["rows"]] == [["a", "* * *", 1], ["b", "* * *", 1]]
    found = await crontabs.call("GET", f"{OBJECTS}?fieldSelector=spec.image%3Dother", code=200)
    assert found["kind"] == "CronTabList"
    assert [item["metadata"]["name"] for item in found["items"]] == ["b"]
    await crontabs.call("GET", f"{OBJECTS}?fieldSelector=spec.max%3D1", code=400)


async def test_server_side_apply_merges_lists_by_their_keys(crontabs: Rest) -> None:
    kind = {"Content_Type": "application/apply-patch+yaml"}
    for manager, port in (("one", "x"), ("two", "y")):
        applied = {**crontab(), "spec": {"ports": [{"name": port, "port": 1}]}}
        if manager == "one":
            applied["spec"]["cronSpec"] = "* *"
        url = f"{OBJECTS}/a?fieldManager={manager}"
        made = await crontabs.call("PATCH", url, json.dumps(applied), **kind)
    assert [port["name"] for port in made["spec"]["ports"]] == ["x", "y"]
    conflict = await crontabs.call(
        "PATCH", f"{OBJECTS}/a?fieldManager=two", json.dumps(crontab(cronSpec="1 1")), code=409, **kind
    )
    assert conflict["details"]["causes"][0]["field"] == ".spec.cronSpec"
    patch = {"Content_Type": "application/strategic-merge-patch+json"}
    await crontabs.call("PATCH", f"{OBJECTS}/a", "{}", code=415, **patch)


async def test_a_changed_definition_is_in_force_at_once_and_watches_go_on(crontabs: Rest) -> None:
    await crontabs.call("POST", OBJECTS, crontab(), code=201)
    async with crontabs.session.get(f"{crontabs.url}{OBJECTS}?watch=true&resourceVersion=0") as watch:
        assert json.loads(await watch.content.readline())["type"] == "ADDED"
        stored = await crontabs.call("GET", f"{DEFINITIONS}/crontabs.stable.example.com", code=200)
        schema = stored["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
        schema["properties"]["spec"]["properties"]["fresh"] = {"type": "string", "default": "yes"}
        await crontabs.call("PUT", f"{DEFINITIONS}/crontabs.stable.example.com", stored, code=200)
        while "fresh" not in (await crontabs.call("GET", f"{OBJECTS}/a", code=200))["spec"]:
            await asyncio.sleep(0.01)
        await crontabs.call("POST", OBJECTS, crontab("b"), code=201)
        event = json.loads(await watch.content.readline())
        assert (event["type"], event["object"]["spec"]["fresh"]) == ("ADDED", "yes")


async def test_versions_share_their_objects(rest: Rest) -> None:
    document = definition()
    old = document["spec"]["versions"][0]
    newer = json.loads(json.dumps(old))
    newer["name"], newer["storage"] = "v2", False
    newer["deprecated"] = True
    newer["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["more"] = {"type": "string", "default": "m"}
    document["spec"]["versions"].append(newer)
    await defined(rest, document)
    await rest.call("POST", OBJECTS, crontab(), code=201)
    seen = await rest.call("GET", OBJECTS.replace("/v1/", "/v2/") + "/a", code=200)
    assert (seen["apiVersion"], seen["spec"]["more"]) == ("stable.example.com/v2", "m")
    assert "stable.example.com/v2 CronTab is deprecated" in rest.last.headers["Warning"]
    listed = await rest.call("GET", OBJECTS.replace("/v1/", "/v2/"), code=200)
    assert [item["apiVersion"] for item in listed["items"]] == ["stable.example.com/v2"]
    other = {**crontab("b"), "apiVersion": "stable.example.com/v2", "unheard": 1, "of": 2}
    await rest.call("POST", OBJECTS.replace("/v1/", "/v2/"), other, code=201)
    both = ['299 - "stable.example.com/v2 CronTab is deprecated"', '299 - "unknown field \\"unheard\\""']
    assert [*rest.last.headers.getall("Warning")] == [*both, '299 - "unknown field \\"of\\""']
    await rest.call("POST", OBJECTS.replace("/v1/", "/v2/"), other, code=409)
    assert len(rest.last.headers.getall("Warning")) == 3
    assert (await rest.call("GET", f"{OBJECTS}/b", code=200))["apiVersion"] == "stable.example.com/v1"


async def test_taken_names_are_not_accepted(crontabs: Rest) -> None:
    other = definition()
    other["metadata"]["name"] = "others.stable.example.com"
    other["spec"]["names"] = {"plural": "others", "kind": "CronTab"}
    await crontabs.call("POST", DEFINITIONS, other, code=201)
    found = await condition(crontabs, "others.stable.example.com", "NamesAccepted", "False")
    assert (found["reason"], found["message"]) == ("ListKindConflict", '"CronTabList" is already in use')
    found = await condition(crontabs, "others.stable.example.com", "Established", "False")
    assert found["reason"] == "NotAccepted"


async def test_a_deleted_definition_takes_its_objects_along(crontabs: Rest) -> None:
    held = crontab()
    held["metadata"]["finalizers"] = ["example.com/hold"]
    await crontabs.call("POST", OBJECTS, held, code=201)
    name = "crontabs.stable.example.com"
    await crontabs.call("DELETE", f"{DEFINITIONS}/{name}", code=200)
    await condition(crontabs, name, "Terminating", "True")
    refused = await crontabs.call("POST", OBJECTS, crontab("late"), code=405)
    assert refused["message"] == "create not allowed while custom resource definition is terminating"
    merge = {"Content_Type": "application/merge-patch+json"}
    await crontabs.call("PATCH", f"{OBJECTS}/a", '{"metadata":{"finalizers":null}}', code=200, **merge)
    while (await crontabs.call("GET", f"{DEFINITIONS}/{name}")).get("code") != 404:
        await asyncio.sleep(0.01)
    await crontabs.call("GET", OBJECTS, code=404)


async def test_definitions_have_to_be_structural(rest: Rest) -> None:
    document = definition()
    properties = document["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    properties["untyped"] = {"description": "no type"}
    properties["unique"] = {"type": "array", "uniqueItems": True, "items": {"type": "string"}}
    properties["ports"]["x-kubernetes-list-map-keys"] = ["port"]
    refused = await rest.call("POST", DEFINITIONS, document, code=422)
    base = "spec.versions[0].schema.openAPIV3Schema.properties[spec].properties"
    causes = {cause["field"]: cause["message"] for cause in refused["details"]["causes"]}
    assert causes[f"{base}[untyped].type"] == "Required value: must not be empty for specified object fields"
    assert f"{base}[unique].uniqueItems" in causes
    assert "must have a default or be a required property" in causes[f"{base}[ports].items.properties[port].default"]
    document = definition()
    spec = document["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    spec["x-kubernetes-validations"] = [{"rule": "self.replicas +"}]
    refused = await rest.call("POST", DEFINITIONS, document, code=422)
    assert "compilation failed: ERROR: <input>:1:16: Syntax error" in refused["message"]
