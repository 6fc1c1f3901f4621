"""`cluster-info`: where the control plane and the cluster's services are; `dump`: all that tells how they are doing."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from cli.env import Env
from cli.errors import ApiError, CliError, Object, UsageError
from cli.framework import PROG, RunnableGroup, flag, option
from cli.framework import command as declare
from cli.objects import dig, labels_of, name_of, namespace_of
from cli.printers.objects import Output, render
from cli.writing import output_option

# What is dumped of a namespace: file name and collection.
_DUMPED = {
    "events": "/api/v1/namespaces/{}/events",
    "replication-controllers": "/api/v1/namespaces/{}/replicationcontrollers",
    "services": "/api/v1/namespaces/{}/services",
    "daemonsets": "/apis/apps/v1/namespaces/{}/daemonsets",
    "deployments": "/apis/apps/v1/namespaces/{}/deployments",
    "replicasets": "/apis/apps/v1/namespaces/{}/replicasets",
    "pods": "/api/v1/namespaces/{}/pods",
}


async def _info(env: Env) -> None:
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
    env.out(f"\nTo further debug and diagnose cluster problems, use '{PROG} cluster-info dump'.")


command = RunnableGroup(
    "cluster-info",
    run=_info,
    words="unexpected arguments:",
    help="Display addresses of the control plane and services with label kubernetes.io/cluster-service=true.",
)


def _line(env: Env, name: str, link: str) -> None:
    if sys.stdout.isatty() and not os.environ.get("NO_COLOR"):
        env.out(f"\033[0;32m{name}\033[0m is running at \033[0;33m{link}\033[0m")
    else:
        env.out(f"{name} is running at {link}")


@declare(
    "dump",
    usage="[flags]",
    help="""
    Dump cluster information out suitable for debugging and diagnosing cluster problems: nodes, and of the chosen
    namespaces (kube-system and the current one) events, workloads, pods and their logs.
    """,
    examples="""
    # Dump current cluster state to stdout
    kubectl cluster-info dump

    # Dump a set of namespaces to /path/to/cluster-state
    kubectl cluster-info dump --namespaces default,kube-system --output-directory=/path/to/cluster-state
    """,
    group=command,
)
@flag("-A", "--all-namespaces", help="If true, dump all namespaces.  If true, --namespaces is ignored.")
@option("--namespaces", multiple=True, help="A comma separated list of namespaces to dump.")
@output_option
@option("--output-directory", help="Where to output the files.  If empty or '-' uses stdout.")
@option("--pod-running-timeout", default="20s", help="The length of time to wait until at least one pod is running.")
async def dump(env: Env, args: tuple[str, ...], **params: Any) -> None:
    if args:
        raise UsageError(f"unexpected arguments: [{' '.join(args)}]")
    if params["output"] == "name":
        raise CliError("list types are not supported by name printing: *v1.NodeList")
    out = _Dump(env, params["output"], params["output_directory"])
    out.show("nodes", await env.client.get("/api/v1/nodes"))
    chosen = [part for text in params["namespaces"] for part in text.split(",") if part]
    if params["all_namespaces"]:
        chosen = [name_of(one) for one in (await env.client.get("/api/v1/namespaces")).get("items") or []]
    for namespace in chosen or ["kube-system", env.namespace]:
        for title, path in _DUMPED.items():
            listed = await env.client.get(path.format(namespace))
            out.show(f"{namespace}/{title}", listed)
        for pod in listed.get("items") or []:
            await out.logs(pod)
    if out.folder is not None:
        env.out(f"Cluster info dumped to {params['output_directory']}")


class _Dump:
    """Objects and logs, to standard output or into files of a folder."""

    def __init__(self, env: Env, output: Output, folder: str) -> None:
        self.env = env
        self.output = output or Output("json")
        self.folder = Path(folder) if folder not in ("", "-") else None
        self.suffix = self.output if self.output in ("json", "yaml") else "txt"

    def show(self, title: str, listed: Object) -> None:
        self._write(f"{title}.{self.suffix}", render(listed, self.output, display=listed.get("kind", "").lower()))

    async def logs(self, pod: Object) -> None:
        where = f"{namespace_of(pod)}/{name_of(pod)}"
        path = f"/api/v1/namespaces/{namespace_of(pod)}/pods/{name_of(pod)}/log"
        spec = pod.get("spec") or {}
        text = ""
        for container in [*(spec.get("initContainers") or []), *(spec.get("containers") or [])]:
            name = container["name"]
            text += f"==== START logs for container {name} of pod {where} ====\n"
            try:
                raw = await self.env.client.raw("GET", path, query={"container": name})
                text += raw.decode(errors="replace")
            except ApiError as problem:
                # A container that has not run yet has no log; the dump goes on.
                text += f"Request log error: {problem.message}\n"
            text += f"==== END logs for container {name} of pod {where} ====\n"
        self._write(f"{where}/logs.txt", text)

    def _write(self, name: str, text: str) -> None:
        if self.folder is None:
            self.env.out(text, end="")
            return
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
