"""Which backend a request means, by all ingresses together, and where that backend is."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from addons.ingress.classes import ANNOTATION, CONTROLLER, DEFAULT, Classes
from addons.ingress.endpoints import Address, Endpoints
from addons.ingress.routes import Backend, Routes, hostname, normal
from api import codec
from api.types.core_v1 import Service
from api.types.discovery_v1 import EndpointSlice
from api.types.networking_v1 import Ingress, IngressClass
from client.fake import FakeApi
from client.informer import Informer


def to(service: str, port: str | int = 80) -> dict[str, Any]:
    return {"service": {"name": service, "port": {"name": port} if isinstance(port, str) else {"number": port}}}


def ingress(
    name: str = "web", *, created: str = "2026-01-01T00:00:00Z", annotations: Any = None, **spec: Any
) -> Ingress:
    """`rules` as {host: {path or (path, type): service}}."""
    rules = []
    for host, paths in spec.pop("rules", {}).items():
        listed = []
        for key, service in paths.items():
            path, kind = key if isinstance(key, tuple) else (key, "Prefix")
            listed.append({"path": path, "pathType": kind, "backend": to(service)})
        rules.append({**({"host": host} if host else {}), **({"http": {"paths": listed}} if listed else {})})
    return codec.from_dict(
        Ingress,
        {
            "metadata": {
                "name": name,
                "namespace": "default",
                "creationTimestamp": created,
                "annotations": annotations or {},
            },
            "spec": {"rules": rules, **spec},
        },
    )


def found(routes: Routes, host: str, path: str) -> str | None:
    route = routes.find(hostname(host), normal(path))
    return route.backend.service if route is not None and route.backend is not None else None


def test_the_most_specific_host_alone_decides() -> None:
    routes = Routes(
        [ingress(rules={"a.example.org": {"/x": "name"}, "*.example.org": {"/": "wildcard"}, "": {"/": "anybody"}})]
    )
    assert found(routes, "A.example.org:8080", "/x") == "name"
    assert found(routes, "a.example.org.", "/other") is None
    assert found(routes, "b.example.org", "/other") == "wildcard"
    assert found(routes, "c.b.example.org", "/") == "anybody"
    assert found(routes, "example.org", "/") == "anybody"
    assert found(routes, "", "/") == "anybody"


@pytest.mark.parametrize(
    ("path", "service"),
    [
        ("/", "all"),
        ("/foo", "exact"),
        ("/foo/", "foo"),
        ("/foo/x", "foo"),
        ("/foobar", "all"),
        ("/foo/bar", "longer"),
        ("/foo/bar/baz?q=/foo", "longer"),
        ("/foo/barbaz", "foo"),
        ("/slash", "slash"),
        ("/free/x", "free"),
        ("/foo/%62ar", "longer"),
        ("/x/../foo//bar", "longer"),
        ("/foo/bar/..", "foo"),
    ],
)
def test_exact_paths_come_first_then_the_longest_prefix_by_element(path: str, service: str) -> None:
    paths = {
        "/": "all",
        "/foo": "foo",
        ("/foo", "Exact"): "exact",
        "/foo/bar": "longer",
        "/slash/": "slash",
        ("/free", "ImplementationSpecific"): "free",
    }
    assert found(Routes([ingress(rules={"": paths})]), "any", path) == service


def test_what_no_rule_takes_goes_to_a_default_backend() -> None:
    own = ingress("own", rules={"a.org": {"/x": "x"}, "b.org": {}}, defaultBackend=to("mine"))
    assert found(Routes([own]), "a.org", "/other") == "mine"
    assert found(Routes([own]), "b.org", "/") == "mine"
    everybody = ingress("all", created="2026-02-01T00:00:00Z", defaultBackend=to("everybody"))
    routes = Routes([own, everybody, ingress("c", rules={"c.org": {"/x": "c"}})])
    assert found(routes, "a.org", "/other") == "mine"
    assert found(routes, "c.org", "/other") == "everybody"
    assert found(routes, "elsewhere.org", "/") == "everybody"
    assert Routes([]).find("a.org", "/") is None


def test_of_two_claims_the_older_one_holds() -> None:
    young = ingress("a", created="2026-03-01T00:00:00Z", rules={"a.org": {"/": "young", "/y": "y"}})
    old = ingress("b", rules={"a.org": {"/": "old"}})
    routes = Routes([young, old])
    assert (found(routes, "a.org", "/"), found(routes, "a.org", "/y")) == ("old", "y")


def test_tls_hosts_and_the_redirect_that_an_annotation_turns_off() -> None:
    off = {"nginx.ingress.kubernetes.io/ssl-redirect": "false"}
    routes = Routes(
        [
            ingress("on", rules={"a.org": {"/": "a"}}, tls=[{"hosts": ["A.org", "*.wild.org"]}]),
            ingress("off", annotations=off, rules={"a.org": {"/plain": "b"}}),
        ]
    )
    assert [routes.wants_tls(h) for h in ("a.org", "x.wild.org", "y.x.wild.org", "b.org")] == [True, True, False, False]
    redirecting, plain = routes.find("a.org", "/"), routes.find("a.org", "/plain")
    assert redirecting is not None and redirecting.ssl_redirect
    assert plain is not None and not plain.ssl_redirect


def test_a_resource_backend_is_known_and_has_nobody_to_serve_it() -> None:
    bucket = {"resource": {"apiGroup": "example.org", "kind": "Bucket", "name": "icons"}}
    path = {"path": "/icons", "pathType": "Prefix", "backend": bucket}
    mixed = codec.from_dict(
        Ingress, {"metadata": {"name": "i", "namespace": "default"}, "spec": {"rules": [{"http": {"paths": [path]}}]}}
    )
    route = Routes([mixed, ingress(rules={"": {"/": "all"}})]).find("x", "/icons")
    assert route is not None and route.backend is None


def a_class(name: str, controller: str = CONTROLLER, *, default: bool = False) -> IngressClass:
    annotations = {DEFAULT: "true"} if default else {}
    return codec.from_dict(
        IngressClass, {"metadata": {"name": name, "annotations": annotations}, "spec": {"controller": controller}}
    )


def test_whose_an_ingress_is() -> None:
    named, foreign = ingress(ingressClassName="ours"), ingress(ingressClassName="theirs")
    annotated, other = ingress(annotations={ANNOTATION: "ours"}), ingress(annotations={ANNOTATION: "nginx"})
    unnamed = ingress()
    classes = [a_class("ours"), a_class("theirs", "example.org/other", default=True)]
    assert [Classes(classes).serves(i) for i in (named, foreign, annotated, other, unnamed)] == [
        True,
        False,
        True,
        False,
        False,
    ]
    assert Classes([a_class("ours", default=True)]).serves(unnamed)


def a_slice(name: str, *endpoints: tuple[str, bool, bool, bool], port: Any = ("http", 8080)) -> EndpointSlice:
    """Endpoints as address, ready, serving, terminating."""
    return codec.from_dict(
        EndpointSlice,
        {
            "metadata": {
                "name": name,
                "namespace": "default",
                "labels": {"kubernetes.io/service-name": "web"},
            },
            "addressType": "IPv4",
            "ports": [{"name": port[0], "port": port[1], "protocol": "TCP"}, {"name": "admin", "port": 9}],
            "endpoints": [
                {"addresses": [a], "conditions": {"ready": r, "serving": s, "terminating": t}}
                for a, r, s, t in endpoints
            ],
        },
    )


async def test_ready_endpoints_in_turn_and_live() -> None:
    service = {"metadata": {"name": "web", "namespace": "default"}, "spec": {"ports": [{"name": "http", "port": 80}]}}
    outside = {
        "metadata": {"name": "out", "namespace": "default"},
        "spec": {"type": "ExternalName", "externalName": "example.org"},
    }
    api = FakeApi(codec.from_dict(Service, service), codec.from_dict(Service, outside))
    api.add(a_slice("one", ("10.0.0.1", True, True, False), ("10.0.0.2", False, False, False)))
    last = api.add(a_slice("two", ("10.0.0.3", True, True, False)))
    services, slices = Informer(api, Service), Informer(api, EndpointSlice)
    endpoints = Endpoints(services, slices)
    changed = asyncio.Event()
    slices.add_handler(on_update=lambda _, __: changed.set())
    running = [asyncio.create_task(informer.run()) for informer in (services, slices)]
    await services.synced()
    await slices.synced()
    by_number, by_name = Backend("default", "web", 80), Backend("default", "web", "http")
    one, three = Address("10.0.0.1", 8080), Address("10.0.0.3", 8080)
    assert {endpoints.pick(by_number), endpoints.pick(by_number)} == {one, three}
    assert {endpoints.pick(by_name), endpoints.pick(by_name)} == {one, three}
    assert endpoints.pick(by_number, [one]) == three
    assert endpoints.pick(by_number, [one, three]) is None
    assert endpoints.pick(Backend("default", "web", 81)) is None
    assert endpoints.pick(Backend("default", "none", 80)) is None
    assert endpoints.pick(Backend("default", "out", 8080)) == Address("example.org", 8080)
    assert last.endpoints is not None and last.endpoints[0].conditions is not None
    last.endpoints[0].conditions.ready = False
    await api.update(last)
    await changed.wait()
    assert {endpoints.pick(by_number) for _ in range(4)} == {one}
    # Nobody is ready: those that end and still serve.
    changed.clear()
    first = await api.get(EndpointSlice, "one", namespace="default")
    ending = a_slice("one", ("10.0.0.1", False, True, True), ("10.0.0.2", False, False, True))
    first.endpoints = ending.endpoints
    await api.update(first)
    await changed.wait()
    assert {endpoints.pick(by_number) for _ in range(4)} == {one}
    for task in running:
        task.cancel()
