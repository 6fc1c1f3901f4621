"""The README's walk: apply the guestbook with either client, and reach it in every way a Service offers."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.cluster.harness import NODES, ROOT, Cluster, Space, http_get, pod, until

MANIFEST = str(ROOT / "examples/guestbook/guestbook.yaml")


@pytest.fixture(scope="module", params=["kubectl", "pykubectl"])
def guestbook(shared_turn: None, cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[Space]:
    """Applied by each client in turn, into a namespace of its own (the node port is free again in between)."""
    name = f"guestbook-{request.param}"
    cluster.kubectl("create", "namespace", name)
    space = Space(cluster, name)
    apply = space.kubectl if request.param == "kubectl" else space.pykubectl
    printed = apply("apply", "-f", MANIFEST)
    assert "deployment.apps/frontend created" in printed
    assert "service/frontend created" in printed
    space.rolled_out("deployment/redis")
    space.rolled_out("deployment/frontend")
    yield space
    cluster.kubectl("delete", "namespace", name, "--timeout=90s")


def answering_pod(page: str) -> str:
    found = re.search(r"frontend-[a-z0-9]+-[a-z0-9]+", page)
    assert found, page
    return found[0]


def test_every_nodes_port_answers_and_requests_spread_over_all_frontends(guestbook: Space) -> None:
    expected = {p["metadata"]["name"] for p in guestbook.pods("tier=web")}
    assert len(expected) == 3
    for node in NODES:
        url = f"http://{guestbook.cluster.node_ip(node)}:30080/"
        assert {answering_pod(http_get(url)) for _ in range(40)} == expected


def test_it_answers_by_cluster_ip_and_by_every_form_of_its_name(guestbook: Space) -> None:
    guestbook.apply(pod("client"))
    guestbook.wait_ready("client")
    ip = guestbook.get("service", "frontend")["spec"]["clusterIP"]
    names = ["frontend", f"frontend.{guestbook.name}", f"frontend.{guestbook.name}.svc.cluster.local"]
    for host in [ip, *names]:
        page = until(lambda host=host: guestbook.exec("client", "curl", "-sS", "-m", "5", f"http://{host}/"), host)
        assert answering_pod(page)


def test_the_frontends_are_spread_over_the_nodes(guestbook: Space) -> None:
    assert {p["spec"]["nodeName"] for p in guestbook.pods("tier=web")} == set(NODES)


def test_applying_again_changes_nothing(guestbook: Space) -> None:
    for apply in (guestbook.kubectl, guestbook.pykubectl):
        lines = apply("apply", "-f", MANIFEST).splitlines()
        assert len(lines) == 6
        assert all(line.endswith(" unchanged") for line in lines), lines
