"""Packets between pods, nodes, Services and the outside."""

from __future__ import annotations

import json

import pytest

from tests.cluster.harness import NODES, SERVE_NAME, CommandFailed, Space, pod, until


def on_each_node(space: Space) -> dict[str, str]:
    """A serving pod on every node; answers their addresses by name."""
    space.apply(*(pod(f"on-{n}", SERVE_NAME, labels={"app": "names"}, nodeName=n) for n in NODES))
    space.wait_ready(*(f"on-{n}" for n in NODES))
    return {p["metadata"]["name"]: p["status"]["podIP"] for p in space.pods("app=names")}


def test_pods_reach_pods_on_every_node_with_their_own_address(space: Space) -> None:
    addresses = on_each_node(space)
    for source in addresses:
        for target, ip in addresses.items():
            page = until(
                lambda ip=ip, source=source: space.exec(source, "curl", "-sS", "-m", "3", f"http://{ip}:8080/"),
                f"{source} reaches {target}",
            )
            assert page == f"{target}\n"
    listen = "socat TCP-LISTEN:9999,reuseaddr,fork SYSTEM:'echo seen $SOCAT_PEERADDR >&2'"
    space.apply(pod("ear", listen, nodeName="node1"))
    space.wait_ready("ear")
    ip = space.get("pod", "ear")["status"]["podIP"]
    until(lambda: space.exec("on-node3", "sh", "-c", f"nc {ip} 9999 </dev/null; echo asked"), "the listener listens")
    until(
        lambda: f"seen {addresses['on-node3']}" in space.kubectl("logs", "ear"),
        "the listener saw the pod's own address",
    )


def test_services_of_both_protocols_and_session_affinity(space: Space) -> None:
    on_each_node(space)
    space.apply(
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "names"},
            "spec": {"selector": {"app": "names"}, "ports": [{"port": 80, "targetPort": 8080}]},
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "sticky"},
            "spec": {
                "selector": {"app": "names"},
                "sessionAffinity": "ClientIP",
                "ports": [{"port": 80, "targetPort": 8080}],
            },
        },
    )
    space.apply(pod("client"))
    space.wait_ready("client")

    def ask(service: str, times: int) -> set[str]:
        loop = f"for i in $(seq {times}); do curl -sS -m 3 http://{service}/; done"
        return set(space.exec("client", "sh", "-c", loop).split())

    until(lambda: ask("names", 30) == {f"on-{n}" for n in NODES}, "requests spread over all")
    until(lambda: ask("sticky", 1), "the sticky service answers")
    assert len(ask("sticky", 20)) == 1


def test_unknown_cluster_addresses_are_refused_at_once(space: Space) -> None:
    space.apply(pod("client"))
    space.wait_ready("client")
    for address in ("10.96.250.250", "10.244.250.250"):
        with pytest.raises(CommandFailed) as failure:
            space.exec("client", "curl", "-sS", "-m", "3", f"http://{address}/")
        # curl's 7: could not connect; 28 would be a packet that vanished
        assert "code 7" in failure.value.stderr, failure.value.stderr


def test_a_service_without_endpoints_refuses(space: Space) -> None:
    space.kubectl("create", "service", "clusterip", "empty", "--tcp=80:80")
    space.apply(pod("client"))
    space.wait_ready("client")
    with pytest.raises(CommandFailed) as failure:
        space.exec("client", "curl", "-sS", "-m", "3", "http://empty/")
    assert "code 7" in failure.value.stderr


def test_dns(space: Space) -> None:
    space.apply(
        pod("db-0", SERVE_NAME, labels={"app": "db"}, hostname="db-0", subdomain="db"),
        pod("db-1", SERVE_NAME, labels={"app": "db"}, hostname="db-1", subdomain="db"),
        pod("client"),
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "db"},
            "spec": {
                "clusterIP": "None",
                "selector": {"app": "db"},
                "ports": [{"name": "sql", "port": 5432, "protocol": "TCP"}],
            },
        },
    )
    space.wait_ready("db-0", "db-1", "client")
    addresses = {p["metadata"]["name"]: p["status"]["podIP"] for p in space.pods("app=db")}

    def resolved(name: str) -> set[str]:
        return {line.split()[0] for line in space.exec("client", "getent", "ahostsv4", name).splitlines()}

    until(lambda: resolved("db") == set(addresses.values()), "the headless service names both pods")
    for name in ("db-0.db", f"db-0.db.{space.name}", f"db-0.db.{space.name}.svc.cluster.local"):
        assert resolved(name) == {addresses["db-0"]}
    assert resolved("kubernetes.default") == {"10.96.0.1"}
    assert "Address: 10.96.0.1" in space.exec("client", "nslookup", "kubernetes.default").splitlines()
    srv = space.exec("client", "nslookup", "-type=srv", f"_sql._tcp.db.{space.name}.svc.cluster.local")
    assert "db-0.db" in srv
    assert "5432" in srv
    conf = space.exec("client", "cat", "/etc/resolv.conf")
    assert "nameserver 10.96.0.10" in conf
    assert f"search {space.name}.svc.cluster.local svc.cluster.local cluster.local" in conf
    assert "ndots:5" in conf


def test_endpoints_follow_readiness(space: Space) -> None:
    probe = {"exec": {"command": ["test", "-e", "/tmp/ready"]}, "periodSeconds": 1, "failureThreshold": 1}
    space.apply(
        pod("one", labels={"app": "gate"}, container={"readinessProbe": probe}),
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "gate"},
            "spec": {"selector": {"app": "gate"}, "ports": [{"port": 80}]},
        },
    )

    def ready() -> list[bool]:
        slices = space.get("endpointslices", "-l", "kubernetes.io/service-name=gate")["items"]
        return [e["conditions"]["ready"] for s in slices for e in s.get("endpoints") or []]

    until(lambda: ready() == [False], "the endpoint is there and not ready")
    space.exec("one", "touch", "/tmp/ready")
    until(lambda: ready() == [True], "the endpoint is ready")
    endpoints = json.loads(space.kubectl("get", "endpoints", "gate", "-o", "json"))
    assert endpoints["subsets"][0]["addresses"][0]["targetRef"]["name"] == "one"
