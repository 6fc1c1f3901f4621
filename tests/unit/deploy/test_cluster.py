"""The compose project: more nodes, clear words when something is in the way, progress."""

from __future__ import annotations

import socket
import subprocess
import types
from pathlib import Path
from typing import Any

import docker
import pytest
import yaml

from deploy import cluster, kubeconfig, nodes
from deploy.machine import ROOT, Problem


@pytest.fixture
def compose() -> dict[str, Any]:
    return dict(yaml.safe_load((ROOT / "docker-compose.yml").read_text()))


def test_more_nodes_are_further_services_with_names_addresses_and_keys_of_their_own(compose: dict[str, Any]) -> None:
    override = nodes.override(compose, 5)
    assert set(override["services"]) == {nodes.PKI, "node4", "node5"}
    command = override["services"][nodes.PKI]["command"]
    assert "--node=node5=${PYKUBE_SUBNET:-172.30.0}.15" in command
    assert "--bundle=node4=/nodes/node4" in command
    assert not [word for word in command if "node1" in word]
    node = override["services"]["node5"]
    assert node["networks"]["cluster"]["ipv4_address"] == node["environment"]["PYKUBE_NODE_IP"]
    assert set(override["volumes"]) == {f"node{n}-{v}" for n in (4, 5) for v in ("pki", "docker", "kubelet")}


def test_fewer_nodes_are_a_choice_of_services(tmp_path: Path) -> None:
    files, services = nodes.select(1, file=tmp_path / "nodes.yaml")
    assert len(files) == 2
    assert "node1" in services
    assert not {"node2", "node3"} & set(services)
    assert {"etcd", "apiserver", "scheduler", "controller-manager", "registry", "addons"} <= set(services)


def test_three_nodes_are_the_file_as_it_is(tmp_path: Path) -> None:
    leftover = tmp_path / "nodes.yaml"
    leftover.touch()
    assert nodes.select(3, file=leftover) == (["-f", str(ROOT / "docker-compose.yml")], [])
    assert not leftover.exists()


@pytest.mark.parametrize("count", [0, -1, 201])
def test_an_impossible_number_of_nodes_is_refused(count: int) -> None:
    with pytest.raises(Problem, match="between 1 and 200"):
        nodes.names(count)


def test_written_nodes_differ_only_in_name_and_address(compose: dict[str, Any]) -> None:
    text = [yaml.safe_dump(compose["services"][f"node{n}"]) for n in (1, 2, 3)]
    assert {t.replace(f"node{n}", "NODE").replace(f".1{n}", ".1N") for n, t in enumerate(text, 1)} == {
        text[0].replace("node1", "NODE").replace(".11", ".1N")
    }


def test_nodes_see_no_keys_but_their_own(compose: dict[str, Any]) -> None:
    for name in nodes.names(3):
        mounted = {volume.split(":")[0] for volume in compose["services"][name]["volumes"]}
        assert {volume for volume in mounted if "pki" in volume} == {f"{name}-pki"}
        assert "privileged" not in compose["services"][name]


def test_nothing_is_published_beyond_this_machine(compose: dict[str, Any]) -> None:
    published = [port for service in compose["services"].values() for port in service.get("ports", [])]
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_a_taken_port_is_seen() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert not cluster.port_free(port)
    assert cluster.port_free(port)


@pytest.mark.parametrize(
    ("other", "clashes"),
    [("172.30.0.0/16", True), ("172.30.0.128/25", True), ("172.31.0.0/16", False), ("0.0.0.0/0", False), ("x", False)],
)
def test_overlapping_subnets(other: str, clashes: bool) -> None:
    assert cluster.overlapping("172.30.0.0/24", {other: "them"}) == ("them" if clashes else None)


def test_settings_come_from_the_environment_then_from_dotenv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "ROOT", tmp_path)
    monkeypatch.delenv("PYKUBE_API_PORT", raising=False)
    assert cluster.setting("PYKUBE_API_PORT", "6443") == "6443"
    (tmp_path / ".env").write_text("# mine\nPYKUBE_API_PORT='7443'\n")
    assert cluster.setting("PYKUBE_API_PORT", "6443") == "7443"
    monkeypatch.setenv("PYKUBE_API_PORT", "8443")
    assert cluster.setting("PYKUBE_API_PORT", "6443") == "8443"


def test_only_nodes_whose_condition_is_true_are_ready() -> None:
    def node(name: str, status: str) -> dict[str, Any]:
        return {"metadata": {"name": name}, "status": {"conditions": [{"type": "Ready", "status": status}]}}

    items = [node("a", "True"), node("b", "False"), node("c", "Unknown"), {"metadata": {"name": "d"}}]
    assert cluster.ready(items) == {"a"}


def test_nodes_of_a_larger_cluster_are_told_from_those_that_others_added() -> None:
    items = [{"metadata": {"name": name}} for name in ("node1", "node2", "node10", "laptop")]
    assert cluster.leftover(items, {"node1"}) == ["node10", "node2"]


def test_a_cluster_of_another_name_sees_and_removes_only_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMPOSE_PROJECT_NAME", "second")
    asked: list[Any] = []

    class Docker:
        containers = networks = None

        def list(self, **arguments: Any) -> list[Any]:
            asked.append(arguments.get("filters"))
            return []

    client: Any = Docker()
    client.containers = client
    assert cluster.Cluster(client).containers() == {}
    assert asked == [{"label": "com.docker.compose.project=second"}]

    commands: list[list[str]] = []

    def run(command: list[str], **_: Any) -> Any:
        commands.append(command)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(docker, "from_env", lambda **_: types.SimpleNamespace(close=lambda: None))
    monkeypatch.setattr(kubeconfig, "remove", lambda _, **__: False)
    cluster.down()
    assert len(commands) == 3
    assert all(command[-1] == "label=com.docker.compose.project=second" for command in commands)


@pytest.mark.parametrize(
    ("info", "why"),
    [
        (
            {"OSType": "linux", "ServerVersion": "20.10.24+dfsg1", "SecurityOptions": ["name=seccomp,profile=default"]},
            "",
        ),
        ({"ServerVersion": "28.0.1", "SecurityOptions": None}, ""),
        ({"OSType": "windows"}, "windows containers"),
        ({"SecurityOptions": ["name=seccomp,profile=builtin", "name=rootless", "name=cgroupns"]}, "is rootless"),
        ({"SecurityOptions": ["name=userns"]}, "remaps users"),
        ({"ServerVersion": "19.03.15"}, "Docker 20.10 or newer is needed, this is 19.03.15"),
    ],
)
def test_an_engine_that_cannot_run_nodes_is_told_at_once(info: dict[str, Any], why: str) -> None:
    assert why in cluster.unsuited(info) if why else cluster.unsuited(info) == ""


def test_an_engine_that_goes_away_is_a_problem_and_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(command: list[str], **_: Any) -> Any:
        return subprocess.CompletedProcess(command, 1, "", "Cannot connect to the Docker daemon\n")

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(docker, "from_env", lambda **_: types.SimpleNamespace(close=lambda: None))
    with pytest.raises(Problem, match="listing the containers: Cannot connect"):
        cluster.down()
