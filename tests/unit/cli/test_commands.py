"""What pykubectl sends, and what it says: the wire and the words of the commands."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from cli.objects import LAST_APPLIED
from tests.unit.cli.conftest import FakeServer, Run, Seen, status

PODS = "/api/v1/namespaces/default/pods"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
TABLE = {
    "kind": "Table",
    "metadata": {"resourceVersion": "7"},
    "columnDefinitions": [{"name": "Name"}, {"name": "Ready"}],
    "rows": [{"cells": ["web", "1/1"], "object": {"metadata": {"name": "web", "namespace": "default"}}}],
}
POD = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web", "namespace": "default", "uid": "u1"}}
MANIFEST = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "web"},
    "spec": {"replicas": 2, "template": {"spec": {"containers": [{"name": "c", "image": "i:1"}]}}},
}


def manifest(home: Path, obj: Any = MANIFEST, name: str = "web.json") -> str:
    (home / name).write_text(json.dumps(obj))
    return name


def test_get_asks_for_a_table_in_chunks(run: Run, server: FakeServer) -> None:
    server.on(f"GET {PODS}", TABLE)
    result = run("get", "po", "-l", "app=web")
    assert (result.code, result.out, result.err) == (0, "NAME   READY\nweb    1/1\n", "")
    seen = server.requests()[0]
    assert seen.headers["Accept"].startswith("application/json;as=Table;v=v1;g=meta.k8s.io")
    assert seen.query == {"labelSelector": "app=web", "limit": "500"}


def test_get_follows_continue(run: Run, server: FakeServer) -> None:
    def page(seen: Seen) -> Any:
        name = "b" if seen.query.get("continue") == "more" else "a"
        token = {} if name == "b" else {"continue": "more"}
        return {"metadata": token, "items": [{"metadata": {"name": name}}]}

    server.on(f"GET {PODS}", page)
    assert run("get", "pods", "-o", "name").out == "pod/a\npod/b\n"


def test_get_names_the_kind_of_items_that_do_not_say_it(run: Run, server: FakeServer) -> None:
    page = {"apiVersion": "v1", "kind": "PodList", "metadata": {}, "items": [{"metadata": {"name": "a"}}]}
    server.on(f"GET {PODS}", page)
    printed = json.loads(run("get", "pods", "-o", "json").out)
    assert printed["items"] == [{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}}]


def test_get_nothing(run: Run, server: FakeServer) -> None:
    server.on(f"GET {PODS}", {**TABLE, "rows": []})
    result = run("get", "pods")
    assert (result.code, result.out, result.err) == (0, "", "No resources found in default namespace.\n")


def test_get_several_kinds_prefixes_names(run: Run, server: FakeServer) -> None:
    server.on(f"GET {PODS}", TABLE)
    server.on(f"GET {DEPLOYMENTS}", TABLE)
    result = run("get", "pods,deploy")
    assert result.out == "NAME      READY\npod/web   1/1\n\nNAME                  READY\ndeployment.apps/web   1/1\n"


def test_get_all_is_the_category(run: Run, server: FakeServer) -> None:
    for path in (PODS, DEPLOYMENTS, "/api/v1/namespaces/default/services"):
        server.on(f"GET {path}", TABLE)
    assert run("get", "all", "--no-headers").out.splitlines() == [
        "pod/web   1/1",
        "service/web   1/1",
        "deployment.apps/web   1/1",
    ]


@pytest.mark.parametrize(
    "word", ["deploy", "deployment", "deployments", "Deployment", "deployments.apps", "deploy.v1.apps"]
)
def test_names_of_a_resource(run: Run, server: FakeServer, word: str) -> None:
    server.on(f"GET {DEPLOYMENTS}/web", MANIFEST)
    assert run("get", f"{word}/web", "-o", "name").out == "deployment.apps/web\n"


def test_unknown_resource(run: Run) -> None:
    result = run("get", "foos")
    assert (result.code, result.err) == (1, 'error: the server doesn\'t have a resource type "foos"\n')


def test_discovery_is_cached_and_read_again_on_a_miss(run: Run, server: FakeServer, home: Path) -> None:
    server.on(f"GET {PODS}", TABLE)
    run("get", "pods")
    first = len([one for one in server.seen if one.path == "/apis"])
    run("get", "pods")
    assert len([one for one in server.seen if one.path == "/apis"]) == first == 1
    run("get", "foos")
    assert len([one for one in server.seen if one.path == "/apis"]) == 2
    assert list((home / ".kube" / "cache" / "discovery").rglob("serverresources.json"))


def test_not_found(run: Run, server: FakeServer) -> None:
    result = run("get", "pod", "nope")
    assert (result.code, result.err) == (1, 'Error from server (NotFound): pods "nope" not found\n')
    assert run("get", "pod", "nope", "--ignore-not-found").code == 0


def test_refused_connection_is_one_line(run: Run, home: Path) -> None:
    result = run("get", "pods", "--server", "http://127.0.0.1:1")
    assert result.code == 1
    assert result.err == (
        "The connection to the server 127.0.0.1:1 was refused - did you specify the right host or port?\n"
    )


def test_invalid_lists_its_causes(run: Run, server: FakeServer, home: Path) -> None:
    causes = [
        {"field": "spec.a", "message": "Required value"},
        {"field": "spec.b", "message": 'Invalid value: "x": too long'},
    ]
    refusal = status(422, "Invalid", "...", kind="Deployment", name="web", causes=causes)
    server.on(f"POST {DEPLOYMENTS}", refusal, 422)
    result = run("create", "-f", manifest(home))
    assert result.code == 1
    assert result.err == (
        'The Deployment "web" is invalid: \n* spec.a: Required value\n* spec.b: Invalid value: "x": too long\n'
    )
    refusal["details"]["causes"] = causes[:1]
    assert run("create", "-f", "web.json").err == 'The Deployment "web" is invalid: spec.a: Required value\n'


def test_apply_creates_with_the_annotation(run: Run, server: FakeServer, home: Path) -> None:
    server.on(f"POST {DEPLOYMENTS}", lambda seen: (201, seen.json))
    result = run("apply", "-f", manifest(home))
    assert (result.code, result.out) == (0, "deployment.apps/web created\n")
    posted = server.requests("POST")[0]
    assert posted.query == {"fieldManager": "kubectl-client-side-apply", "fieldValidation": "Strict"}
    text = posted.json["metadata"]["annotations"][LAST_APPLIED]
    wanted = {**MANIFEST, "metadata": {"annotations": {}, "name": "web", "namespace": "default"}}
    assert text == json.dumps(wanted, separators=(",", ":"), sort_keys=True) + "\n"


def live(image: str = "i:1", **spec: Any) -> dict[str, Any]:
    applied = {**MANIFEST, "metadata": {"annotations": {}, "name": "web", "namespace": "default"}}
    text = json.dumps(applied, separators=(",", ":"), sort_keys=True) + "\n"
    containers = [{"name": "c", "image": image, "imagePullPolicy": "Always"}]
    return {
        **MANIFEST,
        "metadata": {
            "name": "web",
            "namespace": "default",
            "resourceVersion": "5",
            "annotations": {LAST_APPLIED: text},
        },
        "spec": {"replicas": 2, **spec, "template": {"spec": {"containers": containers}}},
    }


def test_apply_without_change_sends_nothing(run: Run, server: FakeServer, home: Path) -> None:
    server.on(f"GET {DEPLOYMENTS}/web", live())
    assert run("apply", "-f", manifest(home)).out == "deployment.apps/web unchanged\n"
    assert server.requests("PATCH") == []


def test_apply_patches_what_changed_and_tries_again_on_conflict(run: Run, server: FakeServer, home: Path) -> None:
    answers = [(409, status(409, "Conflict", "the object has been modified")), (200, live("i:2"))]
    server.on(f"GET {DEPLOYMENTS}/web", live())
    server.on(f"PATCH {DEPLOYMENTS}/web", lambda seen: answers.pop(0))
    changed = json.loads(json.dumps(MANIFEST).replace("i:1", "i:2"))
    assert run("apply", "-f", manifest(home, changed)).out == "deployment.apps/web configured\n"
    patches = server.requests("PATCH")
    assert len(patches) == 2
    assert patches[0].headers["Content-Type"] == "application/strategic-merge-patch+json"
    assert patches[0].json["spec"]["template"]["spec"] == {
        "$setElementOrder/containers": [{"name": "c"}],
        "containers": [{"image": "i:2", "name": "c"}],
    }


def test_apply_of_a_custom_resource_is_a_json_merge(run: Run, server: FakeServer, home: Path) -> None:
    widget = {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "w"}, "spec": {"list": [1, 2]}}
    path = "/apis/example.com/v1/namespaces/default/widgets/w"
    server.on(f"GET {path}", {**widget, "spec": {"list": [1], "other": 1}})
    server.on(f"PATCH {path}", widget)
    result = run("apply", "-f", manifest(home, widget))
    assert result.out == "widget.example.com/w configured\n"
    assert result.err.startswith("Warning: resource widgets/w is missing the kubectl.kubernetes.io/last-applied-config")
    patch = server.requests("PATCH")[0]
    assert patch.headers["Content-Type"] == "application/merge-patch+json"
    assert patch.json["spec"] == {"list": [1, 2]}


def test_server_side_apply(run: Run, server: FakeServer, home: Path) -> None:
    server.on(f"PATCH {DEPLOYMENTS}/web", MANIFEST)
    assert run("apply", "--server-side", "-f", manifest(home)).out == "deployment.apps/web serverside-applied\n"
    patch = server.requests("PATCH")[0]
    assert patch.headers["Content-Type"] == "application/apply-patch+yaml"
    assert patch.query == {"fieldManager": "kubectl", "force": "false", "fieldValidation": "Strict"}


def test_dry_runs(run: Run, server: FakeServer, home: Path) -> None:
    server.on(f"POST {DEPLOYMENTS}", lambda seen: (201, seen.json))
    assert run("apply", "-f", manifest(home), "--dry-run=client").out == "deployment.apps/web created (dry run)\n"
    assert server.requests("POST") == []
    assert run("apply", "-f", "web.json", "--dry-run=server").out == "deployment.apps/web created (server dry run)\n"
    assert server.requests("POST")[0].query["dryRun"] == "All"


def test_apply_goes_on_after_a_failure(run: Run, server: FakeServer, home: Path) -> None:
    server.on(f"POST {DEPLOYMENTS}", status(403, "Forbidden", "no"), 403)
    server.on(f"POST {PODS}", lambda seen: (201, seen.json))
    (home / "all.json").write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": [MANIFEST, POD]}))
    result = run("apply", "-f", "all.json")
    assert (result.code, result.out) == (1, "pod/web created\n")
    assert result.err == 'Error from server (Forbidden): error when creating "all.json": no\n'


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("a: [", "error: error parsing x.yaml: error converting YAML to JSON: yaml: line"),
        ("a: 1", "error: unable to decode \"x.yaml\": Object 'Kind' is missing in '{\"a\":1}'"),
        (
            "kind: Pod\napiVersion: v9\nmetadata: {name: q}",
            'error: resource mapping not found for name: "q" namespace: ""',
        ),
        (
            "kind: Pod\nkind: Pod",
            'error: error parsing x.yaml: error converting YAML to JSON: yaml: line 2: key "kind"',
        ),
    ],
)
def test_bad_manifests(run: Run, home: Path, text: str, error: str) -> None:
    (home / "x.yaml").write_text(text)
    result = run("apply", "-f", "x.yaml")
    assert result.code == 1
    assert result.err.startswith(error)


def test_other_namespace_than_asked(run: Run, home: Path) -> None:
    result = run("apply", "-n", "other", "-f", manifest(home, POD))
    assert result.err.startswith(
        'error: the namespace from the provided object "default" does not match the namespace "other"'
    )


def test_missing_file(run: Run) -> None:
    assert run("apply", "-f", "no.yaml").err == 'error: the path "no.yaml" does not exist\n'


def test_delete_waits_until_the_object_is_gone(run: Run, server: FakeServer) -> None:
    gets: list[int] = []

    def get(seen: Seen) -> Any:
        gets.append(1)
        return POD if len(gets) == 1 else (404, status(404, "NotFound", 'pods "web" not found'))

    server.on(f"DELETE {PODS}/web", POD)
    server.on(f"GET {PODS}/web", get)
    server.on(f"GET {PODS}", b'{"type":"DELETED","object":{"metadata":{"name":"web"}}}\n')
    result = run("delete", "pod", "web", "--grace-period=3")
    assert (result.code, result.out) == (0, 'pod "web" deleted from default namespace\n')
    sent = server.requests("DELETE")[0].json
    assert sent == {
        "kind": "DeleteOptions",
        "apiVersion": "v1",
        "propagationPolicy": "Background",
        "gracePeriodSeconds": 3,
    }
    watch = [one for one in server.requests("GET") if one.query.get("watch")]
    assert watch[0].query["fieldSelector"] == "metadata.name=web"


def test_delete_needs_a_name(run: Run, server: FakeServer) -> None:
    assert run("delete", "pods").err == "error: resource(s) were provided, but no name was specified\n"
    assert server.requests() == []


def test_scale(run: Run, server: FakeServer) -> None:
    server.on(f"PATCH {DEPLOYMENTS}/web/scale", {})
    assert run("scale", "deploy/web", "--replicas=3").out == "deployment.apps/web scaled\n"
    assert server.requests("PATCH")[0].json == {"spec": {"replicas": 3}}
    server.on(f"GET {DEPLOYMENTS}/web/scale", {"spec": {"replicas": 5}})
    assert run("scale", "deploy/web", "--replicas=3", "--current-replicas=4").err == (
        "error: Expected replicas to be 4, was 5\n"
    )


def test_label(run: Run, server: FakeServer) -> None:
    server.on(f"GET {PODS}/web", {**POD, "metadata": {"name": "web", "labels": {"a": "1", "b": "2"}}})
    server.on(f"PATCH {PODS}/web", POD)
    assert run("label", "pod", "web", "a=9").err == "error: 'a' already has a value (1), and --overwrite is false\n"
    assert run("label", "pod", "web", "a=1").out == "pod/web not labeled\n"
    assert run("label", "pod", "web", "b-", "example.com/c=3").out == "pod/web labeled\n"
    assert server.requests("PATCH")[0].json == {"metadata": {"labels": {"example.com/c": "3", "b": None}}}


def test_edit_sends_only_the_change(run: Run, server: FakeServer, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server.on(f"GET {DEPLOYMENTS}/web", live())
    server.on(f"PATCH {DEPLOYMENTS}/web", live())
    monkeypatch.setenv("KUBE_EDITOR", "sed -i 's/replicas: 2/replicas: 4/'")
    assert run("edit", "deploy", "web").out == "deployment.apps/web edited\n"
    assert server.requests("PATCH")[0].json == {"spec": {"replicas": 4}}
    monkeypatch.setenv("KUBE_EDITOR", "true")
    assert run("edit", "deploy", "web").err == "Edit cancelled, no changes made.\n"


def test_edit_keeps_a_refused_change(run: Run, server: FakeServer, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server.on(f"GET {DEPLOYMENTS}/web", live())
    server.on(f"PATCH {DEPLOYMENTS}/web", status(422, "Invalid", "bad replicas"), 422)
    monkeypatch.setenv("KUBE_EDITOR", "sed -i 's/replicas: 2/replicas: -1/'")
    result = run("edit", "deploy", "web")
    assert result.code == 1
    kept = Path(result.err.split('stored to "')[1].split('"')[0])
    assert "bad replicas" in kept.read_text() and "replicas: -1" in kept.read_text()
    kept.unlink()


def test_logs_choose_the_first_container_and_say_so(run: Run, server: FakeServer) -> None:
    spec = {"containers": [{"name": "a"}, {"name": "b"}], "initContainers": [{"name": "i"}]}
    server.on(f"GET {PODS}/web", {**POD, "spec": spec})
    server.on(f"GET {PODS}/web/log", lambda seen: f"log of {seen.query['container']}\n".encode())
    result = run("logs", "web", "--tail=5", "--since=1m")
    assert (result.out, result.err) == ("log of a\n", 'Defaulted container "a" out of: a, b, i (init)\n')
    assert server.requests()[-1].query == {"container": "a", "sinceSeconds": "60", "tailLines": "5"}
    everything = run("logs", "web", "--all-containers", "--prefix").out
    assert everything == "[pod/web/i] log of i\n[pod/web/a] log of a\n[pod/web/b] log of b\n"
    assert run("logs", "web", "-c", "zz").err == "error: container zz is not valid for pod web\n"


def test_exec_needs_a_dash(run: Run) -> None:
    result = run("exec", "web", "ls")
    assert result.err == (
        "error: exec [POD] [COMMAND] is not supported anymore. Use exec [POD] -- [COMMAND] instead\n"
        "See 'pykubectl exec -h' for help and examples\n"
    )


def test_exec_refused_shows_the_servers_reason(run: Run, server: FakeServer) -> None:
    server.on(f"GET {PODS}/web", {**POD, "spec": {"containers": [{"name": "a"}]}})
    server.on(f"GET {PODS}/web/exec", status(403, "Forbidden", 'pods "web" is forbidden'), 403)
    result = run("exec", "web", "--", "ls")
    assert (result.code, result.err) == (1, 'Error from server (Forbidden): pods "web" is forbidden\n')


def test_rollout_status_and_undo(run: Run, server: FakeServer) -> None:
    done = live()
    done["metadata"]["generation"] = 2
    done["status"] = {"observedGeneration": 2, "updatedReplicas": 2, "replicas": 2, "availableReplicas": 2}
    server.on(f"GET {DEPLOYMENTS}/web", done)
    assert run("rollout", "status", "deploy/web").out == 'deployment "web" successfully rolled out\n'
    done["status"]["availableReplicas"] = 1
    assert run("rollout", "status", "deploy/web", "--watch=false").out == (
        'Waiting for deployment "web" rollout to finish: 1 of 2 updated replicas are available...\n'
    )


def test_set_image(run: Run, server: FakeServer) -> None:
    server.on(f"GET {DEPLOYMENTS}/web", live())
    server.on(f"PATCH {DEPLOYMENTS}/web", live())
    assert run("set", "image", "deploy/web", "c=i:9").out == "deployment.apps/web image updated\n"
    assert server.requests("PATCH")[0].json["spec"]["template"]["spec"]["containers"] == [{"image": "i:9", "name": "c"}]
    assert run("set", "image", "deploy/web", "zz=i:9").err == 'error: unable to find container named "zz"\n'


def test_generators_need_no_server_for_a_dry_run(run: Run, server: FakeServer) -> None:
    out = run(
        "create", "deployment", "web", "--image=reg:5000/a/Web_x:1", "--dry-run=client", "-o", "yaml", "--", "a"
    ).out
    assert "name: web-x" in out and "- a\n" in out and "image: reg:5000/a/Web_x:1" in out
    assert run(
        "run", "p", "--image=i", "--env=A=b", "--dry-run=client", "-o", "jsonpath={.spec.containers[0].env}"
    ).out == ('[{"name":"A","value":"b"}]')
    assert server.seen == []


def test_wait_for_a_condition_that_is_there(run: Run, server: FakeServer) -> None:
    ready = {**POD, "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}}
    server.on(f"GET {PODS}/web", ready)
    assert run("wait", "pod/web", "--for=condition=Ready").out == "pod/web condition met\n"
    assert run("wait", "pod/web", "--for=jsonpath={.status.phase}=Running").out == "pod/web condition met\n"
    server.on(f"GET {PODS}", b"")
    late = run("wait", "pod/web", "--for=condition=Nope", "--timeout=10ms")
    assert (late.code, late.err) == (1, "error: timed out waiting for the condition on pods/web\n")


def test_warnings_are_printed(run: Run, server: FakeServer) -> None:
    server.on(f"GET {PODS}", TABLE)
    assert run("get", "pods", "--as=alice", "--as-group=g1", "--as-group=g2").code == 0
    seen = server.requests()[-1]
    assert seen.headers["Impersonate-User"] == "alice"


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["foo"], 'error: unknown command "foo" for "pykubectl"\n'),
        (["gett"], 'error: unknown command "gett" for "pykubectl"\n\nDid you mean this?\n\tget\n\n'),
        (["get", "--foo"], "error: unknown flag: --foo\nSee 'pykubectl get --help' for usage.\n"),
        (["scale", "deploy", "x"], 'error: required flag(s) "replicas" not set\n'),
        (
            ["get", "pods", "-w=maybe"],
            'error: invalid argument "maybe" for "-w, --watch" flag: strconv.ParseBool: '
            'parsing "maybe": invalid syntax\nSee \'pykubectl',
        ),
    ],
)
def test_usage_errors(run: Run, words: list[str], error: str) -> None:
    result = run(*words)
    assert result.code == 1
    assert result.err.startswith(error)


def test_config_commands(run: Run, home: Path) -> None:
    assert run("config", "set-cluster", "c", "-s", "https://x:6443").out == 'Cluster "c" set.\n'
    assert run("config", "set-credentials", "u", "--token=t").out == 'User "u" set.\n'
    assert run("config", "set-context", "x", "--cluster=c", "--user=u", "-n", "ns").out == 'Context "x" created.\n'
    assert run("config", "use-context", "x").out == 'Switched to context "x".\n'
    assert run("config", "get-contexts").out == (
        "CURRENT   NAME   CLUSTER   AUTHINFO   NAMESPACE\n*         x      c         u          ns\n"
    )
    assert "token: REDACTED" in run("config", "view").out
    assert run("config", "set-context", "--current", "--namespace=other").out == 'Context "x" modified.\n'
    assert run("config", "view", "--minify", "-o", "jsonpath={.contexts[0].context.namespace}").out == "other"
    assert run("config", "use-context", "no").err == 'error: no context exists with the name: "no"\n'
    assert run("config", "delete-context", "x").code == 0
    assert (home / ".kube" / "config").stat().st_mode & 0o777 == 0o600


def test_help_is_quick_to_import() -> None:
    """Help must not pay for the HTTP client, YAML or the generated types."""
    import subprocess
    import sys

    code = (
        "import sys\nsys.argv = ['pykubectl', '--help']\nfrom cli.main import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print([m for m in ('aiohttp', 'yaml', 'rich', 'msgspec', 'api.types') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=dict(os.environ), check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"
