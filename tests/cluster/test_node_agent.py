"""The kubelet as a part of the machine: static pods, registries, logs and sessions under load, failures around it,
pressure and shutdown."""

from __future__ import annotations

import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.harness import TOOLBOX, Cluster, Space, container, pod, run, until

pytestmark = pytest.mark.alone

MANIFESTS = "/etc/kubernetes/manifests"


def status(space: Space, name: str) -> dict[str, Any]:
    found: dict[str, Any] = space.get("pod", name)["status"]
    return found


def container_status(space: Space, name: str) -> dict[str, Any]:
    found: dict[str, Any] = status(space, name)["containerStatuses"][0]
    return found


def messages(space: Space, name: str, reason: str) -> list[str]:
    return [e["message"] for e in space.events(name) if e["reason"] == reason]


# -- what the node says about itself --------------------------------------------------------------------------------


def test_node_status_and_lease(cluster: Cluster) -> None:
    node = cluster.get("node", "node1")
    shown = node["status"]
    assert {a["type"]: a["address"] for a in shown["addresses"]} == {
        "InternalIP": cluster.node_ip("node1"),
        "Hostname": "node1",
    }
    assert {c["type"]: (c["status"], c["reason"]) for c in shown["conditions"]} == {
        "MemoryPressure": ("False", "KubeletHasSufficientMemory"),
        "DiskPressure": ("False", "KubeletHasNoDiskPressure"),
        "PIDPressure": ("False", "KubeletHasSufficientPID"),
        "Ready": ("True", "KubeletReady"),
    }
    info = shown["nodeInfo"]
    assert info["kubeletVersion"] == "v1.36.0" and info["containerRuntimeVersion"].startswith("docker://")
    assert shown["daemonEndpoints"] == {"kubeletEndpoint": {"Port": 10250}}
    assert {"cpu", "memory", "pods", "ephemeral-storage"} <= set(shown["allocatable"])
    assert any(TOOLBOX in name for image in shown["images"] for name in image["names"])
    lease = cluster.get("-n", "kube-node-lease", "lease", "node1")
    assert lease["spec"]["holderIdentity"] == "node1" and lease["spec"]["leaseDurationSeconds"] == 40
    assert lease["metadata"]["ownerReferences"][0]["uid"] == node["metadata"]["uid"]
    renewed = lease["spec"]["renewTime"]
    until(
        lambda: cluster.get("-n", "kube-node-lease", "lease", "node1")["spec"]["renewTime"] > renewed, "it is renewed"
    )


def test_static_pods_and_their_mirrors(cluster: Cluster, space: Space) -> None:
    manifest = pod("fixed", labels={"v": "1"})
    manifest["metadata"]["namespace"] = space.name

    def write(document: dict[str, Any]) -> None:
        script = f"mkdir -p {MANIFESTS}; cat > {MANIFESTS}/.new; mv {MANIFESTS}/.new {MANIFESTS}/fixed.yaml"
        name = cluster.container("node2")
        run(["docker", "exec", "-i", name, "sh", "-c", script], stdin=yaml.safe_dump(document))

    write(manifest)
    try:
        until(lambda: container_status(space, "fixed-node2")["ready"], "the static pod runs and has a mirror")
        mirror = space.get("pod", "fixed-node2")
        assert mirror["metadata"]["ownerReferences"][0]["kind"] == "Node"
        assert mirror["metadata"]["annotations"]["kubernetes.io/config.source"] == "file"
        identity = container_status(space, "fixed-node2")["containerID"]
        assert space.exec("fixed-node2", "echo", "here") == "here\n"
        space.kubectl("delete", "pod", "fixed-node2", "--timeout=30s")
        until(lambda: container_status(space, "fixed-node2")["containerID"] == identity, "the mirror is back")
        assert space.get("pod", "fixed-node2")["metadata"]["uid"] != mirror["metadata"]["uid"]
        manifest["metadata"]["labels"] = {"v": "2"}
        write(manifest)
        until(
            lambda: (
                space.get("pod", "fixed-node2")["metadata"]["labels"] == {"v": "2"}
                and container_status(space, "fixed-node2")["containerID"] != identity
            ),
            "a changed manifest is another pod",
        )
    finally:
        cluster.on("node2", "rm", "-f", f"{MANIFESTS}/fixed.yaml")
    until(lambda: not space.pods(), "it is gone with its manifest")
    until(lambda: "fixed-node2" not in cluster.on("node2", "docker", "ps", "-a"), "and so are its containers")


# -- images ---------------------------------------------------------------------------------------------------------

# bcrypt of the password "s3cr3t"
HTPASSWD = "robot:$2b$04$c8CV1t9jCWkGBaTOC4i1su/6klsQ1Rr9wz53AZNADRnm5OAMDJRNK\n"
LOCKED_PORT = 5443
RELAY = """
import asyncio
from deploy.node.relay import TcpRelay
async def main():
    servers = await TcpRelay("registry", {port}).listen(["127.0.0.1"], {port})
    await servers[0].serve_forever()
asyncio.run(main())
"""


@pytest.fixture
def locked_registry(cluster: Cluster) -> str:
    """The cluster's own registry a second time, behind a password; nodes reach it as localhost:5443."""
    config = {
        "version": "0.1",
        "storage": {"filesystem": {"rootdirectory": "/var/lib/registry"}},
        "http": {"addr": f":{LOCKED_PORT}", "secret": "x"},
        "auth": {"htpasswd": {"realm": "pykube", "path": "/tmp/htpasswd"}},
    }
    name = cluster.container("registry")
    run(["docker", "exec", "-i", name, "sh", "-c", "cat > /tmp/htpasswd"], stdin=HTPASSWD)
    run(["docker", "exec", "-i", name, "sh", "-c", "cat > /tmp/locked.yml"], stdin=yaml.safe_dump(config))
    cluster.docker("exec", "-d", name, "docker-registry", "serve", "/tmp/locked.yml")
    cluster.docker("exec", "-d", cluster.container("node1"), "python3", "-c", RELAY.format(port=LOCKED_PORT))
    return f"localhost:{LOCKED_PORT}"


def test_pulls_with_and_without_credentials(cluster: Cluster, space: Space, locked_registry: str) -> None:
    image = f"{locked_registry}/pykube/toolbox"
    space.kubectl(
        "create", "secret", "docker-registry", "robot", f"--docker-server={locked_registry}",
        "--docker-username=robot", "--docker-password=s3cr3t",
    )  # fmt: skip
    space.kubectl("create", "serviceaccount", "puller")
    space.kubectl("patch", "serviceaccount", "puller", "-p", '{"imagePullSecrets": [{"name": "robot"}]}')
    common: dict[str, Any] = {"nodeName": "node1"}

    def asking(name: str, **more: Any) -> dict[str, Any]:
        return pod(name, container={"image": image, "imagePullPolicy": "Always"}, **common, **more)

    space.apply(
        asking("nobody"),
        asking("with-secret", imagePullSecrets=[{"name": "robot"}]),
        asking("of-account", serviceAccountName="puller"),
        asking("no-such-secret", imagePullSecrets=[{"name": "none"}]),
    )
    space.wait_ready("with-secret", "of-account")
    for name in ("nobody", "no-such-secret"):
        until(
            lambda name=name: (
                container_status(space, name)["state"]["waiting"]["reason"] in ("ErrImagePull", "ImagePullBackOff")
            ),
            "the pull is refused",
        )
    assert any("no basic auth credentials" in m for m in messages(space, "nobody", "Failed"))
    assert messages(space, "no-such-secret", "FailedToRetrieveImagePullSecret")
    until(lambda: messages(space, "nobody", "BackOff"), "the event")
    digest = container_status(space, "with-secret")["imageID"]
    assert "@sha256:" in digest
    space.apply(
        pod("by-digest", container={"image": digest, "imagePullPolicy": "IfNotPresent"}, **common),
    )
    space.wait_ready("by-digest")


# -- logs and sessions ----------------------------------------------------------------------------------------------


def test_logs_rotate_and_are_read_from_where_one_asks(cluster: Cluster, space: Space) -> None:
    # 25 MB in lines of 100 bytes
    talk = "seq -f '%099.0f' 1 250000; echo the end; sleep infinity"
    both = pod("talker", talk)
    both["spec"]["containers"].append(container("second", "echo from the second; sleep infinity"))
    space.apply(both)
    space.wait_ready("talker")
    until(lambda: space.kubectl("logs", "talker", "-c", "main", "--tail=1") == "the end\n", "all is written")
    node = space.get("pod", "talker")["spec"]["nodeName"]
    [own] = [s for s in status(space, "talker")["containerStatuses"] if s["name"] == "main"]
    folder = f"/var/lib/docker/containers/{own['containerID'].removeprefix('docker://')}"
    sizes = [int(s) for s in cluster.on(node, "sh", "-c", f"stat -c %s {folder}/*-json.log*").split()]
    assert len(sizes) > 1 and max(sizes) < 11 << 20, sizes
    assert len(space.kubectl("logs", "talker", "-c", "main", "--limit-bytes=1000")) == 1000
    since = space.kubectl("logs", "talker", "-c", "main", "--since=1s", "--tail=10")
    assert len(since) <= 1100
    prefixed = space.kubectl("logs", "talker", "--all-containers", "--prefix", "--tail=1")
    assert "[pod/talker/main] the end\n" in prefixed and "[pod/talker/second] from the second\n" in prefixed


def test_many_sessions_at_once_and_clients_that_vanish(cluster: Cluster, space: Space, tmp_path: Path) -> None:
    space.apply(pod("busy", "while :; do echo tick; sleep .05; done"))
    space.wait_ready("busy")
    kubectl = ["kubectl", "--kubeconfig", str(cluster.kubeconfig), "-n", space.name]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    vanishing = [
        subprocess.Popen([*kubectl, "logs", "-f", "busy"], **quiet),
        subprocess.Popen([*kubectl, "exec", "-i", "busy", "--", "cat", "-"], stdin=subprocess.PIPE, **quiet),
        subprocess.Popen([*kubectl, "port-forward", "busy", "0:8080"], **quiet),
        # reads nothing of an endless stream
        subprocess.Popen([*kubectl, "exec", "busy", "--", "cat", "/dev/zero"], stdout=subprocess.PIPE),
    ]
    sizes: list[int] = []

    def fetch() -> None:
        done = subprocess.run(
            [*kubectl, "exec", "busy", "--", "head", "-c", "3000000", "/dev/zero"], capture_output=True
        )
        sizes.append(len(done.stdout))

    threads = [threading.Thread(target=fetch) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert sizes == [3_000_000] * 8
    for process in vanishing:
        process.kill()
        process.wait()
    # Its standard input has ended with its client. (A command that writes to nobody is left blocked, as upstream.)
    until(lambda: "cat -" not in space.exec("busy", "ps", "-o", "args"), "the vanished client's command has ended")
    source = tmp_path / "file"
    source.write_bytes(bytes(range(256)) * 4000)
    space.kubectl("cp", str(source), "busy:/tmp/file")
    space.kubectl("cp", "busy:/tmp/file", str(tmp_path / "back"))
    assert (tmp_path / "back").read_bytes() == source.read_bytes()


# -- failures around it ---------------------------------------------------------------------------------------------


def test_what_happens_behind_its_back_is_put_right(cluster: Cluster, space: Space) -> None:
    """The API server away, dockerd killed, container and sandbox removed by hand."""
    names = ("calm", "removed", "beheaded", "ended")
    space.apply(*(pod(name, nodeName="node1") for name in names))
    space.wait_ready(*names)
    before = {name: container_status(space, name)["containerID"] for name in names}

    def sandbox(name: str) -> str:
        labels = f"--filter=label=io.kubernetes.pod.name={name}", "--filter=label=io.kubernetes.docker.type=podsandbox"
        return cluster.on(
            "node1", "docker", "ps", "-q", f"--filter=label=io.kubernetes.pod.namespace={space.name}", *labels
        )

    first_sandbox = sandbox("beheaded").strip()
    cluster.docker("pause", cluster.container("apiserver"))
    try:
        cluster.on("node1", "docker", "kill", before["ended"].removeprefix("docker://"))
        cluster.on("node1", "sh", "-c", "kill -9 $(cat /run/docker.pid)")
        until(lambda: cluster.on("node1", "docker", "version"), "dockerd is back")
        cluster.on("node1", "docker", "rm", "-f", before["removed"].removeprefix("docker://"))
        cluster.on("node1", "docker", "rm", "-f", first_sandbox)

        def restarted() -> bool:
            listed = cluster.on("node1", "docker", "ps", "--format", "{{.Names}}")
            return all(f"k8s_main_{name}_{space.name}" in listed for name in names) and bool(
                sandbox("beheaded").strip()
            )

        until(restarted, "everything runs again while the API server is away")
    finally:
        cluster.docker("unpause", cluster.container("apiserver"))
    until(lambda: container_status(space, "ended")["restartCount"] == 1, "its end is told")
    assert container_status(space, "ended")["lastState"]["terminated"]["exitCode"] == 137
    until(lambda: container_status(space, "removed")["restartCount"] == 1, "its loss is told")
    until(lambda: container_status(space, "beheaded")["ready"], "it has a new sandbox")
    assert container_status(space, "calm")["containerID"] == before["calm"]
    assert container_status(space, "calm")["restartCount"] == 0
    space.wait_ready(*names)


def test_a_pod_that_takes_too_much_of_the_disk_is_evicted(space: Space) -> None:
    own = pod("own", "dd if=/dev/zero of=/f bs=1M count=4; sleep infinity")
    own["spec"]["containers"][0]["resources"] = {"limits": {"ephemeral-storage": "1Mi"}}
    fill = "dd if=/dev/zero of=/v/f bs=1M count=4; sleep infinity"
    volume = pod("volume", fill, volumes=[{"name": "v", "emptyDir": {"sizeLimit": "1Mi"}}])
    volume["spec"]["containers"][0]["volumeMounts"] = [{"name": "v", "mountPath": "/v"}]
    space.apply(own, volume)
    for name, message in (
        ("own", "Pod ephemeral local storage usage exceeds the total limit of containers 1Mi. "),
        ("volume", 'Usage of EmptyDir volume "v" exceeds the limit "1Mi". '),
    ):
        until(lambda name=name: status(space, name)["phase"] == "Failed", f"{name} is evicted", timeout=60)
        found = status(space, name)
        assert (found["reason"], found["message"]) == ("Evicted", message)
        disrupted = [c for c in found["conditions"] if c["type"] == "DisruptionTarget"]
        assert [(c["status"], c["reason"]) for c in disrupted] == [("True", "TerminationByKubelet")]


def compose_up(service: str, **settings: str) -> None:
    run(["docker", "compose", "up", "-d", "--no-deps", service], env=settings, timeout=200)


def test_graceful_shutdown_and_memory_pressure(cluster: Cluster, space: Space, calm: None) -> None:
    compose_up("node3", PYKUBE_SHUTDOWN_GRACE_PERIOD="20s")
    until(lambda: "node3" in cluster.ready_nodes(), "node3 is back", timeout=120)
    goodbye = "trap 'sleep 1; exit 0' TERM; while :; do sleep .1; done"
    space.apply(pod("polite", goodbye, nodeName="node3", terminationGracePeriodSeconds=10))
    space.wait_ready("polite")
    # Everything on node3 exceeds this from now on; and the node goes down for the change.
    compose_up("node3", PYKUBE_EVICTION_HARD="memory.available<99.9%")
    found = until(lambda: (s := status(space, "polite"))["phase"] == "Failed" and s, "the pod ended in order")
    assert isinstance(found, dict)
    assert (found["reason"], found["message"]) == (
        "Terminated",
        "Pod was terminated in response to imminent node shutdown.",
    )
    assert found["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 0

    def pressure() -> str:
        shown = cluster.get("node", "node3")["status"]["conditions"]
        return next(c["status"] for c in shown if c["type"] == "MemoryPressure")

    until(lambda: pressure() == "True", "the node says so", timeout=90)
    tainted = {t["key"] for t in until(lambda: cluster.get("node", "node3")["spec"].get("taints"), "its taints")}
    assert "node.kubernetes.io/memory-pressure" in tainted
    space.apply(pod("late", nodeName="node3"))
    until(lambda: status(space, "late").get("reason") == "Evicted", "a pod without requests is refused")
    assert status(space, "late")["message"] == ("Pod was rejected: The node had condition: [MemoryPressure]. ")
    asking = {"resources": {"requests": {"memory": "1Mi"}}}
    space.apply(pod("burstable", "tail -c 9000000 /dev/zero | sleep infinity", nodeName="node3", container=asking))
    until(lambda: status(space, "burstable").get("reason") == "Evicted", "a pod that uses too much is evicted")
    said = status(space, "burstable")["message"]
    assert said.startswith("The node was low on resource: memory. Threshold quantity: "), said
