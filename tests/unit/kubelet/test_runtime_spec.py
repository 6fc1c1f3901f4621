"""What dockerd is told, and how its answers are read."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from kubelet import cri
from kubelet.runtime import capabilities, image_name, labels, spec, status, timestamps

ALL = frozenset(capabilities.NAMES)
SANDBOX = cri.SandboxConfig(
    namespace="ns",
    name="web-0",
    uid="u-1",
    attempt=1,
    hostname="web-0",
    cgroup_parent="/kubepods/podu-1",
    resources=cri.Resources(),
)
CONTAINER = cri.ContainerConfig(name="main", attempt=3, image_id="sha256:1", image="redis")


def sandbox_host(config: cri.SandboxConfig) -> dict[str, Any]:
    return dict(spec.sandbox_body(config, image="pause", labels={}, granted=ALL)["HostConfig"])


def container(config: cri.ContainerConfig, sandbox: cri.SandboxConfig = SANDBOX, **options: Any) -> dict[str, Any]:
    options.setdefault("granted", ALL)
    return spec.container_body("sid", sandbox, config, labels={}, mounts=config.mounts, **options)


def test_names_follow_dockershim() -> None:
    assert labels.sandbox_name(SANDBOX) == "k8s_POD_web-0_ns_u-1_1"
    assert labels.container_name(SANDBOX, CONTAINER) == "k8s_main_web-0_ns_u-1_3"


def test_a_sandbox_has_a_network_namespace_without_docker_in_it() -> None:
    body = spec.sandbox_body(SANDBOX, image="pause", labels={}, granted=ALL)
    assert body["NetworkDisabled"] is True
    assert body["HostConfig"]["NetworkMode"] == "none"
    host = spec.sandbox_body(replace(SANDBOX, host_network=True), image="pause", labels={}, granted=ALL)
    assert "NetworkDisabled" not in host
    assert "Hostname" not in host
    assert host["HostConfig"]["NetworkMode"] == "host"


@pytest.mark.parametrize(
    ("sandbox", "target", "expected"),
    [
        (SANDBOX, "", ""),
        (replace(SANDBOX, share_process_namespace=True), "", "container:sid"),
        (replace(SANDBOX, host_pid=True), "", "host"),
        (replace(SANDBOX, host_pid=True), "abc", "container:abc"),
    ],
)
def test_pid_namespace(sandbox: cri.SandboxConfig, target: str, expected: str) -> None:
    body = container(replace(CONTAINER, target_container_id=target), sandbox)
    assert body["HostConfig"]["PidMode"] == expected


def test_command_and_args_follow_kubernetes_rules() -> None:
    neither = container(CONTAINER)
    assert "Entrypoint" not in neither
    assert "Cmd" not in neither
    command = container(replace(CONTAINER, command=("sh",)))
    assert (command["Entrypoint"], command["Cmd"]) == (["sh"], [])
    args = container(replace(CONTAINER, args=("-v",)))
    assert "Entrypoint" not in args
    assert args["Cmd"] == ["-v"]


def test_limits_leave_no_room_for_swap() -> None:
    limits = cri.Resources(cpu_shares=204, cpu_quota=20_000, memory_limit=1 << 20, pids_limit=7, oom_score_adj=900)
    host = container(replace(CONTAINER, resources=limits))["HostConfig"]
    assert (host["Memory"], host["MemorySwap"]) == (1 << 20, 1 << 20)
    assert (host["CpuShares"], host["CpuQuota"], host["CpuPeriod"]) == (204, 20_000, 100_000)
    assert (host["PidsLimit"], host["OomScoreAdj"]) == (7, 900)
    assert not {"Memory", "CpuQuota", "CpuShares"} & container(CONTAINER)["HostConfig"].keys()


def test_a_node_gives_what_it_has() -> None:
    limited = ALL - {"SYS_RESOURCE"}
    assert sandbox_host(SANDBOX)["OomScoreAdj"] == -998
    assert capabilities.oom_score(-997, limited) == 0
    assert capabilities.oom_score(500, limited) == 500
    assert capabilities.expand(["CAP_NET_ADMIN", "sys_resource"], limited) == ["NET_ADMIN"]
    assert capabilities.expand(["ALL"], limited) == sorted(limited)
    assert capabilities.expand(["ALL"], ALL) == ["ALL"]
    assert capabilities.expand(["NOT_ONE"], limited) == ["NOT_ONE"]
    privileged = replace(CONTAINER, security=cri.SecurityConfig(privileged=True))
    assert container(privileged, api_version=(1, 45))["HostConfig"]["Privileged"] is True
    emulated = container(privileged, granted=limited)["HostConfig"]
    assert "Privileged" not in emulated
    assert emulated["DeviceCgroupRules"] == ["a *:* rwm"]
    assert "SYS_RESOURCE" not in emulated["CapAdd"]
    assert "BPF" not in emulated["CapAdd"]  # Docker 20.10 does not know it
    assert "BPF" in container(privileged, granted=limited, api_version=(1, 45))["HostConfig"]["CapAdd"]


def test_security_options() -> None:
    security = cri.SecurityConfig(
        seccomp_profile="unconfined", no_new_privileges=True, masked_paths=(), drop_capabilities=("cap_chown",)
    )
    host = container(replace(CONTAINER, security=security))["HostConfig"]
    assert host["SecurityOpt"] == ["seccomp=unconfined", "no-new-privileges"]
    assert host["MaskedPaths"] == []
    assert "ReadonlyPaths" not in host
    assert host["CapDrop"] == ["CHOWN"]


def test_read_only_mounts_stay_non_recursive() -> None:
    mount = cri.Mount("/a", "/b", read_only=True, propagation="rslave")
    old, new = (
        container(replace(CONTAINER, mounts=(mount,)), api_version=version)["HostConfig"]["Mounts"][0]["BindOptions"]
        for version in ((1, 41), (1, 44))
    )
    assert old == {"Propagation": "rslave"}
    assert new == {"Propagation": "rslave", "ReadOnlyNonRecursive": True}


def test_private_mounts_leave_the_propagation_to_docker() -> None:
    """It refuses an explicit `rprivate` for a source that holds its own directories: a node's `/`."""
    mount = cri.Mount("/", "/host")
    assert container(replace(CONTAINER, mounts=(mount,)))["HostConfig"]["Mounts"][0]["BindOptions"] == {}


def test_labels_carry_everything_there_and_back() -> None:
    config = replace(
        SANDBOX,
        labels={"app": "x", labels.POD_UID: "forged"},
        annotations={"a": "é"},
        port_mappings=(cri.PortMapping(80, 8080, "TCP", "127.0.0.1"),),
    )
    own = labels.sandbox_labels(config, ip="10.0.0.2", bridge="cbr0", created_at="2026-01-01T00:00:00.000000001Z")
    entry = {"Id": "sid", "State": "running", "Created": 1, "Labels": own}
    found = status.sandbox_status(entry)
    assert (found.uid, found.name, found.namespace, found.attempt) == ("u-1", "web-0", "ns", 1)
    assert found.ips == ("10.0.0.2",)
    assert found.annotations == {"a": "é"}
    assert found.labels == {"app": "x", labels.POD_UID: "forged"}
    assert labels.port_mappings(own) == config.port_mappings
    assert labels.is_pod(own, "cbr0")
    assert not labels.is_pod(own, "other")


def inspected(**state: Any) -> dict[str, Any]:
    base = {
        "Status": "exited",
        "ExitCode": 0,
        "Error": "",
        "OOMKilled": False,
        "StartedAt": "2026-01-01T00:00:01.5Z",
        "FinishedAt": "2026-01-01T00:00:02Z",
    }
    own = labels.container_labels("sid", SANDBOX, CONTAINER, bridge="b", created_at="x")
    return {
        "Id": "cid",
        "Created": "2026-01-01T00:00:00.12Z",
        "Image": "sha256:1",
        "Config": {"Labels": own, "Image": "sha256:1"},
        "State": base | state,
    }


@pytest.mark.parametrize(
    ("state", "oom", "expected"),
    [
        ({}, False, (cri.State.EXITED, "Completed", 0)),
        ({"ExitCode": 2}, False, (cri.State.EXITED, "Error", 2)),
        ({"ExitCode": 137, "OOMKilled": True}, False, (cri.State.EXITED, "OOMKilled", 137)),
        ({"ExitCode": 1}, True, (cri.State.EXITED, "OOMKilled", 1)),
        ({}, True, (cri.State.EXITED, "Completed", 0)),
        ({"Status": "running", "ExitCode": 0}, True, (cri.State.RUNNING, "", 0)),
        ({"Status": "created", "StartedAt": "0001-01-01T00:00:00Z"}, False, (cri.State.CREATED, "", 0)),
        (
            {"Status": "created", "StartedAt": "0001-01-01T00:00:00Z", "ExitCode": 127, "Error": "why"},
            False,
            (cri.State.EXITED, "ContainerCannotRun", 127),
        ),
        ({"Status": "dead"}, False, (cri.State.EXITED, "Completed", 0)),
    ],
)
def test_how_a_container_ended(state: dict[str, Any], oom: bool, expected: tuple[cri.State, str, int]) -> None:
    found = status.container_status(inspected(**state), oom_killed=oom)
    assert (found.state, found.reason, found.exit_code) == expected
    assert (found.finished_at == "") == (found.state is not cri.State.EXITED)


def test_times_have_nine_digits() -> None:
    assert timestamps.fixed("2026-01-01T00:00:00.12Z") == "2026-01-01T00:00:00.120000000Z"
    assert timestamps.fixed("2026-01-01T00:00:00Z") == "2026-01-01T00:00:00.000000000Z"
    assert timestamps.fixed("0001-01-01T00:00:00Z") == ""
    assert timestamps.from_nanoseconds(1_000_000_001) == "1970-01-01T00:00:01.000000001Z"


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ("redis", "docker.io/library/redis:latest"),
        ("redis:8", "docker.io/library/redis:8"),
        ("user/app", "docker.io/user/app:latest"),
        ("localhost:5000/x", "localhost:5000/x:latest"),
        ("localhost/x:1", "localhost/x:1"),
        ("quay.io/a/b:v1", "quay.io/a/b:v1"),
        ("index.docker.io/library/x", "docker.io/library/x:latest"),
        ("x@sha256:" + "a" * 64, "docker.io/library/x@sha256:" + "a" * 64),
        ("x:1@sha256:" + "a" * 64, "docker.io/library/x:1@sha256:" + "a" * 64),
    ],
)
def test_image_names(image: str, expected: str) -> None:
    assert image_name.normalize(image) == expected


@pytest.mark.parametrize("image", ["", "Redis", "a//b", "x:", "-x", "x@sha256:short", "a b", "x/" * 130 + "y"])
def test_what_is_no_image_name(image: str) -> None:
    with pytest.raises(ValueError, match="invalid reference format"):
        image_name.normalize(image)


def test_an_image_id_shows_the_name_and_digest_of_the_image() -> None:
    image = cri.ImageStatus(
        id="sha256:1",
        repo_tags=("docker.io/library/redis:8",),
        repo_digests=("quay.io/redis@sha256:2", "docker.io/library/redis@sha256:3"),
        size=1,
        user="",
    )
    found = status.container_status(inspected(), image=image)
    assert found.image == "docker.io/library/redis:latest"
    assert found.image_id == "docker.io/library/redis@sha256:3"
    assert status.container_status(inspected()).image_id == "sha256:1"


def test_a_container_never_ends_before_it_starts() -> None:
    found = status.container_status(
        inspected(StartedAt="2026-01-01T00:00:02.5Z", FinishedAt="2026-01-01T00:00:02.4999Z")
    )
    assert found.finished_at == found.started_at


def test_a_runtime_class_is_one_of_dockers_runtimes_for_the_whole_pod() -> None:
    handled = replace(SANDBOX, runtime_handler="runsc")
    assert sandbox_host(handled)["Runtime"] == "runsc"
    assert container(CONTAINER, handled)["HostConfig"]["Runtime"] == "runsc"
    assert "Runtime" not in sandbox_host(SANDBOX)
