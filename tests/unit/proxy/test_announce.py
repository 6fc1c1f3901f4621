"""Announcements of load balancer addresses, as bytes on the wire."""

from __future__ import annotations

from proxy.announce import gratuitous_arp


def test_a_gratuitous_arp_is_a_request_for_its_own_sender() -> None:
    mac = bytes.fromhex("0242ac1e0b0b")
    frame = gratuitous_arp(mac, "172.30.0.193")
    assert frame[:14] == b"\xff" * 6 + mac + b"\x08\x06"
    sender = frame[22:28], frame[28:32]
    assert sender == (mac, bytes([172, 30, 0, 193]))
    assert frame[38:42] == frame[28:32]  # target address: the same
    assert len(frame) == 42
