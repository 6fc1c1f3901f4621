"""A pod's life as the API shows it: phases, conditions, states, hooks, probes, restarts, ends.

All pods of this file start together, once, and each test looks at its own.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cluster.harness import TOOLBOX, Cluster, Space, container, pod, until

TRAP = "trap 'echo {name} >> /order/stop; exit 0' TERM; echo {name} >> /order/start; while :; do sleep .1; done"


def ordered(name: str, **more: Any) -> dict[str, Any]:
    """A container that notes when it starts and stops in a directory of the node."""
    mounts = [{"name": "order", "mountPath": "/order"}]
    return container(name, TRAP.format(name=name), volumeMounts=mounts, **more)


def order_volume(directory: str) -> dict[str, Any]:
    return {"name": "order", "hostPath": {"path": directory, "type": "DirectoryOrCreate"}}


def once(name: str, script: str, **more: Any) -> dict[str, Any]:
    """A pod that runs to its end."""
    return pod(name, script, restartPolicy=more.pop("restartPolicy", "Never"), **more)


def life(directory: str) -> dict[str, Any]:
    made = pod("life", terminationGracePeriodSeconds=20, volumes=[order_volume(directory)])
    started = {"exec": {"command": ["test", "-s", "/order/start"]}, "periodSeconds": 1}
    mounts = [{"name": "order", "mountPath": "/order"}]
    made["spec"]["initContainers"] = [
        container("first", "echo first >> /order/start", volumeMounts=mounts),
        ordered("helper", restartPolicy="Always", startupProbe=started),
        container("second", "sleep .5; echo second >> /order/start", volumeMounts=mounts),
        ordered("logger", restartPolicy="Always"),
    ]
    # Both end at SIGTERM: when the main containers use up the whole grace, sidecars are no longer asked in order.
    made["spec"]["containers"] = [ordered("main"), container("other", "trap 'exit 0' TERM; while :; do sleep .1; done")]
    return made


def pods(directory: str) -> list[dict[str, Any]]:
    failing = {"periodSeconds": 1, "failureThreshold": 1, "timeoutSeconds": 1}
    gated = pod("gated", readinessGates=[{"conditionType": "example.com/open"}])
    done = once("done", "echo so long > /dev/termination-log; echo out")
    broken = once(
        "broken", "echo it broke >&2; exit 3", container={"terminationMessagePolicy": "FallbackToLogsOnError"}
    )
    init_fails = once("init-fails", "true")
    init_fails["spec"]["initContainers"] = [container("bad", "exit 4")]
    late = pod("late", activeDeadlineSeconds=3)
    loop = pod("loop", "echo again; exit 1")
    retried = once("retried", "[ -e /kept/once ] || { touch /kept/once; exit 1; }", restartPolicy="OnFailure")
    retried["spec"]["volumes"] = [{"name": "kept", "emptyDir": {}}]
    retried["spec"]["containers"][0]["volumeMounts"] = [{"name": "kept", "mountPath": "/kept"}]
    rules = once(
        "rules", "[ -e /kept/once ] || { touch /kept/once; exit 42; }", volumes=[{"name": "kept", "emptyDir": {}}]
    )
    rules["spec"]["containers"][0] |= {
        "volumeMounts": [{"name": "kept", "mountPath": "/kept"}],
        "restartPolicy": "Never",
        "restartPolicyRules": [{"action": "Restart", "exitCodes": {"operator": "In", "values": [42]}}],
    }
    never = {"exec": {"command": ["false"]}, **failing, "failureThreshold": 2}
    # One pod each: of what happens to a single pod in a short time only the first 25 events are written, as upstream.
    unhealthy = [
        pod(
            "http",
            "exec httpd -f -p 80",
            container={"livenessProbe": {"httpGet": {"path": "/x", "port": 80}, **failing}},
        ),
        pod("tcp", container={"livenessProbe": {"tcpSocket": {"port": 81}, **failing}}),
        pod("exec", container={"livenessProbe": {"exec": {"command": ["sh", "-c", "echo no; exit 1"]}, **failing}}),
        pod("grpc", container={"livenessProbe": {"grpc": {"port": 82}, **failing}}),
        pod("never-starts", container={"startupProbe": never}),
    ]
    hooked = pod("hooked", terminationGracePeriodSeconds=20, volumes=[order_volume(f"{directory}-hooks")])
    mounts = [{"name": "order", "mountPath": "/order"}]
    hooked["spec"]["containers"] = [
        container(
            "web",
            "mkdir -p /www/cgi-bin; printf '#!/bin/sh\necho called >> /order/http\necho; echo ok\n' > /www/cgi-bin/x;"
            "chmod +x /www/cgi-bin/x; exec httpd -f -p 8080 -h /www",
            volumeMounts=mounts,
            lifecycle={"preStop": {"httpGet": {"path": "/cgi-bin/x", "port": 8080}}},
        ),
        container(
            "sleeper",
            "echo main >> /order/started; trap 'date +%s > /order/term; exit' TERM; while :; do sleep .1; done",
            volumeMounts=mounts,
            lifecycle={
                "postStart": {"exec": {"command": ["sh", "-c", "echo hook >> /order/started"]}},
                "preStop": {"sleep": {"seconds": 3}},
            },
        ),
    ]
    bad_hook = pod("bad-hook", container={"lifecycle": {"postStart": {"exec": {"command": ["sh", "-c", "exit 9"]}}}})
    return [
        life(directory), gated, done, broken, init_fails, late, loop, retried, rules, hooked, bad_hook, *unhealthy,
    ]  # fmt: skip


@pytest.fixture(scope="module")
def directory() -> str:
    """Of the node, where containers leave notes."""
    return f"/tmp/pykube-order-{uuid.uuid4().hex[:8]}"


@pytest.fixture(scope="module")
def world(shared_turn: None, cluster: Cluster, directory: str) -> Iterator[Space]:
    name = f"t-pods-{uuid.uuid4().hex[:6]}"
    cluster.kubectl("create", "namespace", name)
    until(lambda: cluster.get("-n", name, "serviceaccount", "default"), "the default service account")
    made = Space(cluster, name)
    made.apply(*pods(directory))
    yield made
    cluster.kubectl("delete", "namespace", name, "--wait=false")


def status(space: Space, name: str) -> dict[str, Any]:
    found: dict[str, Any] = space.get("pod", name)["status"]
    return found


def container_status(space: Space, name: str, which: str = "main") -> dict[str, Any]:
    found = status(space, name)
    every = [*found.get("initContainerStatuses", ()), *found.get("containerStatuses", ())]
    return next(s for s in every if s["name"] == which)


def conditions(space: Space, name: str) -> dict[str, tuple[str, str]]:
    return {c["type"]: (c["status"], c.get("reason", "")) for c in status(space, name)["conditions"]}


def messages(space: Space, name: str, reason: str) -> list[str]:
    return [e["message"] for e in space.events(name) if e["reason"] == reason]


def in_phase(space: Space, name: str, phase: str, timeout: float = 60) -> dict[str, Any]:
    return until(lambda: (s := status(space, name))["phase"] == phase and s, f"{name} is {phase}", timeout=timeout)


def test_a_running_pod_tells_all_of_itself(world: Space) -> None:
    world.wait_ready("life")
    whole = world.get("pod", "life")
    shown = whole["status"]
    assert shown["phase"] == "Running"
    assert conditions(world, "life") == {
        "PodReadyToStartContainers": ("True", ""),
        "Initialized": ("True", ""),
        "Ready": ("True", ""),
        "ContainersReady": ("True", ""),
        "PodScheduled": ("True", ""),
    }
    assert {c["observedGeneration"] for c in shown["conditions"] if c["type"] != "PodScheduled"} == {1}
    assert shown["observedGeneration"] == whole["metadata"]["generation"] == 1
    assert shown["qosClass"] == "BestEffort"
    assert shown["podIPs"] == [{"ip": shown["podIP"]}]
    assert shown["hostIPs"] == [{"ip": shown["hostIP"]}] == [{"ip": world.cluster.node_ip(whole["spec"]["nodeName"])}]
    assert shown["startTime"] >= whole["metadata"]["creationTimestamp"]
    initial = {s["name"]: s for s in shown["initContainerStatuses"]}
    assert initial["first"]["state"]["terminated"]["reason"] == "Completed"
    assert initial["first"]["ready"] and not initial["first"]["started"]
    assert initial["helper"]["ready"] and initial["helper"]["started"] and "running" in initial["helper"]["state"]
    [main] = [s for s in shown["containerStatuses"] if s["name"] == "main"]
    assert re.fullmatch(r"docker://[0-9a-f]{64}", main["containerID"])
    assert main["image"] == f"{TOOLBOX}:latest"
    assert main["imageID"].startswith(f"{TOOLBOX}@sha256:")
    assert (main["ready"], main["started"], main["restartCount"], main["lastState"]) == (True, True, 0, {})
    assert main["user"] == {"linux": {"uid": 0, "gid": 0, "supplementalGroups": [0]}}
    assert "4/4" in world.kubectl("get", "pod", "life")


def test_init_containers_and_sidecars_start_in_order_and_stop_in_reverse(world: Space, directory: str) -> None:
    world.wait_ready("life")
    node = world.get("pod", "life")["spec"]["nodeName"]
    started = world.cluster.on(node, "cat", f"{directory}/start").split()
    assert started == ["first", "helper", "second", "logger", "main"]
    world.kubectl("delete", "pod", "life", "--timeout=30s")
    assert world.cluster.on(node, "cat", f"{directory}/stop").split() == ["main", "logger", "helper"]


def test_a_readiness_gate_is_waited_for(world: Space) -> None:
    until(lambda: conditions(world, "gated")["ContainersReady"] == ("True", ""), "its containers are ready")
    assert conditions(world, "gated")["Ready"] == ("False", "ReadinessGatesNotReady")
    opened = {"type": "example.com/open", "status": "True", "lastProbeTime": None, "lastTransitionTime": None}
    patch = json.dumps({"status": {"conditions": [opened]}})
    world.kubectl("patch", "pod", "gated", "--subresource=status", "-p", patch)
    world.wait_ready("gated")
    assert conditions(world, "gated")["example.com/open"] == ("True", "")


def test_pods_that_end(world: Space) -> None:
    done = in_phase(world, "done", "Succeeded")
    ended = done["containerStatuses"][0]["state"]["terminated"]
    assert (ended["exitCode"], ended["reason"], ended["message"]) == (0, "Completed", "so long\n")
    assert conditions(world, "done")["Ready"] == ("False", "PodCompleted")
    assert conditions(world, "done")["Initialized"] == ("True", "")
    assert "Completed" in world.kubectl("get", "pod", "done")
    assert world.kubectl("logs", "done") == "out\n"

    broken = in_phase(world, "broken", "Failed")
    ended = broken["containerStatuses"][0]["state"]["terminated"]
    assert (ended["exitCode"], ended["reason"], ended["message"]) == (3, "Error", "it broke\n")
    assert conditions(world, "broken")["Ready"] == ("False", "PodFailed")

    failed = in_phase(world, "init-fails", "Failed")
    assert failed["initContainerStatuses"][0]["state"]["terminated"]["exitCode"] == 4
    assert conditions(world, "init-fails")["Initialized"] == ("False", "ContainersNotInitialized")
    assert "Init:Error" in world.kubectl("get", "pod", "init-fails")
    assert "waiting" in failed["containerStatuses"][0]["state"]

    late = in_phase(world, "late", "Failed")
    assert (late["reason"], late["message"]) == (
        "DeadlineExceeded",
        "Pod was active on the node longer than the specified deadline",
    )
    assert "DeadlineExceeded" in {e["reason"] for e in world.events("late")}


def test_restart_policies_of_pod_and_container(world: Space) -> None:
    assert in_phase(world, "retried", "Succeeded")["containerStatuses"][0]["restartCount"] == 1
    assert in_phase(world, "rules", "Succeeded")["containerStatuses"][0]["restartCount"] == 1


def test_a_crash_loop_backs_off(world: Space) -> None:
    def looping() -> dict[str, Any] | None:
        shown = container_status(world, "loop")
        return shown if shown["state"].get("waiting", {}).get("reason") == "CrashLoopBackOff" else None

    found = until(looping, "CrashLoopBackOff")
    assert found is not None
    uid = world.get("pod", "loop")["metadata"]["uid"]
    assert re.fullmatch(
        rf"back-off (10|20|40)s restarting failed container=main pod=loop_{world.name}\({uid}\)",
        found["state"]["waiting"]["message"],
    )
    ended = found["lastState"]["terminated"]
    assert (ended["exitCode"], ended["reason"]) == (1, "Error")
    assert conditions(world, "loop")["ContainersReady"] == ("False", "ContainersNotReady")
    until(lambda: container_status(world, "loop")["restartCount"] >= 2, "it is tried again")
    assert world.kubectl("logs", "loop", "--previous") == "again\n"
    back_off = f"Back-off restarting failed container main in pod loop_{world.name}({uid})"
    assert back_off in messages(world, "loop", "BackOff")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("http", r"Liveness probe failed: HTTP probe failed with statuscode: 404"),
        ("tcp", r"Liveness probe failed: dial tcp [0-9.]+:81: connect: connection refused"),
        ("exec", r"Liveness probe failed: no\n"),
        ("grpc", r'Liveness probe failed: timeout: failed to connect service "[0-9.]+:82" within 1s.*'),
    ],
)
def test_a_failing_liveness_probe_restarts(world: Space, name: str, said: str) -> None:
    until(lambda: container_status(world, name)["restartCount"] >= 1, "it is restarted")
    found = until(lambda: messages(world, name, "Unhealthy"), "the event")
    assert any(re.fullmatch(said, message) for message in found), found
    killing = "Container main failed liveness probe, will be restarted"
    until(lambda: killing in messages(world, name, "Killing"), "the event")


def test_a_failing_startup_probe_restarts(world: Space) -> None:
    until(lambda: container_status(world, "never-starts")["restartCount"] >= 1, "it is restarted")
    assert "Container main failed startup probe, will be restarted" in messages(world, "never-starts", "Killing")
    assert "Startup probe failed: " in messages(world, "never-starts", "Unhealthy")


def test_hooks(world: Space, directory: str) -> None:
    world.wait_ready("hooked")
    node = world.get("pod", "hooked")["spec"]["nodeName"]
    notes = f"{directory}-hooks"
    until(
        lambda: sorted(world.cluster.on(node, "cat", f"{notes}/started").split()) == ["hook", "main"],
        "container and hook ran",
    )
    began = int(world.cluster.on(node, "date", "+%s"))
    world.kubectl("delete", "pod", "hooked", "--timeout=30s")
    assert world.cluster.on(node, "cat", f"{notes}/http") == "called\n"
    assert int(world.cluster.on(node, "cat", f"{notes}/term")) - began >= 2, "the sleep came before the signal"


def test_a_post_start_hook_that_fails_ends_its_container(world: Space) -> None:
    until(lambda: container_status(world, "bad-hook")["restartCount"] >= 1, "it is restarted")
    assert "PostStartHook failed" in messages(world, "bad-hook", "FailedPostStartHook")
    assert not container_status(world, "bad-hook")["ready"]


def test_ephemeral_containers(world: Space) -> None:
    world.wait_ready("gated", timeout=30)
    world.kubectl(
        "debug", "gated", f"--image={TOOLBOX}", "--target=main", "--container=looker", "--", "sh", "-c",
        "ps -o args; sleep 600",
    )  # fmt: skip

    def looker() -> dict[str, Any]:
        found: dict[str, Any] = status(world, "gated")["ephemeralContainerStatuses"][0]
        return found

    until(lambda: "running" in looker()["state"], "the debugging container runs")
    until(lambda: "sleep infinity" in world.kubectl("logs", "gated", "-c", "looker"), "it sees the target's processes")
    assert looker()["restartCount"] == 0
    assert container_status(world, "gated")["restartCount"] == 0
