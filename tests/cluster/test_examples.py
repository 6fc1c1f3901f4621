"""Every manifest of `examples/` is taken by the API server, and does what its comments say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.harness import ROOT, Cluster, CommandFailed, Space, run, until
from tests.cluster.workloads import condition, live

EXAMPLES = ROOT / "examples"
MANIFESTS = sorted(EXAMPLES.rglob("*.yaml"))


def documents(file: Path) -> list[dict[str, Any]]:
    """Its objects, for a namespace of the test's own."""
    found = [d for d in yaml.safe_load_all(file.read_text()) if d]
    for document in found:
        document["metadata"].pop("namespace", None)
        if document["kind"] == "Pod":
            # A dry run leaves no class behind that the pod could name.
            document["spec"].pop("priorityClassName", None)
    return found


@pytest.mark.parametrize("file", MANIFESTS, ids=lambda f: str(f.relative_to(EXAMPLES)))
def test_the_server_takes_it(space: Space, file: Path) -> None:
    text = yaml.safe_dump_all(documents(file))
    said = space.kubectl("apply", "--dry-run=server", "--validate=strict", "-f", "-", stdin=text)
    assert said.count("(server dry run)") == len(documents(file))


def test_the_readme_links_every_example() -> None:
    readme = (ROOT / "README.md").read_text()
    links = [f"({file.relative_to(ROOT)})" for file in MANIFESTS]
    assert [link for link in links if link not in readme] == []


def a_kind_of_ones_own(space: Space) -> None:
    space.kubectl("wait", "--for=condition=Established", "crd/bakeries.example.org", "--timeout=60s")
    bakery = {"apiVersion": "example.org/v1", "kind": "Bakery", "metadata": {"name": "corner"}, "spec": {"ovens": 2}}
    space.apply(bakery)
    assert space.kubectl("get", "bk", "--no-headers").split()[:3] == ["corner", "2", "rye"]
    space.kubectl("scale", "bakery", "corner", "--replicas=3")
    with pytest.raises(CommandFailed, match="nobody takes an oven away"):
        space.kubectl("scale", "bakery", "corner", "--replicas=1")


def a_service_of_something_else(cluster: Cluster, space: Space) -> None:
    """The API server's machine, in this cluster's network."""
    here = {"endpoints": [{"addresses": [f"{cluster.subnet}.3"]}]}
    space.kubectl("patch", "endpointslice", "outside-1", "--type=merge", "-p", json.dumps(here))
    said = until(lambda: space.exec("hello", "curl", "-sk", "-m", "5", "https://outside/version"), "an answer", 60)
    assert json.loads(said)["major"] == "1"


def a_rule_for_new_pods(cluster: Cluster, space: Space) -> None:
    cluster.kubectl("label", "namespace", space.name, "images=tagged")

    def refused() -> bool:
        try:
            space.kubectl("run", "which", "--image=localhost:5000/pykube/toolbox", "--dry-run=server")
        except CommandFailed as failure:
            return "which version? localhost:5000/pykube/toolbox" in str(failure)
        return False

    until(refused, "the rule holds")
    space.kubectl("run", "which", "--image=localhost:5000/pykube/toolbox:latest", "--dry-run=server")


def test_they_work(cluster: Cluster, space: Space) -> None:
    kinds = EXAMPLES / "kinds"
    apart = {"quota-limits.yaml"}
    cluster.kubectl("apply", "-f", str(kinds / "quota-limits.yaml"))
    try:
        for file in sorted(kinds.glob("*.yaml")):
            if file.name not in apart:
                space.kubectl("apply", "-f", str(file))
        for workload in ("deployment/page", "deployment/busy", "statefulset/member", "daemonset/agent"):
            space.rolled_out(workload)
        space.wait_ready("hello", "configured", "writer", "important")
        space.kubectl("wait", "--for=condition=Complete", "job/count", "--timeout=60s")
        assert "hello from hello" in space.kubectl("logs", "hello")
        assert space.kubectl("logs", "configured").splitlines() == ["colour is green", "greeting = hello"]
        secret = space.exec("configured", "cat", "/etc/credentials/password")
        assert secret == "correct-horse-battery-staple"
        assert space.get("pvc", "by-hand")["spec"]["volumeName"] == "by-hand"
        assert space.exec("writer", "cat", "/one/log") == space.exec("writer", "cat", "/two/log")
        until(lambda: len(live(space, "app=replicas")) == len(live(space, "app=elder")) == 2, "two of each")
        assert "version one" in space.exec("hello", "wget", "-qO-", "http://page")
        assert space.exec("hello", "getent", "hosts", "member-0.members")
        assert len(space.exec("hello", "nslookup", f"page-headless.{space.name}.svc.cluster.local").split("Name:")) == 4
        until(lambda: space.get("service", "page-balanced")["status"]["loadBalancer"]["ingress"], "an address")
        ingress = until(lambda: space.get("ingress", "page")["status"]["loadBalancer"]["ingress"], "an address", 120)
        page = ["curl", "-fs", "--resolve", f"page.example.org:80:{ingress[0]['ip']}", "http://page.example.org/"]
        until(lambda: "version one" in run(page), "the ingress serves the page")
        until(lambda: space.get("pdb", "page")["status"]["disruptionsAllowed"] == 1, "one disruption")
        assert condition(space.get("hpa", "busy"), "AbleToScale")["status"] == "True"
        assert space.get("pod", "important")["spec"]["priority"] == 100000
        account = f"--as=system:serviceaccount:{space.name}:reader"
        assert space.kubectl("auth", "can-i", "list", "pods", account).strip() == "yes"
        a_kind_of_ones_own(space)
        a_service_of_something_else(cluster, space)
        space.kubectl("create", "job", "now", "--from=cronjob/report")
        space.kubectl("wait", "--for=condition=Complete", "job/now", "--timeout=60s")
        cluster.kubectl("-n", "bounded", "run", "x", "--image=localhost:5000/pykube/toolbox", "--", "sleep", "1")
        quota = until(lambda: cluster.get("-n", "bounded", "quota", "all")["status"]["used"]["pods"] == "1", "counted")
        assert quota
        a_rule_for_new_pods(cluster, space)
    finally:
        cluster.kubectl("delete", "namespace", "bounded", "--wait=false")
        for file in ("storage.yaml", "priority.yaml", "rbac.yaml", "custom-resource.yaml", "admission-policy.yaml"):
            space.kubectl("delete", "-f", str(kinds / file), "--wait=false", "--ignore-not-found")
