"""Revisions as `kubectl rollout` shows and restores them, on nodes that only pretend."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from bench.hollow.cluster import Cluster, cluster
from bench.hollow.nodes import HollowNodes

ALONE = ("--leader-elect=false",)


@pytest_asyncio.fixture
async def made() -> AsyncIterator[Cluster]:
    for needed in ("etcd", "kubectl"):
        if shutil.which(needed) is None:
            pytest.skip(f"{needed} is not installed")
    async with cluster({"controller-manager": ALONE, "scheduler": ALONE}) as started, started.client() as api:
        hollow = HollowNodes(api, 2)
        task = asyncio.create_task(hollow.run())
        try:
            await hollow.ready.wait()
            yield started
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def kubectl(made: Cluster, *words: str, manifest: Any = None) -> str:
    done = await asyncio.to_thread(
        subprocess.run,
        [*made.kubectl(), *words],
        input=None if manifest is None else json.dumps(manifest),
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.stdout if done.returncode == 0 else done.stderr


def manifest(kind: str, version: int, spec: dict[str, Any]) -> dict[str, Any]:
    labels = {"app": kind.lower()}
    containers = [{"name": "main", "image": f"web:{version}"}]
    template = {"metadata": {"labels": labels}, "spec": {"containers": containers}}
    metadata = {"name": "x", "annotations": {"kubernetes.io/change-cause": f"version {version}"}}
    spec = {"selector": {"matchLabels": labels}, "template": template, **spec}
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": metadata, "spec": spec}


async def history(made: Cluster, name: str) -> list[tuple[int, str]]:
    _, _, *lines = (await kubectl(made, "rollout", "history", name)).strip().splitlines()
    return [(int(number), cause) for number, cause in (line.split(maxsplit=1) for line in lines)]


@pytest.mark.timeout(170)
async def test_history_undo_and_restart_of_every_kind_that_rolls_out(made: Cluster) -> None:
    kinds: dict[str, dict[str, Any]] = {
        "StatefulSet": {"replicas": 2, "serviceName": "x"},
        "DaemonSet": {},
        "Deployment": {"replicas": 2},
    }

    async def follow(kind: str, spec: dict[str, Any]) -> None:
        name = f"{kind.lower()}/x"

        async def rolled_out() -> str:
            said = await kubectl(made, "rollout", "status", name, "--timeout=50s")
            assert "rolled out" in said or "roll out complete" in said, said
            return await kubectl(made, "get", name, "-o", "jsonpath={.spec.template.spec.containers[0].image}")

        for version in (1, 2, 3):
            await kubectl(made, "apply", "-f", "-", manifest=manifest(kind, version, spec))
            assert await rolled_out() == f"web:{version}"
        assert await history(made, name) == [(1, "version 1"), (2, "version 2"), (3, "version 3")]
        assert "web:2" in await kubectl(made, "rollout", "history", name, "--revision=2")

        assert "rolled back" in await kubectl(made, "rollout", "undo", name)
        assert await rolled_out() == "web:2"
        assert await history(made, name) == [(1, "version 1"), (3, "version 3"), (4, "version 2")]

        assert "rolled back" in await kubectl(made, "rollout", "undo", name, "--to-revision=1")
        assert await rolled_out() == "web:1"
        assert await history(made, name) == [(3, "version 3"), (4, "version 2"), (5, "version 1")]

        refused = await kubectl(made, "rollout", "undo", name, "--to-revision=99")
        assert "unable to find specified revision 99 in history" in refused
        await kubectl(made, "rollout", "restart", name)
        assert await rolled_out() == "web:1"
        assert [number for number, _ in await history(made, name)] == [3, 4, 5, 6]

    async with asyncio.TaskGroup() as group:
        for kind, spec in kinds.items():
            group.create_task(follow(kind, spec))
