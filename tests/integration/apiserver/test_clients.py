"""The client libraries people use do what their documentation shows, against a real apiserver process."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.control_plane import ControlPlane, control_plane, eventually

CONFIG = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"a": "1"}}


def deployment(name: str = "web", replicas: int = 1) -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "c", "image": "nginx", "ports": [{"containerPort": 80}]}]},
            },
        },
    }


@pytest.fixture(scope="module")
def plane() -> Iterator[ControlPlane]:
    with control_plane(scheduler=False) as made:
        yield made


@pytest.fixture
def namespace(plane: ControlPlane) -> str:
    name = f"t-{uuid.uuid4().hex[:8]}"
    plane.kubectl("create", "namespace", name)
    eventually(lambda: plane.get("serviceaccount", "default", "-n", name))
    return name


# -- the official client ----------------------------------------------------------------------------------------------


@pytest.fixture
def official(plane: ControlPlane) -> Iterator[Any]:
    from kubernetes import client, config

    made: Any = config.new_client_from_config(str(plane.kubeconfig))
    yield made
    made.close()
    del client


def test_the_official_client(official: Any, namespace: str) -> None:
    from kubernetes import client, watch
    from kubernetes.client.rest import ApiException

    core, apps = client.CoreV1Api(official), client.AppsV1Api(official)
    assert client.VersionApi(official).get_code().git_version.startswith("v1.36")
    assert "default" in [n.metadata.name for n in core.list_namespace().items]

    container = client.V1Container(name="c", image="nginx", ports=[client.V1ContainerPort(container_port=80)])
    template = client.V1PodTemplateSpec(
        metadata=client.V1ObjectMeta(labels={"app": "web"}), spec=client.V1PodSpec(containers=[container])
    )
    spec = client.V1DeploymentSpec(
        replicas=2, template=template, selector=client.V1LabelSelector(match_labels={"app": "web"})
    )
    body = client.V1Deployment(metadata=client.V1ObjectMeta(name="web"), spec=spec)
    made = apps.create_namespaced_deployment(namespace, body)
    assert made.spec.strategy.rolling_update.max_surge == "25%"
    made.spec.template.spec.containers[0].image = "nginx:2"
    eventually(lambda: apps.read_namespaced_deployment_status("web", namespace).status.observed_generation)
    patched = apps.patch_namespaced_deployment("web", namespace, {"spec": {"replicas": 3}})
    assert patched.spec.replicas == 3
    assert apps.read_namespaced_deployment_scale("web", namespace).spec.replicas == 3
    scaled = apps.patch_namespaced_deployment_scale("web", namespace, {"spec": {"replicas": 1}})
    assert scaled.spec.replicas == 1

    def replaced() -> Any:
        current = apps.read_namespaced_deployment("web", namespace)
        current.spec.template.spec.containers[0].image = "nginx:3"
        try:
            return apps.replace_namespaced_deployment("web", namespace, current)
        except ApiException as error:
            assert error.status == 409
            return None

    assert eventually(replaced).spec.template.spec.containers[0].image == "nginx:3"
    with pytest.raises(ApiException) as caught:
        core.read_namespaced_config_map("none", namespace)
    assert (caught.value.status, caught.value.reason) == (404, "Not Found")

    core.create_namespaced_config_map(namespace, CONFIG)
    version = core.list_namespaced_config_map(namespace).metadata.resource_version
    core.patch_namespaced_config_map("c", namespace, {"data": {"b": "2"}})
    core.delete_namespaced_config_map("c", namespace)
    seen = []
    following = watch.Watch()
    for event in following.stream(
        core.list_namespaced_config_map, namespace, resource_version=version, timeout_seconds=10
    ):
        seen.append((event["type"], event["object"].metadata.name))
        if event["type"] == "DELETED":
            following.stop()
    assert seen == [("MODIFIED", "c"), ("DELETED", "c")]

    review = client.V1SelfSubjectAccessReview(
        spec=client.V1SelfSubjectAccessReviewSpec(
            resource_attributes=client.V1ResourceAttributes(verb="create", resource="pods", namespace=namespace)
        )
    )
    assert client.AuthorizationV1Api(official).create_self_subject_access_review(review).status.allowed
    first = core.list_namespace(limit=2)
    assert len(first.items) == 2 and first.metadata._continue
    rest = core.list_namespace(_continue=first.metadata._continue)
    assert not {n.metadata.name for n in first.items} & {n.metadata.name for n in rest.items}
    apps.delete_namespaced_deployment(
        "web", namespace, body=client.V1DeleteOptions(propagation_policy="Foreground", grace_period_seconds=0)
    )
    eventually(lambda: not apps.list_namespaced_deployment(namespace).items)


def test_the_official_client_creates_from_yaml(official: Any, namespace: str) -> None:
    from kubernetes import client, utils

    utils.create_from_dict(official, deployment(), namespace=namespace)
    with pytest.raises(utils.FailToCreateError) as caught:
        utils.create_from_dict(official, deployment(), namespace=namespace)
    assert "already exists" in str(caught.value)
    assert client.AppsV1Api(official).read_namespaced_deployment("web", namespace).spec.replicas == 1


def test_the_dynamic_client(official: Any, namespace: str) -> None:
    from kubernetes import dynamic
    from kubernetes.dynamic.exceptions import ConflictError, NotFoundError

    found = dynamic.DynamicClient(official)
    configs = found.resources.get(api_version="v1", kind="ConfigMap")
    made = configs.create(body=CONFIG, namespace=namespace)
    assert made.data.a == "1"
    changed = {**made.to_dict(), "data": {"a": "2"}}
    assert configs.replace(body=changed, namespace=namespace).data.a == "2"
    with pytest.raises(ConflictError):
        configs.replace(body={**changed, "data": {"a": "3"}}, namespace=namespace)
    patch = {"data": {"b": "3"}}
    patched = configs.patch(
        body=patch, name="c", namespace=namespace, content_type="application/strategic-merge-patch+json"
    )
    assert patched.data.to_dict() == {"a": "2", "b": "3"}
    applied = configs.server_side_apply(body={**CONFIG, "data": {"mine": "x"}}, namespace=namespace, field_manager="me")
    assert applied.data.mine == "x"
    assert [item.metadata.name for item in configs.get(namespace=namespace, label_selector="a=b").items] == []
    events = configs.watch(namespace=namespace, resource_version=applied.metadata.resourceVersion, timeout=5)
    configs.delete(name="c", namespace=namespace)
    assert next(iter(events))["type"] == "DELETED"
    with pytest.raises(NotFoundError):
        configs.get(name="c", namespace=namespace)
    deployments = found.resources.get(api_version="apps/v1", kind="Deployment")
    deployments.create(body=deployment(), namespace=namespace)
    assert deployments.scale.get(name="web", namespace=namespace).spec.replicas == 1


# -- kubernetes_asyncio -----------------------------------------------------------------------------------------------


async def test_kubernetes_asyncio(plane: ControlPlane, namespace: str) -> None:
    from kubernetes_asyncio import client, config, watch
    from kubernetes_asyncio.client.api_client import ApiClient

    settings = client.Configuration()
    await config.load_kube_config(config_file=str(plane.kubeconfig), client_configuration=settings)
    async with ApiClient(settings) as api:
        core = client.CoreV1Api(api)
        body = client.V1ConfigMap(metadata=client.V1ObjectMeta(name="c"), data={"a": "1"})
        made = await core.create_namespaced_config_map(namespace, body)
        version = made.metadata.resource_version

        async def change() -> None:
            await core.patch_namespaced_config_map("c", namespace, {"data": {"a": "2"}})
            await core.delete_namespaced_config_map("c", namespace)

        seen = []
        async with asyncio.timeout(20), watch.Watch() as following:
            task = asyncio.create_task(change())
            async for event in following.stream(
                core.list_namespaced_config_map, namespace, resource_version=version, timeout_seconds=10
            ):
                seen.append((event["type"], event["object"].data["a"]))
                if event["type"] == "DELETED":
                    break
            await task
        assert seen == [("MODIFIED", "2"), ("DELETED", "2")]
        assert [c.metadata.name for c in (await core.list_namespaced_config_map(namespace)).items] in (
            [],
            ["kube-root-ca.crt"],
        )


# -- kr8s -------------------------------------------------------------------------------------------------------------


def test_kr8s(plane: ControlPlane, namespace: str) -> None:
    import kr8s
    from kr8s.objects import ConfigMap, Deployment, Namespace, new_class

    api = kr8s.api(kubeconfig=str(plane.kubeconfig), namespace=namespace)
    assert api.version()["minor"].startswith("36")
    assert namespace in [n.name for n in api.get("namespaces")]
    config = ConfigMap({**CONFIG, "metadata": {"name": "c", "namespace": namespace}}, api=api)
    config.create()
    assert config.exists()
    config.patch({"data": {"b": "2"}})
    assert config.data == {"a": "1", "b": "2"}
    config.label({"x": "y"})
    assert [c.name for c in api.get("configmaps", namespace=namespace, label_selector={"x": "y"})] == ["c"]
    assert ConfigMap.get("c", namespace=namespace, api=api).labels["x"] == "y"
    config.delete()
    eventually(lambda: not config.exists())
    with pytest.raises(kr8s.NotFoundError):
        ConfigMap.get("c", namespace=namespace, api=api)
    made = Deployment({**deployment(), "metadata": {"name": "web", "namespace": namespace}}, api=api)
    made.create()
    made.scale(0)
    made.wait("jsonpath='{.spec.replicas}'=0", timeout=20)
    assert made.replicas == 0
    lease = new_class(kind="Lease", version="coordination.k8s.io/v1", namespaced=True)
    assert lease({"metadata": {"name": "l", "namespace": namespace}, "spec": {}}, api=api).exists() is False
    assert Namespace.get(namespace, api=api).status.phase == "Active"


# -- lightkube --------------------------------------------------------------------------------------------------------


def test_lightkube(plane: ControlPlane, namespace: str) -> None:
    from lightkube import ApiError, Client, KubeConfig
    from lightkube.codecs import load_all_yaml
    from lightkube.generic_resource import create_namespaced_resource
    from lightkube.models.meta_v1 import ObjectMeta
    from lightkube.resources.apps_v1 import Deployment
    from lightkube.resources.core_v1 import ConfigMap, Namespace
    from lightkube.types import PatchType

    client = Client(config=KubeConfig.from_file(plane.kubeconfig), namespace=namespace, field_manager="light")
    assert namespace in [n.metadata.name for n in client.list(Namespace) if n.metadata]
    client.create(ConfigMap(metadata=ObjectMeta(name="c"), data={"a": "1"}))
    found = client.get(ConfigMap, "c")
    assert found.data == {"a": "1"} and found.metadata is not None
    found.data["a"] = "2"
    assert client.replace(found).data == {"a": "2"}
    with pytest.raises(ApiError) as caught:
        client.replace(found)
    assert (caught.value.status.code, caught.value.status.reason) == (409, "Conflict")
    assert client.patch(ConfigMap, "c", {"data": {"b": "3"}}, patch_type=PatchType.MERGE).data == {"a": "2", "b": "3"}
    assert client.apply(ConfigMap(metadata=ObjectMeta(name="d"), data={"x": "y"})).data == {"x": "y"}
    version = client.get(ConfigMap, "d").metadata.resourceVersion  # type: ignore[union-attr]
    client.delete(ConfigMap, "d")
    for operation, seen in client.watch(ConfigMap, resource_version=version):
        assert (operation, seen.metadata.name) == ("DELETED", "d")  # type: ignore[union-attr]
        break
    import yaml

    for obj in load_all_yaml(yaml.safe_dump(deployment())):
        client.create(obj)
    scale = client.get(Deployment.Scale, "web")
    assert scale.spec is not None and scale.spec.replicas == 1
    generic = create_namespaced_resource("coordination.k8s.io", "v1", "Lease", "leases")
    client.create(generic(metadata=ObjectMeta(name="l"), spec={"holderIdentity": "me"}))
    assert client.get(generic, "l").spec["holderIdentity"] == "me"
    client.deletecollection(ConfigMap)
    with pytest.raises(ApiError):
        client.get(ConfigMap, "c")
    with pytest.raises(ApiError) as caught:
        client.get(ConfigMap, "none")
    assert caught.value.status.code == 404
