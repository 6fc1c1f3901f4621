"""The official Python client, unmodified: typed, dynamic, watch, exec, logs."""

from __future__ import annotations

from typing import Any

import pytest
from kubernetes import client, config, dynamic, utils, watch
from kubernetes.client.exceptions import ApiException
from kubernetes.stream import stream

from tests.cluster.harness import TOOLBOX, Cluster, Space, container, until


@pytest.fixture
def api_client(cluster: Cluster) -> client.ApiClient:
    made: client.ApiClient = config.new_client_from_config(str(cluster.kubeconfig))
    return made


@pytest.fixture
def core(api_client: client.ApiClient) -> client.CoreV1Api:
    return client.CoreV1Api(api_client)


def box(name: str) -> client.V1Pod:
    spec = client.V1PodSpec(
        containers=[client.V1Container(name="main", image=TOOLBOX, command=["sh", "-c", "echo hello; sleep infinity"])],
        termination_grace_period_seconds=1,
    )
    return client.V1Pod(metadata=client.V1ObjectMeta(name=name, labels={"app": name}), spec=spec)


def test_pods_logs_and_exec(core: client.CoreV1Api, space: Space) -> None:
    core.create_namespaced_pod(space.name, box("box"))
    until(lambda: core.read_namespaced_pod("box", space.name).status.phase == "Running", "running")
    until(lambda: core.read_namespaced_pod_log("box", space.name) == "hello\n", "its log")
    answer = stream(
        core.connect_get_namespaced_pod_exec,
        "box",
        space.name,
        command=["sh", "-c", "echo to-out; echo to-err >&2"],
        stdout=True,
        stderr=True,
        stdin=False,
        tty=False,
    )
    assert sorted(answer.split()) == ["to-err", "to-out"]
    core.delete_namespaced_pod("box", space.name)
    until(lambda: not core.list_namespaced_pod(space.name).items, "it is gone")


def test_conflicts_and_missing_objects_raise_as_they_should(core: client.CoreV1Api, space: Space) -> None:
    with pytest.raises(ApiException) as missing:
        core.read_namespaced_pod("ghost", space.name)
    assert (missing.value.status, missing.value.reason) == (404, "Not Found")
    metadata = client.V1ObjectMeta(name="c")
    made = core.create_namespaced_config_map(space.name, client.V1ConfigMap(metadata=metadata, data={"a": "1"}))
    core.patch_namespaced_config_map("c", space.name, {"data": {"b": "2"}})
    made.data["a"] = "changed"
    with pytest.raises(ApiException) as conflict:
        core.replace_namespaced_config_map("c", space.name, made)
    assert conflict.value.status == 409
    with pytest.raises(ApiException) as exists:
        core.create_namespaced_config_map(space.name, client.V1ConfigMap(metadata=metadata))
    assert exists.value.status == 409
    assert core.read_namespaced_config_map("c", space.name).data == {"a": "1", "b": "2"}


def test_watch_sees_every_change_in_order(core: client.CoreV1Api, space: Space) -> None:
    version = core.list_namespaced_config_map(space.name).metadata.resource_version
    for number in range(5):
        core.create_namespaced_config_map(
            space.name, client.V1ConfigMap(metadata=client.V1ObjectMeta(name=f"c{number}"), data={})
        )
    core.delete_namespaced_config_map("c0", space.name)
    seen: list[tuple[str, str]] = []
    events = watch.Watch().stream(
        core.list_namespaced_config_map, space.name, resource_version=version, timeout_seconds=30
    )
    for event in events:
        seen.append((event["type"], event["object"].metadata.name))
        if len(seen) == 6:
            break
    assert seen == [("ADDED", f"c{n}") for n in range(5)] + [("DELETED", "c0")]


def test_lists_page_and_select(core: client.CoreV1Api, space: Space) -> None:
    for number in range(7):
        labels = {"parity": str(number % 2)}
        metadata = client.V1ObjectMeta(name=f"m{number}", labels=labels)
        core.create_namespaced_config_map(space.name, client.V1ConfigMap(metadata=metadata))
    odd = core.list_namespaced_config_map(space.name, label_selector="parity=1").items
    assert [c.metadata.name for c in odd] == ["m1", "m3", "m5"]
    one = core.list_namespaced_config_map(space.name, field_selector="metadata.name=m2").items
    assert [c.metadata.name for c in one] == ["m2"]
    names: list[str] = []
    token: str | None = None
    while token != "":
        page = core.list_namespaced_config_map(space.name, limit=3, _continue=token, label_selector="parity")
        names += [c.metadata.name for c in page.items]
        token = page.metadata._continue or ""
    assert names == [f"m{n}" for n in range(7)]


def test_the_dynamic_client_and_create_from_yaml(api_client: client.ApiClient, space: Space) -> None:
    manifest: dict[str, Any] = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "dyn", "namespace": space.name},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": {"app": "dyn"}},
            "template": {
                "metadata": {"labels": {"app": "dyn"}},
                "spec": {"containers": [container("main", "sleep infinity")], "terminationGracePeriodSeconds": 1},
            },
        },
    }
    utils.create_from_dict(api_client, manifest)
    deployments = dynamic.DynamicClient(api_client).resources.get(api_version="apps/v1", kind="Deployment")
    until(lambda: deployments.get(name="dyn", namespace=space.name).status.readyReplicas == 2, "two ready", timeout=90)
    scale = client.AppsV1Api(api_client).patch_namespaced_deployment_scale("dyn", space.name, {"spec": {"replicas": 1}})
    assert scale.spec.replicas == 1
    until(lambda: deployments.get(name="dyn", namespace=space.name).status.replicas == 1, "one left")
