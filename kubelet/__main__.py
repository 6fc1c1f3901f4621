"""`python -m kubelet`: the agent of one node."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
from pathlib import Path

from api.types.core_v1 import Taint
from client.api import Api
from client.transport import TLS
from component import DURATION, Process, client_options, main, option
from component.tls import Files
from kubelet.agent import Kubelet
from kubelet.config import Config
from kubelet.runtime.docker import DockerRuntime
from kubelet.server.service import NodeService, serve
from kubelet.server.summary import Summary
from kubelet.shutdown import Shutdown
from kubelet.volume_stats import VolumeStats


def pairs(text: str, separator: str = ",") -> dict[str, str]:
    """`a=1,b=2` as upstream's map flags are written. Raises ValueError."""
    found: dict[str, str] = {}
    for item in filter(None, (part.strip() for part in text.split(separator))):
        name, equals, value = item.partition("=")
        if not equals or not name:
            raise ValueError(f"{item!r} is not of the form name=value")
        found[name] = value
    return found


def thresholds(text: str) -> dict[str, str]:
    """`memory.available<100Mi,nodefs.available<10%`."""
    return pairs(text.replace("<", "="))


def taints(text: str) -> tuple[Taint, ...]:
    """`key=value:Effect,key:Effect`. Raises ValueError."""
    found: list[Taint] = []
    for item in filter(None, (part.strip() for part in text.split(","))):
        name, colon, effect = item.rpartition(":")
        if not colon or effect not in ("NoSchedule", "PreferNoSchedule", "NoExecute"):
            raise ValueError(f"{item!r} is no taint")
        key, _, value = name.partition("=")
        found.append(Taint(key=key, value=value or None, effect=effect))
    return tuple(found)


def own_address(server: str) -> str:
    """The address from which this machine reaches the API server."""
    host, _, port = server.split(",")[0].rpartition(":")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((host.strip("[]"), int(port)))
        return str(probe.getsockname()[0])


async def run(process: Process) -> None:
    o = process.options
    config = Config(
        node_name=o.node_name or socket.gethostname().lower(),
        node_ip=o.node_ip or own_address(o.server),
        root_dir=Path(o.root_dir),
        cluster_dns=tuple(filter(None, o.cluster_dns.split(","))),
        cluster_domain=o.cluster_domain,
        resolv_conf=o.resolv_conf,
        max_pods=o.max_pods,
        grpc_port=o.grpc_port,
        node_labels=pairs(o.node_labels),
        taints=taints(o.register_with_taints),
        static_pod_path=Path(o.pod_manifest_path) if o.pod_manifest_path else None,
        system_reserved=pairs(o.system_reserved),
        kube_reserved=pairs(o.kube_reserved),
        eviction_hard=thresholds(o.eviction_hard),
        image_gc_high_threshold=o.image_gc_high_threshold,
        image_gc_low_threshold=o.image_gc_low_threshold,
        allowed_unsafe_sysctls=tuple(filter(None, (s.strip() for s in o.allowed_unsafe_sysctls.split(",")))),
        shutdown_grace_period=o.shutdown_grace_period,
        shutdown_grace_period_critical_pods=o.shutdown_grace_period_critical_pods,
    )
    config.root_dir.mkdir(parents=True, exist_ok=True)
    runtime = DockerRuntime(
        host=o.docker_host,
        sandbox_image=o.sandbox_image,
        state_dir=config.root_dir / "runtime",
        bridge=o.pod_cidr_bridge,
    )
    tls = TLS(ca=o.ca_file, cert=o.cert_file, key=o.key_file)
    files = Files(o.tls_cert_file or o.cert_file, o.tls_private_key_file or o.key_file, o.client_ca_file or o.ca_file)
    async with Api.connect(o.server, tls=tls) as api:
        kubelet = Kubelet(config, api, runtime)
        kubelet.image_gc(_image_dir(), o.sandbox_image)
        summary = Summary(
            runtime,
            runtime.cgroups,
            node_name=config.node_name,
            root_dir=config.root_dir,
            image_dir=_image_dir(),
            volumes=VolumeStats(kubelet.pods.by_uid, kubelet.services.volumes.paths),
        )
        service = NodeService(runtime, kubelet.pods, summary)
        process.ready_check("pods", kubelet.not_ready)
        shutdown = Shutdown(config, kubelet.pods, kubelet.state, kubelet.services.statuses, kubelet.node.touch)
        asyncio.get_running_loop().add_signal_handler(signal.SIGPWR, shutdown.requested.set)
        await kubelet.run(
            [
                runtime.run,
                shutdown.run,
                lambda: serve(service, address=f"0.0.0.0:{config.grpc_port}", files=files),
            ]
        )


def _image_dir() -> Path:
    """Where dockerd keeps images, for the statistics of that file system."""
    try:
        configured = json.loads(Path("/etc/docker/daemon.json").read_text()).get("data-root")
    except (OSError, ValueError, AttributeError):
        configured = None
    return Path(configured or "/var/lib/docker")


OPTIONS = [
    *client_options(),
    option("--node-name", default="", help="name of the Node object; default: this machine's host name"),
    option("--node-ip", default="", help="address of the node; default: the one that reaches the apiserver"),
    option("--docker-host", default="unix:///var/run/docker.sock", help="where dockerd listens"),
    option("--root-dir", default="/var/lib/kubelet", help="directory for volumes and other files of pods"),
    option("--grpc-port", default=10250, type=int, help="port of the Node service"),
    option("--tls-cert-file", default="", help="certificate of the Node service; default: the client certificate"),
    option("--tls-private-key-file", default="", help="key of that certificate"),
    option("--client-ca-file", default="", help="CA of the Node service's clients; default: --ca-file"),
    option("--cluster-dns", default="10.96.0.10", help="addresses of the cluster's DNS service, comma-separated"),
    option("--cluster-domain", default="cluster.local", help="domain of the cluster's DNS names"),
    option("--resolv-conf", default="/etc/resolv.conf", help="the node's resolver configuration, for pods to build on"),
    option("--pod-cidr-bridge", default="cbr0", help="bridge that the node's pods are connected to"),
    option("--sandbox-image", required=True, help="image of the container that holds a pod's namespaces"),
    option("--node-labels", default="", help="labels for the Node, as a=1,b=2"),
    option("--register-with-taints", default="", help="taints for a new Node, as key=value:Effect, comma-separated"),
    option("--max-pods", default=110, type=int, help="how many pods the node takes"),
    option("--pod-manifest-path", default="", help="directory of static pods' manifests; empty: none"),
    option("--system-reserved", default="", help="resources kept for the system, as cpu=100m,memory=200Mi"),
    option("--kube-reserved", default="", help="resources kept for Kubernetes' own processes"),
    option(
        "--eviction-hard",
        default="memory.available<100Mi,nodefs.available<10%,nodefs.inodesFree<5%,imagefs.available<15%",
        help="what must stay available; pods are evicted below it",
    ),
    option(
        "--image-gc-high-threshold",
        default=85,
        type=int,
        help="percent of the image file system in use from which on unused images are removed; 100: never",
    ),
    option(
        "--allowed-unsafe-sysctls",
        default="",
        help="sysctls beside the safe ones that pods may set: names, or prefixes that end in *, comma-separated",
    ),
    option(
        "--shutdown-grace-period",
        default="0s",
        type=DURATION,
        help="how long the node's shutdown (SIGPWR) waits for pods, critical ones included; 0s: not at all",
    ),
    option(
        "--shutdown-grace-period-critical-pods",
        default="0s",
        type=DURATION,
        help="how much of that is for critical pods, which end last",
    ),
    option(
        "--image-gc-low-threshold",
        default=80,
        type=int,
        help="percent of the image file system in use down to which unused images are removed",
    ),
]


if __name__ == "__main__":
    main("kubelet", run, OPTIONS, health_port=10248, help="Runs the pods that are bound to this node.")
