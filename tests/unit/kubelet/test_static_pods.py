"""Static pods: manifests on the node's disk, and the mirrors that show them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio
import yaml

from api.types.core_v1 import Pod
from kubelet import static_pods
from kubelet.static_pods import parse
from tests.unit.kubelet.harness import IMAGE, NODE, Harness

NAME = f"etcd-{NODE}"


def manifest(command: str = "serve") -> str:
    spec = {"containers": [{"name": "app", "image": IMAGE, "imagePullPolicy": "IfNotPresent", "command": [command]}]}
    return yaml.safe_dump({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "etcd"}, "spec": spec})


@pytest_asyncio.fixture
async def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Harness]:
    monkeypatch.setattr(static_pods, "INTERVAL", 0.02)
    harness = Harness(tmp_path / "root")
    (tmp_path / "manifests").mkdir()
    harness.config = replace(harness.config, static_pod_path=tmp_path / "manifests")
    harness.kubelet = harness.new_kubelet()
    try:
        await harness.start()
        yield harness
    finally:
        await harness.stop()


def directory(node: Harness) -> Path:
    assert node.config.static_pod_path is not None
    return node.config.static_pod_path


async def test_a_manifest_runs_and_is_mirrored(node: Harness) -> None:
    (directory(node) / "etcd.yaml").write_text(manifest())
    await node.until(lambda: node.is_ready(NAME))
    mirror = node.pod(NAME)
    annotations = mirror.metadata.annotations or {}
    assert annotations["kubernetes.io/config.source"] == "file"
    assert annotations["kubernetes.io/config.mirror"] == annotations["kubernetes.io/config.hash"]
    assert mirror.metadata.uid != annotations["kubernetes.io/config.hash"]
    assert [(o.kind, o.name) for o in mirror.metadata.owner_references or ()] == [("Node", NODE)]
    assert node.status("app", NAME).ready


async def test_deleting_the_mirror_stops_nothing(node: Harness) -> None:
    (directory(node) / "etcd.yaml").write_text(manifest())
    await node.until(lambda: node.is_ready(NAME))
    first, run = node.pod(NAME).metadata.uid, node.runtime.running("app").id
    await node.delete(NAME)
    await node.until(lambda: (p := node.find(NAME)) and p.metadata.uid != first and node.is_ready(NAME))
    assert node.runtime.running("app").id == run


async def test_a_changed_manifest_is_another_pod(node: Harness) -> None:
    (directory(node) / "etcd.yaml").write_text(manifest())
    await node.until(lambda: node.is_ready(NAME))
    (directory(node) / "etcd.yaml").write_text(manifest("serve-better"))
    await node.until(lambda: node.runtime.is_running("app") and node.runtime.config("app").command == ("serve-better",))
    await node.until(lambda: len(node.runtime.sandboxes) == 1)
    await node.until(lambda: node.is_ready(NAME))


async def test_a_manifest_that_goes_ends_pod_and_mirror(node: Harness) -> None:
    (directory(node) / "etcd.yaml").write_text(manifest())
    await node.until(lambda: node.is_ready(NAME))
    (directory(node) / "etcd.yaml").unlink()
    await node.until(lambda: node.find(NAME) is None and not node.runtime.sandboxes)


async def test_a_broken_manifest_leaves_what_ran(node: Harness) -> None:
    (directory(node) / "etcd.yaml").write_text(manifest())
    await node.until(lambda: node.is_ready(NAME))
    run = node.runtime.running("app").id
    (directory(node) / "etcd.yaml").write_text("kind: Pod\nspec: [")
    (directory(node) / "other.yaml").write_text("kind: Deployment\n")
    await asyncio.sleep(0.1)  # several looks
    assert node.runtime.running("app").id == run


async def test_a_restarted_kubelet_adopts_static_pods(node: Harness) -> None:
    (directory(node) / "etcd.yaml").write_text(manifest())
    await node.until(lambda: node.is_ready(NAME))
    run = node.runtime.running("app").id
    await node.restart()
    await node.until(lambda: node.runtime.called("remove_leftovers"))
    assert node.runtime.running("app").id == run
    assert len(node.api.objects(Pod)) == 1


def test_only_pods_may_be_static(node: Harness) -> None:
    with pytest.raises(ValueError, match="only pods may be static"):
        parse(b"kind: Deployment", node.config, "x.yaml")
    with pytest.raises(ValueError, match="a pod needs a name"):
        parse(b"kind: Pod", node.config, "x.yaml")
