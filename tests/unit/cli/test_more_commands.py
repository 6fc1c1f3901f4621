"""Plugins, proxy, debug, reconcile and the dump: what they send, what they say, what they refuse."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import pytest

from cli.commands.proxy import Filter, _patterns
from cli.reconcile import uncovered
from tests.unit.cli.conftest import FakeServer, Run, resource, status

POD = "/api/v1/namespaces/default/pods/web"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
ROOT = Path(__file__).resolve().parents[3]


def program(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cli", *words],
        capture_output=True,
        text=True,
        check=False,
        env=dict(os.environ, PYTHONPATH=str(ROOT), **environment),
    )


@pytest.fixture
def plugins(tmp_path: Path) -> str:
    for name in ("kubectl-foo", "pykubectl-two", "kubectl-a-b_c", "kubectl-get"):
        (tmp_path / name).write_text(f'#!/bin/sh\necho {name} "$@"\n')
        (tmp_path / name).chmod(0o755)
    (tmp_path / "kubectl-idle").write_text("")
    return f"{tmp_path}{os.pathsep}{os.defpath}"


def test_plugins_run_as_commands(plugins: str) -> None:
    assert program("foo", "x", "-y", PATH=plugins).stdout == "kubectl-foo x -y\n"
    assert program("two", PATH=plugins).stdout == "pykubectl-two\n"
    assert program("a", "b-c", "d", PATH=plugins).stdout == "kubectl-a-b_c d\n"
    unknown = program("idle", PATH=plugins)
    assert (unknown.returncode, unknown.stderr.splitlines()[0]) == (1, 'error: unknown command "idle" for "pykubectl"')


def test_plugin_list_warns(run: Run, plugins: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", plugins.split(os.pathsep)[0])
    result = run("plugin", "list", "--name-only")
    assert result.code == 1
    assert result.out.splitlines()[2:] == [
        "kubectl-a-b_c",
        "kubectl-foo",
        "kubectl-get",
        "kubectl-idle",
        "pykubectl-two",
    ]
    assert 'warning: kubectl-get overwrites existing command: "kubectl get"' in result.err
    assert "kubectl-idle identified as a kubectl plugin, but it is not executable" in result.err
    assert result.err.splitlines()[-1] == "error: 2 plugin warnings were found"
    monkeypatch.setenv("PATH", "/nowhere")
    assert run("plugin", "list").err == "error: unable to find any kubectl plugins in your PATH\n"


def test_proxy_passes_requests_and_refuses_strangers(server: FakeServer, home: Path) -> None:
    server.on("GET /version", {"gitVersion": "v1"})
    server.on("POST /api/v1/namespaces", lambda seen: (201, seen.json))
    (home / "www").mkdir()
    (home / "www" / "a.txt").write_text("static\n")
    started = subprocess.Popen(
        [sys.executable, "-m", "cli", "--server", server.url, "proxy", "--port=0", "--www=www", "--api-prefix=/k8s/"],
        stdout=subprocess.PIPE,
        text=True,
        env=dict(os.environ, PYTHONPATH=str(ROOT)),
    )
    try:
        assert started.stdout is not None
        found = re.fullmatch(r"Starting to serve on (127\.0\.0\.1:\d+)\n", started.stdout.readline())
        assert found is not None
        url = f"http://{found.group(1)}"

        def ask(path: str, body: bytes | None = None, **headers: str) -> tuple[int, str]:
            try:
                with urllib.request.urlopen(urllib.request.Request(url + path, body, headers), timeout=30) as answer:
                    return answer.status, answer.read().decode()
            except HTTPError as problem:
                return problem.code, problem.read().decode()

        assert ask("/k8s/version") == (200, '{"gitVersion": "v1"}')
        assert ask("/k8s/api/v1/namespaces", b'{"kind": "Namespace"}') == (201, '{"kind": "Namespace"}')
        assert ask("/k8s/version", Host="evil.example") == (403, "Forbidden\n")
        assert ask("/k8s/api/v1/namespaces/a/pods/b/exec") == (403, "Forbidden\n")
        assert ask("/k8s/api/v1/nope")[0] == 404
        assert ask("/version")[0] == 404
        assert ask("/static/a.txt") == (200, "static\n")
    finally:
        started.kill()
        started.wait()
    assert "evil.example" not in str(server.seen)


def test_what_the_filter_passes() -> None:
    default = Filter(
        _patterns(r"^localhost$,^127\.0\.0\.1$,^\[::1\]$"),
        _patterns("^.*"),
        _patterns("^/api/.*/exec"),
        _patterns("^POST$"),
    )
    assert default.passes("GET", "localhost:8001", "/api")
    assert default.passes("GET", "[::1]:8001", "/api")
    assert not default.passes("GET", "localhost.evil:8001", "/api")
    assert not default.passes("POST", "localhost", "/api")
    assert not default.passes("GET", "localhost", "/api/v1/exec")


def pod(**spec: Any) -> dict[str, Any]:
    containers = [{"name": "a", "image": "i", "livenessProbe": {}}, {"name": "b", "image": "j"}]
    metadata = {"name": "web", "namespace": "default", "labels": {"x": "y"}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": {
            "containers": containers,
            "nodeName": "n",
            "ephemeralContainers": [{"name": "e", "image": "k"}],
            **spec,
        },
    }


def test_debug_adds_an_ephemeral_container(run: Run, server: FakeServer) -> None:
    server.on(f"GET {POD}", pod())
    server.on(f"PATCH {POD}/ephemeralcontainers", pod())
    result = run("debug", "web", "--image=tools", "--target=a", "--", "sh", "-c", "x")
    assert result.code == 0
    told, named = result.err.splitlines()
    assert told.startswith('Targeting container "a". If you don\'t see processes from this container')
    found = re.fullmatch(r"Defaulting debug container name to (debugger-[a-z0-9]{5})\.", named)
    assert found is not None
    (operation,) = server.requests("PATCH")[0].json
    assert operation["path"] == "/spec/ephemeralContainers/-"
    assert operation["value"] == {
        "name": found.group(1),
        "image": "tools",
        "command": ["sh", "-c", "x"],
        "targetContainerName": "a",
        "terminationMessagePolicy": "File",
        "securityContext": {"capabilities": {"add": ["SYS_PTRACE"]}},
    }


def test_debug_copies_a_pod(run: Run, server: FakeServer) -> None:
    server.on(f"GET {POD}", pod())
    server.on("POST /api/v1/namespaces/default/pods", lambda seen: (201, seen.json))
    assert run("debug", "web", "--copy-to=new", "-c", "a", "--set-image=*=k:2", "--", "sh").code == 0
    made = server.requests("POST")[0].json
    assert made["metadata"] == {"name": "new", "namespace": "default"}
    assert made["spec"] == {
        "containers": [
            {
                "name": "a",
                "image": "k:2",
                "command": ["sh"],
                "securityContext": {"capabilities": {"add": ["SYS_PTRACE"]}},
            },
            {"name": "b", "image": "k:2"},
        ],
        "shareProcessNamespace": True,
    }
    words = ["--copy-to=new", "--image=k", "--profile=restricted", "--same-node", "--keep-labels", "--keep-liveness"]
    assert run("debug", "web", *words, "--share-processes=false", "-c", "c").code == 0
    made = server.requests("POST")[1].json
    assert made["metadata"]["labels"] == {"x": "y"}
    assert made["spec"]["nodeName"] == "n"
    assert "livenessProbe" in made["spec"]["containers"][0]
    assert "shareProcessNamespace" not in made["spec"]
    assert made["spec"]["containers"][2]["securityContext"]["runAsNonRoot"] is True


def test_debug_on_a_node(run: Run, server: FakeServer) -> None:
    server.on("GET /api/v1/nodes/n", {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}})
    server.on("POST /api/v1/namespaces/default/pods", lambda seen: (201, seen.json))
    result = run("debug", "node/n", "--image=tools", "--profile=sysadmin")
    made = server.requests("POST")[0].json
    assert result.err == f"Creating debugging pod {made['metadata']['name']} with container debugger on node n.\n"
    spec = made["spec"]
    assert (spec["nodeName"], spec["hostPID"], spec["hostNetwork"], spec["hostIPC"]) == ("n", True, True, True)
    assert spec["volumes"] == [{"name": "host-root", "hostPath": {"path": "/"}}]
    assert spec["containers"][0]["securityContext"] == {"privileged": True}
    assert spec["containers"][0]["volumeMounts"] == [{"name": "host-root", "mountPath": "/host"}]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["web"], "you must specify --image when not using --copy-to."),
        (["web", "--copy-to=x"], "you must specify --image, --set-image or command arguments."),
        (["web", "--image=x", "-t"], "-i/--stdin is required for containers with -t/--tty=true"),
        (["web", "--image=x", "--profile=foo"], "unknown profile: foo"),
        (["web", "--image=x", "--replace"], "--replace may only be used with --copy-to."),
    ],
)
def test_debug_refuses(run: Run, words: list[str], text: str) -> None:
    assert run("debug", *words).err == f"error: {text}\n"


def rule(verbs: str, resources: str = "pods", group: str = "", names: str = "") -> dict[str, Any]:
    made: dict[str, Any] = {"verbs": verbs.split(), "apiGroups": [group], "resources": resources.split()}
    return {**made, "resourceNames": names.split()} if names else made


@pytest.mark.parametrize(
    ("have", "want", "left"),
    [
        ([rule("get list")], [rule("get watch")], [rule("watch")]),
        ([rule("*")], [rule("get watch")], []),
        ([rule("get", "*")], [rule("get", "pods pods/log")], []),
        ([rule("get", "*/log")], [rule("get", "pods pods/log")], [rule("get", "pods")]),
        ([rule("get", names="a")], [rule("get", names="a b")], [rule("get", names="b")]),
        ([rule("get", names="a")], [rule("get")], [rule("get")]),
        ([rule("get", group="apps")], [rule("get")], [rule("get")]),
        ([{"verbs": ["get"], "nonResourceURLs": ["/logs*"]}], [{"verbs": ["get"], "nonResourceURLs": ["/logs/x"]}], []),
    ],
)
def test_which_rules_are_not_covered(have: list[Any], want: list[Any], left: list[Any]) -> None:
    assert uncovered(have, want) == left


def test_reconcile_adds_what_is_missing(run: Run, server: FakeServer, home: Path) -> None:
    server.on(
        "GET /apis",
        {
            "kind": "APIGroupList",
            "groups": [
                {
                    "name": "rbac.authorization.k8s.io",
                    "versions": [{"groupVersion": "rbac.authorization.k8s.io/v1", "version": "v1"}],
                }
            ],
        },
    )
    rows = [resource("clusterroles", "ClusterRole", namespaced=False)]
    server.on(
        f"GET {RBAC}", {"kind": "APIResourceList", "groupVersion": "rbac.authorization.k8s.io/v1", "resources": rows}
    )
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "r"}}
    (home / "r.json").write_text(json.dumps({**role, "rules": [rule("get watch")]}))
    server.on(f"GET {RBAC}/clusterroles/r", {**role, "rules": [rule("get list")]})
    server.on(f"PUT {RBAC}/clusterroles/r", lambda seen: seen.json)
    result = run("auth", "reconcile", "-f", "r.json")
    assert result.out == "clusterrole.rbac.authorization.k8s.io/r reconciled\n"
    assert result.err == (
        "\treconciliation required update\n\tmissing rules added:\n"
        "\t\t{Verbs:[watch] APIGroups:[] Resources:[pods] ResourceNames:[] NonResourceURLs:[]}\n"
    )
    assert server.requests("PUT")[0].json["rules"] == [rule("get list"), rule("watch")]
    run("auth", "reconcile", "-f", "r.json", "--remove-extra-permissions")
    assert server.requests("PUT")[1].json["rules"] == [rule("get watch")]


def test_dump_writes_a_folder(run: Run, server: FakeServer, home: Path) -> None:
    server.on("GET /api/v1/nodes", {"kind": "NodeList", "items": []})
    for kind in ("events", "replicationcontrollers", "services"):
        server.on(f"GET /api/v1/namespaces/a/{kind}", {"kind": "List", "items": []})
    for kind in ("daemonsets", "deployments", "replicasets"):
        server.on(f"GET /apis/apps/v1/namespaces/a/{kind}", {"kind": "List", "items": []})
    one = {"metadata": {"name": "p", "namespace": "a"}, "spec": {"containers": [{"name": "c"}, {"name": "d"}]}}
    server.on("GET /api/v1/namespaces/a/pods", {"kind": "PodList", "items": [one]})
    server.on(
        "GET /api/v1/namespaces/a/pods/p/log",
        lambda seen: b"hello\n" if seen.query["container"] == "c" else (400, status(400, "BadRequest", "not yet")),
    )
    assert run("cluster-info", "dump", "--namespaces=a", "--output-directory=out").out == "Cluster info dumped to out\n"
    assert sorted(path.name for path in (home / "out" / "a").iterdir())[:2] == ["daemonsets.json", "deployments.json"]
    assert (home / "out" / "a" / "p" / "logs.txt").read_text() == (
        "==== START logs for container c of pod a/p ====\nhello\n==== END logs for container c of pod a/p ====\n"
        "==== START logs for container d of pod a/p ====\nRequest log error: not yet\n"
        "==== END logs for container d of pod a/p ====\n"
    )


def test_one_bad_object_of_a_file_does_not_stop_the_others(run: Run, server: FakeServer, home: Path) -> None:
    server.on("POST /api/v1/namespaces/default/pods", lambda seen: (201, seen.json))
    server.on("POST /api/v1/namespaces/default/services", status(422, "Invalid", "wrong", causes=[]), 422)
    (home / "all.yaml").write_text(
        "{apiVersion: v1, kind: Pod, metadata: {name: a}}\n---\n{apiVersion: x/v1, kind: Nope, metadata: {name: b}}\n"
        "---\n{apiVersion: v1, kind: Service, metadata: {name: c}}\n"
    )
    result = run("create", "-f", "all.yaml")
    assert (result.code, result.out) == (1, "pod/a created\n"), result.err
    assert result.err.splitlines() == [
        'Error from server (Invalid): error when creating "all.yaml": wrong',
        'resource mapping not found for name: "b" namespace: "" from "all.yaml": '
        'no matches for kind "Nope" in version "x/v1"',
        "ensure CRDs are installed first",
    ]


def test_the_shell_is_offered_kinds_and_names(server: FakeServer, home: Path) -> None:
    listed = {"kind": "PodList", "items": [{"metadata": {"name": "web"}}, {"metadata": {"name": "db"}}]}
    server.on("GET /api/v1/namespaces/default/pods", listed)

    def offered(*words: str) -> list[str]:
        line = ["pykubectl", "--server", server.url, *words]
        done = program(_PYKUBECTL_COMPLETE="bash_complete", COMP_WORDS=" ".join(line), COMP_CWORD=str(len(line) - 1))
        return [text.partition(",")[2] for text in done.stdout.splitlines() if text]

    assert offered("get", "po") == ["pods"]
    assert offered("get", "pods", "w") == ["web"]
    assert offered("describe", "pod/d") == ["pod/db"]
    assert offered("exec", "w") == ["web"]
    assert offered("rollout", "sta") == ["status"]
    assert (
        program(
            _PYKUBECTL_COMPLETE="bash_complete", COMP_WORDS="pykubectl -s http://127.0.0.1:1 logs x", COMP_CWORD="4"
        ).stderr
        == ""
    )


def test_autoscale_by_cpu_and_memory(run: Run, server: FakeServer) -> None:
    server.on(
        "GET /apis/apps/v1/namespaces/default/deployments/web",
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "default"}},
    )
    shown = run("autoscale", "deploy", "web", "--max=3", "--cpu=50%", "--memory=1Gi", "--dry-run=client", "-o", "json")
    metrics = json.loads(shown.out)["spec"]["metrics"]
    assert [one["resource"] for one in metrics] == [
        {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}},
        {"name": "memory", "target": {"type": "AverageValue", "averageValue": "1Gi"}},
    ]
    both = run("autoscale", "deploy", "web", "--max=3", "--cpu=50%", "--cpu-percent=5")
    assert both.err == "error: --cpu-percent and --cpu are mutually exclusive\n"
    assert run("autoscale", "deploy", "web", "--max=3", "--cpu=much").code == 1
