"""Requests as Go's typed clients make them: bodies and answers in protobuf, with JSON to fall back on."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

from api.protobuf import MEDIA_TYPE, envelope
from tests.support import protobuf
from tests.support.rest import Rest

PODS = "/api/v1/namespaces/default/pods"
CONFIGS = "/api/v1/namespaces/default/configmaps"
METADATA = f"{MEDIA_TYPE};as=PartialObjectMetadata{{}};g=meta.k8s.io;v=v1"
WIDGETS = "/apis/example.com/v1/namespaces/default/widgets"
DEFINITION = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "widgets.example.com"},
    "spec": {
        "group": "example.com",
        "scope": "Namespaced",
        "names": {"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
            }
        ],
    },
}


def config(name: str, **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


async def call(rest: Rest, method: str, path: str, body: Any = None, **more: Any) -> dict[str, Any]:
    return await protobuf.call(rest.session, method, rest.url + path, body, **more)


async def test_an_object_is_the_same_in_both_forms(rest: Rest) -> None:
    made = await call(rest, "POST", CONFIGS, config("a", k="v"), code=201)
    assert made == await rest.call("GET", f"{CONFIGS}/a") == await call(rest, "GET", f"{CONFIGS}/a")
    made["data"]["k"] = "w"
    put = await call(rest, "PUT", f"{CONFIGS}/a", made)
    assert put["data"] == {"k": "w"}
    listed = await call(rest, "GET", CONFIGS)
    as_json = await rest.call("GET", CONFIGS)
    assert [item["metadata"]["name"] for item in listed["items"]] == ["a"]
    assert listed["metadata"] == as_json["metadata"] and listed["kind"] == "ConfigMapList"
    gone = await call(
        rest, "DELETE", f"{CONFIGS}/a", {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"}
    )
    assert gone["kind"] == "Status" and gone["status"] == "Success"


async def test_errors_come_in_the_form_that_was_asked_for(rest: Rest) -> None:
    missing = await call(rest, "GET", f"{CONFIGS}/none", code=404)
    assert missing["kind"] == "Status" and missing["reason"] == "NotFound"
    assert missing == await rest.call("GET", f"{CONFIGS}/none")
    invalid = await call(rest, "POST", CONFIGS, config("A_"), code=422)
    assert invalid["details"]["causes"][0]["field"] == "metadata.name"
    wrong = await call(rest, "POST", PODS, config("a"), code=400)
    assert 'ConfigMap in version "v1" cannot be handled as a Pod' in wrong["message"]
    headers = {"Content-Type": MEDIA_TYPE, "Accept": MEDIA_TYPE}
    for body, words in (
        (b"no", "must be of type ConfigMap): provided data does not appear to be a protobuf message, expected prefix"),
        (b"no" * 16, "[107 56 115 0] (6e6f6e6f6e6f6e6f6e6f6e6f6e6f6e6f6e6f6e6f6e6f6e6f6e6f6e6f6e6f ...)"),
        (b"k8s\x00", "empty body (6b387300)"),
        (b"", "empty data (<empty>)"),
        (b"k8s\x00\x0a\x0f\x0a\x02v1\x12\x09ConfigMap\x12\x02\x0a\x05", "unexpected EOF"),
    ):
        async with rest.session.post(rest.url + CONFIGS, data=body, headers=headers) as answer:
            assert answer.status == 400
            assert words in json.loads(envelope.to_json(await answer.read()))["message"]


async def test_a_deletion_may_come_without_options(rest: Rest) -> None:
    async def nothing() -> AsyncIterator[bytes]:
        yield b""

    await rest.call("POST", CONFIGS, config("a"), code=201)
    headers = {"Content-Type": MEDIA_TYPE}
    async with rest.session.delete(f"{rest.url}{CONFIGS}/a", data=nothing(), headers=headers) as answer:
        assert answer.status == 200


async def test_tables_and_custom_objects_are_not_protobuf(rest: Rest) -> None:
    table = "as=Table;v=v1;g=meta.k8s.io"
    whole = await call(rest, "GET", CONFIGS, accept=f"{MEDIA_TYPE};{table}, {MEDIA_TYPE}")
    assert whole["kind"] == "ConfigMapList"
    shown = await rest.call("GET", CONFIGS, Accept=f"{MEDIA_TYPE};{table},application/json;{table}", code=200)
    assert shown["kind"] == "Table"
    only = await rest.call("GET", CONFIGS, Accept=f"{MEDIA_TYPE};{table}", code=406)
    assert only["reason"] == "NotAcceptable" and MEDIA_TYPE in only["message"]

    await call(rest, "POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", DEFINITION, code=201)
    widget = {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "w", "labels": {"a": "b"}}}
    for _ in range(100):
        made = await rest.call("POST", WIDGETS, widget)
        if made.get("metadata", {}).get("name") == "w":
            break
        await asyncio.sleep(0.05)
    fallback = await rest.call("GET", f"{WIDGETS}/w", Accept=f"{MEDIA_TYPE},application/json", code=200)
    assert fallback["kind"] == "Widget"
    status = await call(rest, "GET", f"{WIDGETS}/w", code=406)
    assert status["reason"] == "NotAcceptable"
    metadata = await call(rest, "GET", f"{WIDGETS}/w", accept=METADATA.format(""))
    assert metadata["kind"] == "PartialObjectMetadata" and metadata["metadata"]["labels"] == {"a": "b"}
    listed = await call(rest, "GET", WIDGETS, accept=METADATA.format("List"))
    assert listed["kind"] == "PartialObjectMetadataList" and listed["items"][0]["metadata"]["name"] == "w"
    answer = await rest.call(
        "POST", WIDGETS, b"k8s\x00\x0a\x18\x0a\x0eexample.com/v1\x12\x06Widget\x12\x00", Content_Type=MEDIA_TYPE
    )
    assert answer["code"] == 400 and "does not implement the protobuf marshalling interface" in answer["message"]


async def test_evictions_of_the_version_before(rest: Rest) -> None:
    """client-go sends policy/v1beta1 to servers of any version."""
    pod = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    await rest.call("POST", PODS, pod, code=201)
    eviction = {"apiVersion": "policy/v1beta1", "kind": "Eviction", "metadata": {"name": "p"}}
    done = await call(rest, "POST", f"{PODS}/p/eviction", eviction, code=201)
    assert done["status"] == "Success"
    other = {**eviction, "apiVersion": "policy/v1beta2"}
    refused = await rest.call("POST", f"{PODS}/p/eviction", other, code=400)
    assert refused["reason"] == "BadRequest"


async def test_an_event_without_a_time_has_none_in_either_group(rest: Rest) -> None:
    """Not an empty text, which Go refuses to read as a time."""
    event = {"metadata": {"name": "e"}, "involvedObject": {"kind": "Pod", "name": "p", "namespace": "default"}}
    await rest.call("POST", "/api/v1/namespaces/default/events", event, code=201)
    path = "/apis/events.k8s.io/v1/namespaces/default/events"
    assert "eventTime" not in await rest.call("GET", f"{path}/e", code=200)
    assert (await call(rest, "GET", path))["items"][0]["regarding"]["name"] == "p"
    condition = {"type": "Ready", "status": "True", "lastTransitionTime": ""}
    pod = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    refused = await rest.call("POST", PODS, {**pod, "status": {"conditions": [condition]}}, code=400)
    assert 'parsing time ""' in refused["message"]


async def test_metadata_alone(rest: Rest) -> None:
    await rest.call("POST", CONFIGS, config("a", k="v"), code=201)
    one = await call(rest, "GET", f"{CONFIGS}/a", accept=METADATA.format(""))
    assert one["kind"] == "PartialObjectMetadata" and one["metadata"]["name"] == "a" and "data" not in one
    for version in ("v1", "v1beta1"):
        accept = METADATA.format("List").replace("v=v1", f"v={version}")
        many = await call(rest, "GET", CONFIGS, accept=accept)
        assert many["apiVersion"] == f"meta.k8s.io/{version}"
        assert [item["metadata"] for item in many["items"]] == [one["metadata"]]
        assert many["metadata"]["resourceVersion"]


async def test_a_watch_is_length_prefixed_events(rest: Rest) -> None:
    await rest.call("POST", CONFIGS, config("a", k="v"), code=201)
    accept = {"Accept": f"{MEDIA_TYPE};stream=watch,{MEDIA_TYPE}"}
    async with rest.session.get(f"{rest.url}{CONFIGS}?watch=1&fieldSelector=metadata.name%3Da", headers=accept) as got:
        assert got.status == 200 and got.headers["Content-Type"] == f"{MEDIA_TYPE};stream=watch"
        added = await protobuf.event(got.content)
        assert added[0] == "ADDED" and added[1]["kind"] == "ConfigMap"
        assert added[1] == await rest.call("GET", f"{CONFIGS}/a")
        await rest.call("DELETE", f"{CONFIGS}/a", code=200)
        deleted = await protobuf.event(got.content)
        assert deleted[0] == "DELETED" and deleted[1]["metadata"]["uid"] == added[1]["metadata"]["uid"]
    url = f"{rest.url}{CONFIGS}?watch=1&allowWatchBookmarks=1&sendInitialEvents=1&resourceVersionMatch=NotOlderThan"
    async with rest.session.get(url, headers=accept) as got:
        kind, obj = await protobuf.event(got.content)
        assert kind == "BOOKMARK" and obj["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
    async with rest.session.get(f"{rest.url}{CONFIGS}?watch=1", headers={"Accept": METADATA.format("")}) as got:
        await rest.call("POST", CONFIGS, config("b", k="v"), code=201)
        kind, obj = await protobuf.event(got.content)
        assert (kind, obj["kind"], obj["metadata"]["name"]) == ("ADDED", "PartialObjectMetadata", "b")
        assert "data" not in obj
    async with rest.session.get(f"{rest.url}{CONFIGS}?watch=1", headers={"Accept": "application/yaml"}) as got:
        assert got.status == 406


async def test_discovery(rest: Rest) -> None:
    for path, kind in (
        ("/api", "APIVersions"),
        ("/apis", "APIGroupList"),
        ("/apis/apps", "APIGroup"),
        ("/apis/apps/v1", "APIResourceList"),
        ("/api/v1", "APIResourceList"),
    ):
        found = await call(rest, "GET", path)
        plain = await rest.call("GET", path)
        assert found.pop("kind") == kind
        assert {k: v for k, v in found.items() if v} == {k: v for k, v in plain.items() if k != "kind"}
    aggregated = f"{MEDIA_TYPE};g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    async with rest.session.get(rest.url + "/apis", headers={"Accept": aggregated}) as answer:
        assert answer.headers["Content-Type"] == aggregated
        document = json.loads(envelope.to_json(await answer.read()))
        assert "apps" in {item["metadata"]["name"] for item in document["items"]}
