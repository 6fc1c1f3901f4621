"""Which endpoints a Service's traffic may go to, by the policies and the endpoints' conditions."""

from __future__ import annotations

from typing import Any

from api.codec import from_dict
from api.types.core_v1 import Service
from api.types.discovery_v1 import EndpointSlice
from proxy.services import ServicePort, resolve


def service(**spec: Any) -> Service:
    base = {"clusterIP": "10.96.0.5", "ports": [{"port": 80, "protocol": "TCP"}], "type": "ClusterIP"}
    return from_dict(Service, {"metadata": {"name": "web", "namespace": "default"}, "spec": base | spec})


def slice_(*endpoints: dict[str, Any], port: int = 8080, name: str = "") -> EndpointSlice:
    return from_dict(
        EndpointSlice,
        {
            "metadata": {"name": "web-1", "namespace": "default"},
            "addressType": "IPv4",
            "ports": [{"name": name, "port": port, "protocol": "TCP"}],
            "endpoints": list(endpoints),
        },
    )


def endpoint(ip: str, node: str = "n1", **conditions: bool) -> dict[str, Any]:
    return {"addresses": [ip], "nodeName": node, "conditions": conditions}


def only(service: Service, *slices: EndpointSlice) -> ServicePort:
    [port] = resolve(service, slices, "n1")
    return port


def ips(endpoints: Any) -> list[str]:
    return [e.ip for e in endpoints]


def test_only_ready_endpoints_are_used() -> None:
    port = only(service(), slice_(endpoint("10.0.0.1", ready=True), endpoint("10.0.0.2", ready=False)))
    assert ips(port.internal) == ["10.0.0.1"]


def test_an_endpoint_that_says_nothing_is_ready() -> None:
    assert ips(only(service(), slice_(endpoint("10.0.0.1"))).internal) == ["10.0.0.1"]


def test_terminating_endpoints_serve_only_when_no_other_does() -> None:
    leaving = endpoint("10.0.0.1", ready=False, serving=True, terminating=True)
    dead = endpoint("10.0.0.3", ready=False, serving=False, terminating=True)
    assert ips(only(service(), slice_(leaving, dead)).internal) == ["10.0.0.1"]
    assert ips(only(service(), slice_(leaving, dead, endpoint("10.0.0.2", ready=True))).internal) == ["10.0.0.2"]


def test_policies_local() -> None:
    slices = slice_(endpoint("10.0.0.1", "n1", ready=True), endpoint("10.0.0.2", "n2", ready=True))
    port = only(service(internalTrafficPolicy="Local"), slices)
    assert (ips(port.internal), ips(port.cluster)) == (["10.0.0.1"], ["10.0.0.1", "10.0.0.2"])
    ports = [{"port": 80, "protocol": "TCP", "nodePort": 30001}]
    port = only(service(type="NodePort", externalTrafficPolicy="Local", ports=ports), slices)
    assert (ips(port.external), ips(port.internal)) == (["10.0.0.1"], ["10.0.0.1", "10.0.0.2"])
    assert port.external_local
    assert port.node_port == 30001


def test_ports_are_matched_by_name() -> None:
    ports = [{"name": "a", "port": 80, "protocol": "TCP"}, {"name": "b", "port": 81, "protocol": "TCP"}]
    found = resolve(service(ports=ports), [slice_(endpoint("10.0.0.1", ready=True), name="b", port=9)], "n1")
    assert [(p.port_name, [(e.ip, e.port) for e in p.internal]) for p in found] == [
        ("a", []),
        ("b", [("10.0.0.1", 9)]),
    ]


def test_an_address_in_two_slices_counts_once_and_as_ready() -> None:
    slices = [slice_(endpoint("10.0.0.1", ready=False)), slice_(endpoint("10.0.0.1", ready=True))]
    assert ips(only(service(), *slices).internal) == ["10.0.0.1"]


def test_what_is_not_proxied() -> None:
    assert resolve(service(clusterIP="None"), [], "n1") == []
    assert resolve(service(type="ExternalName", clusterIP=""), [], "n1") == []
    for label in ("service.kubernetes.io/service-proxy-name", "service.kubernetes.io/headless"):
        other = service()
        other.metadata.labels = {label: ""}
        assert resolve(other, [], "n1") == []


def test_affinity_and_load_balancer() -> None:
    given = from_dict(
        Service,
        {
            "metadata": {"name": "web", "namespace": "default"},
            "spec": {
                "clusterIP": "10.96.0.5",
                "type": "LoadBalancer",
                "sessionAffinity": "ClientIP",
                "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 7}},
                "loadBalancerSourceRanges": [" 10.0.0.0/8 "],
                "ports": [{"port": 80, "protocol": "TCP"}],
            },
            "status": {"loadBalancer": {"ingress": [{"ip": "1.1.1.1"}, {"ip": "1.1.1.2", "ipMode": "Proxy"}]}},
        },
    )
    port = only(given)
    assert port.affinity_seconds == 7
    assert port.load_balancer_ips == ("1.1.1.1",)
    assert port.source_ranges == ("10.0.0.0/8",)


def hinted(ip: str, node: str, *, zones: list[str] | None = None, nodes: list[str] | None = None) -> dict[str, Any]:
    hints = {"forZones": [{"name": z} for z in zones or ()], "forNodes": [{"name": n} for n in nodes or ()]}
    return {**endpoint(ip, node, ready=True), "hints": hints}


def near(*endpoints: dict[str, Any], zone: str = "east") -> list[str]:
    [port] = resolve(service(), [slice_(*endpoints)], "n1", zone)
    return ips(port.internal)


def test_hints_prefer_this_node_then_its_zone() -> None:
    east, west = hinted("10.0.0.1", "n2", zones=["east"]), hinted("10.0.0.2", "n3", zones=["west"])
    assert near(east, west) == ["10.0.0.1"]
    here = hinted("10.0.0.1", "n1", zones=["east"], nodes=["n1"])
    beside = hinted("10.0.0.2", "n2", zones=["east"], nodes=["n2"])
    assert near(here, beside) == ["10.0.0.1"]
    assert near(hinted("10.0.0.1", "n2", zones=["east"], nodes=["n2"]), beside) == ["10.0.0.1", "10.0.0.2"]


def test_hints_that_are_incomplete_or_for_others_are_ignored() -> None:
    east, west = hinted("10.0.0.1", "n2", zones=["east"]), hinted("10.0.0.2", "n3", zones=["west"])
    both = ["10.0.0.1", "10.0.0.2"]
    assert near(east, west, zone="north") == both
    assert near(east, west, zone="") == both
    assert near(east, endpoint("10.0.0.2", ready=True)) == both


def test_addresses_of_another_family_are_left_out() -> None:
    spec = {
        "type": "LoadBalancer",
        "externalIPs": ["fd00::1", "198.18.0.7"],
        "loadBalancerSourceRanges": ["::/0", "10.0.0.0/8"],
    }
    given = service(**spec)
    given.status = from_dict(
        Service, {"status": {"loadBalancer": {"ingress": [{"ip": "fd00::2"}, {"ip": "1.1.1.1"}]}}}
    ).status
    port = only(given)
    assert (port.external_ips, port.load_balancer_ips, port.source_ranges) == (
        ("198.18.0.7",),
        ("1.1.1.1",),
        ("10.0.0.0/8",),
    )


def test_health_checks_count_addresses_that_are_ready_here() -> None:
    leaving = endpoint("10.0.0.4", "n1", ready=False, serving=True, terminating=True)
    slices = slice_(endpoint("10.0.0.1", "n1", ready=True), endpoint("10.0.0.2", "n2", ready=True), leaving)
    port = only(service(), slices)
    assert port.local_ready == {"10.0.0.1"}
    assert port.serving == {"10.0.0.1", "10.0.0.2", "10.0.0.4"}
    assert only(service(), slice_(leaving)).local_ready == frozenset()
