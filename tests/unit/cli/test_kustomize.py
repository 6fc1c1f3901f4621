"""Kustomizations: what comes out, object by object, compared with kubectl's own kustomize where that is installed."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from cli.kustomize import build
from cli.kustomize.resource import KustomizeError
from cli.printers.yaml import to_yaml
from tests.unit.cli.conftest import FakeServer, Run

DEPLOYMENT = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      serviceAccountName: sa
      containers:
      - name: web
        image: example/web:1
        envFrom: [{configMapRef: {name: cfg}}, {secretRef: {name: sec}}]
        env: [{name: A, valueFrom: {configMapKeyRef: {name: plain, key: X}}}]
      - {name: side, image: "example/side:1"}
      initContainers: [{name: i, image: "example/web@sha256:123"}]
      volumes:
      - {name: v, configMap: {name: cfg}}
      - {name: p, projected: {sources: [{secret: {name: sec}}]}}
      - {name: pv, persistentVolumeClaim: {claimName: data}}
"""
MORE = """\
apiVersion: v1
kind: Namespace
metadata: {name: ns}
---
{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {selector: {app: web}, ports: [{port: 80}]}}
---
{apiVersion: v1, kind: ServiceAccount, metadata: {name: sa}}
---
{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: data}, spec: {accessModes: [ReadWriteOnce]}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: rb}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: r}
subjects: [{kind: ServiceAccount, name: sa}, {kind: ServiceAccount, name: default, namespace: zz}]
---
{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {name: r}, rules: []}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: ing}
spec: {tls: [{secretName: sec}], defaultBackend: {service: {name: web, port: {number: 80}}}}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: h}
spec: {maxReplicas: 3, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}}
---
{apiVersion: example.com/v1, kind: Widget, metadata: {name: w}, spec: {a: 1, list: [1, 2]}}
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: cj}
spec:
  schedule: "* * * * *"
  jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: c, image: "example/web:1"}]}}}}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: st}
spec:
  serviceName: web
  selector: {matchLabels: {app: st}}
  template: {metadata: {labels: {app: st}}, spec: {containers: [{name: c, image: x}]}}
  volumeClaimTemplates: [{metadata: {name: d}, spec: {}}]
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: np}
spec: {podSelector: {matchLabels: {app: web}}, ingress: [{from: [{podSelector: {matchLabels: {app: q}}}]}]}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: pdb}
spec: {minAvailable: 1, selector: {matchLabels: {app: web}}}
"""
BASE = """\
resources: [deployment.yaml, more.yaml]
namePrefix: a-
labels: [{pairs: {team: x}, includeSelectors: true}]
configMapGenerator:
- {name: cfg, literals: [a=1, b=two words], files: [f.txt, other=f.txt]}
- {name: plain, envs: [e.env], options: {disableNameSuffixHash: true, labels: {q: r}}}
secretGenerator: [{name: sec, literals: [p=s]}]
generatorOptions: {annotations: {gen: "yes"}}
images:
- {name: example/web, newTag: "9"}
- {name: example/side, newName: "reg:5000/side", digest: "sha256:abc"}
"""
OVERLAY = """\
resources: [../base]
components: [../component]
namespace: prod
nameSuffix: -v2
labels: [{pairs: {env: prod}}, {pairs: {tem: two}, includeTemplates: true}]
commonAnnotations: {note: hi}
replicas: [{name: web, count: 4}]
configMapGenerator: [{name: cfg, behavior: merge, literals: [c=3, a=9]}, {name: fresh, literals: [x=y]}]
patches:
- path: patch.yaml
- target: {kind: Service}
  patch: '[{"op": "replace", "path": "/spec/ports/0/port", "value": 8080}]'
- target: {kind: Deployment, labelSelector: app=web}
  patch: |
    apiVersion: apps/v1
    kind: Deployment
    metadata: {name: whatever}
    spec: {template: {spec: {containers: [{name: side, $patch: delete}]}}}
- patch: '{apiVersion: example.com/v1, kind: Widget, metadata: {name: w}, spec: {list: [3], b: 2}}'
- patch: '{$patch: delete, apiVersion: policy/v1, kind: PodDisruptionBudget, metadata: {name: pdb}}'
"""
PATCH = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  template:
    spec:
      containers:
      - name: web
        resources: {limits: {cpu: 1}}
        env: [{name: NEW, value: "1"}, {name: FROM, valueFrom: {configMapKeyRef: {name: fresh, key: x}}}]
"""
COMPONENT = """\
apiVersion: kustomize.config.k8s.io/v1alpha1
kind: Component
patches:
- target: {kind: CronJob}
  patch: '[{"op": "add", "path": "/spec/suspend", "value": true}]'
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in {
        "base/kustomization.yaml": BASE,
        "base/deployment.yaml": DEPLOYMENT,
        "base/more.yaml": MORE,
        "base/f.txt": "hello\n",
        "base/e.env": "X=1\n# no\nZ=2\n",
        "overlay/kustomization.yaml": OVERLAY,
        "overlay/patch.yaml": PATCH,
        "component/kustomization.yaml": COMPONENT,
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def built(folder: Path, name: str) -> dict[tuple[str, str], Any]:
    return {(obj["kind"], obj["metadata"]["name"]): obj for obj in build(folder / name, pytest.fail)}


def test_a_layer_over_a_base(folder: Path) -> None:
    objects = built(folder, "overlay")
    deployment = objects["Deployment", "a-web-v2"]
    spec = deployment["spec"]["template"]["spec"]
    config = next(name for kind, name in objects if kind == "ConfigMap" and name.startswith("a-cfg-v2-"))
    fresh = next(name for kind, name in objects if kind == "ConfigMap" and name.startswith("fresh-v2-"))
    secret = next(name for kind, name in objects if kind == "Secret")
    assert objects["ConfigMap", config]["data"] == {
        "a": "9",
        "b": "two words",
        "c": "3",
        "f.txt": "hello\n",
        "other": "hello\n",
    }
    assert deployment["metadata"]["namespace"] == "prod"
    assert deployment["metadata"]["labels"] == {"app": "web", "team": "x", "env": "prod", "tem": "two"}
    assert deployment["spec"]["selector"]["matchLabels"] == {"app": "web", "team": "x"}
    assert deployment["spec"]["template"]["metadata"]["labels"] == {"app": "web", "team": "x", "tem": "two"}
    assert deployment["spec"]["replicas"] == 4
    (container,) = spec["containers"]
    assert container["image"] == "example/web:9"
    assert container["envFrom"] == [{"configMapRef": {"name": config}}, {"secretRef": {"name": secret}}]
    assert [one["name"] for one in container["env"]] == ["NEW", "FROM", "A"]
    assert container["env"][1]["valueFrom"]["configMapKeyRef"]["name"] == fresh
    assert spec["volumes"][0]["configMap"]["name"] == config
    assert spec["volumes"][1]["projected"]["sources"][0]["secret"]["name"] == secret
    assert spec["volumes"][2]["persistentVolumeClaim"]["claimName"] == "a-data-v2"
    assert objects["Namespace", "prod"]["metadata"].get("namespace") is None
    assert objects["RoleBinding", "a-rb-v2"]["subjects"] == [
        {"kind": "ServiceAccount", "name": "a-sa-v2", "namespace": "prod"},
        {"kind": "ServiceAccount", "name": "default", "namespace": "prod"},
    ]
    assert objects["RoleBinding", "a-rb-v2"]["roleRef"]["name"] == "a-r-v2"
    assert objects["HorizontalPodAutoscaler", "a-h-v2"]["spec"]["scaleTargetRef"]["name"] == "a-web-v2"
    assert objects["Ingress", "a-ing-v2"]["spec"]["tls"] == [{"secretName": secret}]
    assert objects["Widget", "a-w-v2"]["spec"] == {"a": 1, "b": 2, "list": [3]}
    assert objects["Service", "a-web-v2"]["spec"]["ports"] == [{"port": 8080}]
    assert objects["CronJob", "a-cj-v2"]["spec"]["suspend"] is True
    assert not any(kind == "PodDisruptionBudget" for kind, _ in objects)


def test_the_hash_follows_the_content(folder: Path) -> None:
    before = {name for kind, name in built(folder, "base") if kind in ("ConfigMap", "Secret")}
    assert {"a-cfg-g698kfb8gc", "a-sec-7kh9gkfm48", "a-plain"} == before
    (folder / "base" / "f.txt").write_text("other\n")
    after = {name for kind, name in built(folder, "base") if kind in ("ConfigMap", "Secret")}
    assert after & before == {"a-sec-7kh9gkfm48", "a-plain"}


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="compares with the real kubectl")
@pytest.mark.parametrize("name", ["base", "overlay"])
def test_it_is_byte_for_byte_what_kubectl_builds(folder: Path, name: str) -> None:
    done = subprocess.run(["kubectl", "kustomize", str(folder / name)], capture_output=True, text=True, check=True)
    assert "---\n".join(to_yaml(obj) for obj in build(folder / name, pytest.fail)) == done.stdout


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("foo: bar", 'invalid Kustomization: json: unknown field "foo"'),
        ("helmCharts: [{name: x}]", "the field 'helmCharts' of"),
        ("resources: [gone.yaml]", "no such file or directory"),
        ("resources: [../base/more.yaml]", "is not in or below"),
        ("resources: ['https://example.com/x.yaml']", "'https://example.com/x.yaml' is remote"),
        (
            "configMapGenerator: [{name: a, files: [gone]}]",
            "loading KV pairs: file sources: [gone]: evalsymlink failure",
        ),
        ("configMapGenerator: [{name: a, behavior: merge}]", "does not exist; cannot merge or replace"),
        ("resources: [../base, ../base]", "may not add resource with an already registered id: "),
        ("resources: [../odd]", "cycle detected"),
        (
            "patches: [{patch: '{apiVersion: apps/v1, kind: Deployment, metadata: {name: nope}}'}]",
            'no resource matches strategic merge patch "Deployment.v1.apps/nope.[noNs]"',
        ),
    ],
)
def test_what_cannot_be_built_is_said(folder: Path, content: str, words: str) -> None:
    (folder / "odd").mkdir()
    (folder / "odd" / "kustomization.yaml").write_text(content)
    with pytest.raises(KustomizeError) as problem:
        build(folder / "odd", pytest.fail)
    assert words in str(problem.value)


def test_apply_and_get_with_k(run: Run, server: FakeServer, home: Path) -> None:
    (home / "kustomization.yaml").write_text("namePrefix: x-\nresources: [pod.yaml]\n")
    (home / "pod.yaml").write_text("{apiVersion: v1, kind: Pod, metadata: {name: a}, spec: {}}")
    server.on("POST /api/v1/namespaces/default/pods", lambda seen: (201, seen.json))
    assert run("apply", "-k", ".").out == "pod/x-a created\n"
    assert run("get", "-k", ".").err == 'Error from server (NotFound): pods "x-a" not found\n'
    assert run("apply", "-k", ".", "-f", "pod.yaml").err == "error: only one of -f or -k can be specified\n"
    shown = run("kustomize")
    assert (shown.code, shown.out) == (0, "apiVersion: v1\nkind: Pod\nmetadata:\n  name: x-a\nspec: {}\n")
    assert run("kustomize", "nope").err.startswith("error: must build at directory: not a valid directory: ")
