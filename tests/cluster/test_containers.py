"""What a pod's containers get: limits that hold, namespaces that are shared, restarts, probes, logs and exec."""

from __future__ import annotations

import subprocess
import time
from typing import Any

import pytest

from tests.cluster.harness import CommandFailed, Space, container, pod, until


def status(space: Space, name: str, index: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = space.get("pod", name)["status"]["containerStatuses"][index]
    return found


def test_a_container_that_exceeds_its_memory_is_oom_killed_and_restarted(space: Space) -> None:
    # Fills a tmpfs-free buffer: tail holds everything it reads until the end.
    hungry = pod("hungry", "sleep 1; tail /dev/zero", container={"resources": {"limits": {"memory": "32Mi"}}})
    space.apply(hungry)

    def killed() -> dict[str, Any]:
        found = status(space, "hungry")
        ended: dict[str, Any] = found["lastState"].get("terminated") or found["state"].get("terminated") or {}
        return ended

    ended = until(killed, "the container was killed")
    assert (ended["reason"], ended["exitCode"]) == ("OOMKilled", 137)
    until(lambda: status(space, "hungry")["restartCount"] >= 1, "it is restarted")
    assert "OOMKilled" in space.kubectl("describe", "pod", "hungry")


def test_cpu_limit_is_a_fifth_of_a_core_seen_from_outside(space: Space) -> None:
    busy = pod("busy", "while :; do :; done", container={"resources": {"limits": {"cpu": "200m"}}})
    space.apply(busy)
    space.wait_ready("busy")
    found = space.get("pod", "busy")
    identity = found["status"]["containerStatuses"][0]["containerID"].removeprefix("docker://")
    node = found["spec"]["nodeName"]
    # The kernel's own count of the time that the container's processes ran: nanoseconds (v1) or microseconds (v2).
    script = (
        f"d=$(find /sys/fs/cgroup -type d -name '*{identity}*' | grep -E 'cpuacct|cgroup/kubepods' | head -1); "
        "cat $d/cpuacct.usage 2>/dev/null || awk '/usage_usec/ {print $2 * 1000}' $d/cpu.stat"
    )

    def used() -> float:
        return int(space.cluster.on(node, "sh", "-c", script)) / 1e9

    time.sleep(1)
    before, started = used(), time.monotonic()
    time.sleep(5)
    share = (used() - before) / (time.monotonic() - started)
    assert 0.1 < share < 0.3


def test_containers_of_a_pod_meet_on_localhost_and_in_shared_memory(space: Space) -> None:
    together = pod("together")
    together["spec"]["containers"] = [
        container("server", "echo from-memory > /dev/shm/note; echo hello > /index.html; exec httpd -f -p 8080 -h /"),
        container("client", "sleep infinity"),
    ]
    space.apply(together)
    space.wait_ready("together")
    page = until(lambda: space.exec("together", "curl", "-s", "http://localhost:8080/", container="client"), "page")
    assert page == "hello\n"
    assert space.exec("together", "cat", "/dev/shm/note", container="client") == "from-memory\n"


def test_share_process_namespace_shows_both_containers_processes(space: Space) -> None:
    for shared in (True, False):
        name = "shared" if shared else "apart"
        given = pod(name, shareProcessNamespace=shared)
        given["spec"]["containers"] = [container("one", "sleep 11111"), container("two", "sleep 22222")]
        space.apply(given)
        space.wait_ready(name)
        seen = space.exec(name, "ps", "-o", "args", container="one")
        assert ("sleep 22222" in seen) is shared, seen


def test_init_containers_run_in_order_before_the_others(space: Space) -> None:
    shared = {"volumeMounts": [{"name": "work", "mountPath": "/work"}]}
    given = pod(
        "init",
        "cat /work/log; sleep infinity",
        container=shared,
        volumes=[{"name": "work", "emptyDir": {}}],
        initContainers=[
            container("first", "sleep 1; echo first >> /work/log", **shared),
            container("second", "echo second >> /work/log", **shared),
        ],
    )
    space.apply(given)
    space.wait_ready("init")
    assert space.kubectl("logs", "init") == "first\nsecond\n"
    states = space.get("pod", "init")["status"]["initContainerStatuses"]
    assert [s["state"]["terminated"]["reason"] for s in states] == ["Completed", "Completed"]


def test_a_crashing_container_backs_off_and_keeps_its_last_words(space: Space) -> None:
    space.apply(pod("crash", "echo final words; exit 3"))
    until(
        lambda: status(space, "crash")["state"].get("waiting", {}).get("reason") == "CrashLoopBackOff",
        "CrashLoopBackOff",
    )
    found = status(space, "crash")
    last = found["lastState"]["terminated"]
    assert (last["exitCode"], last["reason"]) == (3, "Error")
    assert "back-off" in found["state"]["waiting"]["message"]
    assert "CrashLoopBackOff" in space.kubectl("get", "pod", "crash")
    assert space.kubectl("logs", "crash", "--previous") == "final words\n"
    assert any(e["reason"] == "BackOff" for e in space.events("crash"))


def test_restart_policies(space: Space) -> None:
    space.apply(
        pod("once", "exit 0", restartPolicy="Never"),
        pod("failed", "exit 4", restartPolicy="Never"),
        pod("on-failure", "exit 0", restartPolicy="OnFailure"),
    )
    for name, phase in (("once", "Succeeded"), ("failed", "Failed"), ("on-failure", "Succeeded")):
        until(lambda name=name, phase=phase: space.get("pod", name)["status"]["phase"] == phase, f"{name} {phase}")
        assert status(space, name)["restartCount"] == 0


def test_a_failing_liveness_probe_restarts_the_container(space: Space) -> None:
    probe = {"exec": {"command": ["cat", "/tmp/alive"]}, "periodSeconds": 1, "failureThreshold": 2}
    space.apply(pod("sick", "touch /tmp/alive; sleep 3; rm /tmp/alive; sleep 600", container={"livenessProbe": probe}))
    until(lambda: status(space, "sick")["restartCount"] >= 1, "the container is restarted")
    messages = [e["message"] for e in space.events("sick")]
    assert any(m.startswith("Liveness probe failed: cat:") for m in messages), messages
    assert "Container main failed liveness probe, will be restarted" in messages


@pytest.mark.parametrize("kind", ["exec", "httpGet", "tcpSocket"])
def test_readiness_follows_the_probe_without_a_restart(space: Space, kind: str) -> None:
    handler = {
        "exec": {"command": ["test", "-e", "/www/index.html"]},
        "httpGet": {"path": "/", "port": 8080},
        "tcpSocket": {"port": 8080},
    }[kind]
    probe = {kind: handler, "periodSeconds": 1, "failureThreshold": 1}
    serve = (
        "mkdir -p /www; while :; do "
        "if [ -e /tmp/go ]; then echo hi > /www/index.html; httpd -f -p 8080 -h /www; fi; sleep .1; done"
    )
    space.apply(pod("probed", serve, container={"readinessProbe": probe}))
    until(lambda: status(space, "probed")["started"], "the container runs")
    assert not status(space, "probed")["ready"]
    space.exec("probed", "touch", "/tmp/go")
    space.wait_ready("probed", timeout=20)
    space.exec("probed", "sh", "-c", "rm -f /tmp/go /www/index.html; pkill httpd || killall httpd")
    until(lambda: not status(space, "probed")["ready"], "it is not ready any more")
    assert status(space, "probed")["restartCount"] == 0


def test_a_startup_probe_holds_the_others_back(space: Space) -> None:
    given = pod(
        "slow",
        "sleep 4; touch /tmp/started; sleep 600",
        container={
            "startupProbe": {
                "exec": {"command": ["test", "-e", "/tmp/started"]},
                "periodSeconds": 1,
                "failureThreshold": 30,
            },
            "livenessProbe": {
                "exec": {"command": ["test", "-e", "/tmp/started"]},
                "periodSeconds": 1,
                "failureThreshold": 1,
            },
        },
    )
    space.apply(given)
    space.wait_ready("slow", timeout=30)
    assert status(space, "slow")["restartCount"] == 0


def test_logs(space: Space) -> None:
    given = pod("talk")
    given["spec"]["containers"] = [
        container("a", "for i in 1 2 3 4 5; do echo line $i; done; echo oops >&2; sleep 600"),
        container("b", "echo from b; sleep 600"),
    ]
    space.apply(given)
    space.wait_ready("talk")
    assert space.kubectl("logs", "talk", "-c", "a", "--tail=2") == "line 5\noops\n"
    assert space.kubectl("logs", "talk", "-c", "b") == "from b\n"
    stamped = space.kubectl("logs", "talk", "-c", "b", "--timestamps").split()[0]
    assert stamped.endswith("Z")
    assert "T" in stamped
    assert space.kubectl("logs", "talk", "-c", "a", "--since=1h").count("line") == 5
    with pytest.raises(CommandFailed) as failure:
        space.kubectl("logs", "talk", "-c", "missing")
    assert "container missing is not valid for pod talk" in failure.value.stderr
    assert space.pykubectl("logs", "talk", "-c", "a", "--tail=1") == "oops\n"


def test_exec(space: Space) -> None:
    space.apply(pod("box"))
    space.wait_ready("box")
    assert space.kubectl("exec", "-i", "box", "--", "cat", stdin="through stdin") == "through stdin"
    assert space.pykubectl("exec", "-i", "box", "--", "cat", stdin="through stdin") == "through stdin"
    for client in (space.kubectl, space.pykubectl):
        with pytest.raises(CommandFailed) as failure:
            client("exec", "box", "--", "sh", "-c", "echo out; echo err >&2; exit 7")
        assert (failure.value.code, failure.value.stdout) == (7, "out\n")
        assert "err\n" in failure.value.stderr
        with pytest.raises(CommandFailed) as failure:
            client("exec", "box", "--", "no-such-program")
        assert "executable file not found" in failure.value.stderr


def test_grace_and_pre_stop(space: Space) -> None:
    given = pod(
        "leaving",
        "trap 'echo got TERM; exit 0' TERM; while :; do sleep .1; done",
        container={"lifecycle": {"preStop": {"exec": {"command": ["sh", "-c", "echo bye > /proc/1/fd/1"]}}}},
        terminationGracePeriodSeconds=20,
    )
    space.apply(given)
    space.wait_ready("leaving")
    follower = subprocess.Popen(
        ["kubectl", "--kubeconfig", str(space.cluster.kubeconfig), "-n", space.name, "logs", "-f", "leaving"],
        stdout=subprocess.PIPE,
        text=True,
    )
    time.sleep(1)
    space.kubectl("delete", "pod", "leaving", "--timeout=20s")
    said, _ = follower.communicate(timeout=10)
    assert said == "bye\ngot TERM\n"


def test_images_that_cannot_be_had(space: Space) -> None:
    space.apply(
        pod("missing", container={"image": "localhost:5000/no-such-image"}),
        pod("never", container={"image": "localhost:5000/not-here", "imagePullPolicy": "Never"}),
        pod("invalid", container={"image": "localhost:5000/UPPER"}),
    )
    for name, reasons in (
        ("missing", {"ErrImagePull", "ImagePullBackOff"}),
        ("never", {"ErrImageNeverPull"}),
        ("invalid", {"InvalidImageName"}),
    ):
        until(
            lambda name=name, reasons=reasons: status(space, name)["state"]["waiting"]["reason"] in reasons,
            f"{name}: one of {reasons}",
        )
    until(lambda: status(space, "missing")["state"]["waiting"]["reason"] == "ImagePullBackOff", "ImagePullBackOff")
