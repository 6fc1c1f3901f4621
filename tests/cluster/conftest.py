"""Brings the compose cluster up once for all tests, beside one that `make up` may have started.

`PYKUBE_TEST_KEEP=1` leaves it running afterwards, and a running one is used again: for work on the tests themselves.
`PYKUBE_TEST_PROJECT`, `_SUBNET`, `_API_PORT` and `_REGISTRY_PORT` let several people do that on one machine.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from testcontainers.compose import DockerCompose

from tests.cluster.harness import NODES, ROOT, Cluster, CommandFailed, Space, run, until

PROJECT = os.environ.get("PYKUBE_TEST_PROJECT", "pykube-test")
SUBNET = os.environ.get("PYKUBE_TEST_SUBNET", "172.30.77")
API_PORT = int(os.environ.get("PYKUBE_TEST_API_PORT", "17643"))
REGISTRY_PORT = int(os.environ.get("PYKUBE_TEST_REGISTRY_PORT", "17500"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.cluster)


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    os.environ |= {
        "COMPOSE_PROJECT_NAME": PROJECT,
        "PYKUBE_SUBNET": SUBNET,
        "PYKUBE_API_PORT": str(API_PORT),
        "PYKUBE_REGISTRY_PORT": str(REGISTRY_PORT),
    }
    keep = os.environ.get("PYKUBE_TEST_KEEP") == "1"
    compose = DockerCompose(ROOT, compose_file_name="docker-compose.yml", wait=False)
    if not keep:
        compose.stop(down=True)
    compose.start()
    try:
        kubeconfig = tmp_path_factory.mktemp("kube") / "config"
        made = Cluster(PROJECT, SUBNET, kubeconfig)
        kubeconfig.write_text(until(lambda: admin_kubeconfig(made), "the PKI has made admin.conf"))
        until(lambda: made.ready_nodes() == list(NODES), "three nodes are Ready", timeout=120)
        made.kubectl("-n", "kube-system", "rollout", "status", "deployment/kube-dns", "--timeout=120s")
        yield made
    except BaseException:
        stdout, stderr = compose.get_logs()
        print(stdout[-20_000:], stderr[-5_000:])
        raise
    finally:
        if not keep:
            compose.stop(down=True)


def admin_kubeconfig(cluster: Cluster) -> str:
    text = cluster.on("apiserver", "cat", "/pki/admin.conf")
    assert yaml.safe_load(text)["clusters"]
    return text


@pytest.fixture
def space(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[Space]:
    """A namespace of its own, gone afterwards."""
    name = f"t-{uuid.uuid4().hex[:8]}"
    cluster.kubectl("create", "namespace", name)
    until(lambda: cluster.get("-n", name, "serviceaccount", "default"), "the default service account")
    made = Space(cluster, name)
    yield made
    if request.session.testsfailed:
        print(describe_all(made))
    cluster.kubectl("delete", "namespace", name, "--wait=false")


def describe_all(space: Space) -> str:
    """What a person would look at first when a test has failed."""
    try:
        return space.kubectl("get", "all,events", "-o", "wide") + space.kubectl("describe", "pods")
    except CommandFailed as error:
        return str(error)


@pytest.fixture
def calm(cluster: Cluster) -> Iterator[None]:
    """For tests that break things: everything runs again when they are done."""
    yield
    run(["docker", "compose", "up", "-d"], timeout=300)
    until(lambda: cluster.ready_nodes() == list(NODES), "three nodes are Ready again", timeout=180)
