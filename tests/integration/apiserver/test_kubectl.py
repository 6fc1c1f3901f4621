"""Real kubectl against real processes: every command that needs no running container, and what it prints.

What needs kubelets (logs, exec, attach, cp, port-forward, debug) is in tests/cluster.
"""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from tests.support.control_plane import ControlPlane, control_plane, eventually
from tests.support.ports import free_port

TOKENS = 'bob-token,bob,2\ndora-token,dora,3,"dev"\n'


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    tokens = tmp_path_factory.mktemp("tokens") / "tokens.csv"
    tokens.write_text(TOKENS)
    with control_plane(f"--token-auth-file={tokens}") as made:
        eventually(lambda: made.get("serviceaccount", "default"))
        yield made


@pytest.fixture
def namespace(plane: ControlPlane, request: pytest.FixtureRequest) -> Iterator[str]:
    """A namespace of the test's own, which it need not name: it is the kubeconfig's for that time."""
    name = re.sub("[^a-z0-9]+", "-", request.node.name.removeprefix("test_").lower())[:40].strip("-")
    plane.kubectl("create", "namespace", name)
    plane.kubectl("config", "set-context", "--current", f"--namespace={name}")
    eventually(lambda: plane.get("serviceaccount", "default"))
    yield name
    plane.kubectl("config", "set-context", "--current", "--namespace=default")
    plane.kubectl("delete", "pods", "--all", "--force", "--grace-period=0", "-n", name, "--wait=false")
    plane.kubectl("delete", "namespace", name, "--wait=false")


def deployment(name: str = "app", image: str = "nginx:1", replicas: int = 1, **labels: str) -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "labels": {"app": name, **labels}},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "c", "image": image}]},
            },
        },
    }


def rows(output: str) -> list[list[str]]:
    """A table's cells: columns are two blanks apart at least."""
    return [re.split(r" {2,}", line.strip()) for line in output.splitlines() if line.strip()]


def key_and_request(organization: str, name: str) -> tuple[bytes, bytes]:
    """A new key and a request for its certificate, both PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name(
        [x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization), x509.NameAttribute(NameOID.COMMON_NAME, name)]
    )
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    return (
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        request.public_bytes(Encoding.PEM),
    )


# -- create -----------------------------------------------------------------------------------------------------------

GENERATORS = [
    ("configmap cfg --from-literal=a=1", "configmap/cfg created"),
    ("secret generic sec --from-literal=p=hunter2", "secret/sec created"),
    ("secret docker-registry reg --docker-server=r --docker-username=u --docker-password=p", "secret/reg created"),
    ("serviceaccount robot", "serviceaccount/robot created"),
    ("role reader --verb=get,list --resource=pods", "role.rbac.authorization.k8s.io/reader created"),
    ("rolebinding rb --role=reader --user=bob", "rolebinding.rbac.authorization.k8s.io/rb created"),
    ("deployment web --image=nginx --replicas=2 --port=80", "deployment.apps/web created"),
    ("service clusterip cip --tcp=80:8080", "service/cip created"),
    ("service nodeport np --tcp=80:8080", "service/np created"),
    ("service loadbalancer lb --tcp=80:8080", "service/lb created"),
    ("service externalname en --external-name=example.com", "service/en created"),
    ("job once --image=busybox -- echo hi", "job.batch/once created"),
    ("cronjob often --image=busybox --schedule=0,30\t*\t*\t*\t* -- date", "cronjob.batch/often created"),
    ("job manual --from=cronjob/often", "job.batch/manual created"),
    ("ingress ing --class=nginx --rule=foo.com/bar*=cip:80,tls=tls", "ingress.networking.k8s.io/ing created"),
    ("poddisruptionbudget pdb --selector=app=web --min-available=1", "poddisruptionbudget.policy/pdb created"),
    ("quota q --hard=pods=10,secrets=20", "resourcequota/q created"),
]

DESCRIBED = {
    "configmap/cfg": ["Data\n====\na:\n----\n1\n"],
    "secret/sec": ["Type:  Opaque", "p:  7 bytes"],
    "serviceaccount/robot": ["Image pull secrets:  <none>", "Tokens:              <none>"],
    "role/reader": ["pods       []                 []              [get list]"],
    "rolebinding/rb": ["Kind:  Role", "User  bob"],
    "deployment/web": [
        "Replicas:               2 desired | 2 updated | 2 total | 0 available | 2 unavailable",
        "StrategyType:           RollingUpdate",
        "RollingUpdateStrategy:  25% max unavailable, 25% max surge",
        "Available      False   MinimumReplicasUnavailable",
        "ScalingReplicaSet",
    ],
    "service/np": ["Type:                     NodePort", "IP Family Policy:         SingleStack", "TargetPort:"],
    "service/en": ["External Name:     example.com"],
    "job/once": ["Completion Mode:  NonIndexed", "Pods Statuses:    1 Active (0 Ready) / 0 Succeeded / 0 Failed"],
    "cronjob/often": ["Concurrency Policy:            Allow", "Successful Job History Limit:  3"],
    "ingress/ing": ["Ingress Class:    nginx", "tls terminates foo.com", "/bar   cip:80 ()"],
    "pdb/pdb": ["Min available:  1", "Allowed disruptions:  0"],
    "quota/q": ["Resource    Used  Hard"],
}


def test_every_generator_creates_and_everything_is_described(plane: ControlPlane, namespace: str) -> None:
    for command, expected in GENERATORS:
        words = [word.replace("\t", " ") for word in command.split(" ")]
        assert plane.kubectl("create", *words) == expected + "\n"
    eventually(lambda: len(plane.get("pods", "-l", "app=web")) == 2)
    eventually(lambda: "2 updated" in plane.kubectl("describe", "deployment", "web"))
    eventually(lambda: "1 Active" in plane.kubectl("describe", "job", "once"))
    for what, expected in DESCRIBED.items():
        described = plane.kubectl("describe", what)
        for text in expected:
            assert text in described, f"{text!r} is not in:\n{described}"
    pod = plane.get("pods", "-l", "app=web")[0]["metadata"]["name"]
    described = eventually(lambda: _with(plane.kubectl("describe", "pod", pod), "FailedScheduling"))
    assert "Controlled By:    ReplicaSet/web-" in described
    assert "QoS Class:                   BestEffort" in described
    assert "node.kubernetes.io/not-ready:NoExecute op=Exists for 300s" in described
    listed = plane.kubectl("get", "all")
    for header in ("pod/web-", "service/cip", "deployment.apps/web", "replicaset.apps/web-", "cronjob.batch/often"):
        assert header in listed
    quota = plane.kubectl("get", "quota", "q")
    assert rows(quota)[0][:1] == ["NAME"] and "pods: 4/10" in quota and "secrets: 2/20" in quota


def _with(text: str, part: str) -> str:
    return text if part in text else ""


def test_cluster_wide_generators(plane: ControlPlane) -> None:
    create = plane.kubectl
    assert create("create", "clusterrole", "cr", "--verb=get", "--resource=nodes", "--non-resource-url=/metrics") == (
        "clusterrole.rbac.authorization.k8s.io/cr created\n"
    )
    assert create("create", "clusterrolebinding", "crb", "--clusterrole=cr", "--user=bob") == (
        "clusterrolebinding.rbac.authorization.k8s.io/crb created\n"
    )
    assert create("create", "priorityclass", "high", "--value=1000", "--description=d") == (
        "priorityclass.scheduling.k8s.io/high created\n"
    )
    assert rows(plane.kubectl("get", "priorityclass", "high"))[1][:3] == ["high", "1000", "false"]
    described = plane.kubectl("describe", "clusterrole", "cr")
    assert re.search(r"nodes\s+\[\]\s+\[\]\s+\[get\]", described)
    assert re.search(r"\[/metrics\]\s+\[\]\s+\[get\]", described)
    assert "Value:             1000" in plane.kubectl("describe", "priorityclass", "high")
    assert re.search(r"User +bob", plane.kubectl("describe", "clusterrolebinding", "crb"))
    assert plane.refused("create", "clusterrole", "cr", "--verb=get", "--resource=nodes") == (
        'Error from server (AlreadyExists): clusterroles.rbac.authorization.k8s.io "cr" already exists\n'
    )


# -- get --------------------------------------------------------------------------------------------------------------


def test_get_in_all_forms(plane: ControlPlane, namespace: str) -> None:
    plane.kubectl("create", "-f", "-", input=deployment(replicas=2))
    eventually(lambda: len(plane.get("pods")) == 2)
    eventually(lambda: rows(plane.kubectl("get", "deploy"))[1][:4] == ["app", "0/2", "2", "0"])
    assert rows(plane.kubectl("get", "deploy"))[0] == ["NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE"]
    wide = rows(plane.kubectl("get", "deploy", "-o", "wide"))
    assert wide[0][-3:] == ["CONTAINERS", "IMAGES", "SELECTOR"] and wide[1][-3:] == ["c", "nginx:1", "app=app"]
    assert rows(plane.kubectl("get", "pods"))[0] == ["NAME", "READY", "STATUS", "RESTARTS", "AGE"]
    assert rows(plane.kubectl("get", "pods", "-o", "wide"))[0][-4:] == [
        "IP",
        "NODE",
        "NOMINATED NODE",
        "READINESS GATES",
    ]
    assert plane.kubectl("get", "deploy", "-o", "name") == "deployment.apps/app\n"
    assert plane.kubectl("get", "deploy", "app", "-o", "jsonpath={.spec.replicas}") == "2"
    assert plane.kubectl("get", "deploy", "app", "-o", "go-template={{.metadata.name}}") == "app"
    assert rows(plane.kubectl("get", "deploy", "-o", "custom-columns=N:.metadata.name,R:.spec.replicas")) == [
        ["N", "R"],
        ["app", "2"],
    ]
    assert "LABELS" in plane.kubectl("get", "deploy", "--show-labels")
    assert "app" in rows(plane.kubectl("get", "deploy", "-L", "app"))[1]
    names = [line[0] for line in rows(plane.kubectl("get", "pods", "--no-headers", "--sort-by=.metadata.name"))]
    assert names == sorted(names) and len(names) == 2
    assert len(rows(plane.kubectl("get", "pods", "--no-headers", "--chunk-size=1"))) == 2
    assert len(plane.get("pods", "--field-selector=status.phase=Pending")) == 2
    assert plane.get("pods", "--field-selector=status.phase=Running") == []
    assert plane.kubectl("get", "deploy", "app", "-o", "yaml").startswith("apiVersion: apps/v1\nkind: Deployment\n")
    assert "managedFields" not in plane.kubectl("get", "deploy", "app", "-o", "yaml")
    assert "managedFields" in plane.kubectl("get", "deploy", "app", "-o", "yaml", "--show-managed-fields")
    assert rows(plane.kubectl("get", "pods", "-A"))[0][0] == "NAMESPACE"
    raw = json.loads(plane.kubectl("get", "--raw", f"/api/v1/namespaces/{namespace}/pods?limit=1"))
    assert raw["kind"] == "PodList" and len(raw["items"]) == 1 and raw["metadata"]["remainingItemCount"] == 1


def test_get_says_what_is_not_there(plane: ControlPlane, namespace: str) -> None:
    assert plane.refused("get", "nosuch") == 'error: the server doesn\'t have a resource type "nosuch"\n'
    assert plane.refused("get", "pod", "x") == 'Error from server (NotFound): pods "x" not found\n'
    assert plane.run("get", "pods").stderr == f"No resources found in {namespace} namespace.\n"
    assert plane.kubectl("get", "pod", "x", "--ignore-not-found") == ""
    assert plane.refused("get", "pods", "--field-selector=spec.color=red") == (
        'Error from server (BadRequest): Unable to find "/v1, Resource=pods" that match label selector "", field '
        'selector "spec.color=red": field label not supported: spec.color\n'
    )


def test_a_watch_shows_changes_as_rows(plane: ControlPlane, namespace: str) -> None:
    plane.kubectl("create", "configmap", "a")
    command = [
        "kubectl",
        "get",
        "configmap",
        "-w",
        "--request-timeout=3s",
        "--field-selector=metadata.name!=kube-root-ca.crt",
    ]
    environment = dict(os.environ, KUBECONFIG=str(plane.kubeconfig))
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=environment, stderr=subprocess.DEVNULL
    ) as watch:
        assert watch.stdout is not None
        assert rows(watch.stdout.readline()) == [["NAME", "DATA", "AGE"]]
        assert rows(watch.stdout.readline())[0][:2] == ["a", "0"]
        plane.kubectl("create", "configmap", "b", "--from-literal=x=1")
        plane.kubectl("patch", "configmap", "a", "-p", '{"data":{"k":"v"}}')
        assert rows(watch.stdout.readline())[0][:2] == ["b", "1"]
        assert rows(watch.stdout.readline())[0][:2] == ["a", "1"]
        watch.kill()


# -- writing ----------------------------------------------------------------------------------------------------------


def test_apply_diff_and_their_words(plane: ControlPlane, namespace: str) -> None:
    first, second = deployment(), deployment(image="nginx:2")
    done = plane.run("diff", "-f", "-", input=first)
    assert done.returncode == 1 and "+  name: app\n" in done.stdout
    assert plane.kubectl("apply", "-f", "-", input=first) == "deployment.apps/app created\n"
    assert plane.kubectl("apply", "-f", "-", input=first) == "deployment.apps/app unchanged\n"
    assert plane.run("diff", "-f", "-", input=first).returncode == 0
    done = plane.run("diff", "-f", "-", input=second)
    assert done.returncode == 1
    assert "-      - image: nginx:1\n+      - image: nginx:2\n" in done.stdout
    assert plane.kubectl("apply", "--dry-run=server", "-f", "-", input=second) == (
        "deployment.apps/app configured (server dry run)\n"
    )
    assert plane.kubectl("apply", "--dry-run=client", "-f", "-", input=second) == (
        "deployment.apps/app configured (dry run)\n"
    )
    assert plane.get("deploy", "app")["spec"]["template"]["spec"]["containers"][0]["image"] == "nginx:1"
    assert plane.kubectl("apply", "-f", "-", input=second) == "deployment.apps/app configured\n"
    assert "image: nginx:2" in plane.kubectl("apply", "view-last-applied", "deploy/app")
    with_label = deployment(image="nginx:2", extra="x")
    plane.kubectl("apply", "-f", "-", input=with_label)
    plane.kubectl("apply", "-f", "-", input=second)
    assert "extra" not in plane.get("deploy", "app")["metadata"]["labels"]
    items = [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": n, "labels": {"s": "p"}}} for n in "ab"]
    plane.kubectl("apply", "-f", "-", input=items)
    pruned = plane.kubectl(
        "apply", "--prune", "-l", "s=p", "--prune-allowlist=core/v1/ConfigMap", "-f", "-", input=items[:1]
    )
    assert pruned == "configmap/a unchanged\nconfigmap/b pruned\n"


def test_server_side_apply_and_conflicts(plane: ControlPlane, namespace: str) -> None:
    mine, theirs = deployment(), deployment(image="nginx:3")
    assert plane.kubectl("apply", "--server-side", "-f", "-", input=mine) == (
        "deployment.apps/app serverside-applied\n"
    )
    refused = plane.refused("apply", "--server-side", "--field-manager=other", "-f", "-", input=theirs)
    assert refused.startswith(
        'error: Apply failed with 1 conflict: conflict with "kubectl": .spec.template.spec.containers[name="c"].image\n'
        "Please review the fields above--they currently have other managers."
    )
    plane.kubectl("apply", "--server-side", "--field-manager=other", "--force-conflicts", "-f", "-", input=theirs)
    managers = {
        (m["manager"], m["operation"])
        for m in json.loads(plane.kubectl("get", "deploy", "app", "-o", "json", "--show-managed-fields"))["metadata"][
            "managedFields"
        ]
    }
    assert {("kubectl", "Apply"), ("other", "Apply")} <= managers
    done = plane.run("diff", "--server-side", "--force-conflicts", "-f", "-", input=mine)
    assert done.returncode == 1 and "-      - image: nginx:3\n+      - image: nginx:1\n" in done.stdout


def test_what_validation_says(plane: ControlPlane, namespace: str) -> None:
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "x"},
        "spec": {"containers": [{"name": "a", "image": "i", "foo": 1}]},
    }
    assert plane.refused("create", "-f", "-", input=pod) == (
        'Error from server (BadRequest): error when creating "STDIN": Pod in version "v1" cannot be handled as a Pod: '
        'strict decoding error: unknown field "spec.containers[0].foo"\n'
    )
    warned = plane.run("create", "--validate=warn", "--dry-run=server", "-f", "-", input=pod)
    assert 'Warning: unknown field "spec.containers[0].foo"' in warned.stderr
    pod["spec"] = {"containers": [{"name": "A", "image": ""}]}
    assert plane.refused("create", "-f", "-", input=pod) == (
        'The Pod "x" is invalid: \n'
        '* spec.containers[0].name: Invalid value: "A": a lowercase RFC 1123 label must consist of lower case '
        "alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or "
        "'123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')\n"
        "* spec.containers[0].image: Required value\n"
    )
    plane.kubectl("create", "-f", "-", input=deployment())
    refused = plane.refused("patch", "deploy", "app", "-p", '{"spec":{"selector":{"matchLabels":{"b":"c"}}}}')
    assert "spec.selector: Invalid value:" in refused and refused.rstrip().endswith("field is immutable")


def test_replace_patch_and_edit(plane: ControlPlane, namespace: str) -> None:
    plane.kubectl("create", "-f", "-", input=deployment())
    assert plane.kubectl("replace", "-f", "-", input=deployment(image="nginx:2")) == "deployment.apps/app replaced\n"
    stale = dict(plane.get("deploy", "app"))
    for patch, expected in (
        (("-p", '{"spec":{"replicas":2}}'), "patched"),
        (("--type=json", "-p", '[{"op":"replace","path":"/spec/replicas","value":3}]'), "patched"),
        (("--type=merge", "-p", '{"spec":{"replicas":3}}'), "patched (no change)"),
    ):
        assert plane.kubectl("patch", "deploy", "app", *patch) == f"deployment.apps/app {expected}\n"
    assert plane.kubectl(
        "patch", "deploy", "app", "--subresource=scale", "--type=merge", "-p", '{"spec":{"replicas":1}}'
    ) == ("scale.autoscaling/app patched\n")
    stale["spec"]["replicas"] = 7
    assert plane.refused("replace", "-f", "-", input=stale) == (
        'Error from server (Conflict): error when replacing "STDIN": Operation cannot be fulfilled on deployments.apps '
        '"app": the object has been modified; please apply your changes to the latest version and try again\n'
    )
    assert (
        plane.kubectl("edit", "deploy", "app", KUBE_EDITOR="sed -i s/nginx:2/nginx:4/")
        == "deployment.apps/app edited\n"
    )
    assert plane.run("edit", "deploy", "app", KUBE_EDITOR="true").stderr == "Edit cancelled, no changes made.\n"
    uid = plane.get("deploy", "app")["metadata"]["uid"]
    assert plane.kubectl("replace", "--force", "-f", "-", input=deployment()) == (
        'deployment.apps "app" deleted\ndeployment.apps/app replaced\n'
    )
    assert plane.get("deploy", "app")["metadata"]["uid"] != uid


def test_labels_annotations_and_set(plane: ControlPlane, namespace: str) -> None:
    plane.kubectl("create", "-f", "-", input=deployment())
    plane.kubectl("create", "service", "clusterip", "s", "--tcp=80")
    plane.kubectl("create", "serviceaccount", "robot")
    plane.kubectl("create", "role", "r", "--verb=get", "--resource=pods")
    plane.kubectl("create", "rolebinding", "rb", "--role=r", "--user=bob")
    for words, expected in (
        ("label deploy app tier=web", "deployment.apps/app labeled"),
        ("label deploy app tier=web", "deployment.apps/app not labeled"),
        ("label deploy app tier=db --overwrite", "deployment.apps/app labeled"),
        ("label deploy app tier-", "deployment.apps/app unlabeled"),
        ("annotate deploy app note=hi", "deployment.apps/app annotated"),
        ("set image deploy/app c=nginx:5", "deployment.apps/app image updated"),
        ("set env deploy/app A=1", "deployment.apps/app env updated"),
        ("set resources deploy/app --limits=cpu=200m", "deployment.apps/app resource requirements updated"),
        ("set serviceaccount deploy/app robot", "deployment.apps/app serviceaccount updated"),
        ("set selector svc s a=b", "service/s selector updated"),
        ("set subject rolebinding rb --user=x", "rolebinding.rbac.authorization.k8s.io/rb subjects updated"),
    ):
        assert plane.kubectl(*words.split()) == expected + "\n"
    spec = plane.get("deploy", "app")["spec"]["template"]["spec"]
    assert spec["serviceAccountName"] == "robot"
    assert spec["containers"][0]["env"] == [{"name": "A", "value": "1"}]
    assert spec["containers"][0]["resources"] == {"limits": {"cpu": "200m"}}
    assert plane.kubectl("set", "env", "deploy/app", "--list") == "# Deployment app, container c\nA=1\n"
    assert plane.refused("label", "deploy", "app", "app=x") == (
        "error: 'app' already has a value (app), and --overwrite is false\n"
    )


def test_scale_autoscale_and_rollout(plane: ControlPlane, namespace: str) -> None:
    plane.kubectl("create", "-f", "-", input=deployment())
    assert plane.kubectl("scale", "deploy", "app", "--replicas=2") == "deployment.apps/app scaled\n"
    assert plane.refused("scale", "deploy", "app", "--current-replicas=9", "--replicas=1") == (
        "error: Expected replicas to be 9, was 2\n"
    )
    assert plane.kubectl("autoscale", "deploy", "app", "--min=1", "--max=3", "--cpu-percent=80") == (
        "horizontalpodautoscaler.autoscaling/app autoscaled\n"
    )
    assert "cpu: <unknown>/80%" in plane.kubectl("get", "hpa")
    assert "resource cpu on pods  (as a percentage of request):  <unknown> / 80%" in plane.kubectl(
        "describe", "hpa", "app"
    )
    plane.kubectl("delete", "hpa", "app")
    eventually(lambda: plane.get("deploy", "app")["status"].get("updatedReplicas") == 2)
    plane.kubectl("set", "image", "deploy/app", "c=nginx:2")
    history = eventually(lambda: _with(plane.kubectl("rollout", "history", "deploy", "app"), "\n2 "))
    assert rows(history) == [["deployment.apps/app"], ["REVISION", "CHANGE-CAUSE"], ["1", "<none>"], ["2", "<none>"]]
    assert "Image:\tnginx:2" in plane.kubectl("rollout", "history", "deploy", "app", "--revision=2")
    done = plane.run("rollout", "status", "deploy", "app", "--timeout=1s")
    assert done.stdout.startswith('Waiting for deployment "app" rollout to finish: ')
    assert "error: timed out waiting for the condition" in done.stderr
    assert plane.kubectl("rollout", "undo", "deploy", "app") == "deployment.apps/app rolled back\n"
    assert plane.get("deploy", "app")["spec"]["template"]["spec"]["containers"][0]["image"] == "nginx:1"
    assert plane.kubectl("rollout", "pause", "deploy", "app") == "deployment.apps/app paused\n"
    assert plane.refused("rollout", "restart", "deploy", "app").endswith(
        "can't restart paused deployment (run rollout resume first)\n"
    )
    assert plane.kubectl("rollout", "resume", "deploy", "app") == "deployment.apps/app resumed\n"
    assert plane.kubectl("rollout", "restart", "deploy", "app") == "deployment.apps/app restarted\n"


def test_expose_run_and_wait(plane: ControlPlane, namespace: str) -> None:
    plane.kubectl("create", "-f", "-", input=deployment())
    assert plane.kubectl("expose", "deploy", "app", "--port=80", "--target-port=8080") == "service/app exposed\n"
    assert plane.get("service", "app")["spec"]["selector"] == {"app": "app"}
    assert plane.kubectl("run", "one", "--image=nginx", "--labels=x=y") == "pod/one created\n"
    assert plane.kubectl("wait", "--for=jsonpath={.status.phase}=Pending", "pod/one") == "pod/one condition met\n"
    assert plane.refused("wait", "--for=condition=Ready", "pod/one", "--timeout=1s") == (
        "error: timed out waiting for the condition on pods/one\n"
    )
    plane.pod_runs(namespace, "one")
    assert plane.kubectl("wait", "--for=condition=Ready", "pod/one") == "pod/one condition met\n"
    assert rows(plane.kubectl("get", "pod", "one"))[1][:4] == ["one", "1/1", "Running", "0"]
    forced = plane.run("delete", "pod", "one", "--force", "--grace-period=0", "--wait=false")
    assert forced.stdout == 'pod "one" force deleted\n' and forced.stderr.startswith("Warning: Immediate deletion")
    assert plane.kubectl("wait", "--for=delete", "pod/one", "--timeout=5s") == ""
    assert "name: two" in plane.kubectl("run", "two", "--image=nginx", "--dry-run=client", "-o", "yaml")
    assert plane.kubectl("run", "two", "--image=nginx", "--dry-run=server") == "pod/two created (server dry run)\n"
    assert plane.get("pods", "-l", "run=two") == []


def test_debug_of_pods_and_nodes(plane: ControlPlane, namespace: str) -> None:
    """What kubectl asks for in each profile is what the server makes of it; nothing has to run for that."""
    plane.kubectl("run", "one", "--image=nginx", "--labels=x=y")
    plane.kubectl("debug", "one", "--image=tools", "-c", "look", "--profile=restricted", "--", "sleep", "1")
    (ephemeral,) = plane.get("pod", "one")["spec"]["ephemeralContainers"]
    assert (ephemeral["name"], ephemeral["command"]) == ("look", ["sleep", "1"])
    assert ephemeral["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    refused = plane.refused("debug", "one", "--image=tools", "-c", "more", "--target=nope", "--profile=general")
    assert refused.splitlines()[-1] == (
        'The Pod "one" is invalid: spec.ephemeralContainers[1].targetContainerName: Not found: "nope"'
    )
    assert plane.refused("debug", "one", "--image=tools", "-c", "one", "--profile=general") == (
        'The Pod "one" is invalid: spec.ephemeralContainers[1].name: Duplicate value: "one"\n'
    )
    plane.kubectl("debug", "one", "--copy-to=copy", "--image=tools", "-c", "new", "--profile=general")
    copy = plane.get("pod", "copy")
    assert copy["spec"]["shareProcessNamespace"] is True
    assert [container["name"] for container in copy["spec"]["containers"]] == ["one", "new"]
    assert "ephemeralContainers" not in copy["spec"] and "labels" not in copy["metadata"]
    plane.node("worker")
    try:
        plane.kubectl("debug", "node/worker", "--image=tools", "--profile=sysadmin")
        on_node = next(pod for pod in plane.get("pods") if pod["metadata"]["name"].startswith("node-debugger-worker-"))
        assert on_node["spec"]["nodeName"] == "worker" and on_node["spec"]["hostPID"] is True
        assert {"operator": "Exists"} in on_node["spec"]["tolerations"]
        assert on_node["spec"]["volumes"][0]["hostPath"] == {"path": "/", "type": ""}
    finally:
        plane.kubectl("delete", "pods", "--all", "--force")
        plane.kubectl("delete", "node", "worker")


def test_apply_prunes_and_keeps_what_was_applied(plane: ControlPlane, namespace: str) -> None:
    def config(name: str) -> Any:
        return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": {"set": "one"}}}

    plane.kubectl("apply", "-f", "-", input=[config("first"), config("second")])
    words = ["apply", "-f", "-", "--prune", "-l", "set=one", "--prune-allowlist=core/v1/ConfigMap"]
    assert plane.kubectl(*words, input=[config("first")]) == "configmap/first unchanged\nconfigmap/second pruned\n"
    assert "name: first" in plane.kubectl("apply", "view-last-applied", "configmap/first")
    plane.kubectl("create", "configmap", "bare")
    plane.kubectl("apply", "set-last-applied", "-f", "-", "--create-annotation", input=config("bare"))
    assert "set: one" in plane.kubectl("apply", "view-last-applied", "configmap", "bare")


def test_delete_with_every_cascade(plane: ControlPlane, namespace: str) -> None:
    for name in ("back", "fore", "orphan"):
        plane.kubectl("create", "-f", "-", input=deployment(name))
    eventually(lambda: len(plane.get("pods")) == 3)
    assert plane.kubectl("delete", "deploy", "back") == 'deployment.apps "back" deleted\n'
    assert plane.kubectl("delete", "deploy", "fore", "--cascade=foreground") == 'deployment.apps "fore" deleted\n'
    assert plane.get("rs,pods", "-l", "app=fore") == []
    assert plane.kubectl("delete", "deploy", "orphan", "--cascade=orphan") == 'deployment.apps "orphan" deleted\n'
    eventually(lambda: plane.get("rs,pods", "-l", "app=back") == [])
    (replica_set,) = plane.get("rs", "-l", "app=orphan")
    assert "ownerReferences" not in replica_set["metadata"]
    assert plane.kubectl("delete", "rs", "-l", "app=orphan", "--now").startswith('replicaset.apps "orphan-')
    plane.kubectl("create", "configmap", "a")
    plane.kubectl("create", "configmap", "b")
    assert plane.kubectl("delete", "configmap", "a", "b", "--dry-run=server") == (
        'configmap "a" deleted (server dry run)\nconfigmap "b" deleted (server dry run)\n'
    )
    assert plane.kubectl("delete", "configmap", "--all").splitlines()[:2] == [
        'configmap "a" deleted',
        'configmap "b" deleted',
    ]
    assert plane.refused("delete", "configmap", "a") == 'Error from server (NotFound): configmaps "a" not found\n'


def test_a_namespace_goes_with_all_that_is_in_it(plane: ControlPlane) -> None:
    plane.kubectl("create", "namespace", "doomed")
    plane.kubectl("create", "configmap", "a", "-n", "doomed")
    plane.kubectl("create", "-n", "doomed", "-f", "-", input=deployment())
    assert plane.kubectl("delete", "namespace", "doomed") == 'namespace "doomed" deleted\n'
    assert plane.refused("get", "namespace", "doomed") == (
        'Error from server (NotFound): namespaces "doomed" not found\n'
    )
    assert plane.kubectl("get", "all,configmap", "-n", "doomed") == ""


# -- who may what -----------------------------------------------------------------------------------------------------


def test_auth_can_i_and_whoami(plane: ControlPlane, namespace: str) -> None:
    plane.kubectl("create", "role", "reader", "--verb=get,list", "--resource=pods")
    plane.kubectl("create", "rolebinding", "rb", "--role=reader", "--user=bob")
    assert plane.kubectl("auth", "can-i", "create", "pods") == "yes\n"
    eventually(lambda: plane.run("auth", "can-i", "list", "pods", "--as=bob").stdout == "yes\n")
    done = plane.run("auth", "can-i", "delete", "pods", "--as=bob")
    assert (done.returncode, done.stdout) == (1, "no\n")
    listed = plane.kubectl("auth", "can-i", "--list", "--as=bob")
    assert rows(listed)[0] == ["Resources", "Non-Resource URLs", "Resource Names", "Verbs"]
    assert ["pods", "[]", "[]", "[get list]"] in rows(listed)
    assert ["selfsubjectreviews.authentication.k8s.io", "[]", "[]", "[create]"] in rows(listed)
    who = dict(row[:2] for row in rows(plane.kubectl("auth", "whoami")))
    assert who["Username"] == "kubernetes-admin" and who["Groups"] == "[system:masters system:authenticated]"
    assert plane.refused("delete", "pod", "x", "--as=bob") == (
        'Error from server (Forbidden): pods "x" is forbidden: User "bob" cannot delete resource "pods" in API group '
        f'"" in the namespace "{namespace}"\n'
    )
    as_alice = json.loads(plane.kubectl("auth", "whoami", "--as=alice", "--as-group=g", "--as-uid=7", "-o", "json"))
    assert as_alice["status"]["userInfo"] == {"username": "alice", "uid": "7", "groups": ["g", "system:authenticated"]}
    bob = plane.write_kubeconfig("bob", token="bob-token")
    assert dict(row[:2] for row in rows(plane.kubectl("auth", "whoami", kubeconfig=bob)))["Username"] == "bob"
    assert plane.refused("get", "pods", "--as=alice", kubeconfig=bob) == (
        'Error from server (Forbidden): users "alice" is forbidden: User "bob" cannot impersonate resource "users" in '
        'API group "" at the cluster scope\n'
    )
    stranger = plane.write_kubeconfig("stranger", token="wrong")
    assert "You must be logged in to the server" in plane.refused("get", "pods", kubeconfig=stranger)


def test_auth_reconcile(plane: ControlPlane, namespace: str) -> None:
    role: dict[str, Any] = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": {"name": "r", "namespace": namespace},
        "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}],
    }
    assert plane.kubectl("auth", "reconcile", "-f", "-", input=role).startswith(
        "role.rbac.authorization.k8s.io/r reconciled\n"
    )
    role["rules"][0]["verbs"] = ["get", "list"]
    done = plane.run("auth", "reconcile", "-f", "-", input=role)
    assert done.stderr.startswith("\treconciliation required update\n\tmissing rules added:\n")
    assert plane.get("role", "r")["rules"] == [
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]},
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]},
    ]


def test_certificates_are_approved_and_signed(plane: ControlPlane, tmp_path: Path) -> None:
    key, pem = key_and_request("dev", "carol")
    for name in ("carol", "mallory"):
        plane.kubectl(
            "create", "-f", "-",
            input={
                "apiVersion": "certificates.k8s.io/v1",
                "kind": "CertificateSigningRequest",
                "metadata": {"name": name},
                "spec": {
                    "request": base64.b64encode(pem).decode(),
                    "signerName": "kubernetes.io/kube-apiserver-client",
                    "usages": ["client auth"],
                    "expirationSeconds": 3600,
                },
            },
        )  # fmt: skip
    assert rows(plane.kubectl("get", "csr", "carol"))[1][2:] == [
        "kubernetes.io/kube-apiserver-client",
        "kubernetes-admin",
        "60m",
        "Pending",
    ]
    assert plane.kubectl("certificate", "approve", "carol") == (
        "certificatesigningrequest.certificates.k8s.io/carol approved\n"
    )
    assert plane.kubectl("certificate", "deny", "mallory") == (
        "certificatesigningrequest.certificates.k8s.io/mallory denied\n"
    )
    eventually(lambda: rows(plane.kubectl("get", "csr", "carol"))[1][-1] == "Approved,Issued")
    assert rows(plane.kubectl("get", "csr", "mallory"))[1][-1] == "Denied"
    described = plane.kubectl("describe", "csr", "carol")
    assert "Common Name:    carol" in described and "Organization:   dev" in described
    certificate = base64.b64decode(plane.get("csr", "carol")["status"]["certificate"])
    (tmp_path / "carol.crt").write_bytes(certificate)
    (tmp_path / "carol.key").write_bytes(key)
    carol = plane.write_kubeconfig(
        "carol", **{"client-certificate": str(tmp_path / "carol.crt"), "client-key": str(tmp_path / "carol.key")}
    )
    who = dict(row[:2] for row in rows(plane.kubectl("auth", "whoami", kubeconfig=carol)))
    assert (who["Username"], who["Groups"]) == ("carol", "[dev system:authenticated]")


def test_tokens_of_service_accounts(plane: ControlPlane, namespace: str) -> None:
    plane.kubectl("create", "serviceaccount", "robot")
    token = plane.kubectl("create", "token", "robot", "--duration=1h").strip()
    robot = plane.write_kubeconfig("robot", token=token)
    who = dict(row[:2] for row in rows(plane.kubectl("auth", "whoami", kubeconfig=robot)))
    assert who["Username"] == f"system:serviceaccount:{namespace}:robot"
    assert who["Groups"] == f"[system:serviceaccounts system:serviceaccounts:{namespace} system:authenticated]"
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token}}
    answered = json.loads(plane.kubectl("create", "-f", "-", "-o", "json", input=review))
    assert answered["status"]["authenticated"] is True
    claims = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
    discovered = json.loads(plane.kubectl("get", "--raw", "/.well-known/openid-configuration"))
    assert discovered["issuer"] == claims["iss"]
    keys = json.loads(plane.kubectl("get", "--raw", "/openid/v1/jwks"))["keys"]
    header = json.loads(base64.urlsafe_b64decode(token.split(".")[0] + "=="))
    assert header["kid"] in [key["kid"] for key in keys]
    plane.kubectl("delete", "serviceaccount", "robot")
    eventually(lambda: "You must be logged in" in plane.run("get", "pods", kubeconfig=robot).stderr)
    assert plane.refused("create", "token", "robot") == (
        'error: failed to create token: serviceaccounts "robot" not found\n'
    )


def test_pod_security_speaks_upstreams_words(plane: ControlPlane, namespace: str) -> None:
    plane.kubectl("label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted")
    assert plane.refused("run", "bad", "--image=nginx") == (
        'Error from server (Forbidden): pods "bad" is forbidden: violates PodSecurity "restricted:latest": '
        'allowPrivilegeEscalation != false (container "bad" must set securityContext.allowPrivilegeEscalation=false), '
        'unrestricted capabilities (container "bad" must set securityContext.capabilities.drop=["ALL"]), '
        'runAsNonRoot != true (pod or container "bad" must set securityContext.runAsNonRoot=true), seccompProfile '
        '(pod or container "bad" must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost")\n'
    )
    warned = plane.run("create", "-f", "-", input=deployment())
    assert warned.returncode == 0
    plane.kubectl("label", "namespace", namespace, "pod-security.kubernetes.io/warn=restricted")
    warned = plane.run("create", "-f", "-", input=deployment("other"))
    assert warned.stderr.startswith('Warning: would violate PodSecurity "restricted:latest": ')


# -- nodes ------------------------------------------------------------------------------------------------------------


def test_nodes_are_tainted_cordoned_and_drained(plane: ControlPlane, namespace: str) -> None:
    plane.node("n1", zone="a")
    try:
        eventually(lambda: not plane.get("node", "n1")["spec"].get("taints"))
        assert rows(plane.kubectl("get", "node", "n1"))[1][:3] == ["n1", "Ready", "<none>"]
        described = plane.kubectl("describe", "node", "n1")
        assert "PodCIDR:                      10.244." in described and "KubeletReady" in described
        plane.kubectl("create", "-f", "-", input=deployment())
        eventually(lambda: plane.get("pods")[0]["spec"].get("nodeName") == "n1")
        for words, expected in (
            ("taint nodes n1 a=b:NoSchedule", "node/n1 tainted"),
            ("taint nodes n1 a:NoSchedule-", "node/n1 untainted"),
            ("cordon n1", "node/n1 cordoned"),
            ("cordon n1", "node/n1 already cordoned"),
            ("uncordon n1", "node/n1 uncordoned"),
        ):
            assert plane.kubectl(*words.split()) == expected + "\n"
        pod = plane.get("pods")[0]["metadata"]["name"]
        drained = plane.run("drain", "n1", "--ignore-daemonsets", "--grace-period=0", "--force", "--timeout=10s")
        assert f"evicting pod {namespace}/{pod}" in drained.stdout + drained.stderr
        assert plane.get("node", "n1")["spec"]["unschedulable"] is True
    finally:
        plane.kubectl("delete", "node", "n1")


# -- discovery and the rest -------------------------------------------------------------------------------------------


def test_discovery_and_documentation(plane: ControlPlane) -> None:
    wide = plane.kubectl("api-resources", "--api-group=apps", "-o", "wide")
    assert rows(wide)[0] == ["NAME", "SHORTNAMES", "APIVERSION", "NAMESPACED", "KIND", "VERBS", "CATEGORIES"]
    assert [
        "deployments", "deploy", "apps/v1", "true", "Deployment",
        "create,delete,deletecollection,get,list,patch,update,watch", "all",
    ] in rows(wide)  # fmt: skip
    assert {"nodes", "namespaces"} <= set(plane.kubectl("api-resources", "--namespaced=false", "-o", "name").split())
    assert {"v1", "apps/v1", "batch/v1", "rbac.authorization.k8s.io/v1"} <= set(plane.kubectl("api-versions").split())
    assert "Server Version: v1.36" in plane.kubectl("version")
    explained = plane.kubectl("explain", "pod.spec.containers.image")
    assert explained.startswith("KIND:       Pod\nVERSION:    v1\n\nFIELD: image <string>\n")
    recursive = plane.kubectl("explain", "deployment", "--recursive")
    assert "GROUP:      apps\n" in recursive and "      spec\t<PodSpec>\n" in recursive
    assert "containers\t<[]Container> -required-\n" in recursive
    old = plane.kubectl("explain", "deploy.spec.strategy", "--output=plaintext-openapiv2")
    assert "RESOURCE: strategy <Object>\n" in old and "   rollingUpdate\t<Object>\n" in old


def test_events(plane: ControlPlane, namespace: str) -> None:
    plane.kubectl("create", "-f", "-", input=deployment())
    eventually(lambda: "ScalingReplicaSet" in plane.kubectl("events"))
    shown = rows(plane.kubectl("events", "--for", "deployment/app"))
    assert shown[0] == ["LAST SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"]
    assert shown[1][1:4] == ["Normal", "ScalingReplicaSet", "Deployment/app"]
    assert re.fullmatch(r"Scaled up replica set app-\w+ from 0 to 1", shown[1][4])
    assert rows(plane.kubectl("get", "events"))[0] == shown[0]
    assert all(row[1] == "Warning" for row in rows(plane.kubectl("events", "--types=Warning"))[1:])


def test_top_says_clearly_that_there_are_no_metrics(plane: ControlPlane) -> None:
    assert plane.refused("top", "nodes") == "error: Metrics API not available\n"
    assert plane.refused("top", "pods") == "error: Metrics API not available\n"


def test_cluster_info_and_its_dump(plane: ControlPlane, namespace: str, tmp_path: Path) -> None:
    plain = re.sub(r"\x1b\[[0-9;]*m", "", plane.kubectl("cluster-info"))
    assert plain.startswith(f"Kubernetes control plane is running at {plane.url}\n")
    plane.kubectl("cluster-info", "dump", f"--output-directory={tmp_path}", "--namespaces", namespace)
    assert json.loads((tmp_path / "nodes.json").read_text())["kind"] == "NodeList"
    assert {path.name for path in (tmp_path / namespace).iterdir()} >= {"pods.json", "events.json", "services.json"}
    assert rows(plane.kubectl("get", "componentstatuses"))[0] == ["NAME", "STATUS", "MESSAGE", "ERROR"]


def test_kustomize_and_config(plane: ControlPlane, namespace: str, tmp_path: Path) -> None:
    generator = "namePrefix: my-\nconfigMapGenerator: [{name: g, literals: [a=b]}]\n"
    (tmp_path / "kustomization.yaml").write_text(generator)
    assert "name: my-g-4h2mbtbbt6" in plane.kubectl("kustomize", str(tmp_path))
    assert plane.kubectl("apply", "-k", str(tmp_path)) == "configmap/my-g-4h2mbtbbt6 created\n"
    assert plane.kubectl("delete", "-k", str(tmp_path)) == 'configmap "my-g-4h2mbtbbt6" deleted\n'
    assert rows(plane.kubectl("config", "get-contexts"))[1] == ["*", "test", "test", "admin", namespace]


def test_proxy(plane: ControlPlane) -> None:
    port = free_port()
    environment = dict(os.environ, KUBECONFIG=str(plane.kubeconfig))
    command = ["kubectl", "proxy", f"--port={port}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as proxy:
        assert proxy.stdout is not None
        assert proxy.stdout.readline() == f"Starting to serve on 127.0.0.1:{port}\n"
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/namespaces/default", timeout=10) as answer:
            assert json.loads(answer.read())["metadata"]["name"] == "default"
        proxy.kill()


def test_health_shows_its_checks(plane: ControlPlane) -> None:
    assert plane.kubectl("get", "--raw", "/readyz") == "ok"
    verbose = plane.kubectl("get", "--raw", "/readyz?verbose")
    assert "[+]etcd ok\n" in verbose and verbose.endswith("readyz check passed\n")
    assert plane.kubectl("get", "--raw", "/livez/ping") == "ok"


def test_quota_is_counted_and_given_back(plane: ControlPlane, namespace: str) -> None:
    plane.kubectl("create", "quota", "q", "--hard=configmaps=3,count/secrets=1")
    eventually(lambda: plane.get("quota", "q")["status"]["used"]["configmaps"] == "1")
    plane.kubectl("create", "configmap", "a")
    plane.kubectl("create", "configmap", "b")
    assert plane.refused("create", "configmap", "c") == (
        'error: failed to create configmap: configmaps "c" is forbidden: exceeded quota: q, requested: configmaps=1, '
        "used: configmaps=3, limited: configmaps=3\n"
    )
    plane.kubectl("delete", "configmap", "a")
    eventually(lambda: plane.run("create", "configmap", "c").returncode == 0)
    assert plane.get("quota", "q")["status"]["hard"] == {"configmaps": "3", "count/secrets": "1"}


def test_a_node_joins_with_a_bootstrap_token(plane: ControlPlane, tmp_path: Path) -> None:
    """What `kubeadm join` and our own join do: a request as the token's user, approved and signed by the cluster."""
    expires = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 600))
    plane.kubectl(
        "create", "-f", "-",
        input=[
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "type": "bootstrap.kubernetes.io/token",
                "metadata": {"name": "bootstrap-token-abcdef", "namespace": "kube-system"},
                "stringData": {
                    "token-id": "abcdef",
                    "token-secret": "0123456789abcdef",
                    "expiration": expires,
                    "usage-bootstrap-authentication": "true",
                    "usage-bootstrap-signing": "true",
                    "auth-extra-groups": "system:bootstrappers:kubeadm:default-node-token",
                },
            },
            *[
                {
                    "apiVersion": "rbac.authorization.k8s.io/v1",
                    "kind": "ClusterRoleBinding",
                    "metadata": {"name": f"test:{role.rpartition(':')[2]}"},
                    "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
                    "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": group}],
                }
                for role, group in (
                    ("system:node-bootstrapper", "system:bootstrappers"),
                    ("system:certificates.k8s.io:certificatesigningrequests:nodeclient", "system:bootstrappers"),
                    ("system:certificates.k8s.io:certificatesigningrequests:selfnodeclient", "system:nodes"),
                )
            ],
        ],
    )  # fmt: skip
    joining = plane.write_kubeconfig("joining", token="abcdef.0123456789abcdef")
    who = eventually(lambda: dict(row[:2] for row in rows(plane.kubectl("auth", "whoami", kubeconfig=joining))))
    assert who["Username"] == "system:bootstrap:abcdef"
    assert "system:bootstrappers:kubeadm:default-node-token" in who["Groups"]
    assert "cannot list resource" in plane.refused("get", "nodes", kubeconfig=joining)

    key, pem = key_and_request("system:nodes", "system:node:joined")
    request = {
        "apiVersion": "certificates.k8s.io/v1",
        "kind": "CertificateSigningRequest",
        "metadata": {"name": "node-csr-joined"},
        "spec": {
            "request": base64.b64encode(pem).decode(),
            "signerName": "kubernetes.io/kube-apiserver-client-kubelet",
            "usages": ["digital signature", "client auth"],
        },
    }
    eventually(lambda: plane.run("create", "-f", "-", input=request, kubeconfig=joining).returncode == 0)
    eventually(lambda: plane.get("csr", "node-csr-joined")["status"].get("certificate"))
    (condition,) = plane.get("csr", "node-csr-joined")["status"]["conditions"]
    assert (condition["type"], condition["reason"]) == ("Approved", "AutoApproved")
    assert condition["message"] == "Auto approving kubelet client certificate after SubjectAccessReview."
    certificate, private = tmp_path / "node.crt", tmp_path / "node.key"
    certificate.write_bytes(base64.b64decode(plane.get("csr", "node-csr-joined")["status"]["certificate"]))
    private.write_bytes(key)
    node = plane.write_kubeconfig("node", **{"client-certificate": str(certificate), "client-key": str(private)})
    mine = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "joined"}}
    assert plane.kubectl("create", "-f", "-", input=mine, kubeconfig=node) == "node/joined created\n"
    mine["metadata"] = {"name": "another"}
    assert plane.refused("create", "-f", "-", input=mine, kubeconfig=node).endswith(
        'node "joined" is not allowed to modify node "another"\n'
    )
    plane.kubectl("delete", "node", "joined")
    plane.kubectl("delete", "secret", "bootstrap-token-abcdef", "-n", "kube-system")
    eventually(lambda: plane.run("auth", "whoami", kubeconfig=joining).returncode != 0)
