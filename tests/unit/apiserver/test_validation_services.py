"""Services and what serves them: what is refused, and what an update keeps or drops."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.apiserver.building import context, create_errors, created, make, shown, strategy_of, update_errors

SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: web, namespace: default}
spec:
  selector: {app: web}
  ports: [{port: 80}]
"""
CASES = {
    "": [],
    "spec: {ports: []}": ["spec.ports: Required value"],
    "spec: {ports: [], clusterIP: None}": [],
    "spec: {ports: [{port: 0}]}": [
        "spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive",
        "spec.ports[0].targetPort: Invalid value: 0: must be between 1 and 65535, inclusive",
    ],
    "spec: {ports: [{port: 1}, {port: 2}]}": [
        "spec.ports[0].name: Required value",
        "spec.ports[1].name: Required value",
    ],
    "spec: {ports: [{port: 1, name: a}, {port: 1, name: b}]}": [
        'spec.ports[1]: Duplicate value: {"protocol":"TCP","port":1}'
    ],
    "spec: {ports: [{port: 1, nodePort: 30001}]}": [
        "spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'"
    ],
    "spec: {type: Magic}": [
        'spec.type: Unsupported value: "Magic": supported values: "ClusterIP", "ExternalName", "LoadBalancer", '
        '"NodePort"',
        "spec.internalTrafficPolicy: Required value",
    ],
    "spec: {type: ExternalName}": ["spec.externalName: Required value"],
    "spec: {type: ExternalName, externalName: example.com.}": [],
    "spec: {type: ExternalName, externalName: a.b, clusterIP: 10.96.0.9}": [
        "spec.clusterIPs: Forbidden: may not be set for ExternalName services"
    ],
    "spec: {type: NodePort, clusterIP: None}": [
        "spec.clusterIPs[0]: Invalid value: \"None\": may not be set to 'None' for NodePort services"
    ],
    "spec: {clusterIP: 10.96.0.300}": [
        'spec.clusterIPs[0]: Invalid value: "10.96.0.300": '
        "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
    ],
    "spec: {clusterIP: 10.96.0.1, clusterIPs: [10.96.0.2]}": [
        'spec.clusterIPs: Invalid value: ["10.96.0.2"]: first value must match `clusterIP`'
    ],
    "spec: {sessionAffinity: Cookie}": [
        'spec.sessionAffinity: Unsupported value: "Cookie": supported values: "ClientIP", "None"'
    ],
    "spec: {externalTrafficPolicy: Local}": [
        'spec.externalTrafficPolicy: Invalid value: "Local": may only be set for externally-accessible services'
    ],
    "spec: {externalIPs: [127.0.0.1]}": [
        'spec.externalIPs[0]: Invalid value: "127.0.0.1": may not be in the loopback range (127.0.0.0/8, ::1/128)'
    ],
    "spec: {loadBalancerClass: a/b}": [
        "spec.loadBalancerClass: Forbidden: may only be used when `type` is 'LoadBalancer'"
    ],
    "spec: {selector: {app: 'a b'}}": None,
    "spec: {trafficDistribution: Somewhere}": [
        'spec.trafficDistribution: Unsupported value: "Somewhere": supported values: "PreferClose", "PreferSameNode", '
        '"PreferSameZone"'
    ],
}


@pytest.mark.parametrize("change", CASES)
def test_refused(change: str) -> None:
    found = create_errors(SERVICE, change or None)
    if CASES[change] is None:
        assert found[0].startswith('spec.selector: Invalid value: "a b": a valid label must be')
    else:
        assert found == CASES[change]


def test_a_cluster_ip_never_changes() -> None:
    assert update_errors(SERVICE, "spec: {clusterIP: 10.96.0.5}", "spec: {clusterIP: 10.96.0.6}") == [
        'spec.clusterIPs[0]: Invalid value: ["10.96.0.6"]: may not change once set'
    ]


def updated(before: str, after: str) -> dict[str, Any]:
    old, new = created(SERVICE, before), make(SERVICE, after)
    strategy, ctx = strategy_of(old), context(old)
    strategy.prepare_update(ctx, new, old)
    assert strategy.validate_update(ctx, new, old) == []
    spec: dict[str, Any] = shown(new)["spec"]
    return spec


def test_an_update_that_says_nothing_keeps_what_was_allocated() -> None:
    before = """
    spec: {type: NodePort, clusterIP: 10.96.0.5, ipFamilies: [IPv4], ipFamilyPolicy: SingleStack,
           ports: [{port: 80, nodePort: 30080}]}
    """
    spec = updated(before, "spec: {type: NodePort}")
    assert spec["clusterIP"] == "10.96.0.5"
    assert spec["clusterIPs"] == ["10.96.0.5"]
    assert spec["ipFamilies"] == ["IPv4"]
    assert spec["ports"][0]["nodePort"] == 30080


def test_a_change_of_type_drops_what_the_old_type_had() -> None:
    before = "spec: {type: NodePort, clusterIP: 10.96.0.5, ports: [{port: 80, nodePort: 30080}]}"
    spec = updated(before, before.replace("NodePort,", "ClusterIP, externalTrafficPolicy: Cluster,"))
    assert "nodePort" not in spec["ports"][0]
    assert "externalTrafficPolicy" not in spec
    external = updated(before, "spec: {type: ExternalName, externalName: a.b, clusterIP: 10.96.0.5}")
    assert "clusterIP" not in external
    assert "clusterIPs" not in external


SLICE = """
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web, namespace: default}
addressType: IPv4
endpoints: [{addresses: [10.0.0.1]}]
ports: [{port: 80}]
"""


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("endpoints: [{addresses: ['fd00::1']}]", [
            'endpoints[0].addresses[0]: Invalid value: "fd00::1": must be an IPv4 address']),
        ("endpoints: [{addresses: []}]", ["endpoints[0].addresses: Required value: must contain at least 1 address"]),
        ("addressType: IPX", ['addressType: Unsupported value: "IPX": supported values: "FQDN", "IPv4", "IPv6"']),
        ("ports: [{port: 80}, {port: 81}]", ['ports[1].name: Duplicate value: ""']),
    ],
)  # fmt: skip
def test_slices(change: str, expected: list[str]) -> None:
    assert create_errors(SLICE, change) == expected


def test_the_address_type_of_a_slice_is_fixed() -> None:
    assert update_errors(SLICE, None, "addressType: FQDN\nendpoints: [{addresses: [a.b]}]") == [
        'addressType: Invalid value: "FQDN": field is immutable'
    ]


def test_endpoints() -> None:
    text = """
    apiVersion: v1
    kind: Endpoints
    metadata: {name: web, namespace: default}
    subsets: [{ports: [{port: 80}]}, {addresses: [{ip: 169.254.1.1}]}]
    """
    assert create_errors(text) == [
        "subsets[0]: Required value: must specify `addresses` or `notReadyAddresses`",
        'subsets[1].addresses[0].ip: Invalid value: "169.254.1.1": '
        "may not be in the link-local range (169.254.0.0/16, fe80::/10)",
    ]
