"""Environments: every source, precedence, expansion, errors in upstream's words."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import pytest

from api import codec
from api.quantity import Quantity
from api.types.core_v1 import ConfigMap, Container, Pod, Secret, Service
from api.types.meta_v1 import ObjectMeta
from client.fake import FakeApi
from kubelet.downward import Addresses
from kubelet.environment import ConfigError, Environment, service_variables
from kubelet.expansion import expand_env, expand_strict
from kubelet.objects import Objects

ADDRESSES = Addresses(("10.0.0.7", "fd00::7"), ("192.168.0.9",))


def service(name: str, namespace: str = "default", ip: str = "10.96.0.5", *ports: dict[str, Any]) -> Service:
    spec = {"clusterIP": ip, "ports": list(ports) or [{"port": 80, "protocol": "TCP"}]}
    return codec.from_dict(Service, {"metadata": {"name": name, "namespace": namespace}, "spec": spec})


async def environment(
    pod: dict[str, Any], container: dict[str, Any], *objects: Any, services: Any = ()
) -> dict[str, str]:
    made = codec.from_dict(Pod, {"metadata": {"name": "web", "namespace": "default", "uid": "u"}, "spec": {}, **pod})
    skipped: list[str] = []
    async with Objects(FakeApi(*objects), lambda _: None) as store:
        maker = Environment(
            store,
            lambda: services,
            lambda: {"cpu": Quantity("4"), "memory": Quantity("8Gi")},
            lambda _, kind, name, keys: skipped.extend(keys),
        )
        env = await maker.make(made, codec.from_dict(Container, {"name": "c", **container}), ADDRESSES)
    return {**dict(env), **({"SKIPPED": ",".join(skipped)} if skipped else {})}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$(A)", "1"),
        ("x$(A)y$(B)z", "x1y2z"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$1"),
        ("$(NO)", "$(NO)"),
        ("$(A", "$(A"),
        ("cost: $5", "cost: $5"),
        ("$", "$"),
        ("$(A)$", "1$"),
        ("$($(A))", "$($(A))"),
    ],
)
def test_references(text: str, expected: str) -> None:
    assert expand_env(text, {"A": "1"}, {"A": "shadowed", "B": "2"}) == expected


def test_sub_path_expr_needs_every_variable() -> None:
    assert expand_strict("logs/$(POD)", {"POD": "web"}) == "logs/web"
    with pytest.raises(ValueError, match='missing value for "POD"'):
        expand_strict("logs/$(POD)", {})


def test_service_variables_are_those_of_docker_links() -> None:
    ports = ({"name": "http", "port": 80, "protocol": "TCP"}, {"name": "dns-udp", "port": 53, "protocol": "UDP"})
    assert service_variables([service("my-web", "default", "10.96.0.5", *ports)]) == {
        "MY_WEB_SERVICE_HOST": "10.96.0.5",
        "MY_WEB_SERVICE_PORT": "80",
        "MY_WEB_SERVICE_PORT_HTTP": "80",
        "MY_WEB_SERVICE_PORT_DNS_UDP": "53",
        "MY_WEB_PORT": "tcp://10.96.0.5:80",
        "MY_WEB_PORT_80_TCP": "tcp://10.96.0.5:80",
        "MY_WEB_PORT_80_TCP_PROTO": "tcp",
        "MY_WEB_PORT_80_TCP_PORT": "80",
        "MY_WEB_PORT_80_TCP_ADDR": "10.96.0.5",
        "MY_WEB_PORT_53_UDP": "udp://10.96.0.5:53",
        "MY_WEB_PORT_53_UDP_PROTO": "udp",
        "MY_WEB_PORT_53_UDP_PORT": "53",
        "MY_WEB_PORT_53_UDP_ADDR": "10.96.0.5",
    }
    assert service_variables([service("headless", "default", "None")]) == {}


async def test_services_of_the_namespace_and_the_api_server() -> None:
    services = [service("kubernetes", ip="10.96.0.1"), service("near", "apps"), service("far", "other")]
    apps = {"metadata": {"name": "web", "namespace": "apps", "uid": "u"}}
    env = await environment(apps, {}, services=services)
    assert {n for n in env if n.endswith("_SERVICE_HOST")} == {"KUBERNETES_SERVICE_HOST", "NEAR_SERVICE_HOST"}
    env = await environment({**apps, "spec": {"enableServiceLinks": False}}, {}, services=services)
    assert {n for n in env if n.endswith("_SERVICE_HOST")} == {"KUBERNETES_SERVICE_HOST"}


async def test_own_variables_win_over_sources_and_services() -> None:
    settings = ConfigMap(metadata=ObjectMeta(name="m", namespace="default"), data={"A": "map", "B": "map"})
    env = await environment(
        {},
        {
            "envFrom": [{"configMapRef": {"name": "m"}}],
            "env": [{"name": "A", "value": "own"}, {"name": "C", "value": "$(A)-$(B)-$(NEAR_SERVICE_HOST)"}],
        },
        settings,
        services=[service("near")],
    )
    assert (env["A"], env["B"], env["C"]) == ("own", "map", "own-map-10.96.0.5")


async def test_fields_of_the_pod() -> None:
    names = ["metadata.name", "metadata.uid", "status.podIP", "status.podIPs", "status.hostIP", "spec.nodeName"]
    names.append("metadata.labels['app']")
    pod = {
        "metadata": {"name": "web", "namespace": "default", "uid": "u", "labels": {"app": "shop"}},
        "spec": {"nodeName": "n1"},
    }
    variables = [{"name": f"V{i}", "valueFrom": {"fieldRef": {"fieldPath": n}}} for i, n in enumerate(names)]
    env = await environment(pod, {"env": variables})
    assert [env[f"V{i}"] for i in range(len(names))] == [
        "web", "u", "10.0.0.7", "10.0.0.7,fd00::7", "192.168.0.9", "n1", "shop",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("resource", "divisor", "expected"),
    [
        ("limits.cpu", "0", "1"),
        ("limits.cpu", "1m", "250"),
        ("requests.cpu", "1m", "100"),
        ("limits.memory", "0", str(64 << 20)),
        ("limits.memory", "1Mi", "64"),
        ("requests.memory", "1", "0"),
    ],
)
async def test_resources_are_divided_and_rounded_up(resource: str, divisor: str, expected: str) -> None:
    limits = {"limits": {"cpu": "250m", "memory": "64Mi"}, "requests": {"cpu": "100m"}}
    ref = {"resourceFieldRef": {"resource": resource, "divisor": divisor}}
    env = await environment({}, {"resources": limits, "env": [{"name": "V", "valueFrom": ref}]})
    assert env["V"] == expected


async def test_a_limit_that_is_not_set_is_what_the_node_has() -> None:
    ref = {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Gi"}}
    assert (await environment({}, {"env": [{"name": "V", "valueFrom": ref}]}))["V"] == "8"


async def test_secrets_and_prefixes() -> None:
    secret = Secret(
        metadata=ObjectMeta(name="s", namespace="default"), data={"user": base64.b64encode(b"eve").decode()}
    )
    env = await environment({}, {"envFrom": [{"prefix": "DB_", "secretRef": {"name": "s"}}]}, secret)
    assert env["DB_user"] == "eve"


async def test_keys_that_are_no_names_are_skipped_and_told() -> None:
    settings = ConfigMap(metadata=ObjectMeta(name="m", namespace="default"), data={"good.key": "1", "b=d": "2"})
    env = await environment({}, {"envFrom": [{"configMapRef": {"name": "m"}}]}, settings)
    assert env == {"good.key": "1", "SKIPPED": "b=d"}


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"configMapKeyRef": {"name": "m", "key": "k"}}, "couldn't find key k in ConfigMap default/m"),
        ({"secretKeyRef": {"name": "s", "key": "k"}}, "couldn't find key k in Secret default/s"),
        ({"configMapKeyRef": {"name": "none", "key": "k"}}, 'configmap "none" not found'),
        ({"secretKeyRef": {"name": "none", "key": "k"}}, 'secret "none" not found'),
    ],
)
async def test_what_is_missing_is_named_unless_optional(source: dict[str, Any], message: str) -> None:
    objects = (
        ConfigMap(metadata=ObjectMeta(name="m", namespace="default")),
        Secret(metadata=ObjectMeta(name="s", namespace="default")),
    )
    with pytest.raises(ConfigError, match=message):
        await environment({}, {"env": [{"name": "V", "valueFrom": source}]}, *objects)
    optional = {kind: {**ref, "optional": True} for kind, ref in source.items()}
    assert await environment({}, {"env": [{"name": "V", "valueFrom": optional}]}, *objects) == {}


async def test_objects_are_watched_as_long_as_a_pod_needs_them() -> None:
    api = FakeApi(ConfigMap(metadata=ObjectMeta(name="m", namespace="default"), data={"k": "1"}))
    source = {"env": [{"name": "V", "valueFrom": {"configMapKeyRef": {"name": "m", "key": "k"}}}]}
    pod = codec.from_dict(
        Pod,
        {
            "metadata": {"name": "a", "namespace": "default", "uid": "u"},
            "spec": {"containers": [{"name": "c", **source}]},
        },
    )
    told: list[set[str]] = []
    async with Objects(api, told.append) as objects:
        objects.register(pod)
        assert (await objects.config_map("default", "m")).data == {"k": "1"}
        changed = await api.get(ConfigMap, "m", namespace="default")
        changed.data = {"k": "2"}
        await api.update(changed)
        async with asyncio.timeout(5):
            while (await objects.config_map("default", "m")).data != {"k": "2"}:
                await asyncio.sleep(0)
        assert {"u"} in told
        objects.unregister("u")
        assert not objects._watched
