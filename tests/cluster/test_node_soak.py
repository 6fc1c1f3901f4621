"""Pods in waves while kubelet and dockerd are killed: nothing is lost, stuck or left over.

`PYKUBE_SOAK=500` runs that many pods instead of the few that a test run can afford; `PYKUBE_SOAK_SEED` repeats a run.
"""

from __future__ import annotations

import os
import random
import threading
import time
from typing import Any

import pytest

from tests.cluster.harness import Cluster, CommandFailed, Space, container, pod, until

pytestmark = pytest.mark.alone

NODE = "node2"
PODS = int(os.environ.get("PYKUBE_SOAK", "40"))
WAVE = 20
SEED = int(os.environ.get("PYKUBE_SOAK_SEED", str(random.randrange(10_000))))

#: What a node has of pods, one thing on a line.
INVENTORY = """
docker ps -aq --no-trunc | sed 's/^/container /'
awk '{print "mount", $2}' /proc/mounts | grep -E '/pods/|overlay2/|/containers/'
find /sys/fs/cgroup -type d -path '*kubepods*pod*' | sed 's/^/cgroup /'
ip -o link show type veth | awk -F'[:@ ]+' '{print "veth", $2}'
ls /var/lib/kubelet/pods 2>/dev/null | sed 's/^/directory /'
ls /var/lib/kubelet/runtime/sandboxes 2>/dev/null | sed 's/^/files /'
ip -o route show | grep -F 'dev cbr0' | sed 's/^/route /'
"""


def inventory(cluster: Cluster) -> set[str]:
    return set(cluster.on(NODE, "sh", "-c", INVENTORY).splitlines())


def kill_dockerd(cluster: Cluster) -> None:
    try:
        cluster.on(NODE, "sh", "-c", "kill -9 $(cat /run/docker.pid)")
    except CommandFailed:
        pass  # it is dead already


def kill_kubelet(cluster: Cluster) -> None:
    try:
        cluster.kill(NODE, "kubelet")
    except AssertionError:
        pass


def busy_pod(name: str) -> dict[str, Any]:
    """A pod with something of everything that can be left behind."""
    made = pod(name, nodeName=NODE)
    mounts = [{"name": n, "mountPath": f"/{n}x"} for n in ("disk", "memory", "config", "secret")]
    made["spec"]["volumes"] = [
        {"name": "disk", "emptyDir": {}},
        {"name": "memory", "emptyDir": {"medium": "Memory"}},
        {"name": "config", "configMap": {"name": "kube-root-ca.crt"}},
        {"name": "secret", "secret": {"secretName": "soak"}},
    ]
    made["spec"]["containers"][0]["volumeMounts"] = [*mounts, {"name": "disk", "mountPath": "/sub", "subPath": "a"}]
    made["spec"]["initContainers"] = [container("init", "true")]
    return made


class Saboteur(threading.Thread):
    """Kills kubelet or dockerd of the node at random moments until it is told to stop."""

    def __init__(self, cluster: Cluster, chance: random.Random) -> None:
        super().__init__(daemon=True)
        self._cluster = cluster
        self._chance = chance
        self._done = threading.Event()
        self.kills: list[str] = []

    def run(self) -> None:
        while not self._done.wait(self._chance.uniform(1.0, 5.0)):
            victim = self._chance.choice(["kubelet", "kubelet", "dockerd"])
            self.kills.append(victim)
            (kill_kubelet if victim == "kubelet" else kill_dockerd)(self._cluster)

    def stop(self) -> None:
        self._done.set()
        self.join()


@pytest.fixture
def clean(cluster: Cluster, space: Space) -> set[str]:
    space.kubectl("create", "secret", "generic", "soak", "--from-literal=k=v")
    space.apply(busy_pod("first"))  # what the first pod ever leaves for good (the bridge's route, say) is no leak
    space.wait_ready("first")
    space.kubectl("delete", "pod", "first", "--timeout=60s")
    return quiet(cluster)


def quiet(cluster: Cluster) -> set[str]:
    """The inventory, once it stays the same for a second."""
    before: set[str] | None = None
    for _ in range(60):
        found = inventory(cluster)
        if found == before:
            return found
        before = found
        time.sleep(1)
    raise AssertionError("the node does not come to rest")


def nothing_left(cluster: Cluster, clean: set[str]) -> bool:
    left = inventory(cluster) - clean
    assert not left, sorted(left)
    return True


@pytest.mark.timeout(max(300, PODS * 6))
def test_waves_of_pods_while_kubelet_and_dockerd_are_killed(cluster: Cluster, space: Space, clean: set[str]) -> None:
    chance = random.Random(SEED)
    print(f"PYKUBE_SOAK_SEED={SEED}")
    for first in range(0, PODS, WAVE):
        names = [f"p{number}" for number in range(first, min(first + WAVE, PODS))]
        saboteur = Saboteur(cluster, chance)
        saboteur.start()
        try:
            space.apply(*map(busy_pod, names))
            time.sleep(chance.uniform(2, 8))
        finally:
            saboteur.stop()
        space.wait_ready(*names, timeout=150)
        saboteur = Saboteur(cluster, chance)
        saboteur.start()
        try:
            space.kubectl("delete", "pods", "--wait=false", *names)
            time.sleep(chance.uniform(1, 6))
        finally:
            saboteur.stop()
        until(lambda: not space.pods(), "all pods of the wave are gone", timeout=150)
    # A cgroup that a crash left is taken away by the kubelet's housekeeping, once it is a minute old.
    until(lambda: nothing_left(cluster, clean), "nothing is left over", timeout=150, every=2)


def test_a_kubelet_killed_at_every_step(cluster: Cluster, space: Space, clean: set[str]) -> None:
    """A pod takes about half a second to start and as long to stop. Pods that follow each other closely are all at
    other steps when the kill comes, so that a few kills meet them all."""
    for turn in range(3):
        names = [f"turn{turn}-step{step}" for step in range(6)]
        for name in names:
            space.apply(busy_pod(name))
            time.sleep(0.05 * turn)
        kill_kubelet(cluster)
        space.wait_ready(*names)
        # What was started is adopted, not started again.
        assert {p["status"]["containerStatuses"][0]["restartCount"] for p in space.pods()} == {0}
        for name in names:
            space.kubectl("delete", "pod", name, "--wait=false")
            time.sleep(0.05 * turn)
        kill_kubelet(cluster)
        until(lambda: not space.pods(), "the pods are gone")
    until(lambda: nothing_left(cluster, clean), "nothing is left over", timeout=150, every=2)
