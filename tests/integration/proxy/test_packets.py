"""Real packets through the rules: every kind of address, from every side."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator

import pytest

from proxy.conntrack import Served, parse, stale
from proxy.rules import Fragment, Network, base, merge, render, transaction
from proxy.services import Endpoint, ServicePort
from tests.integration.proxy.netlab import CLIENT_IP, NODE_IP, NetLab, netlab

NETWORK = Network(cluster_cidr="10.244.0.0/16", service_cidr="10.96.0.0/16")
A, B, C = (Endpoint(f"10.244.1.{n}", 8080, True) for n in (11, 12, 13))
WEB = ServicePort(
    namespace="default",
    name="web",
    port_name="http",
    protocol="tcp",
    port=80,
    cluster_ip="10.96.0.50",
    external_ips=(),
    load_balancer_ips=(),
    source_ranges=(),
    node_port=30080,
    affinity_seconds=0,
    external_local=False,
    internal=(A, B, C),
    external=(A, B, C),
    cluster=(A, B, C),
)


@pytest.fixture(scope="module")
def lab() -> Iterator[NetLab]:
    with netlab() as made:
        made.pod("a", A.ip)
        made.pod("b", B.ip)
        made.pod("c", C.ip)
        made.run("client", "ip", "route", "replace", "10.96.0.0/16", "via", NODE_IP)
        yield made


def program(lab: NetLab, *ports: ServicePort) -> Fragment:
    fragment = merge(render(p, NETWORK) for p in ports)
    lab.nft(base(NETWORK) + transaction(Fragment(), fragment))
    return fragment


def change(**kwargs: object) -> ServicePort:
    return dataclasses.replace(WEB, **kwargs)  # type: ignore[arg-type]


def test_cluster_ip_spreads_over_all_endpoints_and_keeps_the_pods_address(lab: NetLab) -> None:
    program(lab, WEB)
    answers = lab.ask("a", WEB.cluster_ip, 80, count=60)
    assert {who for who, _ in answers} == {"a", "b", "c"}
    assert {peer for who, peer in answers if who != "a"} == {A.ip}


def test_a_pod_reaches_itself_through_its_service(lab: NetLab) -> None:
    program(lab, change(internal=(A,), external=(A,), cluster=(A,)))
    [(who, peer)] = lab.ask("a", WEB.cluster_ip, 80)
    assert (who, peer) == ("a", "10.244.1.1")


def test_the_node_itself_reaches_cluster_ip_and_node_port(lab: NetLab) -> None:
    program(lab, WEB)
    assert {who for who, _ in lab.ask("node", WEB.cluster_ip, 80, count=30)} == {"a", "b", "c"}
    assert {who for who, _ in lab.ask("node", NODE_IP, 30080, count=30)} == {"a", "b", "c"}


def test_node_port_from_outside_is_masqueraded(lab: NetLab) -> None:
    program(lab, WEB)
    answers = lab.ask("client", NODE_IP, 30080, count=30)
    assert {who for who, _ in answers} == {"a", "b", "c"}
    assert {peer for _, peer in answers} == {"10.244.1.1"}


def test_external_traffic_policy_local_keeps_the_clients_address(lab: NetLab) -> None:
    program(lab, change(external_local=True, external=(B,)))
    assert lab.ask("client", NODE_IP, 30080, count=5) == [("b", CLIENT_IP)] * 5
    assert {who for who, _ in lab.ask("a", NODE_IP, 30080, count=40)} == {"a", "b", "c"}


def test_external_traffic_policy_local_without_endpoints_drops_only_outside_traffic(lab: NetLab) -> None:
    program(lab, change(external_local=True, external=()))
    assert lab.ask("client", NODE_IP, 30080) == [("TimeoutError", "")]
    assert lab.ask("a", NODE_IP, 30080)[0][0] in "abc"


def test_a_service_without_endpoints_refuses_at_once(lab: NetLab) -> None:
    program(lab, change(internal=(), external=(), cluster=()))
    for where, ip, port in [
        ("a", WEB.cluster_ip, 80),
        ("node", WEB.cluster_ip, 80),
        ("client", WEB.cluster_ip, 80),
        ("client", NODE_IP, 30080),
    ]:
        assert lab.ask(where, ip, port) == [("ConnectionRefusedError", "")], (where, ip, port)


def test_unknown_cluster_addresses_are_rejected_on_the_node(lab: NetLab) -> None:
    program(lab, WEB)
    assert lab.ask("a", "10.96.7.7", 80) == [("ConnectionRefusedError", "")]
    assert lab.ask("node", "10.96.7.7", 80) == [("ConnectionRefusedError", "")]
    assert lab.ask("a", WEB.cluster_ip, 81) == [("ConnectionRefusedError", "")]
    assert lab.ask("a", "10.96.7.7", 53, kind="udp") == [("ConnectionRefusedError", "")]


def test_udp(lab: NetLab) -> None:
    program(lab, change(protocol="udp", port=53, node_port=30053))
    assert {who for who, _ in lab.ask("a", WEB.cluster_ip, 53, kind="udp", count=40)} == {"a", "b", "c"}
    assert {who for who, _ in lab.ask("client", NODE_IP, 30053, kind="udp", count=40)} == {"a", "b", "c"}


def test_session_affinity_binds_a_client_to_one_endpoint_until_it_goes(lab: NetLab) -> None:
    sticky = change(affinity_seconds=100)
    before = program(lab, sticky)
    [first] = {who for who, _ in lab.ask("b", WEB.cluster_ip, 80, count=20)}
    left = tuple(e for e, name in ((A, "a"), (B, "b"), (C, "c")) if name != first)
    after = render(change(affinity_seconds=100, internal=left, external=left, cluster=left), NETWORK)
    lab.nft(transaction(before, after))
    [second] = {who for who, _ in lab.ask("b", WEB.cluster_ip, 80, count=20)}
    assert second != first


def test_affinity_timeout_changes_in_place(lab: NetLab) -> None:
    before = program(lab, change(affinity_seconds=100))
    lab.nft(transaction(before, render(change(affinity_seconds=200), NETWORK)))
    assert len({who for who, _ in lab.ask("b", WEB.cluster_ip, 80, count=20)}) == 1
    assert "timeout 3m20s" in lab.run("node", "nft", "list", "table", "ip", "pykube")


def test_load_balancer_source_ranges(lab: NetLab) -> None:
    balanced = change(load_balancer_ips=("198.18.0.100",), source_ranges=("198.18.0.0/30",))
    program(lab, balanced)
    lab.run("client", "ip", "route", "replace", "198.18.0.100", "via", NODE_IP)
    assert lab.ask("client", "198.18.0.100", 80)[0][0] in "abc"
    program(lab, change(load_balancer_ips=("198.18.0.100",), source_ranges=("203.0.113.0/24",)))
    assert lab.ask("client", "198.18.0.100", 80) == [("TimeoutError", "")]


def test_external_ips(lab: NetLab) -> None:
    program(lab, change(external_ips=("198.18.0.101",)))
    lab.run("client", "ip", "route", "replace", "198.18.0.101", "via", NODE_IP)
    assert lab.ask("client", "198.18.0.101", 80)[0][0] in "abc"


def test_pods_leave_the_cluster_with_the_nodes_address_but_meet_nodes_with_their_own(lab: NetLab) -> None:
    program(lab, WEB)
    lab.serve("client", 9000)
    assert lab.ask("a", CLIENT_IP, 9000) == [("client", NODE_IP)]
    lab.run("client", "ip", "route", "replace", "10.244.1.0/24", "via", NODE_IP)
    lab.nft(f"add element ip pykube nodes {{ {CLIENT_IP} }}\n")
    assert lab.ask("a", CLIENT_IP, 9000) == [("client", A.ip)]


def test_changes_arrive_in_one_transaction_and_leave_nothing_behind(lab: NetLab) -> None:
    program(lab)
    empty = lab.run("node", "nft", "list", "table", "ip", "pykube")
    before = program(lab, WEB, change(name="other", cluster_ip="10.96.0.51", node_port=30081, affinity_seconds=10))
    after = render(change(internal=(C,), external=(C,), cluster=(C,)), NETWORK)
    lab.nft(transaction(before, after))
    assert {who for who, _ in lab.ask("a", WEB.cluster_ip, 80, count=10)} == {"c"}
    assert lab.ask("a", "10.96.0.51", 80) == [("ConnectionRefusedError", "")]
    lab.nft(transaction(after, Fragment()))
    assert lab.run("node", "nft", "list", "table", "ip", "pykube") == empty


def test_internal_traffic_policy_local_without_endpoints_here_is_silent(lab: NetLab) -> None:
    program(lab, change(internal=()))
    assert lab.ask("a", WEB.cluster_ip, 80) == [("TimeoutError", "")]
    assert lab.ask("client", NODE_IP, 30080)[0][0] in "abc"


def test_a_udp_client_finds_the_service_that_came_after_its_first_packet(lab: NetLab) -> None:
    asker = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(2)
s.bind(("0.0.0.0", 40123))
s.sendto(b"?", ("198.18.0.1", 30053))
try: print(s.recv(100).decode())
except OSError: print("nobody")
"""
    program(lab, WEB)
    assert lab.run("client", sys.executable, "-c", asker) == "nobody\n"
    dns = change(protocol="udp", port=53, node_port=30053)
    program(lab, dns)
    served = Served(node_ports={30053: {e.ip for e in dns.cluster}})
    listing = lab.run("node", "conntrack", "-L", "-p", "udp")
    for flow in stale(parse(listing), served, lambda flow: flow.address == NODE_IP):
        lab.run("node", "conntrack", "-D", "-p", "udp", "--orig-dst", flow.address, "--orig-port-dst", str(flow.port))
    assert "nobody" not in lab.run("client", sys.executable, "-c", asker)
