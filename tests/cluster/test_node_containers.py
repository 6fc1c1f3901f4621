"""What a container finds: namespaces, names, users, rights, environment, volumes, limits.

All pods of this file start together, once, and each test looks at its own.
"""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cluster.harness import Cluster, Space, container, http_get, pod, until

HOST_PORT = 28999


def mounted(name: str, path: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "mountPath": path, **more}


def with_volume(name: str, volume: dict[str, Any], *command: str, **more: Any) -> dict[str, Any]:
    """A pod whose container has one volume at /v."""
    mount = {"name": "v", "mountPath": "/v", **more.pop("mount", {})}
    extra = {"volumeMounts": [mount], **more.pop("container", {})}
    return pod(name, *command, volumes=[{"name": "v", **volume}], container=extra, **more)


def names() -> list[dict[str, Any]]:
    headless = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "sub"},
        "spec": {"clusterIP": "None", "selector": {"app": "named"}, "ports": [{"port": 80}]},
    }
    handled = {"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "handler": "runc"}
    cost = {"podFixed": {"cpu": "10m", "memory": "8Mi"}}
    dns = {"nameservers": ["192.0.2.1"], "searches": ["a.example"], "options": [{"name": "ndots", "value": "3"}]}
    return [
        headless,
        handled | {"metadata": {"name": "with-cost"}, "overhead": cost},
        pod("host", hostNetwork=True, hostPID=True, hostIPC=True, dnsPolicy="ClusterFirstWithHostNet"),
        pod(
            "named",
            "mkdir -p /www && hostname > /www/index.html && exec httpd -f -p 8080 -h /www",
            labels={"app": "named"},
            hostname="own-name",
            subdomain="sub",
            setHostnameAsFQDN=True,
            hostAliases=[{"ip": "192.0.2.7", "hostnames": ["seven", "sept"]}],
            container={"ports": [{"containerPort": 8080, "hostPort": HOST_PORT}]},
        ),
        pod(
            "resolver",
            dnsPolicy="None",
            dnsConfig=dns,
            runtimeClassName="with-cost",
            securityContext={"sysctls": [{"name": "net.ipv4.ip_local_port_range", "value": "20000 30000"}]},
            container={"resources": {"limits": {"cpu": "100m", "memory": "32Mi"}}},
        ),
    ]


def security() -> list[dict[str, Any]]:
    caps = {"add": ["NET_ADMIN"], "drop": ["CHOWN"]}
    user = with_volume(
        "user",
        {"emptyDir": {}},
        securityContext={"runAsUser": 1000, "runAsGroup": 2000, "fsGroup": 3000, "supplementalGroups": [4000]},
    )
    user["spec"]["containers"].append(container("other", "sleep infinity", securityContext={"runAsUser": 1001}))
    rights = pod("rights")
    rights["spec"]["containers"] = [
        container("caps", "sleep infinity", securityContext={"capabilities": caps}),
        container("privileged", "sleep infinity", securityContext={"privileged": True}),
        container("read-only", "sleep infinity", securityContext={"readOnlyRootFilesystem": True}),
        container("no-new", "sleep infinity", securityContext={"allowPrivilegeEscalation": False}),
        container("seccomp", "sleep infinity", securityContext={"seccompProfile": {"type": "RuntimeDefault"}}),
    ]
    return [user, rights, pod("root", securityContext={"runAsNonRoot": True})]


def configuration() -> list[dict[str, Any]]:
    optional = {"name": "O", "valueFrom": {"configMapKeyRef": {"name": "none", "key": "x", "optional": True}}}
    missing = {"name": "M", "valueFrom": {"secretKeyRef": {"name": "login", "key": "none"}}}
    made = {"name": "MADE", "valueFrom": {"fileKeyRef": {"volumeName": "v", "path": "env", "key": "MADE"}}}
    env_file = with_volume("env-file", {"emptyDir": {}}, container={"env": [made]})
    env_file["spec"]["initContainers"] = [
        container("writer", "echo \"MADE='by a file'\" > /v/env", volumeMounts=[mounted("v", "/v")])
    ]
    expanded = pod("expanded")
    expanded["spec"]["containers"][0] |= {
        "command": ["sh", "-c"],
        "args": ["echo $(GREETING) '$$(GREETING)'; sleep infinity"],
        "env": [
            {"name": "GREETING", "value": "hello"},
            optional,
            {"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
        ],
        "envFrom": [
            {"prefix": "P_", "secretRef": {"name": "login"}},
            {"configMapRef": {"name": "none", "optional": True}},
        ],
    }
    return [
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "login"}, "stringData": {"password": "s3cr3t"}},
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "cfg"},
            "data": {"a": "1", "b": "2"},
            "binaryData": {"bin": base64.b64encode(b"\x00\xff").decode()},
        },
        expanded,
        env_file,
        pod("missing-key", container={"env": [missing]}),
    ]


def volumes(directory: str) -> list[dict[str, Any]]:
    reader = container(
        "reader", "sleep infinity", volumeMounts=[mounted("v", "/v", mountPropagation="HostToContainer")]
    )
    shared = with_volume(
        "propagation",
        {"hostPath": {"path": f"{directory}-shared", "type": "DirectoryOrCreate"}},
        "mkdir -p /v/m && mount -t tmpfs x /v/m && touch /v/m/seen; sleep infinity",
        mount={"mountPropagation": "Bidirectional"},
        container={"securityContext": {"privileged": True}},
    )
    shared["spec"]["containers"].append(reader)
    sub = with_volume("sub-path", {"emptyDir": {}})
    sub["spec"]["containers"][0] |= {
        "env": [{"name": "WHO", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
        "volumeMounts": [
            mounted("v", "/whole"),
            mounted("v", "/part", subPath="a/b"),
            mounted("v", "/mine", subPathExpr="$(WHO)"),
            mounted("v", "/fixed", readOnly=True),
        ],
    }
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}},
    }
    template = {"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}}
    return [
        shared,
        sub,
        claim,
        with_volume("claimed", {"persistentVolumeClaim": {"claimName": "data"}}, "echo kept > /v/f; sleep infinity"),
        with_volume("generic", {"ephemeral": {"volumeClaimTemplate": template}}, "echo mine > /v/f; sleep infinity"),
        with_volume("image", {"image": {"reference": "localhost:5000/redis:8"}}, mount={"mountPath": "/v"}),
        with_volume("no-image", {"image": {"reference": "localhost:5000/none:1"}}),
        with_volume("csi", {"csi": {"driver": "none.example.com"}}),
        with_volume("no-dir", {"hostPath": {"path": f"{directory}-none", "type": "Directory"}}),
        with_volume("memory", {"emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}),
        with_volume("optional", {"configMap": {"name": "none", "optional": True}}),
        with_volume("items", {"configMap": {"name": "cfg", "items": [{"key": "bin", "path": "x/y", "mode": 0o400}]}}),
    ]


def limits() -> list[dict[str, Any]]:
    resources = {
        "requests": {"cpu": "250m", "memory": "32Mi"},
        "limits": {"cpu": "500m", "memory": "64Mi"},
    }
    same = {"cpu": "100m", "memory": "16Mi"}
    resized = pod("resized", container={"resources": resources})
    guaranteed = pod("guaranteed", container={"resources": {"requests": same, "limits": same}})
    whole = pod("pod-level", resources={"limits": {"cpu": "300m", "memory": "48Mi"}})
    return [resized, guaranteed, whole]


@pytest.fixture(scope="module")
def directory() -> str:
    return f"/tmp/pykube-paths-{uuid.uuid4().hex[:8]}"


@pytest.fixture(scope="module")
def world(shared_turn: None, cluster: Cluster, directory: str) -> Iterator[Space]:
    name = f"t-containers-{uuid.uuid4().hex[:6]}"
    cluster.kubectl("create", "namespace", name)
    until(lambda: cluster.get("-n", name, "serviceaccount", "default"), "the default service account")
    made = Space(cluster, name)
    made.apply(*names(), *security(), *configuration(), *volumes(directory), *limits())
    yield made
    cluster.kubectl("delete", "namespace", name, "--wait=false")
    cluster.kubectl("delete", "runtimeclass", "with-cost")


def waiting(space: Space, name: str) -> dict[str, str]:
    found: dict[str, str] = space.get("pod", name)["status"]["containerStatuses"][0]["state"]["waiting"]
    return found


def messages(space: Space, name: str, reason: str) -> list[str]:
    return [e["message"] for e in space.events(name) if e["reason"] == reason]


def node_of(space: Space, name: str) -> str:
    return str(space.get("pod", name)["spec"]["nodeName"])


# -- names and namespaces -------------------------------------------------------------------------------------------


def test_the_hosts_namespaces(world: Space) -> None:
    world.wait_ready("host")
    found = world.get("pod", "host")
    assert found["status"]["podIP"] == found["status"]["hostIP"]
    assert world.exec("host", "hostname").strip() == found["spec"]["nodeName"]
    assert "-m kubelet" in world.exec("host", "ps", "-o", "args")
    own = world.cluster.on(found["spec"]["nodeName"], "readlink", "/proc/1/ns/ipc", "/proc/1/ns/net", "/proc/1/ns/pid")
    assert world.exec("host", "readlink", "/proc/self/ns/ipc", "/proc/self/ns/net", "/proc/self/ns/pid") == own
    assert "nameserver 10.96.0.10" in world.exec("host", "cat", "/etc/resolv.conf")


def test_names_aliases_and_host_ports(world: Space) -> None:
    world.wait_ready("named")
    full = f"own-name.sub.{world.name}.svc.cluster.local"
    assert world.exec("named", "hostname").strip() == full
    hosts = world.exec("named", "cat", "/etc/hosts")
    address = world.get("pod", "named")["status"]["podIP"]
    assert hosts.startswith("# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n")
    assert f"{address}\t{full}\town-name\n" in hosts
    assert "192.0.2.7\tseven\tsept\n" in hosts
    until(lambda: address in world.exec("named", "getent", "hosts", full), "DNS knows the name")
    node = world.cluster.node_ip(node_of(world, "named"))
    assert until(lambda: http_get(f"http://{node}:{HOST_PORT}/"), "the host port answers").strip() == full


def test_dns_config_sysctls_and_overhead(world: Space) -> None:
    world.wait_ready("resolver")
    conf = world.exec("resolver", "cat", "/etc/resolv.conf")
    assert conf == "search a.example\nnameserver 192.0.2.1\noptions ndots:3\n"
    assert world.exec("resolver", "cat", "/proc/sys/net/ipv4/ip_local_port_range").split() == ["20000", "30000"]
    assert world.get("pod", "resolver")["spec"]["overhead"] == {"cpu": "10m", "memory": "8Mi"}
    # 32 MiB of the container and 8 MiB of overhead
    assert cgroup(world, "resolver", "memory/memory.limit_in_bytes", "memory.max") == str(40 << 20)


# -- users and rights -----------------------------------------------------------------------------------------------


def test_users_and_groups(world: Space) -> None:
    world.wait_ready("user")
    assert world.exec("user", "id", "-u", container="main").strip() == "1000"
    assert world.exec("user", "id", "-g", container="main").strip() == "2000"
    assert set(world.exec("user", "id", "-G", container="main").split()) == {"2000", "3000", "4000"}
    assert world.exec("user", "id", "-u", container="other").strip() == "1001"
    world.exec("user", "touch", "/v/file", container="main")
    assert world.exec("user", "stat", "-c", "%g %a", "/v", container="main").split() == ["3000", "2777"]
    assert world.exec("user", "stat", "-c", "%u %g", "/v/file", container="main").split() == ["1000", "3000"]
    statuses = {s["name"]: s for s in world.get("pod", "user")["status"]["containerStatuses"]}
    assert statuses["main"]["user"]["linux"] == {"uid": 1000, "gid": 2000, "supplementalGroups": [2000, 3000, 4000]}


def test_a_root_image_is_refused_to_a_pod_that_must_not_be_root(world: Space) -> None:
    until(lambda: waiting(world, "root")["reason"] == "CreateContainerConfigError", "it is refused")
    uid = world.get("pod", "root")["metadata"]["uid"]
    assert waiting(world, "root")["message"] == (
        f'container has runAsNonRoot and image will run as root (pod: "root_{world.name}({uid})", container: main)'
    )


def capabilities(space: Space, which: str) -> int:
    text = space.exec("rights", "grep", "CapEff", "/proc/self/status", container=which)
    return int(text.split()[1], 16)


def test_capabilities_privilege_and_confinement(world: Space) -> None:
    world.wait_ready("rights")
    chown, net_admin, sys_admin = 1 << 0, 1 << 12, 1 << 21
    assert capabilities(world, "caps") & net_admin
    assert not capabilities(world, "caps") & (chown | sys_admin)
    assert capabilities(world, "privileged") & sys_admin
    world.exec("rights", "sh", "-c", "mkdir -p /m && mount -t tmpfs x /m", container="privileged")
    assert "Read-only" in world.exec("rights", "sh", "-c", "touch /x 2>&1 || true", container="read-only")
    seen = world.exec("rights", "grep", "-E", "NoNewPrivs", "/proc/1/status", container="no-new")
    assert seen.split()[1] == "1"
    for which, mode in (("seccomp", "2"), ("caps", "0")):
        assert world.exec("rights", "grep", "^Seccomp:", "/proc/1/status", container=which).split()[1] == mode


# -- configuration --------------------------------------------------------------------------------------------------


def test_environment_and_expansion(world: Space) -> None:
    world.wait_ready("expanded", "env-file")
    assert world.kubectl("logs", "expanded") == "hello $(GREETING)\n"
    env = dict(line.split("=", 1) for line in world.exec("expanded", "env").splitlines())
    assert env["P_password"] == "s3cr3t"
    assert "O" not in env
    node = world.cluster.get("node", node_of(world, "expanded"))
    assert int(env["CPU"]) >= 1 and env["CPU"] == node["status"]["allocatable"]["cpu"]
    assert world.exec("env-file", "sh", "-c", "echo $MADE") == "by a file\n"
    until(lambda: waiting(world, "missing-key")["reason"] == "CreateContainerConfigError", "it is refused")
    assert waiting(world, "missing-key")["message"] == f"couldn't find key none in Secret {world.name}/login"


# -- volumes --------------------------------------------------------------------------------------------------------


def test_mount_propagation(world: Space, directory: str) -> None:
    world.wait_ready("propagation")
    until(lambda: world.exec("propagation", "ls", "/v/m", container="reader").strip() == "seen", "the mount is seen")
    world.cluster.on(node_of(world, "propagation"), "ls", f"{directory}-shared/m/seen")
    world.cluster.on(node_of(world, "propagation"), "umount", f"{directory}-shared/m")


def test_sub_paths(world: Space) -> None:
    world.wait_ready("sub-path")
    world.exec("sub-path", "sh", "-c", "echo 1 > /part/f; echo 2 > /mine/f")
    assert world.exec("sub-path", "cat", "/whole/a/b/f", "/whole/sub-path/f") == "1\n2\n"
    assert "Read-only" in world.exec("sub-path", "sh", "-c", "touch /fixed/x 2>&1 || true")


def test_claims(world: Space) -> None:
    world.wait_ready("claimed", "generic")
    assert world.exec("claimed", "cat", "/v/f") == "kept\n"
    assert world.exec("generic", "cat", "/v/f") == "mine\n"
    world.get("persistentvolumeclaim", "generic-v")
    world.kubectl("delete", "pod", "generic", "--timeout=30s")
    until(lambda: not world.get("pvc", "--field-selector=metadata.name=generic-v")["items"], "its claim is gone")


def test_images_as_volumes(world: Space) -> None:
    world.wait_ready("image")
    assert "redis-server" in world.exec("image", "ls", "/v/usr/bin")
    assert "Read-only" in world.exec("image", "sh", "-c", "touch /v/x 2>&1 || true")
    until(lambda: waiting(world, "no-image")["reason"] in ("ErrImagePull", "ImagePullBackOff"), "the pull fails")
    world.kubectl("delete", "pod", "image", "--timeout=30s")


def test_volumes_that_cannot_be_had(world: Space, directory: str) -> None:
    said = 'MountVolume.SetUp failed for volume "v" : '
    until(lambda: messages(world, "csi", "FailedMount"), "the event")
    assert f"{said}driver name none.example.com not found in the list of registered CSI drivers" in messages(
        world, "csi", "FailedMount"
    )
    until(lambda: messages(world, "no-dir", "FailedMount"), "the event")
    assert f"{said}hostPath type check failed: {directory}-none is not a directory" in messages(
        world, "no-dir", "FailedMount"
    )
    assert waiting(world, "no-dir")["reason"] == "ContainerCreating"


def test_contents(world: Space) -> None:
    world.wait_ready("memory", "optional", "items")
    fill = "dd if=/dev/zero of=/v/f bs=64k count=32 2>&1 || true"
    assert "No space left" in world.exec("memory", "sh", "-c", fill)
    assert world.exec("optional", "ls", "/v") == ""
    assert world.exec("items", "stat", "-Lc", "%a %s", "/v/x/y") == "400 2\n"


# -- limits ---------------------------------------------------------------------------------------------------------


def cgroup(space: Space, name: str, v1: str, v2: str, container_name: str = "") -> str:
    """A file of the pod's cgroup, or of one container's, read on the node."""
    found = space.get("pod", name)
    uid = found["metadata"]["uid"]
    inner = ""
    if container_name:
        [own] = [s for s in found["status"]["containerStatuses"] if s["name"] == container_name]
        inner = own["containerID"].removeprefix("docker://")
    controller, _, file = v1.partition("/")
    script = (
        f"for root in /sys/fs/cgroup /sys/fs/cgroup/{controller}; do "
        f'd=$(find $root/kubepods -maxdepth 2 -type d -name "pod{uid}" 2>/dev/null | head -1); '
        f'[ -n "$d" ] && for f in {file} {v2}; do cat $d/{inner}/$f 2>/dev/null && exit 0; done; done; exit 1'
    )
    return space.cluster.on(found["spec"]["nodeName"], "sh", "-c", script).strip()


def test_limits_are_cgroups(world: Space) -> None:
    world.wait_ready("resized", "guaranteed", "pod-level")
    for inner in ("", "main"):
        assert cgroup(world, "resized", "memory/memory.limit_in_bytes", "memory.max", inner) == str(64 << 20)
        assert cgroup(world, "resized", "cpu/cpu.cfs_quota_us", "cpu.max", inner).split()[0] == "50000"
    assert cgroup(world, "pod-level", "memory/memory.limit_in_bytes", "memory.max") == str(48 << 20)
    assert cgroup(world, "pod-level", "cpu/cpu.cfs_quota_us", "cpu.max").split()[0] == "30000"
    quality = {n: world.get("pod", n)["status"]["qosClass"] for n in ("resized", "guaranteed", "pod-level", "host")}
    assert quality == {
        "resized": "Burstable", "guaranteed": "Guaranteed", "pod-level": "Guaranteed", "host": "BestEffort",
    }  # fmt: skip


def test_resize_in_place(world: Space) -> None:
    world.wait_ready("resized")
    before = world.get("pod", "resized")["status"]["containerStatuses"][0]
    wanted = {"requests": {"cpu": "300m", "memory": "32Mi"}, "limits": {"cpu": "700m", "memory": "96Mi"}}
    patch = {"spec": {"containers": [{"name": "main", "resources": wanted}]}}
    world.kubectl("patch", "pod", "resized", "--subresource=resize", "-p", json.dumps(patch))

    def shown() -> dict[str, Any]:
        found: dict[str, Any] = world.get("pod", "resized")["status"]["containerStatuses"][0]
        return found

    until(lambda: shown()["resources"]["limits"] == {"cpu": "700m", "memory": "96Mi"}, "the status follows")
    assert cgroup(world, "resized", "memory/memory.limit_in_bytes", "memory.max", "main") == str(96 << 20)
    assert cgroup(world, "resized", "cpu/cpu.cfs_quota_us", "cpu.max", "main").split()[0] == "70000"
    after = shown()
    assert (after["containerID"], after["restartCount"]) == (before["containerID"], 0)


def test_statistics(world: Space) -> None:
    world.wait_ready("sub-path", "guaranteed")
    node = node_of(world, "sub-path")
    summary = json.loads(world.cluster.kubectl("get", "--raw", f"/api/v1/nodes/{node}/proxy/stats/summary"))
    assert summary["node"]["nodeName"] == node and summary["node"]["memory"]["workingSetBytes"] > 0
    [found] = [
        p for p in summary["pods"] if (p["podRef"]["namespace"], p["podRef"]["name"]) == (world.name, "sub-path")
    ]
    assert [v["name"] for v in found["volume"]].count("v") == 1
    assert found["ephemeral-storage"]["usedBytes"] >= 0 and found["network"]["rxBytes"] >= 0
    assert found["containers"][0]["memory"]["workingSetBytes"] > 0
    resource = world.cluster.kubectl("get", "--raw", f"/api/v1/nodes/{node}/proxy/metrics/resource")
    assert f'container_memory_working_set_bytes{{container="main",namespace="{world.name}",pod="sub-path"}}' in resource
    cadvisor = world.cluster.kubectl("get", "--raw", f"/api/v1/nodes/{node}/proxy/metrics/cadvisor")
    assert "container_network_receive_bytes_total" in cadvisor and "machine_cpu_cores" in cadvisor
