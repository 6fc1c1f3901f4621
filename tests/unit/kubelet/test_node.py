"""The Node object: what others write of it is noticed, and what turns is told."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from api import codec
from api.types.core_v1 import Node
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
    await harness.until(lambda: condition(harness) == "True")
    before = len(harness.events("NodeReady"))
    await lost(harness)
    harness.kubelet.node.touch()
    await harness.until(lambda: condition(harness) == "True")
    await harness.until(lambda: len(harness.events("NodeReady")) == before + 1)


async def test_a_kubelet_that_starts_anew_tells_that_its_node_is_ready_again(harness: Harness) -> None:
    await harness.until(lambda: condition(harness) == "True")
    await harness.stop()
    before = len(harness.events("NodeReady"))
    await lost(harness)
    await harness.restart()
    await harness.until(lambda: condition(harness) == "True")
    await harness.until(lambda: len(harness.events("NodeReady")) > before)
    assert condition(harness, "MemoryPressure") == "False"
