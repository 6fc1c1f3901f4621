"""Services of type LoadBalancer: an address of the pool that this machine, outside the cluster, can reach."""

from __future__ import annotations

import ipaddress
from typing import Any

from tests.cluster.harness import SERVE_NAME, Cluster, Space, http_get, until
from tests.cluster.workloads import names, reasons, template, workload

LABELS = {"app": "page"}


def balanced(name: str = "page", **spec: Any) -> dict[str, Any]:
    spec = {"type": "LoadBalancer", "selector": LABELS, "ports": [{"port": 80, "targetPort": 8080}], **spec}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}


def address(space: Space, name: str = "page") -> str:
    ingress = space.get("service", name)["status"].get("loadBalancer", {}).get("ingress", [])
    return str(ingress[0]["ip"]) if ingress else ""


def test_an_address_that_the_host_reaches(cluster: Cluster, space: Space) -> None:
    pod = template(LABELS, command=["sh", "-c", SERVE_NAME], readinessProbe={"tcpSocket": {"port": 8080}})
    space.apply(
        workload("Deployment", "page", pod, replicas=2), balanced(), balanced("local", externalTrafficPolicy="Local")
    )
    space.rolled_out("deployment/page")
    ip = until(lambda: address(space), "an address")
    assert ipaddress.ip_address(ip) in ipaddress.ip_network(f"{cluster.subnet}.192/26")
    local = until(lambda: address(space, "local"), "another address")
    assert local != ip
    pods = names(space.pods("app=page"))
    until(lambda: http_get(f"http://{ip}/").strip() in pods, "the host reaches the Service", timeout=15)
    until(lambda: http_get(f"http://{local}/").strip() in pods, "also one that keeps to its nodes", timeout=15)
    assert ip in space.kubectl("get", "service", "page")
    # From inside the cluster, by the same address.
    assert space.exec(next(iter(pods)), "wget", "-qO-", f"http://{ip}/").strip() in pods
    assert {"EnsuringLoadBalancer", "EnsuredLoadBalancer"} <= reasons(space, "page")
    # With the Service goes the address.
    space.kubectl("patch", "service", "page", "-p", '{"spec": {"type": "ClusterIP"}}')
    until(lambda: not address(space), "the address is given back")

    def silent() -> bool:
        try:
            http_get(f"http://{ip}/", timeout=0.5)
        except OSError:
            return True
        return False

    until(silent, "nobody answers any more", timeout=15)
    wanted = f"{cluster.subnet}.250"
    space.apply(balanced("next", loadBalancerIP=wanted))
    until(lambda: address(space, "next") == wanted, "the address that was asked for")
    until(lambda: http_get(f"http://{wanted}/").strip() in pods, "the host reaches it", timeout=15)
