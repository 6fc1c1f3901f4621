"""The REST face, as clients that know only HTTP and Kubernetes' conventions see it."""

from __future__ import annotations

import asyncio
import gzip
import json
from typing import Any

import aiohttp
import pytest

from apiserver.feed import Feed
from apiserver.server import Server
from tests.support.rest import Rest

TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"


CONFIGS = "/api/v1/namespaces/default/configmaps"


def config(name: str, **data: str) -> dict[str, Any]:
    return {"metadata": {"name": name}, "data": data}


async def test_create_read_delete(rest: Rest) -> None:
    made = await rest.call("POST", CONFIGS, config("a", k="v"), code=201)
    assert (made["apiVersion"], made["kind"]) == ("v1", "ConfigMap")
    assert await rest.call("GET", f"{CONFIGS}/a", code=200) == made
    gone = await rest.call("DELETE", f"{CONFIGS}/a", code=200)
    assert gone["status"] == "Success"
    assert gone["details"] == {"name": "a", "kind": "configmaps", "uid": made["metadata"]["uid"]}
    missing = await rest.call("GET", f"{CONFIGS}/a", code=404)
    assert missing["message"] == 'configmaps "a" not found'
    assert missing["details"] == {"name": "a", "kind": "configmaps"}


@pytest.mark.parametrize(
    ("method", "path", "body", "code", "reason", "message"),
    [
        ("GET", "/api/v1/nonsense", None, 404, "NotFound", "the server could not find the requested resource"),
        ("GET", "/apis/none/v1/things", None, 404, "NotFound", "the server could not find the requested resource"),
        (
            "PUT",
            f"{CONFIGS}/x",
            {"metadata": {"name": "y"}},
            400,
            "BadRequest",
            "the name of the object (y) does not match the name on the URL (x)",
        ),
        (
            "POST",
            CONFIGS,
            {"metadata": {"name": "y", "namespace": "other"}},
            400,
            "BadRequest",
            "the namespace of the provided object does not match the namespace sent on the request",
        ),
        (
            "POST",
            CONFIGS,
            {"apiVersion": "v2", "kind": "ConfigMap"},
            400,
            "BadRequest",
            "the API version in the data (v2) does not match the expected API version (v1)",
        ),
        (
            "POST",
            "/api/v1/configmaps",
            {"metadata": {"name": "y"}},
            405,
            "MethodNotAllowed",
            "the server does not allow this method on the requested resource",
        ),
        (
            "POST",
            f"{CONFIGS}/y",
            {"metadata": {"name": "y"}},
            405,
            "MethodNotAllowed",
            "the server does not allow this method on the requested resource",
        ),
        (
            "PUT",
            CONFIGS,
            {"metadata": {"name": "y"}},
            405,
            "MethodNotAllowed",
            "the server does not allow this method on the requested resource",
        ),
        (
            "PATCH",
            CONFIGS,
            {"metadata": {"name": "y"}},
            405,
            "MethodNotAllowed",
            "the server does not allow this method on the requested resource",
        ),
        (
            "GET",
            f"{CONFIGS}?fieldSelector=data.x%3D1",
            None,
            400,
            "BadRequest",
            '"data.x" is not a known field selector: only "metadata.name", "metadata.namespace"',
        ),
        (
            "GET",
            f"{CONFIGS}?resourceVersionMatch=Exact",
            None,
            422,
            "Invalid",
            'ListOptions.meta.k8s.io "" is invalid: resourceVersionMatch: Forbidden: '
            "resourceVersionMatch is forbidden unless resourceVersion is provided",
        ),
    ],
)
async def test_refusals_have_upstreams_code_reason_and_words(
    rest: Rest, method: str, path: str, body: Any, code: int, reason: str, message: str
) -> None:
    answer = await rest.call(method, path, body, code=code)
    assert (answer["kind"], answer["status"], answer["reason"]) == ("Status", "Failure", reason)
    assert answer["message"] == message


async def test_unknown_fields_are_errors_warnings_or_nothing_as_asked(rest: Rest) -> None:
    body = {"metadata": {"name": "a"}, "dota": {"k": "v"}}
    strict = await rest.call("POST", f"{CONFIGS}?fieldValidation=Strict", body, code=400)
    assert strict["message"] == (
        'ConfigMap in version "v1" cannot be handled as a ConfigMap: strict decoding error: unknown field "dota"'
    )
    await rest.call("POST", CONFIGS, body, code=201)
    assert rest.last.headers["Warning"] == '299 - "unknown field \\"dota\\""'
    body["metadata"] = {"name": "b"}
    await rest.call("POST", f"{CONFIGS}?fieldValidation=Ignore", body, code=201)
    assert "Warning" not in rest.last.headers


async def test_yaml_in_and_out(rest: Rest) -> None:
    text = "metadata: {name: a}\ndata:\n  when: '2020-01-01'\n  other: yes please\n"
    await rest.call("POST", CONFIGS, text, code=201, Content_Type="application/yaml")
    answer = await rest.call("GET", f"{CONFIGS}/a", Accept="application/yaml")
    assert "kind: ConfigMap\n" in answer["text"] and "when: '2020-01-01'\n" in answer["text"]


async def test_media_types_that_are_not_spoken(rest: Rest) -> None:
    refused = await rest.call("POST", CONFIGS, "x", code=415, Content_Type="text/html")
    assert refused["message"].startswith("the body of the request was in an unknown format - accepted media types")
    unacceptable = await rest.call("GET", CONFIGS, code=406, Accept="image/png")
    assert unacceptable["reason"] == "NotAcceptable"
    await rest.call("GET", CONFIGS, code=200, Accept="application/vnd.kubernetes.protobuf,application/json")


async def test_what_is_nowhere_kept_has_no_table(rest: Rest) -> None:
    path = "/api/v1/namespaces/default/pods/none/eviction"
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "none"}}
    refused = await rest.call("POST", path, eviction, code=406, Accept="application/json;as=Table;v=v1;g=meta.k8s.io")
    assert refused["reason"] == "NotAcceptable"
    await rest.call("POST", path, eviction, code=404, Accept=TABLE)


async def test_a_table_has_columns_and_rows_with_metadata(rest: Rest) -> None:
    await rest.call("POST", CONFIGS, config("a"), code=201)
    table = await rest.call("GET", CONFIGS, code=200, Accept=TABLE)
    assert table["kind"] == "Table"
    assert table["columnDefinitions"][0]["name"] == "Name"
    row = table["rows"][0]
    assert row["cells"][0] == "a"
    assert row["object"]["kind"] == "PartialObjectMetadata" and row["object"]["metadata"]["name"] == "a"
    one = await rest.call("GET", f"{CONFIGS}/a?includeObject=Object", code=200, Accept=TABLE)
    assert one["rows"][0]["object"]["kind"] == "ConfigMap"


async def test_metadata_only_lists(rest: Rest) -> None:
    await rest.call("POST", CONFIGS, config("a", k="v"), code=201)
    accept = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"
    listed = await rest.call("GET", CONFIGS, code=200, Accept=accept)
    assert listed["kind"] == "PartialObjectMetadataList"
    assert "data" not in listed["items"][0]


async def test_items_of_a_list_leave_their_kind_to_the_list(rest: Rest) -> None:
    assert (await rest.call("GET", CONFIGS, code=200))["items"] == []
    for name in ("a", "b"):
        await rest.call("POST", CONFIGS, config(name, k=name), code=201)
    listed = await rest.call("GET", CONFIGS, code=200)
    assert (listed["kind"], listed["apiVersion"]) == ("ConfigMapList", "v1")
    assert [(sorted(item), item["data"]) for item in listed["items"]] == [
        (["data", "metadata"], {"k": "a"}),
        (["data", "metadata"], {"k": "b"}),
    ]


async def test_pages_show_one_moment_and_count_what_remains(rest: Rest) -> None:
    for name in "abcde":
        await rest.call("POST", CONFIGS, config(name), code=201)
    first = await rest.call("GET", f"{CONFIGS}?limit=2", code=200)
    assert first["metadata"]["remainingItemCount"] == 3
    await rest.call("POST", CONFIGS, config("bb"), code=201)
    await rest.call("DELETE", f"{CONFIGS}/c", code=200)
    token = first["metadata"]["continue"]
    second = await rest.call("GET", f"{CONFIGS}?limit=2&continue={token}", code=200)
    third = await rest.call("GET", f"{CONFIGS}?limit=2&continue={second['metadata']['continue']}", code=200)
    names = [i["metadata"]["name"] for page in (first, second, third) for i in page["items"]]
    assert names == ["a", "b", "c", "d", "e"]
    assert {page["metadata"]["resourceVersion"] for page in (first, second, third)} == {
        first["metadata"]["resourceVersion"]
    }
    assert "continue" not in third["metadata"]


async def test_an_expired_page_offers_an_inconsistent_rest(rest: Rest, api_server: Server) -> None:
    for name in "abc":
        await rest.call("POST", CONFIGS, config(name), code=201)
    first = await rest.call("GET", f"{CONFIGS}?limit=1", code=200)
    await rest.call("POST", CONFIGS, config("d"), code=201)
    await api_server.registry.store.compact(await api_server.registry.store.revision())
    expired = await rest.call("GET", f"{CONFIGS}?limit=1&continue={first['metadata']['continue']}", code=410)
    assert expired["reason"] == "Expired"
    rest_of_it = await rest.call("GET", f"{CONFIGS}?continue={expired['metadata']['continue']}", code=200)
    assert [i["metadata"]["name"] for i in rest_of_it["items"]] == ["b", "c", "d"]


async def test_a_version_from_the_future_times_out(rest: Rest) -> None:
    answer = await rest.call("GET", f"{CONFIGS}?resourceVersion=100000", code=504)
    assert answer["message"].startswith("Timeout: Too large resource version: 100000, current: ")
    assert answer["details"]["causes"][0]["reason"] == "ResourceVersionTooLarge"


async def watch(rest: Rest, query: str, count: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    async with asyncio.timeout(10), rest.session.get(f"{rest.url}{CONFIGS}?watch=1&{query}") as answer:
        assert answer.status == 200
        async for line in answer.content:
            found.append(json.loads(line))
            if len(found) == count:
                break
    return found


async def test_a_watch_without_a_version_begins_with_what_is_there(rest: Rest) -> None:
    await rest.call("POST", CONFIGS, config("a"), code=201)
    events = await watch(rest, "", 1)
    assert [(e["type"], e["object"]["metadata"]["name"]) for e in events] == [("ADDED", "a")]


async def test_a_streamed_list_ends_with_its_bookmark(rest: Rest) -> None:
    await rest.call("POST", CONFIGS, config("a"), code=201)
    query = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
    events = await watch(rest, query, 2)
    assert [e["type"] for e in events] == ["ADDED", "BOOKMARK"]
    assert events[1]["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}


async def test_a_watch_ends_in_time_with_a_bookmark_to_resume_from(rest: Rest) -> None:
    made = await rest.call("POST", CONFIGS, config("a"), code=201)
    version = made["metadata"]["resourceVersion"]
    events = await watch(rest, f"resourceVersion={version}&timeoutSeconds=1&allowWatchBookmarks=true", 1)
    assert events[0]["type"] == "BOOKMARK"
    assert int(events[0]["object"]["metadata"]["resourceVersion"]) >= int(version)


async def test_a_change_of_labels_is_an_arrival_or_a_departure_for_a_selecting_watcher(rest: Rest) -> None:
    made = await rest.call("POST", CONFIGS, config("a"), code=201)
    version = made["metadata"]["resourceVersion"]
    for label in ("on", "on", None):
        patch = {"metadata": {"labels": {"switch": label}}, "data": {"n": str(label)}}
        if label and made.get("once"):
            patch["data"] = {"n": "2"}
        made = await rest.call("PATCH", f"{CONFIGS}/a", patch, code=200, Content_Type="application/merge-patch+json")
        made["once"] = True
    events = await watch(rest, f"resourceVersion={version}&labelSelector=switch%3Don", 3)
    assert [e["type"] for e in events] == ["ADDED", "MODIFIED", "DELETED"]
    # The departure shows the last state that matched, under the revision of the change.
    assert events[2]["object"]["metadata"]["labels"] == {"switch": "on"}
    assert events[2]["object"]["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]


async def test_a_version_too_old_to_watch_from_is_an_event_of_the_stream(rest: Rest, api_server: Server) -> None:
    await rest.call("POST", CONFIGS, config("a"), code=201)
    api_server.registry.endpoint("configmaps").cache._window_start = 100
    (event,) = await watch(rest, "resourceVersion=1", 2)
    assert (event["type"], event["object"]["reason"], event["object"]["code"]) == ("ERROR", "Expired", 410)


async def test_a_watch_from_the_future_is_silent_unless_it_begins_with_a_state(
    rest: Rest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Feed.reach, "__kwdefaults__", {"timeout": 0.01})
    made = await rest.call("POST", CONFIGS, config("a"), code=201)
    version = int(made["metadata"]["resourceVersion"]) + 1000
    assert await watch(rest, f"resourceVersion={version}&timeoutSeconds=1", 1) == []
    (progress,) = await watch(rest, f"resourceVersion={version}&timeoutSeconds=1&allowWatchBookmarks=1", 2)
    assert progress["object"]["metadata"]["resourceVersion"] == str(version)  # not before the place it asked for
    query = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan"
    (event,) = await watch(rest, f"resourceVersion={version}&{query}", 2)
    status = event["object"]
    assert (event["type"], status["code"], status["reason"]) == ("ERROR", 504, "Timeout")
    assert status["message"].startswith(f"Timeout: Too large resource version: {version}, current: ")
    assert status["details"]["causes"][0]["reason"] == "ResourceVersionTooLarge"


_UNPAIRED = (
    "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"
)
_UNSAID = "resourceVersionMatch: Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
_WRONG = 'resourceVersionMatch: Unsupported value: "{}": supported values: "NotOlderThan"'
_PAGED = "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden when continue is provided"


@pytest.mark.parametrize(
    ("query", "errors"),
    [
        ("resourceVersionMatch=NotOlderThan&resourceVersion=1", [_UNPAIRED]),
        ("resourceVersionMatch=Exact&resourceVersion=1", [_UNPAIRED, _WRONG.format("Exact")]),
        ("sendInitialEvents=true", [_UNSAID]),
        ("sendInitialEvents=false&resourceVersionMatch=Exact", [_UNSAID, _WRONG.format("Exact")]),
        ("sendInitialEvents=true&resourceVersionMatch=NotOlderThan&continue=x", [_PAGED]),
        ("resourceVersionMatch=x&continue=y", [_UNPAIRED, _WRONG.format("x"), _PAGED]),
    ],
)
async def test_options_of_a_watch_that_contradict_each_other(rest: Rest, query: str, errors: list[str]) -> None:
    status = await rest.call("GET", f"{CONFIGS}?watch=1&{query}", code=422)
    found = [f"{cause['field']}: {cause['message']}" for cause in status["details"]["causes"]]
    assert found == errors


@pytest.mark.parametrize(("value", "watches"), [("foo", True), ("", True), ("FALSE", False), ("0", False)])
async def test_any_word_but_false_and_0_asks_for_a_watch(rest: Rest, value: str, watches: bool) -> None:
    await rest.call("POST", CONFIGS, config("a"), code=201)
    answer = await rest.session.get(f"{rest.url}{CONFIGS}?watch={value}&timeoutSeconds=1")
    first = json.loads(await answer.content.readline())
    assert first.get("type") == ("ADDED" if watches else None)
    answer.close()


async def test_long_lists_are_compressed_for_who_takes_that(rest: Rest) -> None:
    for number in range(3):
        await rest.call("POST", CONFIGS, config(f"big{number}", blob="x" * 100_000), code=201)
    session = aiohttp.ClientSession(auto_decompress=False)
    async with session, session.get(rest.url + CONFIGS, headers={"Accept-Encoding": "gzip"}) as answer:
        assert answer.headers["Content-Encoding"] == "gzip"
        listed = json.loads(gzip.decompress(await answer.read()))
    assert len(listed["items"]) == 3


async def test_too_large_bodies_and_broken_ones(rest: Rest) -> None:
    large = await rest.call("POST", CONFIGS, config("a", blob="x" * (3 << 20)), code=413)
    assert large["message"] == "Request entity too large: limit is 3145728"
    broken = await rest.call("POST", CONFIGS, "{", code=400)
    assert broken["message"] == "unexpected end of JSON input"


async def test_dry_runs_change_nothing(rest: Rest) -> None:
    await rest.call("POST", f"{CONFIGS}?dryRun=All", config("a"), code=201)
    await rest.call("GET", f"{CONFIGS}/a", code=404)
    await rest.call("POST", CONFIGS, config("a"), code=201)
    await rest.call("DELETE", f"{CONFIGS}/a?dryRun=All", code=200)
    await rest.call("GET", f"{CONFIGS}/a", code=200)
    refused = await rest.call("POST", f"{CONFIGS}?dryRun=Some", config("b"), code=422)
    assert 'dryRun: Unsupported value: "Some": supported values: "All"' in refused["message"]


async def test_preconditions_guard_a_deletion(rest: Rest) -> None:
    made = await rest.call("POST", CONFIGS, config("a"), code=201)
    wrong = {"preconditions": {"uid": "other"}}
    refused = await rest.call("DELETE", f"{CONFIGS}/a", wrong, code=409)
    assert refused["message"] == (
        'Operation cannot be fulfilled on configmaps "a": Precondition failed: UID in precondition: other, '
        f"UID in object meta: {made['metadata']['uid']}"
    )
    await rest.call("DELETE", f"{CONFIGS}/a", {"preconditions": {"uid": made["metadata"]["uid"]}}, code=200)


async def test_deleting_a_collection_takes_what_is_selected(rest: Rest) -> None:
    for name, tier in (("a", "x"), ("b", "y")):
        body = config(name)
        body["metadata"]["labels"] = {"tier": tier}
        await rest.call("POST", CONFIGS, body, code=201)
    answer = await rest.call("DELETE", f"{CONFIGS}?labelSelector=tier%3Dx", code=200)
    assert answer["kind"] == "ConfigMapList"
    left = await rest.call("GET", CONFIGS, code=200)
    assert [i["metadata"]["name"] for i in left["items"]] == ["b"]


async def test_put_creates_where_upstream_does(rest: Rest) -> None:
    path = "/apis/coordination.k8s.io/v1/namespaces/default/leases/l"
    lease = {"metadata": {"name": "l"}, "spec": {"holderIdentity": "me"}}
    missing = await rest.call("PUT", f"{CONFIGS}/a", config("a"), code=404)
    assert missing["reason"] == "NotFound"
    created = await rest.call("PUT", path, lease)
    assert created["kind"] in ("Lease", "Status")


async def test_discovery_in_both_forms(rest: Rest) -> None:
    groups = await rest.call("GET", "/apis", code=200)
    assert {"apps", "batch", "rbac.authorization.k8s.io"} <= {g["name"] for g in groups["groups"]}
    resources = await rest.call("GET", "/apis/apps/v1", code=200)
    by_name = {r["name"]: r for r in resources["resources"]}
    assert by_name["deployments/scale"]["kind"] == "Scale" and by_name["deployments/scale"]["group"] == "autoscaling"
    accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"
    aggregated = await rest.call("GET", "/apis", code=200, Accept=accept)
    assert aggregated["kind"] == "APIGroupDiscoveryList"
    assert rest.last.headers["Content-Type"].startswith("application/json;g=apidiscovery.k8s.io;v=v2")
    etag = rest.last.headers["ETag"]
    await rest.call("GET", "/apis", code=304, Accept=accept, If_None_Match=etag)


async def test_openapi_describes_kinds_with_their_merge_keys(rest: Rest) -> None:
    index = await rest.call("GET", "/openapi/v3", code=200)
    path = index["paths"]["apis/apps/v1"]["serverRelativeURL"]
    document = await rest.call("GET", path, code=200)
    schemas = document["components"]["schemas"]
    assert schemas["io.k8s.api.apps.v1.Deployment"]["x-kubernetes-group-version-kind"] == [
        {"group": "apps", "kind": "Deployment", "version": "v1"}
    ]
    containers = schemas["io.k8s.api.core.v1.PodSpec"]["properties"]["containers"]
    assert containers["x-kubernetes-patch-merge-key"] == "name" and containers["description"]
    patch = document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"]
    assert "fieldValidation" in {p["name"] for p in patch["parameters"]}

    def references(value: Any) -> set[str]:
        if isinstance(value, dict):
            own = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
            return own.union(*map(references, value.values()))
        return set().union(*map(references, value)) if isinstance(value, list) else set()

    wanted = {r.removeprefix("#/components/schemas/") for r in references(document)}
    assert wanted <= schemas.keys()
    v2 = await rest.call("GET", "/openapi/v2", code=200)
    assert "io.k8s.api.core.v1.Pod" in v2["definitions"]


async def test_health_tells_each_check(rest: Rest) -> None:
    async with asyncio.timeout(20):
        while (await rest.call("GET", "/readyz"))["text"] != "ok":  # APIServices are registered in the background
            await asyncio.sleep(0.01)
    verbose = (await rest.call("GET", "/readyz?verbose"))["text"]
    assert verbose.endswith("readyz check passed\n") and "[+]ping ok" in verbose
    assert (await rest.call("GET", "/livez/ping"))["text"] == "ok"
    assert "[+]poststarthook/crd-informer-synced ok\n" in verbose
    assert "\n[+]autoregister-completion ok\n" in (await rest.call("GET", "/healthz?verbose"))["text"]
    assert (await rest.call("GET", "/livez/none"))["code"] == 404
    version = await rest.call("GET", "/version", code=200)
    assert (version["major"], version["minor"], version["gitVersion"]) == ("1", "36", "v1.36.0")


async def test_events_of_both_groups_are_the_same_objects(rest: Rest) -> None:
    body = {
        "metadata": {"name": "e"},
        "regarding": {"kind": "Pod", "name": "p", "namespace": "default"},
        "eventTime": "2026-01-01T00:00:00.000000Z",
        "note": "told",
        "reason": "Because",
        "type": "Normal",
        "action": "Did",
        "reportingController": "test.io/me",
        "reportingInstance": "me-1",
    }
    made = await rest.call("POST", "/apis/events.k8s.io/v1/namespaces/default/events", body, code=201)
    assert made["apiVersion"] == "events.k8s.io/v1" and made["note"] == "told"
    core = await rest.call("GET", "/api/v1/namespaces/default/events/e", code=200)
    assert core["message"] == "told" and core["involvedObject"]["name"] == "p" and core["apiVersion"] == "v1"
    listed = await rest.call("GET", "/apis/events.k8s.io/v1/events", code=200)
    assert listed["items"][0]["regarding"]["name"] == "p"


async def test_protobuf_bodies_are_read(rest: Rest) -> None:
    body = bytes.fromhex(
        "6b3873000a0f0a02763112094e616d657370616365121c0a140a0464656d6f12001a0022002a0032003800420012001a020a001a002200"
    )
    made = await rest.call(
        "POST", "/api/v1/namespaces", body, code=201, Content_Type="application/vnd.kubernetes.protobuf"
    )
    assert made["metadata"]["name"] == "demo"


async def test_times_and_quantities_are_canonical_however_a_client_writes_them(rest: Rest) -> None:
    """The official Python client writes back `+00:00` where it read `Z`."""
    made = await rest.call("POST", CONFIGS, config("a"), code=201)
    made["metadata"]["creationTimestamp"] = made["metadata"]["creationTimestamp"].replace("Z", "+00:00")
    made["data"] = {"k": "v"}
    put = await rest.call("PUT", f"{CONFIGS}/a", made, code=200)
    assert put["metadata"]["creationTimestamp"].endswith("Z")
    pod = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "x"}]}}
    pod["spec"]["containers"][0]["resources"] = {"requests": {"memory": "1024Mi", "cpu": 1}}
    stored = await rest.call("POST", "/api/v1/namespaces/default/pods", pod, code=201)
    assert stored["spec"]["containers"][0]["resources"]["requests"] == {"memory": "1Gi", "cpu": "1"}
    pod["spec"]["containers"][0]["resources"] = {"requests": {"memory": "much"}}
    refused = await rest.call("POST", "/api/v1/namespaces/default/pods", pod, code=400)
    assert "quantities must match the regular expression" in refused["message"]


async def test_a_scale_has_its_own_table(rest: Rest) -> None:
    container = {"name": "c", "image": "x"}
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [container]}}
    spec = {"replicas": 3, "selector": {"matchLabels": {"a": "b"}}, "template": template}
    path = "/apis/apps/v1/namespaces/default/deployments"
    await rest.call("POST", path, {"metadata": {"name": "web"}, "spec": spec}, code=201)
    scale = await rest.call("GET", f"{path}/web/scale", code=200)
    assert (scale["kind"], scale["spec"], scale["status"]["selector"]) == ("Scale", {"replicas": 3}, "a=b")
    table = await rest.call("GET", f"{path}/web/scale", code=200, Accept=TABLE)
    assert [c["name"] for c in table["columnDefinitions"]] == ["Name", "Desired", "Available", "Age"]
    assert table["rows"][0]["cells"][:3] == ["web", 3, 0]
    scale["spec"]["replicas"] = 5
    await rest.call("PUT", f"{path}/web/scale", scale, code=200)
    assert (await rest.call("GET", f"{path}/web", code=200))["spec"]["replicas"] == 5
    refused = await rest.call(
        "PATCH", f"{path}/web/scale", {"spec": {"replicas": -1}}, code=422, Content_Type="application/merge-patch+json"
    )
    assert "spec.replicas: Invalid value: -1: must be greater than or equal to 0" in refused["message"]


async def test_people_get_json_they_can_read(rest: Rest) -> None:
    async def text(path: str, agent: str) -> str:
        async with rest.session.get(rest.url + path, headers={"User-Agent": agent}) as answer:
            return await answer.text()

    path = "/api/v1/namespaces/default"
    assert "\n" not in await text(path, "kubectl/v1.32")
    for readable in (await text(path + "?pretty=true", "kubectl/v1.32"), await text(path, "curl/8.14")):
        assert readable.startswith('{\n  "apiVersion": "v1",\n')
    assert "\n" not in await text(path + "?pretty=false", "curl/8.14")


async def test_nobody_can_delete_a_kind_in_all_namespaces_at_once(rest: Rest) -> None:
    await rest.call("POST", CONFIGS, config("kept"), code=201)
    answer = await rest.call("DELETE", "/api/v1/configmaps", code=405)
    assert answer["message"] == "the server does not allow this method on the requested resource"
    await rest.call("GET", CONFIGS + "/kept", code=200)
    await rest.call("DELETE", CONFIGS, code=200)
    await rest.call("GET", CONFIGS + "/kept", code=404)
