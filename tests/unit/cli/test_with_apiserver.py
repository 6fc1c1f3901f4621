"""pykubectl against the real API server (store in memory), and beside the real kubectl where that is installed."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from apiserver.resources import strategies
from apiserver.server import Faces, serve
from apiserver.store.memory import MemoryStore
from cli.framework import main
from cli.main import root
from tests.unit.cli.conftest import Result, Run

WEB = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}, annotations: {note: short}}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: web
        image: example/web:1
        ports: [{containerPort: 80, name: http}]
        env: [{name: A, value: b}]
        resources: {limits: {cpu: 100m, memory: 64Mi}}
        readinessProbe: {httpGet: {path: /, port: http}}
        volumeMounts: [{name: conf, mountPath: /etc/conf}]
      volumes: [{name: conf, configMap: {name: conf}}]
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: http}]}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: conf}
data: {a: "1", b: "x\\ny\\n"}
---
apiVersion: v1
kind: Pod
metadata: {name: single, labels: {app: p}}
spec:
  containers: [{name: c, image: example/c, command: [sleep, "1"], livenessProbe: {tcpSocket: {port: 80}}}]
  volumes: [{name: e, emptyDir: {}}]
"""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A server on its own loop and thread: the commands run loops of their own."""
    loop = asyncio.new_event_loop()
    stop, started = asyncio.Event(), threading.Event()
    found: list[str] = []

    async def run() -> None:
        async with serve(MemoryStore(), Faces(rest_address=("127.0.0.1", 0)), strategies=strategies()) as server:
            found.append(server.rest_url)
            started.set()
            await stop.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(run(),), daemon=True)
    thread.start()
    assert started.wait(30)
    yield found[0]
    loop.call_soon_threadsafe(stop.set)
    thread.join(10)


@pytest.fixture
def cluster(url: str, home: Path, capfd: pytest.CaptureFixture[str]) -> Iterator[Run]:
    """pykubectl with a namespace of its own, removed afterwards."""
    (home / "web.yaml").write_text(WEB)
    name = f"t-{os.urandom(4).hex()}"

    def call(*words: str) -> Result:
        code = main(root, ["--server", url, "-n", name, *words])
        out, err = capfd.readouterr()
        return Result(code, out, err)

    assert call("create", "namespace", name).code == 0
    yield call
    call("delete", "deploy,svc,cm,pods", "--all", "--force", "--wait=false")


def test_apply_again_and_again(cluster: Run, home: Path) -> None:
    assert cluster("apply", "-f", "web.yaml").out.splitlines() == [
        "deployment.apps/web created",
        "service/web created",
        "configmap/conf created",
        "pod/single created",
    ]
    again = cluster("apply", "-f", "web.yaml")
    assert {line.split()[-1] for line in again.out.splitlines()} == {"unchanged"}
    changed = WEB.replace("example/web:1", "example/web:2").replace("        env: [{name: A, value: b}]\n", "")
    (home / "web.yaml").write_text(changed.replace("  replicas: 2\n", "").replace('b: "x\\ny\\n"', "c: new"))
    assert cluster("apply", "-f", "web.yaml").out.splitlines()[:3] == [
        "deployment.apps/web configured",
        "service/web unchanged",
        "configmap/conf configured",
    ]
    container = "{.spec.template.spec.containers[0].image} {.spec.template.spec.containers[0].env} {.spec.replicas}"
    assert cluster("get", "deploy", "web", "-o", f"jsonpath={container}").out == "example/web:2  1"
    assert cluster("get", "cm", "conf", "-o", "jsonpath={.data}").out == '{"a":"1","c":"new"}'


def test_one_object_through_its_life(cluster: Run) -> None:
    cluster("apply", "-f", "web.yaml")
    assert cluster("scale", "deploy/web", "--replicas=5").out == "deployment.apps/web scaled\n"
    assert cluster("label", "deploy", "web", "x=y").out == "deployment.apps/web labeled\n"
    assert cluster("annotate", "deploy", "web", "note-").out == "deployment.apps/web annotated\n"
    assert cluster("set", "image", "deploy/web", "web=i:3").out == "deployment.apps/web image updated\n"
    assert cluster("rollout", "pause", "deploy/web").out == "deployment.apps/web paused\n"
    again = cluster("rollout", "pause", "deploy/web")
    assert (again.code, again.err) == (1, 'error: deployments.apps "web" is already paused\n')
    assert cluster("expose", "deploy", "web", "--name=more").out == "service/more exposed\n"
    shown = "{.spec.replicas} {.metadata.labels.x} {.metadata.annotations.note} {.spec.paused}"
    assert cluster("get", "deploy", "web", "-o", f"jsonpath={shown}").out == "5 y  true"
    assert cluster("delete", "deploy", "web").out.startswith('deployment.apps "web" deleted from t-')
    gone = cluster("get", "deploy", "web")
    assert gone.err == 'Error from server (NotFound): deployments.apps "web" not found\n'


def test_set_env_lists_where_values_come_from(cluster: Run, home: Path) -> None:
    (home / "sources.yaml").write_text("""
apiVersion: v1
kind: Pod
metadata: {name: sources}
spec:
  containers:
    - name: c
      image: example/c
      env:
        - {name: PLAIN, value: x}
        - {name: CONF, valueFrom: {configMapKeyRef: {name: conf, key: a}}}
        - {name: SECRET, valueFrom: {secretKeyRef: {name: s, key: b}}}
        - {name: FIELD, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
        - {name: LIMIT, valueFrom: {resourceFieldRef: {resource: limits.cpu}}}
""")
    cluster("create", "-f", "sources.yaml")
    assert cluster("set", "env", "pod/sources", "--list").out.splitlines() == [
        "# Pod sources, container c",
        "PLAIN=x",
        "# CONF from configmap conf, key a",
        "# SECRET from secret s, key b",
        "# FIELD from field path metadata.name",
        "# LIMIT from resource field limits.cpu",
    ]


def test_describe_shows_resources_in_the_units_the_container_sees(cluster: Run, home: Path) -> None:
    (home / "units.yaml").write_text("""
apiVersion: v1
kind: Pod
metadata: {name: units}
spec:
  containers:
    - name: c
      image: example/c
      resources: {limits: {memory: 64Mi, cpu: 200m}}
      env:
        - {name: MEMORY, valueFrom: {resourceFieldRef: {resource: limits.memory, divisor: 1Mi}}}
        - {name: BYTES, valueFrom: {resourceFieldRef: {resource: limits.memory}}}
        - {name: CPU, valueFrom: {resourceFieldRef: {resource: limits.cpu}}}
        - {name: MILLI, valueFrom: {resourceFieldRef: {resource: limits.cpu, divisor: 1m}}}
""")
    cluster("create", "-f", "units.yaml")
    lines = {tuple(line.split()) for line in cluster("describe", "pod", "units").out.splitlines()}
    assert lines >= {
        ("MEMORY:", "64", "(limits.memory)"),
        ("BYTES:", "67108864", "(limits.memory)"),
        ("CPU:", "1", "(limits.cpu)"),
        ("MILLI:", "200", "(limits.cpu)"),
    }


@pytest.mark.parametrize("words", [["expose"], ["describe"], ["delete"]])
def test_nothing_named_is_answered_with_what_can_be_named(cluster: Run, words: list[str]) -> None:
    result = cluster(*words)
    assert result.code == 1
    assert result.err.startswith("error: You must ")
    assert "-k" not in result.err


def test_refusals_are_the_servers_words(cluster: Run, home: Path) -> None:
    (home / "bad.yaml").write_text(WEB.split("---")[0].replace("name: web\n        image: example/web:1", "name: WEB"))
    result = cluster("apply", "-f", "bad.yaml")
    assert result.code == 1
    assert result.err.startswith(
        'The Deployment "web" is invalid: \n* spec.template.spec.containers[0].name: Invalid value'
    )
    assert "* spec.template.spec.containers[0].image: Required value" in result.err
    (home / "typo.yaml").write_text(WEB.split("---")[0].replace("replicas:", "replicaz:"))
    typo = cluster("apply", "-f", "typo.yaml").err
    assert typo.startswith('Error from server (BadRequest): error when creating "typo.yaml": ')
    assert 'unknown field "spec.replicaz"' in typo


READS = [
    ["get", "deploy,svc,cm"],
    ["get", "all"],
    ["get", "pods", "-o", "wide"],
    ["get", "pods", "--show-labels"],
    ["get", "pods", "-L", "app"],
    ["get", "pods", "-A"],
    ["get", "pod", "single", "-o", "yaml"],
    ["get", "pods", "-o", "json"],
    ["get", "deploy,svc", "-o", "name"],
    ["get", "-f", "web.yaml", "-o", "name"],
    ["get", "pods", "-o", "custom-columns=N:.metadata.name,S:.spec,X:.nope"],
    ["get", "pods", "-o", 'jsonpath={range .items[*]}{.metadata.name}{"\\t"}{.spec.containers[*].image}{end}'],
    ["get", "pods", "single", "nope"],
    ["get", "nopes"],
    ["get", "cm", "conf", "-o", "yaml"],
    ["describe", "pod", "single"],
    ["describe", "deploy", "web"],
    ["describe", "svc", "web"],
    ["describe", "cm", "plain"],
    ["rollout", "status", "deploy/web", "--watch=false"],
    ["apply", "-f", "web.yaml"],
    ["api-versions"],
    ["api-resources", "-o", "wide"],
    ["explain", "pod.spec.containers.ports"],
    ["delete", "pod", "nope"],
    ["delete", "pods"],
    ["expose", "deploy", "nope", "--port=1"],
    ["exec", "single", "ls"],
    ["patch", "pod", "single", "-p", '{"spec":{"containers":[{"name":"c","image":""}]}}'],
]


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="compares with the real kubectl")
def test_it_prints_what_kubectl_prints(cluster: Run, url: str, home: Path) -> None:
    namespace = cluster(
        "create", "deployment", "x", "--image=i", "--dry-run=server", "-o", "jsonpath={.metadata.namespace}"
    ).out
    cluster("apply", "-f", "web.yaml")
    # kubectl describes the keys of a ConfigMap in no order at all; of one key there is only one.
    cluster("create", "cm", "plain", "--from-literal=b=x\ny\n")
    different = []
    for words in READS:
        ours = cluster(*words)
        done = subprocess.run(
            ["kubectl", "--server", url, "-n", namespace, *words], capture_output=True, text=True, check=False
        )
        theirs = Result(done.returncode, done.stdout, done.stderr)
        if _plain(ours) != _plain(theirs):
            different.append((words, ours, theirs))
    assert not different, "\n".join(str(part) for row in different for part in row)


def _plain(result: Result) -> tuple[int, str, str]:
    """Without what may differ: ages, and the program's own name."""

    def strip(text: str) -> str:
        text = re.sub(r"\b\d+s\b *", "Ns", text)
        return text.replace("pykubectl", "kubectl")

    return result.code, strip(result.out), strip(result.err)


PAIR = """\
{apiVersion: v1, kind: ConfigMap, metadata: {name: first, labels: {set: one}}}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: second, labels: {set: one}}}
"""


def test_prune_removes_what_left_the_manifests(cluster: Run, home: Path) -> None:
    (home / "pair.yaml").write_text(PAIR)
    cluster("apply", "-f", "pair.yaml")
    cluster("create", "cm", "unmanaged", "--from-literal=a=b")
    cluster("label", "cm", "unmanaged", "set=one")
    (home / "pair.yaml").write_text(PAIR.split("---")[0])
    refused = cluster("apply", "-f", "pair.yaml", "--prune")
    assert refused.err.startswith("error: all resources selected for prune without explicitly passing --all.")
    words = ["apply", "-f", "pair.yaml", "--prune", "-l", "set=one", "--prune-allowlist=core/v1/ConfigMap"]
    assert cluster(*words, "--dry-run=server").out.splitlines() == [
        "configmap/first unchanged (server dry run)",
        "configmap/second pruned (server dry run)",
    ]
    assert cluster(*words).out.splitlines() == ["configmap/first unchanged", "configmap/second pruned"]
    assert cluster("get", "cm", "-o", "name").out.splitlines() == ["configmap/first", "configmap/unmanaged"]


def test_the_last_applied_configuration_can_be_seen_set_and_edited(
    cluster: Run, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "one.yaml").write_text(PAIR.split("---")[0])
    cluster("create", "-f", "one.yaml")
    words = "no last-applied-configuration annotation found on resource: first"
    assert cluster("apply", "view-last-applied", "cm/first").err == f"error: {words}\n"
    assert cluster("apply", "set-last-applied", "-f", "one.yaml").err.startswith(f"error: {words}, to create")
    made = cluster("apply", "set-last-applied", "-f", "one.yaml", "--create-annotation")
    assert made.out == "configmap/first configured\n"
    again = cluster("apply", "set-last-applied", "-f", "one.yaml")
    assert again.out == "set-last-applied first: no changes required.\n"
    monkeypatch.setenv("KUBE_EDITOR", "sed -i 's/set: one/set: two/'")
    assert cluster("apply", "edit-last-applied", "cm", "first").out == "configmap/first edited\n"
    assert "set: two" in cluster("apply", "view-last-applied", "cm", "first").out
    assert cluster("get", "cm", "first", "--show-labels", "--no-headers").out.split()[-1] == "set=one"


def test_server_side_apply_takes_over_from_client_side_apply(cluster: Run, home: Path) -> None:
    (home / "one.yaml").write_text("{apiVersion: v1, kind: ConfigMap, metadata: {name: one}, data: {a: '1', b: '2'}}")
    cluster("apply", "-f", "one.yaml")
    assert cluster("apply", "--server-side", "-f", "one.yaml").out == "configmap/one serverside-applied\n"
    managers = "jsonpath={range .metadata.managedFields[*]}{.manager} {.operation};{end}"
    shown = cluster("get", "cm", "one", "-o", managers, "--show-managed-fields").out
    assert shown == "kubectl Apply;"
    (home / "one.yaml").write_text("{apiVersion: v1, kind: ConfigMap, metadata: {name: one}, data: {a: '9'}}")
    assert cluster("diff", "--server-side", "-f", "one.yaml").code == 1
    assert cluster("apply", "--server-side", "-f", "one.yaml").code == 0
    assert cluster("get", "cm", "one", "-o", "jsonpath={.data}").out == '{"a":"9"}'
    other = cluster("apply", "--server-side", "-f", "one.yaml", "--field-manager=other")
    assert other.code == 0
    (home / "one.yaml").write_text("{apiVersion: v1, kind: ConfigMap, metadata: {name: one}, data: {a: '3'}}")
    refused = cluster("apply", "--server-side", "-f", "one.yaml", "--field-manager=other")
    assert refused.err.startswith('error: Apply failed with 1 conflict: conflict with "kubectl": .data.a\n')
