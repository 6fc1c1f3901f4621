"""Whatever is thrown at the API, the answer is the client's fault or a success, and nothing changes that should not.

Two fuzzers: schemathesis makes requests from the OpenAPI document that the server serves; hypothesis spoils paths,
queries, headers, bodies and patches beyond what a document would allow. Both are bounded in a normal run:
`PYKUBE_FUZZ=100000` asks for that many requests of each.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import struct
import threading
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator
from typing import Any
from urllib.parse import quote, urlencode

import aiohttp
import pytest
import pytest_asyncio
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from yarl import URL

from api.protobuf import MEDIA_TYPE, envelope
from api.resources import RESOURCES
from apiserver.server import Server
from tests.support.api import running
from tests.support.rest import Rest
from tests.unit.apiserver.test_core_fuzz import Maker

REQUESTS = int(os.environ.get("PYKUBE_FUZZ", "0"))
#: A version that has not come yet or a store that does not answer; what was not built; a node that is not there.
ALLOWED = (501, 503, 504)
STREAMS = ("proxy", "exec", "attach", "portforward", "log")
_PATCHES = ("json-patch+json", "merge-patch+json", "strategic-merge-patch+json", "apply-patch+yaml")
_NUMBERS = ("0", "1", "-1", "99999999999999999999", "1.5", "x", "")
_QUERIES: dict[str, tuple[str, ...]] = {
    "limit": _NUMBERS,
    "continue": ("x", "", "e30", "eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6LTEsInN0YXJ0IjoiYSJ9", "\u2603"),
    "resourceVersion": (*_NUMBERS, "0"),
    "resourceVersionMatch": ("Exact", "NotOlderThan", "x", ""),
    "fieldSelector": ("metadata.name=a", "a", "=", "spec.x=y", ",", "metadata.name!=", "metadata.name=a\\"),
    "labelSelector": ("a=b", "a in (b", "!a", "a in ()", "=", "a notin (x,y),b", "a>1", "\u2603"),
    "dryRun": ("All", "x", ""),
    "fieldValidation": ("Strict", "Warn", "Ignore", "x"),
    "fieldManager": ("f", "x" * 200, "\u2603", "\n"),
    "force": ("true", "1", "x"),
    "gracePeriodSeconds": _NUMBERS,
    "propagationPolicy": ("Background", "Foreground", "Orphan", "x", ""),
    "orphanDependents": ("true", "x"),
    "pretty": ("true", "x"),
    "includeObject": ("None", "Object", "Metadata", "x"),
    "timeoutSeconds": ("1", "x"),
}
_ACCEPTS = (
    "application/json",
    "application/yaml",
    "application/json;as=Table;v=v1;g=meta.k8s.io,application/json",
    "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io,application/json",
    "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io",
    "application/vnd.kubernetes.protobuf",
    "x/y",
    "*/*;q=x",
    ";;,,",
)
_NAMES = ("a", "b", "default", "a.b", "A_b", "..", "%2e", "a%00b", "\u2603", "x" * 300)
_RAW = (b"", b"{", b"[]", b"null", b"\xff\xfe", b"a: &a [*a]", b"k8s\x00junk", b'{"kind":1}', b"[" * 5000, b'"x"')


class Requests:
    """One random request after the other, the same for the same seed."""

    def __init__(self, seed: int) -> None:
        self.maker = Maker(seed)
        self.pick = self.maker.random

    def next(self) -> tuple[str, str, dict[str, str], dict[str, str], bytes | None]:
        """Method, path, query, headers, body."""
        pick = self.pick
        resource = pick.choice(RESOURCES)
        method = pick.choice(("GET", "GET", "POST", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"))
        name = pick.choice(_NAMES[:2]) if pick.random() < 0.85 else pick.choice(_NAMES)
        path = self._path(resource, method, name)
        query = {}
        while pick.random() < 0.3:
            key = pick.choice(tuple(_QUERIES))
            query[key] = pick.choice(_QUERIES[key])
        headers = {"Accept": pick.choice(_ACCEPTS)} if pick.random() < 0.3 else {}
        body = None
        if method in ("POST", "PUT", "PATCH") or (method == "DELETE" and pick.random() < 0.3):
            body = self._body(resource, method, name, query, headers)
        return method, path, query, headers, body

    def _path(self, resource: Any, method: str, name: str) -> str:
        pick = self.pick
        path = f"/apis/{resource.group}/{resource.version}" if resource.group else f"/api/{resource.version}"
        if resource.namespaced and pick.random() < 0.95:
            path += "/namespaces/default"
        path += f"/{resource.plural}"
        if method not in ("POST",) and pick.random() < 0.8:
            path += f"/{name}"
            subresources = [s for s in resource.subresources if s not in STREAMS]
            if subresources and pick.random() < 0.3:
                path += f"/{pick.choice(subresources)}"
        if pick.random() < 0.03:
            path = pick.choice((path + "/", path + "/x/y/z", path.replace("/v1", "/v9"), "//" + path, path + "%"))
        return path

    def _body(self, resource: Any, method: str, name: str, query: dict[str, str], headers: dict[str, str]) -> bytes:
        pick = self.pick
        headers["Content-Type"] = "application/json"
        if method == "PATCH":
            media = pick.choice(_PATCHES)
            headers["Content-Type"] = f"application/{media}"
            if "apply" in media:
                query["fieldManager"] = "fuzz"
        if pick.random() < 0.05:
            headers["Content-Type"] = pick.choice(("application/yaml", "text/plain", "x", "application/json;a=b;;"))
        if pick.random() < 0.05:
            return pick.choice(_RAW)
        body = self.maker.body(resource, name)
        if headers["Content-Type"] == "application/json-patch+json":
            body = self.maker.patch("json-patch+json", body)
        data = json.dumps(body).encode()
        if headers["Content-Type"] == "application/json" and pick.random() < 0.2:
            return self._protobuf(resource, body, headers) or data
        return data

    def _protobuf(self, resource: Any, body: Any, headers: dict[str, str]) -> bytes | None:
        """The body in protobuf, mostly as it should be; None if it is nothing that has a form there."""
        try:
            whole = {"apiVersion": resource.api_version, "kind": resource.kind, **body}
            data = bytearray(envelope.from_json(json.dumps(whole).encode()))
        except (AttributeError, LookupError, TypeError, ValueError, struct.error):
            return None
        if self.pick.random() < 0.5:
            data[self.pick.randrange(len(data))] = self.pick.randrange(256)
        headers["Content-Type"] = MEDIA_TYPE
        return bytes(data)


class Fuzzed:
    """A server, and what must not have changed when all is over."""

    def __init__(self, server: Server, rest: Rest) -> None:
        self.server = server
        self.rest = rest

    async def send(self, method: str, path: str, query: Any, headers: Any, body: bytes | None) -> None:
        """Fails the test if the answer is the server's fault."""
        url = self.rest.url + quote(path.replace("//", "/"), safe="/%~:") + ("?" + urlencode(query) if query else "")
        async with asyncio.timeout(20):
            async with self.rest.session.request(
                method, URL(url, encoded=True), headers=headers, data=body, allow_redirects=False
            ) as answer:
                text = await answer.text(errors="replace")
        sent = (answer.status, method, path, query, headers, body, text)
        assert answer.status < 500 or answer.status in ALLOWED, sent

    async def untouched(self) -> Any:
        """All objects of a namespace that no request names, without what the server itself writes."""
        found = {}
        for endpoint in self.server.registry.endpoints:
            resource = endpoint.resource
            if not resource.namespaced or "list" not in resource.verbs:
                continue
            base = f"/apis/{resource.group}/{resource.version}" if resource.group else f"/api/{resource.version}"
            listed = await self.rest.call("GET", f"{base}/namespaces/bystander/{resource.plural}")
            found[resource.group_resource] = listed["items"]
        return found


@pytest_asyncio.fixture
async def fuzzed() -> AsyncIterator[Fuzzed]:
    async with running() as (server, _), aiohttp.ClientSession() as session:
        rest = Rest(session, server.rest_url)
        await rest.call("POST", "/api/v1/namespaces", {"metadata": {"name": "bystander"}}, code=201)
        for kind, body in (
            ("configmaps", {"data": {"a": "b"}}),
            ("secrets", {"data": {"a": "Yg=="}}),
            ("services", {}),
        ):
            spec = {"spec": {"ports": [{"port": 80}]}} if kind == "services" else {}
            made = {"metadata": {"name": "mine"}, **body, **spec}
            await rest.call("POST", f"/api/v1/namespaces/bystander/{kind}", made, code=201)
        yield Fuzzed(server, rest)


async def test_random_requests_get_no_server_error_and_touch_only_what_they_name(fuzzed: Fuzzed) -> None:
    before = await fuzzed.untouched()
    seed = int(os.environ.get("PYKUBE_FUZZ_SEED", random.randrange(2**32)))
    print(f"PYKUBE_FUZZ_SEED={seed}")
    requests = Requests(seed)
    end = time.monotonic() + (1e9 if REQUESTS else 15)
    for _ in range(REQUESTS or 2_000):
        await fuzzed.send(*requests.next())
        if time.monotonic() > end:
            break
    assert await fuzzed.untouched() == before
    # What was stored on the way is readable in every form: nothing malformed got in.
    for endpoint in fuzzed.server.registry.endpoints:
        resource = endpoint.resource
        base = f"/apis/{resource.group}/{resource.version}" if resource.group else f"/api/{resource.version}"
        for accept in _ACCEPTS[:6]:
            await fuzzed.send("GET", f"{base}/{resource.plural}", {}, {"Accept": accept}, None)


async def test_a_dry_run_changes_nothing_whatever_it_is(fuzzed: Fuzzed) -> None:
    requests = Requests(7)
    registry = fuzzed.server.registry
    before = await registry.store.revision()
    for _ in range(REQUESTS // 10 or 300):
        method, path, query, headers, body = requests.next()
        if path.endswith(("reviews", "/token")):
            continue
        await fuzzed.send(method, path, {**query, "dryRun": "All"}, headers, body)
    assert await registry.store.revision() == before


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A server in a thread of its own, for fuzzers that block."""
    found: list[str] = []
    ready, stop = threading.Event(), threading.Event()

    async def serve() -> None:
        async with running() as (server, _):
            found.append(server.rest_url)
            ready.set()
            await asyncio.to_thread(stop.wait)

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    assert ready.wait(30)
    yield found[0]
    stop.set()
    thread.join(20)


#: JSON as wide as it gets: surrogates, huge numbers, deep nesting, any keys.
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=15,
)
_METADATA = st.fixed_dictionaries(
    {"name": st.sampled_from(("a", "b")) | st.text(max_size=10)},
    optional={"labels": _JSON, "annotations": _JSON, "finalizers": _JSON, "ownerReferences": _JSON, "uid": _JSON},
)
_OBJECTS = st.fixed_dictionaries(
    {"metadata": _METADATA | _JSON}, optional={"spec": _JSON, "data": _JSON, "status": _JSON}
)


@settings(
    max_examples=REQUESTS or 200,
    deadline=None,
    phases=(Phase.generate, Phase.shrink),
    suppress_health_check=list(HealthCheck),
)
@given(
    resource=st.sampled_from(RESOURCES),
    body=_OBJECTS | _JSON,
    patch=st.sampled_from(_PATCHES),
    method=st.sampled_from(("POST", "PUT", "PATCH")),
)
def test_any_json_is_refused_or_taken(address: str, resource: Any, body: Any, patch: str, method: str) -> None:
    path = f"/apis/{resource.group}/{resource.version}" if resource.group else f"/api/{resource.version}"
    path += f"/namespaces/default/{resource.plural}" if resource.namespaced else f"/{resource.plural}"
    if method != "POST":
        path += "/a?fieldManager=fuzz"
    if isinstance(body, dict):
        body = {"apiVersion": resource.api_version, "kind": resource.kind, **body}
    media = f"application/{patch}" if method == "PATCH" else "application/json"
    request = urllib.request.Request(
        address + path, data=json.dumps(body).encode(), method=method, headers={"Content-Type": media}
    )
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            assert answer.status < 300
    except urllib.error.HTTPError as error:
        assert error.code < 500 or error.code in ALLOWED, (error.code, error.read())
        status = json.loads(error.read())
        assert status["kind"] == "Status" and status["code"] == error.code and status["message"]


def test_what_the_openapi_document_promises_is_served_without_errors(address: str) -> None:
    """schemathesis over the core and apps groups' documents (all of them with PYKUBE_FUZZ)."""
    import schemathesis
    from schemathesis.checks import not_a_server_error

    with urllib.request.urlopen(f"{address}/openapi/v3", timeout=20) as answer:
        served = json.loads(answer.read())["paths"]
    wanted = sorted(served) if REQUESTS else ["api/v1", "apis/apps/v1", "apis/batch/v1"]
    end = time.monotonic() + (1e9 if REQUESTS else 45)
    tried = 0
    for name in wanted:
        with urllib.request.urlopen(address + served[name]["serverRelativeURL"], timeout=20) as answer:
            document = json.loads(answer.read())
        document["paths"] = {
            path: item
            for path, item in document["paths"].items()
            if "/watch/" not in path
            and not path.rpartition("{path}")[0].endswith("proxy/")
            and not path.endswith(STREAMS)
        }
        schema = schemathesis.openapi.from_dict(document)
        operations = [result.ok() for result in schema.get_all_operations()]
        random.Random(1).shuffle(operations)
        for operation in operations:
            if time.monotonic() > end:
                break

            @settings(
                max_examples=max(1, REQUESTS // 1000) if REQUESTS else 2,
                deadline=None,
                phases=(Phase.generate,),
                suppress_health_check=list(HealthCheck),
                database=None,
            )
            @given(case=operation.as_strategy())
            def attempt(case: Any) -> None:
                nonlocal tried
                tried += 1
                if case.query:
                    case.query.pop("watch", None)
                response = case.call(base_url=address, timeout=20)
                if response.status_code not in ALLOWED:
                    case.validate_response(response, checks=[not_a_server_error])

            attempt()
    assert tried > 50
