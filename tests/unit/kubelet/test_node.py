"""The Node object: what others write of it is noticed, and what turns is told."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from api import codec, errors
from api.types.core_v1 import Event, Node
from api.types.storage_v1 import CSINode
from kubelet.csi_node import MIGRATED
from tests.unit.kubelet.harness import NODE, Harness, running


@pytest.fixture
async def harness(tmp_path: Path) -> AsyncIterator[Harness]:
    async with running(tmp_path) as made:
        yield made


def node(harness: Harness) -> Node:
    found = harness.api.one(Node, NODE)
    assert found is not None
    return found


def condition(harness: Harness, kind: str = "Ready") -> str:
    return next((c.status for c in node(harness).status.conditions or () if c.type == kind), "")


def told(harness: Harness, reason: str) -> int:
    """How often; equal events are one that counts."""
    return sum(e.count or 0 for e in harness.api.objects(Event) if e.reason == reason)


async def cordon(harness: Harness, wanted: bool) -> None:
    await harness.api.patch(Node, NODE, {"spec": {"unschedulable": wanted or None}}, type="merge")


async def lost(harness: Harness) -> None:
    """As the node controller writes it."""
    turned = codec.deepcopy(node(harness))
    for c in turned.status.conditions or ():
        c.status, c.reason = "Unknown", "NodeStatusUnknown"
    await harness.api.update_status(turned)


async def test_cordon_and_uncordon_are_told(harness: Harness) -> None:
    await cordon(harness, True)
    await harness.until(lambda: harness.events("NodeNotSchedulable"))
    assert harness.events("NodeNotSchedulable") == ["Node n1 status is now: NodeNotSchedulable"]
    assert not harness.events("NodeSchedulable")
    await cordon(harness, False)
    await harness.until(lambda: harness.events("NodeSchedulable"))
    assert harness.events("NodeSchedulable") == ["Node n1 status is now: NodeSchedulable"]


async def test_a_kubelet_that_starts_anew_tells_of_a_cordon_that_it_finds(harness: Harness) -> None:
    await harness.stop()
    await cordon(harness, True)
    await harness.restart()
    await harness.until(lambda: harness.events("NodeNotSchedulable"))


async def test_a_node_that_was_given_up_is_ready_again_and_says_so(harness: Harness) -> None:
    await harness.until(lambda: told(harness, "NodeReady") == 1)
    await lost(harness)
    await harness.until(lambda: condition(harness) == "True")
    await harness.until(lambda: told(harness, "NodeReady") == 2)


async def test_a_kubelet_that_starts_anew_tells_that_its_node_is_ready_again(harness: Harness) -> None:
    await harness.until(lambda: told(harness, "NodeReady") == 1)
    await harness.stop()
    await lost(harness)
    await harness.restart()
    await harness.until(lambda: condition(harness) == "True")
    await harness.until(lambda: told(harness, "NodeReady") == 2)
    assert condition(harness, "MemoryPressure") == "False"


async def test_a_node_has_a_csi_node_of_its_own_before_it_is_ready(harness: Harness) -> None:
    await harness.until(lambda: condition(harness) == "True")
    made = harness.api.one(CSINode, NODE)
    assert made is not None and made.spec.drivers == []
    [owner] = made.metadata.owner_references or []
    assert (owner.kind, owner.name, owner.uid) == ("Node", NODE, node(harness).metadata.uid)
    assert "kubernetes.io/gce-pd" in (made.metadata.annotations or {})[MIGRATED]


async def test_a_node_without_a_csi_node_is_not_ready(harness: Harness) -> None:
    await harness.until(lambda: condition(harness) == "True")
    await harness.stop()
    await harness.api.delete(CSINode, NODE)
    away = True

    def refuse(_: object) -> None:
        if away:
            raise errors.service_unavailable("away")

    harness.api.on("create", "csinodes", refuse)
    await harness.restart()
    await harness.until(lambda: condition(harness) == "False")
    ready = next(c for c in node(harness).status.conditions or () if c.type == "Ready")
    assert ready.message == "CSINode is not yet initialized"
    away = False
    await harness.until(lambda: condition(harness) == "True")


async def test_what_others_count_is_allocatable_and_stays(harness: Harness) -> None:
    await harness.until(lambda: condition(harness) == "True")
    real = (node(harness).status.capacity or {})["cpu"]
    capacity = {"capacity": {"example.com/dongle": "4", "cpu": "1000"}}
    await harness.api.patch(Node, NODE, {"status": capacity}, type="merge", subresource="status")
    await harness.until(lambda: (node(harness).status.allocatable or {}).get("example.com/dongle") == "4")
    assert (node(harness).status.capacity or {})["example.com/dongle"] == "4"
    # What the kubelet knows itself is as it knows it.
    assert (node(harness).status.capacity or {})["cpu"] == real
    await harness.stop()
    await harness.restart()
    gone = {"capacity": {"example.com/dongle": None}}
    assert (node(harness).status.allocatable or {})["example.com/dongle"] == "4"
    await harness.api.patch(Node, NODE, {"status": gone}, type="merge", subresource="status")
    await harness.until(lambda: "example.com/dongle" not in (node(harness).status.allocatable or {}))
