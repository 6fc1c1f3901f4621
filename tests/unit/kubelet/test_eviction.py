"""Pressure: conditions, who goes first, who never goes, who may still come."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from api.types.core_v1 import Node
from kubelet import eviction
from kubelet.eviction import Eviction, disk_usage
from kubelet.signals import Observation, Threshold, observe
from tests.unit.kubelet.harness import Harness, container, make_pod

PLENTY = Observation(4 << 30, 8 << 30)
SCARCE = Observation(50 << 20, 8 << 30)


class Machine:
    """What the node has left, as a test says it."""

    def __init__(self, node: Harness) -> None:
        self.observed = {"memory.available": PLENTY, "nodefs.available": PLENTY}
        self.reclaimed = 0
        self.reclaims = False
        kubelet = node.kubelet
        self.eviction = Eviction(
            node.config,
            kubelet.pods,
            node.runtime,
            kubelet.recorder,
            kubelet.services.layout,
            kubelet.state,
            observe=lambda: self.observed,
            reclaim_disk=self.reclaim,
            changed=kubelet.node.touch,
        )
        kubelet.pods.gates.append(self.eviction.refuse)

    async def reclaim(self) -> None:
        self.reclaimed += 1
        if self.reclaims:
            self.observed["nodefs.available"] = PLENTY


def memory(request: str | None = None) -> dict[str, Any]:
    return container(resources={"requests": {"memory": request}} if request else {})


async def test_the_pod_most_over_its_request_goes(node: Harness) -> None:
    node.api.add(make_pod("modest", memory("1Gi")))
    node.api.add(make_pod("greedy", memory()))
    node.api.add(make_pod("critical", memory(), priority=2_000_001_000))
    await node.until(lambda: all(node.is_ready(n) for n in ("modest", "greedy", "critical")))
    usage = {"workingSetBytes": 500 << 20}
    node.runtime.stats = {
        f"uid-{name}": {"memory": usage, "containers": [{"name": "app", "memory": usage}]}
        for name in ("modest", "greedy", "critical")
    }
    machine = Machine(node)
    machine.observed["memory.available"] = SCARCE
    await machine.eviction.check()
    await node.until(lambda: node.pod("greedy").status.phase == "Failed")
    status = node.pod("greedy").status
    assert status.reason == "Evicted"
    assert status.message == (
        "The node was low on resource: memory. Threshold quantity: 100Mi, available: 51200Ki. "
        "Container app was using 512000Ki, request is 0, has larger consumption of memory. "
    )
    assert ("DisruptionTarget", "TerminationByKubelet") in {(c.type, c.reason) for c in status.conditions or ()}
    assert node.is_ready("modest") and node.is_ready("critical")
    await node.until(lambda: node.events("Evicted"))
    await node.until(lambda: _condition(node, "MemoryPressure") == "True")


async def test_disk_is_reclaimed_before_pods_are_evicted(node: Harness) -> None:
    node.api.add(make_pod())
    await node.until(node.is_ready)
    machine = Machine(node)
    machine.observed["nodefs.available"] = Observation(1 << 20, 8 << 30)
    machine.reclaims = True
    await machine.eviction.check()
    assert machine.reclaimed == 1
    assert node.is_ready() and not node.events("Evicted")


async def test_pressure_lasts_a_while_after_its_cause(node: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(node)
    machine.observed["memory.available"] = SCARCE
    await machine.eviction.check()
    machine.observed["memory.available"] = PLENTY
    await machine.eviction.check()
    assert node.kubelet.state.pressures == {"MemoryPressure"}
    monkeypatch.setattr(eviction, "TRANSITION", 0.0)
    await machine.eviction.check()
    assert node.kubelet.state.pressures == set()


async def test_who_may_come_under_pressure(node: Harness) -> None:
    machine = Machine(node)
    machine.observed["memory.available"] = SCARCE
    await machine.eviction.check()
    node.api.add(make_pod("best-effort"))
    node.api.add(make_pod("burstable", memory("1Mi")))
    await node.until(lambda: node.is_ready("burstable"))
    await node.until(lambda: node.pod("best-effort").status.phase == "Failed")
    assert node.pod("best-effort").status.message == "Pod was rejected: The node had condition: [MemoryPressure]. "


async def test_a_volume_over_its_limit_ends_its_pod(node: Harness) -> None:
    mounts = [{"name": "v", "mountPath": "/v"}]
    volumes = [{"name": "v", "emptyDir": {"sizeLimit": "64Ki"}}]
    node.api.add(make_pod("web", container(volumeMounts=mounts), volumes=volumes))
    await node.until(node.is_ready)
    machine = Machine(node)
    await machine.eviction.check()
    assert node.is_ready()
    path = node.config.root_dir / "pods/uid-web/volumes/kubernetes.io~empty-dir/v/big"
    path.write_bytes(os.urandom(128 << 10))
    await machine.eviction.check()
    await node.until(lambda: node.pod().status.phase == "Failed")
    assert node.pod().status.message == 'Usage of EmptyDir volume "v" exceeds the limit "64Ki". '


def test_thresholds_are_amounts_or_shares() -> None:
    assert Threshold("memory.available", "100Mi").met(SCARCE)
    assert not Threshold("memory.available", "10Mi").met(SCARCE)
    assert Threshold("nodefs.available", "10%").met(Observation(9, 100))
    assert not Threshold("nodefs.available", "10%").met(Observation(10, 100))


def test_disk_usage_counts_blocks_and_inodes(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d/f").write_bytes(os.urandom(10_000))
    used, inodes = disk_usage(str(tmp_path))
    assert inodes == 2 and 10_000 <= used <= 40_000
    assert disk_usage(str(tmp_path / "none")) == (0, 0)


def test_this_machine_can_be_observed(tmp_path: Path) -> None:
    seen = observe(tmp_path, tmp_path, 1 << 40)
    assert all(0 <= o.available <= o.capacity for o in seen.values())
    assert seen["memory.available"].available > 0 and seen["pid.available"].available > 0


def _condition(node: Harness, kind: str) -> str:
    return next((c.status for c in node.api.objects(Node)[0].status.conditions or () if c.type == kind), "")
