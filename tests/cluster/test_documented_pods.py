"""A hundred pods of Kubernetes' documentation, written anew for images that exist here, do what their pages say.

`documented/*.yaml` holds them with what is expected of each. All start together, once; each test looks at its own.
What the files leave out is filled in: the image, `run:` for a shell's command, one second of grace.
"""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.harness import TOOLBOX, Cluster, Space, until

Json = dict[str, Any]
FOLDER = Path(__file__).parent / "documented"
FILES = [yaml.safe_load(file.read_text()) for file in sorted(FOLDER.glob("*.yaml"))]
PODS: dict[str, Json] = {entry["name"]: entry for file in FILES for entry in file["pods"]}
OBJECTS: list[Json] = [obj for file in FILES for obj in file["objects"]]
PATIENCE = 150.0  # seconds that all of them together get
FRESH = 1.0  # seconds for which what the cluster said is not asked again


def manifest(entry: Json) -> Json:
    spec = {"terminationGracePeriodSeconds": 1, **entry["spec"]}
    for container in (*spec["containers"], *spec.get("initContainers", ())):
        container.setdefault("image", TOOLBOX)
        if "run" in container:
            container["command"] = ["sh", "-c", container.pop("run")]
    metadata = {"name": entry["name"], "labels": entry.get("labels", {}), "annotations": entry.get("annotations", {})}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


class World:
    """All of the pods, seen at most once a second."""

    def __init__(self, space: Space) -> None:
        self.space = space
        self._asked = 0.0
        self._pods: dict[str, Json] = {}
        self._events: list[Json] = []

    def _look(self) -> None:
        if time.monotonic() - self._asked > FRESH:
            self._pods = {pod["metadata"]["name"]: pod for pod in self.space.pods()}
            self._events = self.space.get("events")["items"]
            self._asked = time.monotonic()

    def pod(self, name: str) -> Json:
        self._look()
        return self._pods[name]

    def events(self, name: str) -> list[tuple[str, str]]:
        self._look()
        return [(e["reason"], e["message"]) for e in self._events if e["involvedObject"].get("name") == name]


@pytest.fixture(scope="module")
def world(shared_turn: None, cluster: Cluster) -> Iterator[World]:
    space = Space(cluster, f"t-{uuid.uuid4().hex[:8]}")  # short: it is part of a host name
    cluster.kubectl("create", "namespace", space.name)
    cluster_wide = [obj for obj in OBJECTS if obj["kind"] == "PriorityClass"]
    try:
        until(lambda: cluster.get("-n", space.name, "serviceaccount", "default"), "the default service account")
        space.apply(*OBJECTS)
        space.apply(*map(manifest, PODS.values()))
        yield World(space)
    finally:
        cluster.kubectl("delete", "namespace", space.name, "--wait=false")
        for obj in cluster_wide:
            cluster.kubectl("delete", obj["kind"], obj["metadata"]["name"], "--ignore-not-found")


def test_there_are_a_hundred() -> None:
    assert len(PODS) >= 100
    assert all(entry["expect"] for entry in PODS.values())


@pytest.mark.parametrize("name", PODS)
def test_it_does_what_its_page_says(world: World, name: str) -> None:
    until(lambda: not problems(world, name), f"{name}: {PODS[name]['expect']}", timeout=PATIENCE, every=FRESH / 2)


def problems(world: World, name: str) -> list[str]:
    """What is not yet as expected; an AssertionError shows it."""
    pod, expect = world.pod(name), PODS[name]["expect"]
    found = [problem for key, wanted in expect.items() if (problem := CHECKS[key](world, pod, wanted))]
    assert not found, found
    return found


def said(*, wanted: object, got: object, right: bool) -> str:
    return "" if right else f"{wanted!r} is wanted, there is {got!r}"


def states(pod: Json, kind: str = "containerStatuses") -> list[Json]:
    return [{**s["state"], "restarts": s["restartCount"]} for s in pod["status"].get(kind, ())]


def phase(_: World, pod: Json, wanted: str) -> str:
    return said(wanted=wanted, got=pod["status"].get("phase"), right=pod["status"].get("phase") == wanted)


def condition(_: World, pod: Json, wanted: list[str]) -> str:
    got = [[c["type"], c["status"], c.get("reason", "")] for c in pod["status"].get("conditions", ())]
    return said(wanted=wanted, got=got, right=wanted in got)


def ready(world: World, pod: Json, wanted: bool) -> str:
    return condition(world, pod, ["Ready", str(wanted), ""])


def waiting(_: World, pod: Json, wanted: str, kind: str = "containerStatuses") -> str:
    got = [state.get("waiting", {}).get("reason", "") for state in states(pod, kind)]
    return said(wanted=wanted, got=got, right=any(re.fullmatch(wanted, reason) for reason in got))


def init_waiting(world: World, pod: Json, wanted: str) -> str:
    return waiting(world, pod, wanted, "initContainerStatuses")


def terminated(_: World, pod: Json, wanted: list[Any]) -> str:
    got = [[t["reason"], t["exitCode"]] for state in states(pod) if (t := state.get("terminated"))]
    return said(wanted=wanted, got=got, right=wanted in got)


def restarts(_: World, pod: Json, wanted: int) -> str:
    """At least so many; 0 is exact."""
    got = sum(state["restarts"] for state in states(pod))
    return said(wanted=wanted, got=got, right=got >= wanted if wanted else got == 0)


def event(world: World, pod: Json, wanted: list[str]) -> str:
    got = world.events(pod["metadata"]["name"])
    return said(wanted=wanted, got=got, right=any(r == wanted[0] and wanted[1] in message for r, message in got))


def field(_: World, pod: Json, wanted: Json) -> str:
    for path, value in wanted.items():
        got: Any = pod
        for part in path.split("."):
            got = got[int(part)] if isinstance(got, list) else got[part]
        if got != value:
            return said(wanted=f"{path}={value!r}", got=got, right=False)
    return ""


def log(world: World, pod: Json, wanted: str) -> str:
    got = world.space.kubectl("logs", pod["metadata"]["name"], "-c", pod["spec"]["containers"][0]["name"])
    return said(wanted=wanted, got=got, right=wanted in " ".join(got.split()))


def exec_(world: World, pod: Json, wanted: list[Any]) -> str:
    first = pod["spec"]["containers"][0]["name"]
    got = world.space.exec(pod["metadata"]["name"], *wanted[0], container=first)
    return said(wanted=wanted, got=got, right=wanted[1] in got)


CHECKS = {
    "phase": phase,
    "ready": ready,
    "condition": condition,
    "waiting": waiting,
    "initWaiting": init_waiting,
    "terminated": terminated,
    "restarts": restarts,
    "event": event,
    "field": field,
    "log": log,
    "exec": exec_,
}
