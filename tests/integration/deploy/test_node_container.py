"""A node container on a real engine: boots, pulls by the host's name, limits, survives its engine, shuts down in order.

Needs Docker and the images of `make images`; no control plane. Its kubelet and proxy keep failing for want of
certificates, which is part of what the supervisor has to stand.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator

import docker
import pytest
import yaml
from docker.errors import DockerException, ImageNotFound
from docker.models.containers import Container

from deploy.machine import ROOT

TOOLBOX = "localhost:5000/pykube/toolbox:latest"
CGROUP_PARENT = "/kubepods/burstable/podtest"


@pytest.fixture(scope="module")
def client() -> docker.DockerClient:
    try:
        found = docker.from_env(timeout=120)
        for name in ("pykube/node", "pykube/registry"):
            found.images.get(name)
    except (DockerException, ImageNotFound) as error:
        pytest.skip(f"needs Docker and `make images`: {error}")
    return found


@pytest.fixture(scope="module")
def node(client: docker.DockerClient) -> Iterator[Container]:
    mark = uuid.uuid4().hex[:8]
    network = client.networks.create(f"pykube-node-test-{mark}")
    volume = client.volumes.create(f"pykube-node-test-{mark}")
    started: list[Container] = []
    try:
        registry = client.containers.create("pykube/registry", name=f"pykube-node-test-registry-{mark}")
        started.append(registry)
        network.connect(registry, aliases=["registry"])
        registry.start()
        container = client.containers.run(
            "pykube/node",
            name=f"pykube-node-test-{mark}",
            hostname="node1",
            detach=True,
            network=network.name,
            cap_add=yaml.safe_load((ROOT / "docker-compose.yml").read_text())["x-node"]["cap_add"],
            security_opt=["seccomp=unconfined", "apparmor=unconfined"],
            tmpfs={"/run": "", "/tmp": "exec"},
            volumes={volume.name: {"bind": "/var/lib/docker", "mode": "rw"}},
            environment={"PYKUBE_NODE_NAME": "node1", "PYKUBE_NODE_IP": "192.0.2.11"},
        )
        started.append(container)
        until(lambda: inside(container, "docker", "version")[0] == 0, "the engine answers")
        until(lambda: inside(container, "docker", "pull", "--quiet", TOOLBOX)[0] == 0, "the registry has the image")
        yield container
    finally:
        for each in started:
            each.remove(force=True, v=True)
        network.remove()
        volume.remove(force=True)


def until(condition: Callable[[], bool], what: str, timeout: float = 60) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout:.0f} s: {what}"
        time.sleep(0.2)


def inside(container: Container, *command: str) -> tuple[int, str]:
    done = container.exec_run(list(command))
    return done.exit_code, done.output.decode().strip()


def run(container: Container, name: str, *command: str, options: tuple[str, ...] = ()) -> None:
    code, text = inside(container, "docker", "run", "-d", "--name", name, "--network=none", *options, TOOLBOX, *command)
    assert code == 0, text


def state(container: Container, name: str, field: str) -> str:
    return inside(container, "docker", "inspect", "-f", f"{{{{.State.{field}}}}}", name)[1]


def test_limits_hold_below_a_cgroup_parent(node: Container) -> None:
    options = (f"--cgroup-parent={CGROUP_PARENT}", "--memory=32m", "--cpus=0.2")
    run(node, "greedy", "tail", "/dev/zero", options=options)
    until(lambda: state(node, "greedy", "Running") == "false", "the container that wants all memory is gone")
    assert state(node, "greedy", "OOMKilled") == "true"
    assert state(node, "greedy", "ExitCode") == "137"
    run(node, "limited", "sleep", "1000", options=options)
    pid = state(node, "limited", "Pid")
    _, cgroups = inside(node, "cat", f"/proc/{pid}/cgroup")
    assert CGROUP_PARENT in cgroups


def test_pods_can_ask_the_nodes_resolver(node: Container) -> None:
    _, resolv_conf = inside(node, "cat", "/run/pykube/resolv.conf")
    server = resolv_conf.split()[1]
    assert not server.startswith("127.")
    code, text = inside(node, "busybox", "nslookup", "registry", server)
    assert code == 0, text


def test_containers_outlive_the_engine(node: Container) -> None:
    run(node, "steady", "sleep", "1000")
    pid = state(node, "steady", "Pid")
    attempt = ("docker", "run", "--rm", "--network=none", TOOLBOX, "true")
    for program in ("dockerd", "containerd"):
        _, victim = inside(node, "busybox", "pidof", program)
        assert victim, f"{program} runs"
        inside(node, "busybox", "kill", "-9", *victim.split())
        until(lambda: inside(node, *attempt)[0] == 0, f"containers start again after {program} was killed")
    assert state(node, "steady", "Pid") == pid
    assert state(node, "steady", "Running") == "true"


def test_shutdown_stops_containers_and_the_node_comes_back(node: Container) -> None:
    script = "trap 'echo told; exit 7' TERM; while true; do sleep 0.1; done"
    run(node, "polite", "sh", "-c", script)
    node.restart(timeout=40)
    until(lambda: inside(node, "docker", "version")[0] == 0, "the engine answers after the restart")
    assert state(node, "polite", "ExitCode") == "7"
    assert inside(node, "docker", "logs", "polite")[1] == "told"


def test_a_node_that_died_comes_back_clean(node: Container) -> None:
    run(node, "lost", "sleep", "1000")
    node.kill()
    node.start()
    until(lambda: inside(node, "docker", "version")[0] == 0, "the engine answers after the crash")
    assert state(node, "lost", "Running") == "false"
    code, text = inside(node, "docker", "start", "lost")
    assert code == 0, text
    assert state(node, "lost", "Running") == "true"
