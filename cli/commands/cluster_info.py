"""`cluster-info`: where the control plane and the cluster's services are."""

from __future__ import annotations

import os
import sys

from cli.env import Env
from cli.errors import ApiError
from cli.framework import command as declare
from cli.objects import dig, labels_of, name_of, namespace_of


@declare(
    "cluster-info",
    usage="[flags]",
    help="Display addresses of the control plane and services with label kubernetes.io/cluster-service=true.",
)
async def command(env: Env, args: tuple[str, ...]) -> None:
    server = env.rest_config.server
    namespace = env.namespace if env.namespace_given else "kube-system"
    try:
        services = await env.client.get(
            f"/api/v1/namespaces/{namespace}/services", query={"labelSelector": "kubernetes.io/cluster-service=true"}
        )
    except ApiError as problem:
        if problem.reason not in ("Forbidden", "NotFound"):
            raise
        services = {}
    _line(env, "Kubernetes control plane", server)
    for service in services.get("items") or []:
        name = labels_of(service).get("kubernetes.io/name") or name_of(service)
        ingress = dig(service, "status", "loadBalancer", "ingress", default=[])
        if ingress:
            host = ingress[0].get("ip") or ingress[0].get("hostname") or ""
            link = " ".join(f"http://{host}:{port['port']}" for port in dig(service, "spec", "ports", default=[]))
        else:
            ports = dig(service, "spec", "ports", default=[])
            shown = f"{name_of(service)}:{ports[0]['name']}" if ports and ports[0].get("name") else name_of(service)
            link = f"{server}/api/v1/namespaces/{namespace_of(service)}/services/{shown}/proxy"
        _line(env, name, link)


def _line(env: Env, name: str, link: str) -> None:
    if sys.stdout.isatty() and not os.environ.get("NO_COLOR"):
        env.out(f"\033[0;32m{name}\033[0m is running at \033[0;33m{link}\033[0m")
    else:
        env.out(f"{name} is running at {link}")
