"""How configuration reaches a container: environment, volumes, and their live updates."""

from __future__ import annotations

import json

from tests.cluster.harness import Space, pod, until

CONFIG = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "settings"},
    "data": {"color": "blue", "motto": "as is"},
}
SECRET = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "login"}, "stringData": {"password": "s3cr3t"}}


def test_environment(space: Space) -> None:
    env = [
        {"name": "COLOR", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "color"}}},
        {"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "login", "key": "password"}}},
        {"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": "LIMIT", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}}},
        {"name": "BOTH", "value": "$(COLOR)-$(NAME)-$$(COLOR)-$(UNKNOWN)"},
    ]
    more = {
        "env": env,
        "envFrom": [{"prefix": "CFG_", "configMapRef": {"name": "settings"}}],
        "resources": {"limits": {"memory": "64Mi"}},
    }
    space.apply(CONFIG, SECRET, pod("env", container=more))
    space.wait_ready("env")
    seen = dict(line.split("=", 1) for line in space.exec("env", "env").splitlines())
    assert seen["COLOR"] == seen["CFG_color"] == "blue"
    assert seen["PASSWORD"] == "s3cr3t"
    assert seen["NAME"] == "env"
    assert seen["IP"] == space.get("pod", "env")["status"]["podIP"]
    assert seen["LIMIT"] == "64"
    assert seen["BOTH"] == "blue-env-$(COLOR)-$(UNKNOWN)"
    assert seen["KUBERNETES_SERVICE_HOST"] == "10.96.0.1"


def test_a_missing_key_is_said_and_healed(space: Space) -> None:
    env = [{"name": "X", "valueFrom": {"configMapKeyRef": {"name": "later", "key": "x"}}}]
    space.apply(pod("waits", container={"env": env}))

    def waiting() -> dict[str, str]:
        found: dict[str, str] = space.get("pod", "waits")["status"]["containerStatuses"][0]["state"]["waiting"]
        return found

    until(lambda: waiting()["reason"] == "CreateContainerConfigError", "CreateContainerConfigError")
    assert waiting()["message"] == 'configmap "later" not found'
    space.kubectl("create", "configmap", "later", "--from-literal=x=1")
    space.wait_ready("waits", timeout=120)
    assert space.exec("waits", "sh", "-c", "echo $X") == "1\n"


def test_volumes_and_their_live_updates(space: Space) -> None:
    item = {"key": "color", "path": "a/color", "mode": 0o400}
    volumes = [
        {"name": "cfg", "configMap": {"name": "settings", "items": [item]}},
        {"name": "sec", "secret": {"secretName": "login", "defaultMode": 0o440}},
        {
            "name": "all",
            "projected": {
                "sources": [
                    {"configMap": {"name": "settings"}},
                    {"secret": {"name": "login"}},
                    {"downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
                ]
            },
        },
        {"name": "tmp", "emptyDir": {"medium": "Memory", "sizeLimit": "16Mi"}},
        {"name": "host", "hostPath": {"path": "/tmp/pykube-test", "type": "DirectoryOrCreate"}},
    ]
    mounts = [{"name": v["name"], "mountPath": f"/mnt/{v['name']}"} for v in volumes]
    space.apply(CONFIG, SECRET, pod("vol", labels={"app": "x"}, volumes=volumes, container={"volumeMounts": mounts}))
    space.wait_ready("vol")
    assert space.exec("vol", "cat", "/mnt/cfg/a/color") == "blue"
    assert space.exec("vol", "stat", "-Lc", "%a", "/mnt/cfg/a/color", "/mnt/sec/password") == "400\n440\n"
    assert space.exec("vol", "sh", "-c", "cat /mnt/all/color /mnt/all/password /mnt/all/labels") == (
        'blues3cr3tapp="x"'
    )
    assert "tmpfs" in space.exec("vol", "grep", "/mnt/tmp", "/proc/mounts")
    space.exec("vol", "sh", "-c", "echo kept > /mnt/host/file")
    node = space.get("pod", "vol")["spec"]["nodeName"]
    assert space.cluster.on(node, "cat", "/tmp/pykube-test/file") == "kept\n"

    space.apply(CONFIG | {"data": {"color": "green"}})
    space.kubectl("label", "pod", "vol", "app=y", "--overwrite")
    until(lambda: space.exec("vol", "cat", "/mnt/cfg/a/color") == "green", "the file follows", timeout=90)
    until(lambda: space.exec("vol", "cat", "/mnt/all/labels") == 'app="y"', "the labels follow", timeout=90)


def test_the_service_account_token_speaks_to_the_api(space: Space) -> None:
    space.apply(pod("agent"))
    space.wait_ready("agent")
    ask = (
        "cd /var/run/secrets/kubernetes.io/serviceaccount; curl -sS --cacert ca.crt "
        '-H "Authorization: Bearer $(cat token)" https://kubernetes.default.svc/'
    )
    account = f"system:serviceaccount:{space.name}:default"
    refused = json.loads(space.exec("agent", "sh", "-c", f"{ask}api/v1/namespaces/{space.name}/pods"))
    assert refused["message"] == (
        f'pods is forbidden: User "{account}" cannot list resource "pods" in API group "" '
        f'in the namespace "{space.name}"'
    )
    space.kubectl("create", "rolebinding", "view", "--clusterrole=view", f"--serviceaccount={space.name}:default")

    def listed() -> list[str]:
        answer = json.loads(space.exec("agent", "sh", "-c", f"{ask}api/v1/namespaces/{space.name}/pods"))
        return [p["metadata"]["name"] for p in answer.get("items", [])]

    until(lambda: listed() == ["agent"], "the binding lets it list pods")
