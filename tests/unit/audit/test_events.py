"""What a server writes into its audit log, over both faces, for requests that succeed, fail, go on or are refused."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from api import errors
from api.types.core_v1 import ConfigMap
from api.types.meta_v1 import ObjectMeta
from apiserver import bootstrap
from apiserver.audit.policy import parse
from apiserver.audit.record import Auditor
from apiserver.auth.bootstrap.reconcile import reconcile
from apiserver.resources import strategies
from apiserver.security import SecurityOptions, secure
from apiserver.server import Faces, serve
from apiserver.store.memory import MemoryStore
from client.api import Api
from client.writes import Create
from tests.support.rest import Rest

EVERYTHING = {"level": "RequestResponse"}
BASE = "/api/v1/namespaces/default/configmaps"
ADMIN = {"Authorization": "Bearer admin-token"}


class Memory:
    """A sink that keeps the events."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    def write(self, line: bytes) -> None:
        assert line.endswith(b"\n") and line.count(b"\n") == 1
        self.events.append(json.loads(line))

    def close(self) -> None: ...

    def of(self, **wanted: Any) -> list[dict[str, Any]]:
        return [e for e in self.events if all(e.get(key) == value for key, value in wanted.items())]


@contextlib.asynccontextmanager
async def audited(tmp_path: Path, *rules: dict[str, Any]) -> AsyncIterator[tuple[Memory, Rest, Api]]:
    """A server with RBAC on the REST face; its gRPC face in the clear is told who calls by nobody: it is anonymous."""
    tokens = tmp_path / "tokens.csv"
    tokens.write_text('admin-token,admin,1,"system:masters"\nbob-token,bob,2\n')
    sink = Memory()
    policy = parse({"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": list(rules)})

    async def roles(registry: Any) -> None:
        await reconcile(registry)

    async with (
        serve(
            MemoryStore(),
            Faces(grpc_address=f"unix:{tmp_path / 'a.sock'}", rest_address=("127.0.0.1", 0)),
            secure=lambda registry: secure(registry, SecurityOptions(token_file=str(tokens))),
            strategies=strategies(),
            prepare=[bootstrap.objects, roles],
            auditor=Auditor(policy, sink),
        ) as server,
        aiohttp.ClientSession() as session,
        Api.connect(f"unix:{tmp_path / 'a.sock'}") as api,
    ):
        yield sink, Rest(session, server.rest_url), api


async def test_a_create_is_recorded_with_who_why_and_what(tmp_path: Path) -> None:
    async with audited(tmp_path, EVERYTHING) as (sink, rest, _):
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"k": "v"}}
        made = await rest.call("POST", BASE + "?fieldManager=me", body, code=201, User_Agent="tester/1", **ADMIN)
        received, complete = sink.of(verb="create")
        assert received["stage"] == "RequestReceived" and "responseStatus" not in received
        assert received["auditID"] == complete["auditID"] == rest.last.headers["Audit-Id"]
        assert complete["kind"] == "Event" and complete["apiVersion"] == "audit.k8s.io/v1"
        assert complete["level"] == "RequestResponse" and complete["stage"] == "ResponseComplete"
        assert complete["requestURI"] == BASE + "?fieldManager=me"
        assert complete["user"] == {
            "username": "admin",
            "uid": "1",
            "groups": ["system:masters", "system:authenticated"],
        }
        assert complete["sourceIPs"] == ["127.0.0.1"] and complete["userAgent"] == "tester/1"
        assert complete["objectRef"] == {
            "resource": "configmaps",
            "namespace": "default",
            "name": "a",
            "apiVersion": "v1",
        }
        assert complete["responseStatus"] == {"metadata": {}, "code": 201}
        assert complete["requestObject"] == body and complete["responseObject"] == made
        assert complete["annotations"] == {"authorization.k8s.io/decision": "allow", "authorization.k8s.io/reason": ""}
        assert received["requestReceivedTimestamp"] == complete["requestReceivedTimestamp"]
        assert complete["stageTimestamp"] >= complete["requestReceivedTimestamp"]


async def test_a_level_says_how_much_and_secrets_can_be_left_out(tmp_path: Path) -> None:
    rules = (
        {"level": "None", "users": ["nobody"]},
        {"level": "Metadata", "resources": [{"resources": ["secrets"]}], "omitStages": ["RequestReceived"]},
        {"level": "Request", "resources": [{"resources": ["configmaps"]}], "omitManagedFields": True},
    )
    async with audited(tmp_path, *rules) as (sink, rest, _):
        secret = {"metadata": {"name": "s"}, "data": {"a": "aHVudGVyMg=="}}
        await rest.call("POST", "/api/v1/namespaces/default/secrets", secret, code=201, **ADMIN)
        (event,) = sink.of(verb="create")
        assert event["stage"] == "ResponseComplete" and not {"requestObject", "responseObject"} & set(event)
        config = {"metadata": {"name": "c", "managedFields": []}}
        await rest.call("POST", BASE, config, code=201, **ADMIN)
        event = sink.of(verb="create", stage="ResponseComplete")[-1]
        assert event["requestObject"] == {"metadata": {"name": "c"}} and "responseObject" not in event
        before = len(sink.events)
        await rest.call("GET", "/api/v1/nodes", **ADMIN)
        assert len(sink.events) == before


async def test_what_is_refused_says_why(tmp_path: Path) -> None:
    async with audited(tmp_path, {"level": "Metadata"}) as (sink, rest, _):
        await rest.call("GET", BASE + "/a", code=403, Authorization="Bearer bob-token")
        event = sink.of(verb="get", stage="ResponseComplete")[-1]
        assert event["annotations"]["authorization.k8s.io/decision"] == "forbid"
        assert event["responseStatus"]["code"] == 403 and event["responseStatus"]["reason"] == "Forbidden"
        assert event["responseStatus"]["status"] == "Failure"
        assert 'User "bob" cannot get resource "configmaps"' in event["responseStatus"]["message"]
        await rest.call("GET", BASE + "/a", code=401, Authorization="Bearer wrong")
        event = sink.events[-1]
        assert (event["stage"], event["user"]) == ("ResponseStarted", {})
        assert event["responseStatus"] == {
            "metadata": {},
            "status": "Failure",
            "message": "Authentication failed, attempted: bearer",
            "reason": "Unauthorized",
            "code": 401,
        }
        assert "wrong" not in json.dumps(sink.events)


async def test_the_reason_names_the_binding(tmp_path: Path) -> None:
    async with audited(tmp_path, {"level": "Metadata"}) as (sink, rest, _):
        await rest.call("GET", "/version", code=200, Authorization="Bearer bob-token")
        event = sink.of(requestURI="/version", stage="ResponseComplete")[-1]
        assert "objectRef" not in event
        assert event["annotations"]["authorization.k8s.io/reason"].startswith(
            'RBAC: allowed by ClusterRoleBinding "system:'
        )


async def test_impersonation_shows_both(tmp_path: Path) -> None:
    async with audited(tmp_path, {"level": "Metadata"}) as (sink, rest, _):
        await rest.call("GET", BASE, code=403, Impersonate_User="carol", Impersonate_Group="x", **ADMIN)
        event = sink.of(verb="list", stage="ResponseComplete")[-1]
        assert event["user"]["username"] == "admin"
        assert event["impersonatedUser"] == {"username": "carol", "groups": ["x", "system:authenticated"]}


async def test_a_watch_is_recorded_when_it_begins_and_when_it_ends(tmp_path: Path) -> None:
    async with audited(tmp_path, {"level": "Metadata"}) as (sink, rest, _):
        async with rest.session.get(rest.url + BASE + "?watch=true&timeoutSeconds=1", headers=ADMIN) as answer:
            await answer.read()
        stages = [e["stage"] for e in sink.of(verb="watch")]
        assert stages == ["RequestReceived", "ResponseStarted", "ResponseComplete"]
        async with rest.session.get(rest.url + BASE + "?watch=true", headers=ADMIN):
            pass
        async with asyncio.timeout(5):
            while [e["stage"] for e in sink.of(verb="watch")] != stages * 2:
                await asyncio.sleep(0.01)


async def test_patches_and_lists_show_their_bodies(tmp_path: Path) -> None:
    async with audited(tmp_path, EVERYTHING) as (sink, rest, _):
        applied = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\ndata:\n  k: v\n"
        path = BASE + "/a?fieldManager=me"
        await rest.call("PATCH", path, applied, code=201, Content_Type="application/apply-patch+yaml", **ADMIN)
        event = sink.of(verb="patch", stage="ResponseComplete")[-1]
        assert event["requestObject"]["data"] == {"k": "v"} == event["responseObject"]["data"]
        await rest.call(
            "PATCH", BASE + "/a", {"data": {"k": "w" * 70_000}}, code=200,
            Content_Type="application/merge-patch+json", **ADMIN,
        )  # fmt: skip
        await rest.call("GET", BASE, code=200, **ADMIN)
        event = sink.of(verb="list", stage="ResponseComplete")[-1]
        assert [item["metadata"]["name"] for item in event["responseObject"]["items"]] == ["a"]


async def test_the_grpc_face_is_recorded_alike(tmp_path: Path) -> None:
    async with audited(tmp_path, EVERYTHING) as (sink, _, api):
        config = ConfigMap(metadata=ObjectMeta(name="a", namespace="default"))
        with pytest.raises(errors.StatusError):
            await api.create(config)
        event = sink.of(verb="create", stage="ResponseComplete")[-1]
        assert event["requestURI"] == BASE
        assert event["user"]["username"] == "system:anonymous"
        assert event["annotations"]["authorization.k8s.io/decision"] == "forbid"
        assert (event["responseStatus"]["code"], event["responseStatus"]["reason"]) == (403, "Forbidden")
        before = len(sink.of(verb="create", stage="ResponseComplete"))
        await api.batch([Create(config), Create(config)])
        assert len(sink.of(verb="create", stage="ResponseComplete")) == before + 2
        with pytest.raises(errors.StatusError):
            await api.list(ConfigMap, namespace="default")
        assert sink.of(verb="list", stage="ResponseComplete")[-1]["responseStatus"]["code"] == 403
