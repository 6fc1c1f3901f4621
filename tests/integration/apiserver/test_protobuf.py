"""What Go's typed clients do, in their encoding, against a server as a cluster runs it: TLS, RBAC, a real etcd."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Iterator
from typing import Any

import aiohttp
import pytest

from api.protobuf import MEDIA_TYPE, envelope
from tests.support.control_plane import control_plane
from tests.support.processes import ApiServerProcess
from tests.support.protobuf import call, event

CONFIGS = "/api/v1/namespaces/default/configmaps"
PODS = "/api/v1/namespaces/default/pods"


@pytest.fixture(scope="module")
def server() -> Iterator[ApiServerProcess]:
    with control_plane(controllers=False, scheduler=False) as plane:
        yield plane.server


def url(server: ApiServerProcess, path: str) -> str:
    return f"https://127.0.0.1:{server.rest_port}{path}"


def session(server: ApiServerProcess, who: str = "admin") -> aiohttp.ClientSession:
    tls = server.tls("admin")
    context = ssl.create_default_context(cafile=str(tls.ca))
    if who:
        context.load_cert_chain(str(server.tls(who).cert), str(server.tls(who).key))
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context))


def config(name: str, **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": {"t": "x"}}, "data": data}


async def test_lists_pages_and_watches(server: ApiServerProcess) -> None:
    """The list is longer than what is sent in one piece, and compressed for those who take that."""
    configs = url(server, CONFIGS)
    async with session(server) as http:
        watch = {"Accept": f"{MEDIA_TYPE};stream=watch"}
        start = (await call(http, "GET", configs))["metadata"]["resourceVersion"]
        async with http.get(f"{configs}?watch=1&resourceVersion={start}&labelSelector=t%3Dx", headers=watch) as events:
            await asyncio.gather(
                *(call(http, "POST", configs, config(f"c{n:03}", k=str(n) * 3000), code=201) for n in range(60))
            )
            seen = [await event(events.content) for _ in range(60)]
            assert {kind for kind, _ in seen} == {"ADDED"}
            listed = await call(http, "GET", f"{configs}?labelSelector=t%3Dx")
            assert len(listed["items"]) == 60
            plain = await call(http, "GET", f"{configs}?labelSelector=t%3Dx", **{"Accept-Encoding": "identity"})
            assert plain["items"] == listed["items"]
            by_name = {obj["metadata"]["name"]: obj for _, obj in seen}
            assert [by_name[item["metadata"]["name"]]["data"] for item in listed["items"]] == [
                item["data"] for item in listed["items"]
            ]
            async with http.get(configs + "?labelSelector=t%3Dx") as answer:
                as_json = await answer.json()
            bare = [{k: v for k, v in item.items() if k not in ("apiVersion", "kind")} for item in as_json["items"]]
            assert bare == listed["items"] and as_json["kind"] == listed["kind"]

            page = await call(http, "GET", f"{configs}?limit=25&labelSelector=t%3Dx")
            rest = await call(http, "GET", f"{configs}?labelSelector=t%3Dx&continue={page['metadata']['continue']}")
            assert page["items"] + rest["items"] == listed["items"]

            options = {"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0}
            gone = await call(http, "DELETE", f"{configs}?labelSelector=t%3Dx", options)
            assert gone["kind"] == "ConfigMapList" and len(gone["items"]) == 60
            told = [await event(events.content) for _ in range(60)]
            assert {kind for kind, _ in told} == {"DELETED"}
            assert {obj["metadata"]["name"] for _, obj in told} == set(by_name)


async def test_pods_through_their_subresources(server: ApiServerProcess) -> None:
    pods = url(server, PODS)
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p"},
        "spec": {
            "containers": [{"name": "c", "image": "i", "resources": {"requests": {"memory": "1024Mi"}}}],
            "volumes": [{"name": "e", "emptyDir": {}}],
        },
    }
    async with session(server) as http:
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
        await call(http, "POST", url(server, "/api/v1/namespaces/default/serviceaccounts"), account, code=201)
        made = await call(http, "POST", pods, pod, code=201)
        assert made["spec"]["containers"][0]["resources"]["requests"] == {"memory": "1Gi"}
        assert made["spec"]["volumes"][0] == {"name": "e", "emptyDir": {}}
        binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "p"}, "target": {"name": "n"}}
        binding["target"] = {"kind": "Node", "name": "n"}
        assert (await call(http, "POST", f"{pods}/p/binding", binding, code=201))["status"] == "Success"
        bound = await call(http, "GET", f"{pods}/p")
        assert bound["spec"]["nodeName"] == "n"
        bound["status"]["phase"] = "Succeeded"
        assert (await call(http, "PUT", f"{pods}/p/status", bound))["status"]["phase"] == "Succeeded"
        conflict = await call(http, "PUT", f"{pods}/p/status", bound, code=409)
        assert conflict["reason"] == "Conflict"
        patch = {"Content-Type": "application/merge-patch+json", "Accept": MEDIA_TYPE}
        async with http.patch(f"{pods}/p", data=b'{"metadata":{"labels":{"a":"b"}}}', headers=patch) as answer:
            patched = json.loads(envelope.to_json(await answer.read()))
            assert answer.status == 200 and patched["metadata"]["labels"] == {"a": "b"}
        eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"}}
        assert (await call(http, "POST", f"{pods}/p/eviction", eviction, code=201))["status"] == "Success"


async def test_what_is_refused_and_what_falls_back(server: ApiServerProcess) -> None:
    configs = url(server, CONFIGS)
    async with session(server) as http:
        await call(http, "POST", configs, config("a", k="v"), code=201)
        for accept in (f"application/json,{MEDIA_TYPE}", f"{MEDIA_TYPE};q=0.5,application/json", "*/*"):
            async with http.get(f"{configs}/a", headers={"Accept": accept}) as answer:
                assert answer.content_type == "application/json", accept
        for accept in ("text/html", f"{MEDIA_TYPE};as=Table;v=v1;g=meta.k8s.io"):
            async with http.get(f"{configs}/a", headers={"Accept": accept}) as answer:
                assert answer.status == 406
                assert MEDIA_TYPE in (await answer.json())["message"]
        async with http.post(
            configs, data=b"<x/>", headers={"Content-Type": "text/xml", "Accept": MEDIA_TYPE}
        ) as answer:
            status = json.loads(envelope.to_json(await answer.read()))
            assert (answer.status, status["reason"]) == (415, "UnsupportedMediaType")
        patch = {"Content-Type": MEDIA_TYPE, "Accept": MEDIA_TYPE}
        async with http.patch(f"{configs}/a", data=b"k8s\x00", headers=patch) as answer:
            assert answer.status == 415
    async with session(server, "scheduler") as http:
        refused = await call(http, "POST", configs, config("b"), code=403)
        assert refused["reason"] == "Forbidden" and "system:kube-scheduler" in refused["message"]
    async with session(server, "") as http:
        unknown = await call(http, "GET", configs, code=401, Authorization="Bearer nobody")
        assert unknown["reason"] == "Unauthorized"
