"""Which UDP flows lead to nobody who serves them."""

from __future__ import annotations

from proxy.conntrack import Flow, Served, parse, stale

LISTING = """\
udp      17 27 src=10.244.1.5 dst=10.96.0.10 sport=40000 dport=53 src=10.244.1.9 dst=10.244.1.5 sport=53 dport=40000 \
mark=0 use=1
udp      17 12 src=10.244.1.6 dst=10.96.0.10 sport=40001 dport=53 [UNREPLIED] src=10.244.1.8 dst=10.244.1.6 sport=53 \
dport=40001 mark=0 use=1
"""
ALIVE, GONE = Flow("10.96.0.10", 53, "10.244.1.9"), Flow("10.96.0.10", 53, "10.244.1.8")


def ours(flow: Flow) -> bool:
    return flow.address == "172.30.0.11"


def test_a_listing_is_read_by_its_original_direction_and_who_answers() -> None:
    assert parse(LISTING) == {ALIVE, GONE}
    assert parse("conntrack v1.4.8 (conntrack-tools): 0 flow entries have been shown.") == set()


def test_flows_to_endpoints_that_are_gone_are_stale_and_others_are_nobodys_business() -> None:
    elsewhere = Flow("8.8.8.8", 53, "8.8.8.8")
    served = Served(addresses={("10.96.0.10", 53): {"10.244.1.9"}})
    assert stale([ALIVE, GONE, elsewhere], served, ours) == [GONE]


def test_a_flow_from_before_the_service_was_there_is_stale() -> None:
    untranslated = Flow("198.18.0.7", 53, "198.18.0.7")
    assert stale([untranslated], Served(addresses={("198.18.0.7", 53): {"10.244.1.9"}}), ours) == [untranslated]


def test_node_ports_are_those_of_this_node() -> None:
    served = Served(node_ports={30053: {"10.244.1.9"}})
    here, abroad = Flow("172.30.0.11", 30053, "172.30.0.11"), Flow("203.0.113.1", 30053, "203.0.113.1")
    assert stale([here, abroad], served, ours) == [here]
