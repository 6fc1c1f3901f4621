"""One compose cluster for all cluster tests of a run, beside one that `make up` may have started.

Workers of pytest-xdist share it: whoever comes first brings it up, the end of the run takes it down. Tests run side by
side in namespaces of their own; one that breaks or drains machines (marked `alone`, or using `calm`) has the cluster
to itself, by a lock that all others share.

`PYKUBE_TEST_KEEP=1` leaves the cluster running afterwards, and a running one is used again: for work on the tests.
`PYKUBE_TEST_PROJECT`, `_SUBNET`, `_API_PORT` and `_REGISTRY_PORT` let several people do that on one machine.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from testcontainers.compose import DockerCompose

from tests.cluster.harness import NODES, ROOT, Cluster, CommandFailed, Space, run, until

PROJECT = os.environ.get("PYKUBE_TEST_PROJECT", "pykube-test")
SETTINGS = {
    "COMPOSE_PROJECT_NAME": PROJECT,
    "PYKUBE_SUBNET": os.environ.get("PYKUBE_TEST_SUBNET", "172.30.77"),
    "PYKUBE_API_PORT": os.environ.get("PYKUBE_TEST_API_PORT", "17643"),
    "PYKUBE_REGISTRY_PORT": os.environ.get("PYKUBE_TEST_REGISTRY_PORT", "17500"),
}
KEEP = os.environ.get("PYKUBE_TEST_KEEP") == "1"
RUN = os.environ["PYKUBE_TEST_RUN"]  # set by tests/conftest.py
_FILES = Path(tempfile.gettempdir())
_UP = _FILES / f"{PROJECT}.up"  # holds the run that brought the cluster up
_STARTING = _FILES / f"{PROJECT}.starting"
_TURN = _FILES / f"{PROJECT}.turn"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.cluster)
            if "calm" in getattr(item, "fixturenames", ()):
                item.add_marker(pytest.mark.alone)
    # Those that need the cluster for themselves come last: other tests have then nothing left to wait with.
    items.sort(
        key=lambda item: (item.get_closest_marker("cluster") is None, item.get_closest_marker("alone") is not None)
    )


def take_down() -> None:
    """Called at the end of the whole run (tests/conftest.py): the cluster goes if this run has brought it up."""
    if KEEP or not _UP.exists() or _UP.read_text() != RUN:
        return
    os.environ |= SETTINGS
    DockerCompose(ROOT, wait=False).stop(down=True)
    _UP.unlink()


@contextlib.contextmanager
def locked(file: Path, kind: int = fcntl.LOCK_EX) -> Iterator[None]:
    with file.open("a") as handle:
        fcntl.flock(handle, kind)
        yield


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    os.environ |= SETTINGS
    made = Cluster(PROJECT, SETTINGS["PYKUBE_SUBNET"], tmp_path_factory.mktemp("kube") / "config")
    compose = DockerCompose(ROOT, wait=False)
    with locked(_STARTING):
        if not _UP.exists() or _UP.read_text() != RUN:
            if not KEEP:
                compose.stop(down=True)
            try:
                compose.start()
                _UP.write_text(RUN)
                connect(made)
            except (AssertionError, OSError, subprocess.SubprocessError):
                stdout, stderr = compose.get_logs()
                print(stdout[-20_000:], stderr[-5_000:])
                raise
        else:
            connect(made)
    return made


def connect(made: Cluster) -> None:
    """Fetch its kubeconfig, and wait until it is ready."""
    made.kubeconfig.write_text(until(lambda: admin_kubeconfig(made), "the PKI has made admin.conf"))
    until(lambda: made.ready_nodes() == list(NODES), "three nodes are Ready", timeout=120)
    made.kubectl("-n", "kube-system", "rollout", "status", "deployment/kube-dns", "--timeout=120s")


def admin_kubeconfig(cluster: Cluster) -> str:
    # As its owner: root has no right to other people's files there.
    text = cluster.docker("exec", "--user=65532", cluster.container("apiserver"), "cat", "/pki/admin.conf")
    assert yaml.safe_load(text)["clusters"]
    return text


@pytest.fixture(scope="module")
def shared_turn(request: pytest.FixtureRequest) -> Iterator[None]:
    """For fixtures that keep things in the cluster for a whole module: no test that breaks machines comes between."""
    with locked(_TURN, fcntl.LOCK_SH):
        yield


@pytest.fixture(autouse=True)
def turn(request: pytest.FixtureRequest) -> Iterator[None]:
    """Each test's turn: beside others, or alone."""
    with locked(_TURN, fcntl.LOCK_EX if request.node.get_closest_marker("alone") else fcntl.LOCK_SH):
        yield


@pytest.fixture
def space(turn: None, cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[Space]:
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
def calm(turn: None, cluster: Cluster) -> Iterator[None]:
    """For tests that break things: everything runs again when they are done."""
    yield
    run(["docker", "compose", "up", "-d"], timeout=300)
    until(lambda: cluster.ready_nodes() == list(NODES), "three nodes are Ready again", timeout=180)
