"""Addons: pinned to what the registry holds, applied patiently, waited for."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from api import errors
from api.types.apps_v1 import Deployment, DeploymentCondition
from api.types.core_v1 import Service
from client.fake import FakeApi
from deploy.addons import __main__ as addons
from deploy.machine import ROOT

FILE = ROOT / "deploy/addons/dns.yaml"


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addons, "RETRY", 0.01)


def test_local_images_are_pinned_and_others_stay() -> None:
    objects: list[dict[str, Any]] = [
        {"kind": "ConfigMap"},
        {"spec": {"template": {"spec": {"containers": [{"image": "localhost:5000/a/b:1"}, {"image": "other/c:1"}]}}}},
    ]
    assert addons.local_images(objects) == {"a/b:1"}
    addons.pin(objects, {"a/b:1": "sha256:00"})
    assert [c["image"] for c in addons.containers(objects[1])] == ["localhost:5000/a/b:1@sha256:00", "other/c:1"]
    assert addons.local_images(objects) == set()


async def test_what_may_pass_is_tried_again_and_what_will_not_is_raised() -> None:
    attempts: list[int] = []

    async def third_time() -> str:
        attempts.append(1)
        if len(attempts) < 3:
            raise errors.service_unavailable("starting")
        return "done"

    assert await addons.patiently(third_time, time.monotonic() + 20) == "done"

    async def wrong() -> None:
        attempts.append(1)
        raise errors.bad_request("no")

    attempts.clear()
    with pytest.raises(errors.StatusError, match="no"):
        await addons.patiently(wrong, time.monotonic() + 20)
    assert len(attempts) == 1


async def test_applying_creates_and_then_corrects() -> None:
    api: Any = FakeApi()
    documents = addons.load([FILE])
    for document in documents:
        await addons.apply(api, document)
    service = await api.get(Service, "kube-dns", namespace="kube-system")
    service.spec.selector = {"k8s-app": "wrong"}
    await api.update(service)
    for document in documents:
        await addons.apply(api, document)
    service = await api.get(Service, "kube-dns", namespace="kube-system")
    assert service.spec.selector == {"k8s-app": "kube-dns"}
    assert service.spec.cluster_ip == "10.96.0.10"


async def test_available_means_the_newest_generation(tmp_path: Path) -> None:
    api: Any = FakeApi()
    deployment = Deployment()
    deployment.metadata.name, deployment.metadata.namespace = "kube-dns", "kube-system"
    stored = await api.create(deployment)
    with pytest.raises(errors.StatusError, match="is not available"):
        await addons.available(api, "kube-system", "kube-dns")
    stored.status.conditions = [DeploymentCondition(type="Available", status="True")]
    stored.status.observed_generation = (stored.metadata.generation or 0) - 1
    stored = await api.update_status(stored)
    if (stored.metadata.generation or 0) > 0:
        with pytest.raises(errors.StatusError, match="is not available"):
            await addons.available(api, "kube-system", "kube-dns")
    stored.status.observed_generation = stored.metadata.generation
    await api.update_status(stored)
    await addons.available(api, "kube-system", "kube-dns")


def test_dns_is_where_every_kubelet_says_it_is() -> None:
    documents = {(d["kind"], d["metadata"]["name"]): d for d in yaml.safe_load_all(FILE.read_text())}
    service = documents["Service", "kube-dns"]
    template = documents["Deployment", "kube-dns"]["spec"]["template"]
    assert service["spec"]["clusterIP"] == "10.96.0.10"
    assert service["spec"]["selector"].items() <= template["metadata"]["labels"].items()
    ports = {port["name"] for container in template["spec"]["containers"] for port in container["ports"]}
    assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports


async def test_what_nobody_waits_for_starts_after_what_is_waited_for() -> None:
    def deployment(name: str, **annotations: str) -> dict[str, Any]:
        metadata = {"name": name, "namespace": "kube-system", "annotations": annotations}
        return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": {}}

    api = FakeApi()
    objects = [deployment("late", **{addons.WAIT: "false"}), deployment("first")]
    running = asyncio.create_task(addons.run(objects, api=api, registry="", timeout=60))
    while api.one(Deployment, "first", "kube-system") is None:
        await asyncio.sleep(0.01)
    for _ in range(10):
        await asyncio.sleep(0.01)
        assert api.one(Deployment, "late", "kube-system") is None
    stored = await api.get(Deployment, "first", namespace="kube-system")
    stored.status.conditions = [DeploymentCondition(type="Available", status="True")]
    stored.status.observed_generation = stored.metadata.generation
    await api.update_status(stored)
    await running
    assert api.one(Deployment, "late", "kube-system") is not None
