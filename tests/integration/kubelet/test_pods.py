"""Sandboxes and containers: what they share, how they end, how a runtime that starts anew finds them."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path

import pytest

from kubelet import cri
from kubelet.runtime import netns
from kubelet.runtime.docker import DockerRuntime
from kubelet.runtime.network import veth_name
from tests.integration.kubelet.conftest import BRIDGE, TOOLBOX, Pods, leftovers, started


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)


async def test_containers_of_a_pod_share_network_and_memory_but_not_processes(pods: Pods) -> None:
    pod = await pods.run(
        "sh", "-c", 'echo shared > /dev/shm/x; socat TCP-LISTEN:8080,fork,reuseaddr SYSTEM:"echo hello"'
    )
    first = pod.container
    second = await pod.add("sleep", "1000", name="other")
    await pod.sh("until socat -u OPEN:/dev/null TCP:127.0.0.1:8080; do sleep 0.05; done", second)
    assert (await pod.sh("cat /dev/shm/x; socat -u TCP:127.0.0.1:8080 -", second)).split() == ["shared", "hello"]
    assert await pod.sh("ip -4 -o addr show eth0", first) == await pod.sh("ip -4 -o addr show eth0", second)
    assert "sleep 1000" not in await pod.sh("cat /proc/[0-9]*/cmdline | tr '\\0' ' '", first)
    assert (await pod.sh("hostname; cat /etc/hostname", second)).split() == ["web-0", "web-0"]


async def test_share_process_namespace_shows_both_containers(pods: Pods) -> None:
    pod = await pods.run("sleep", "1001", sandbox={"share_process_namespace": True})
    second = await pod.add("sleep", "1002", name="other")
    seen = await pod.sh("cat /proc/[0-9]*/cmdline | tr '\\0' ' '", second)
    assert "sleep 1001" in seen
    assert "sleep 1002" in seen
    assert "catatonit" in await pod.sh("cat /proc/1/cmdline", second)


async def test_an_ephemeral_container_sees_the_processes_of_its_target(pods: Pods) -> None:
    pod = await pods.run("sleep", "1003")
    target = pod.container
    debugger = await pod.add("sleep", "1004", name="debugger", target_container_id=target)
    assert "sleep 1003" in await pod.sh("cat /proc/1/cmdline | tr '\\0' ' '", debugger)


async def test_dns_mounts_env_user_and_working_directory(pods: Pods, tmp_path: Path) -> None:
    dns = cri.DNSConfig(servers=("10.96.0.10",), searches=("a.svc", "svc"), options=("ndots:5",))
    (tmp_path / "file").write_text("content")
    pod = await pods.run(
        sandbox={"dns": dns, "sysctls": {"net.ipv4.ip_unprivileged_port_start": "80"}},
        env=(("GREETING", "a=b c"),),
        working_dir="/var",
        mounts=(
            cri.Mount(str(tmp_path / "file"), "/data/file", read_only=True),
            cri.Mount(str(tmp_path / "made"), "/made"),
        ),
        security=cri.SecurityConfig(user="1000:2000", supplemental_groups=(3000,), read_only_rootfs=True),
    )
    assert await pod.sh("cat /etc/resolv.conf") == "search a.svc svc\nnameserver 10.96.0.10\noptions ndots:5\n"
    assert (await pod.sh('echo "$GREETING"; pwd; id -u; id -g; id -G; cat /data/file')).splitlines() == [
        "a=b c", "/var", "1000", "2000", "2000 3000", "content",
    ]  # fmt: skip
    assert (await pod.sh("cat /proc/sys/net/ipv4/ip_unprivileged_port_start")).strip() == "80"
    assert (tmp_path / "made").is_dir()
    for path in ("/data/file", "/new"):
        assert (await pod.runtime.exec_sync(pod.container, ["sh", "-c", f": > {path}"], 5)).exit_code != 0


async def test_capabilities_and_privileged_as_far_as_the_node_can(pods: Pods) -> None:
    plain = await pods.run(security=cri.SecurityConfig(drop_capabilities=("ALL",), add_capabilities=("NET_RAW",)))
    assert int(await plain.sh("sed -n 's/CapBnd:\\s*/0x/p' /proc/self/status"), 16) == 1 << 13
    privileged = await pods.run(security=cri.SecurityConfig(privileged=True, add_capabilities=("SYS_RESOURCE",)))
    # Both need CAP_SYS_ADMIN, and writable /proc/sys and /sys.
    await privileged.sh("mount -t tmpfs none /mnt && mkdir /mnt/x && echo 1 > /proc/sys/net/ipv4/ip_forward")
    assert not any(
        option == "ro" for option in (await privileged.sh("grep ' /sys ' /proc/mounts")).split()[3].split(",")
    )


async def test_statuses_tell_identity_and_end(pods: Pods) -> None:
    pod = await pods.run("sh", "-c", "exit 3", attempt=2, labels={"a": "b"}, annotations={"hash": "é1"})
    status = await pod.ended()
    assert (status.exit_code, status.reason) == (3, "Error")
    assert (status.name, status.attempt, status.pod_uid) == ("main", 2, pod.config.uid)
    assert (status.labels, status.annotations) == ({"a": "b"}, {"hash": "é1"})
    assert status.image == TOOLBOX
    assert status.created_at <= status.started_at <= status.finished_at
    snapshot = await pod.runtime.pod(pod.config.uid)
    assert snapshot is not None
    assert snapshot.containers == (status,)
    assert snapshot.sandboxes == (pod.sandbox,)
    good = await pod.add("true", name="good")
    assert (await pod.ended(good)).reason == "Completed"


async def test_a_command_that_does_not_exist_is_told_in_oci_words(pods: Pods) -> None:
    pod = await pods.sandbox()
    await pod.add("no-such-command", start=False)
    with pytest.raises(cri.RuntimeFailure, match='exec: "no-such-command": executable file not found in \\$PATH'):
        await pod.runtime.start_container(pod.container)
    status = await pod.runtime.container(pod.container)
    assert (status.state, status.reason, status.exit_code) == (cri.State.EXITED, "ContainerCannotRun", 127)
    assert "executable file not found" in status.message


async def test_the_image_command_is_kept_unless_replaced(pods: Pods) -> None:
    pod = await pods.sandbox()
    image = await pod.runtime.image(TOOLBOX)
    assert image is not None
    config = cri.ContainerConfig(name="default", attempt=0, image_id=image.id, image=TOOLBOX)
    container = await pod.runtime.create_container(pod.sandbox.id, pod.config, config)
    await pod.runtime.start_container(container)
    assert await pod.sh("tr '\\0' ' ' < /proc/1/cmdline", container) == "sleep infinity "


async def test_a_memory_hog_is_oom_killed_also_when_it_is_a_child(pods: Pods) -> None:
    limit = cri.Resources(memory_limit=24 << 20)
    hog = "dd if=/dev/zero of=/dev/null bs=64M count=1"
    alone = await pods.run("sh", "-c", f"exec {hog}", resources=limit)
    child = await pods.run("sh", "-c", f"{hog}; exit 7", resources=limit)
    assert [(s.reason, s.exit_code) for s in (await alone.ended(), await child.ended())] == [
        ("OOMKilled", 137), ("OOMKilled", 7),
    ]  # fmt: skip


async def test_limits_reach_the_cgroups_and_can_be_changed(pods: Pods) -> None:
    pod = await pods.run(
        sandbox={"resources": cri.Resources(cpu_shares=512, cpu_quota=50_000, memory_limit=256 << 20, pids_limit=100)},
        resources=cri.Resources(cpu_shares=204, cpu_quota=20_000, memory_limit=64 << 20, pids_limit=50),
    )
    groups = pod.runtime.cgroups
    inner = f"{pod.config.cgroup_parent}/{pod.container}"

    def limit_of(path: str) -> int | None:
        usage = groups.usage(path)
        assert usage is not None
        return usage.memory_limit

    assert (limit_of(pod.config.cgroup_parent), limit_of(inner)) == (256 << 20, 64 << 20)
    await pod.runtime.update_container_resources(pod.container, cri.Resources(cpu_quota=40_000, memory_limit=128 << 20))
    assert limit_of(inner) == 128 << 20
    await pod.runtime.update_container_resources(pod.container, cri.Resources())
    assert limit_of(inner) is None
    await pod.runtime.update_pod_resources(pod.config.uid, pod.config.cgroup_parent, cri.Resources())
    assert limit_of(pod.config.cgroup_parent) is None
    # Endless forks hit the pids limit of the pod or the container, not the node.
    assert "can't fork" in (
        await pod.runtime.exec_sync(pod.container, ["sh", "-c", "for i in $(seq 200); do sleep 2 & done"], 20)
    ).output.decode().lower().replace("cannot fork", "can't fork")


async def test_stopping_asks_first_and_kills_after_the_grace_period(pods: Pods) -> None:
    polite = await pods.run("sh", "-c", "trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.05; done")
    stubborn = await pods.run("sh", "-c", "trap '' TERM; while :; do sleep 0.05; done")
    usr1 = await pods.run("sh", "-c", "trap 'exit 9' USR1; echo up; while :; do sleep 0.05; done")
    for pod in (polite, usr1):
        while b"up" not in await pod.log():
            await asyncio.sleep(0.02)
    await asyncio.gather(
        polite.runtime.stop_container(polite.container, 30),
        stubborn.runtime.stop_container(stubborn.container, 1),
        usr1.runtime.stop_container(usr1.container, 30, "SIGUSR1"),
    )
    codes = [(await pod.runtime.container(pod.container)).exit_code for pod in (polite, stubborn, usr1)]
    assert codes == [0, 137, 9]
    assert await polite.log() == b"up\nbye\n"
    await polite.runtime.stop_container(polite.container, 30)  # again: nothing to do
    await polite.runtime.stop_container("0" * 64, 30)


async def test_removing_takes_everything_away_and_is_idempotent(pods: Pods) -> None:
    before = leftovers()
    pod = await pods.run()
    await pod.add("sh", "-c", "sleep 1000 & sleep 1000", name="two")
    assert leftovers() != before
    for _ in range(2):
        await pod.runtime.stop_sandbox(pod.sandbox.id)
    snapshot = await pod.runtime.pod(pod.config.uid)
    assert snapshot is not None
    assert {item.state for item in (*snapshot.containers, *snapshot.sandboxes)} == {cri.State.EXITED}
    for _ in range(2):
        await pod.runtime.remove_sandbox(pod.sandbox.id)
    assert leftovers() == before
    assert await pod.runtime.pod(pod.config.uid) is None


async def test_twenty_pods_at_once_have_twenty_addresses(pods: Pods) -> None:
    made = await asyncio.gather(*(pods.run() for _ in range(20)))
    assert len({pod.ip for pod in made}) == 20
    snapshots = await pods.runtime.list_pods()
    assert all(snapshots[pod.config.uid].containers[0].state is cri.State.RUNNING for pod in made)


async def test_a_runtime_that_starts_anew_disturbs_nothing(pods: Pods, tmp_path: Path) -> None:
    pod = await pods.run(labels={"x": "y"})
    other = await pods.run()
    before = await pods.runtime.pod(pod.config.uid)
    # A crash between the sandbox's start and its network, and one between a removal's steps:
    ip("link", "del", veth_name(pod.sandbox.id))
    ip("link", "add", "vethdeadbeef", "type", "veth", "peer", "name", "pkpeer")
    ip("link", "set", "vethdeadbeef", "master", BRIDGE)
    async with started(tmp_path / "empty") as again:
        assert await again.pod(pod.config.uid) == before
        assert not Path("/sys/class/net/vethdeadbeef").exists()
        done = await again.exec_sync(pod.container, ["ping", "-c1", "-W2", other.ip], 5)
        assert done.exit_code == 0, done
        third = await again.run_sandbox(pods.config())
        try:
            assert third.ips[0] not in (pod.ip, other.ip)
        finally:
            await again.remove_sandbox(third.id)


async def test_a_container_left_by_a_crash_makes_way_for_the_same_attempt(pods: Pods) -> None:
    pod = await pods.run("sleep", "1000")
    left = pod.container
    await pod.add("sleep", "1000")
    assert pod.container != left
    with pytest.raises(cri.ContainerNotFound):
        await pod.runtime.container(left)


async def test_a_sandbox_that_fails_leaves_nothing(pods: Pods, runtime: DockerRuntime) -> None:
    before = leftovers()
    config = pods.config(sysctls={"net.no.such.thing": "1"})
    with pytest.raises(cri.RuntimeFailure):
        await runtime.run_sandbox(config)
    assert leftovers() == before


@pytest.mark.parametrize("delay", [0.001, 0.01, 0.04, 0.08])
async def test_a_start_that_is_cancelled_leaves_nothing(pods: Pods, runtime: DockerRuntime, delay: float) -> None:
    before = leftovers()
    config = pods.config()
    task = asyncio.create_task(runtime.run_sandbox(config))
    await asyncio.sleep(delay)
    if task.cancel():
        await asyncio.wait([task])
    if not task.cancelled():
        await runtime.remove_sandbox(task.result().id)
    async with asyncio.timeout(10):
        while leftovers() != before:
            await asyncio.sleep(0.1)


async def test_events_name_the_pod(pods: Pods) -> None:
    seen: list[tuple[str, str]] = []

    async def listen() -> None:
        async for event in pods.runtime.events():
            seen.append((event.pod_uid, event.action))

    listening = asyncio.create_task(listen())
    await asyncio.sleep(0.3)
    pod = await pods.run("true")
    await pod.ended()
    while (pod.config.uid, "died") not in seen:
        await asyncio.sleep(0.02)
    listening.cancel()
    own = [action for uid, action in seen if uid == pod.config.uid]
    assert own == ["created", "started", "created", "started", "died"]


async def test_host_namespaces(pods: Pods) -> None:
    pod = await pods.run(sandbox={"host_network": True, "host_pid": True, "host_ipc": True})
    assert pod.sandbox.ips == ()
    for kind in ("net", "pid", "ipc"):
        assert (await pod.sh(f"readlink /proc/self/ns/{kind}")).strip() == str(Path(f"/proc/self/ns/{kind}").readlink())


async def test_statistics_count_what_a_pod_uses(pods: Pods) -> None:
    script = "seq 100000; dd if=/dev/zero of=/big bs=1M count=5; touch /done; while :; do :; done"
    pod = await pods.run("sh", "-c", script, resources=cri.Resources(memory_limit=32 << 20))
    await pod.sh("until test -e /done; do sleep 0.05; done")
    await asyncio.sleep(0.3)
    stats = (await pods.runtime.pod_stats())[pod.config.uid]
    assert stats["podRef"] == {"name": pod.config.name, "namespace": "runtime-test", "uid": pod.config.uid}
    container = stats["containers"][0]  # type: ignore[index]
    assert container["name"] == "main"
    assert container["cpu"]["usageCoreNanoSeconds"] > 50_000_000
    assert 0 < container["memory"]["workingSetBytes"] < 32 << 20
    assert 5 << 20 <= container["rootfs"]["usedBytes"] < 6 << 20
    assert 5 << 20 < container["logs"]["usedBytes"] < 9 << 20
    storage = stats["ephemeral-storage"]
    assert storage["usedBytes"] == container["rootfs"]["usedBytes"] + container["logs"]["usedBytes"]  # type: ignore[index]
    assert stats["network"]["name"] == "eth0"  # type: ignore[index]
    assert stats["process_stats"] == {"process_count": 2}


async def test_a_socket_made_inside_a_namespace_stays_there(pods: Pods) -> None:
    pod = await pods.run("sh", "-c", "exec socat TCP-LISTEN:8081,bind=127.0.0.1,fork,reuseaddr EXEC:cat")
    await pod.sh("until socat -u OPEN:/dev/null TCP:127.0.0.1:8081; do sleep 0.05; done")
    reader, writer = await pod.runtime.dial(pod.sandbox.id, 8081)
    writer.write(b"through the namespace")
    writer.write_eof()
    assert await reader.read() == b"through the namespace"
    writer.close()
    with pytest.raises(cri.RuntimeFailure, match="failed to connect to localhost:8082 inside namespace") as refused:
        await pod.runtime.dial(pod.sandbox.id, 8082)
    assert str(refused.value).endswith(
        "IPv4: dial tcp4 127.0.0.1:8082: connect: connection refused "
        "IPv6: dial tcp6 [::1]:8082: connect: connection refused"
    )
    here = Path("/proc/self/ns/net").readlink()
    assert await asyncio.to_thread(lambda: Path("/proc/thread-self/ns/net").readlink()) == here
    with pytest.raises(FileNotFoundError):
        netns.inside(2**22 + 1, lambda: None)
