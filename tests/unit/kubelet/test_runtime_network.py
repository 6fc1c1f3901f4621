"""Addresses and host ports: the parts that need no kernel."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubelet.cri import PortMapping
from kubelet.runtime.hostports import _collide, ruleset
from kubelet.runtime.ipam import IPAM, AddressesExhausted
from kubelet.runtime.network import mac_of, veth_name


def test_the_first_address_is_the_nodes_and_the_rest_go_round(tmp_path: Path) -> None:
    ipam = IPAM("10.244.1.0/29", cursor_file=tmp_path / "last")
    assert ipam.gateway == "10.244.1.1"
    given_out = [ipam.allocate() for _ in range(5)]
    assert given_out == [f"10.244.1.{host}" for host in (2, 3, 4, 5, 6)]
    with pytest.raises(AddressesExhausted):
        ipam.allocate()
    ipam.release("10.244.1.4")
    ipam.release("10.244.1.3")
    assert ipam.allocate() == "10.244.1.3"


def test_a_restart_goes_on_where_it_was(tmp_path: Path) -> None:
    first = IPAM("10.244.1.0/24", cursor_file=tmp_path / "last")
    address = first.allocate()
    first.release(address)
    again = IPAM("10.244.1.0/24", cursor_file=tmp_path / "last")
    assert again.allocate() not in (address, again.gateway)
    # A file of another CIDR, or of nothing sensible, is no obstacle.
    (tmp_path / "last").write_text("rubbish")
    assert IPAM("10.244.2.0/24", cursor_file=tmp_path / "last").allocate() == "10.244.2.2"


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5)), max_size=60))
def test_no_address_is_ever_held_twice(steps: list[tuple[bool, int]]) -> None:
    ipam = IPAM("10.0.0.0/29")
    held: list[str] = []
    for take, position in steps:
        if take and len(held) < 5:
            address = ipam.allocate()
            assert address not in held
            held.append(address)
        elif held:
            ipam.release(held.pop(position % len(held)))
    assert ipam.held() == frozenset(held)


def test_a_cidr_without_room_for_pods_is_refused() -> None:
    with pytest.raises(ValueError, match="no room"):
        IPAM("10.0.0.0/31")


def test_names_and_macs() -> None:
    assert len(veth_name("f" * 64)) == 15
    assert mac_of("10.244.1.7") == "0a:58:0a:f4:01:07"


def test_ruleset_separates_bound_and_unbound_ports() -> None:
    text = ruleset(
        [
            ("10.0.0.2", PortMapping(80, 8080)),
            ("10.0.0.3", PortMapping(53, 5353, "UDP", "192.0.2.1")),
            ("10.0.0.4", PortMapping(81, 81, "TCP", "0.0.0.0")),
            ("10.0.0.5", PortMapping(0, 9)),
        ],
        bridge="cbr0",
    )
    assert "elements = { tcp . 80 : 10.0.0.2 . 8080, tcp . 81 : 10.0.0.4 . 81 }" in text
    assert "elements = { 192.0.2.1 . udp . 53 : 10.0.0.3 . 5353 }" in text
    assert "10.0.0.5" not in text


def test_without_mappings_the_table_goes() -> None:
    assert ruleset([], bridge="cbr0").splitlines() == [
        "add table ip pykube_hostports",
        "delete table ip pykube_hostports",
    ]


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (PortMapping(80, 1), PortMapping(80, 2), True),
        (PortMapping(80, 1, "TCP", "10.0.0.1"), PortMapping(80, 2), True),
        (PortMapping(80, 1, "TCP", "10.0.0.1"), PortMapping(80, 2, "TCP", "10.0.0.2"), False),
        (PortMapping(80, 1, "UDP"), PortMapping(80, 2, "TCP"), False),
        (PortMapping(0, 1), PortMapping(0, 2), False),
    ],
)
def test_which_host_ports_collide(one: PortMapping, other: PortMapping, expected: bool) -> None:
    assert _collide(one, other) is expected
