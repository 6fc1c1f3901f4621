"""A node's boot and shutdown: `python -m deploy.node`, as the only program of a node container.

Boot: prepare the container, then containerd, dockerd, kubelet and proxy, each kept running on its own. containerd is
not left to dockerd, so that either can be replaced without the other. Shutdown is a machine's: the kubelet goes first
(or it would start again what is being stopped), the pods' containers get SIGTERM and a grace period, then the rest.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from api import duration
from deploy.node import prepare
from deploy.node.relay import TcpRelay, relay_dns
from deploy.node.supervisor import Program

log = logging.getLogger("node")

RUN = Path("/run/pykube")
CONTAINERD_SOCKET = "/run/containerd/containerd.sock"
DOCKER_SOCKET = Path("/run/docker.sock")
RESOLV_CONF = Path("/etc/resolv.conf")
REGISTRY_PORT = 5000
MANIFESTS = "/etc/kubernetes/manifests"
"""Where this node's static pods are described."""

POD_GRACE = 10
"""Seconds that containers get to end when the node goes down."""

PROGRAM_GRACE = 5.0
"""Seconds that each of the node's own programs gets."""

CONTAINERD_CONFIG = """\
version = 2
root = "/var/lib/docker/containerd/root"
state = "/run/containerd"
disabled_plugins = [
  "io.containerd.grpc.v1.cri", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs", "io.containerd.tracing.processor.v1.otlp", "io.containerd.internal.v1.tracing",
]
[grpc]
  address = "/run/containerd/containerd.sock"
"""


@dataclass(frozen=True)
class Settings:
    """What the node is told through its environment. Kubelet and proxy inherit that, and with it their own options."""

    name: str
    address: str
    server: str
    registry: str
    pki: Path
    sandbox_image: str
    labels: str
    eviction_hard: str
    shutdown_grace: float  # seconds that pods get for an orderly end; 0: they are stopped and come back with the node

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Settings:
        return cls(
            name=environment["PYKUBE_NODE_NAME"],
            address=environment["PYKUBE_NODE_IP"],
            server=environment.get("PYKUBE_SERVER", "apiserver:6444"),
            registry=environment.get("PYKUBE_REGISTRY", "registry"),
            pki=Path(environment.get("PYKUBE_PKI", "/etc/pykube/pki")),
            sandbox_image=environment.get("PYKUBE_SANDBOX_IMAGE", "localhost:5000/pykube/pause:1.0"),
            labels=environment.get("PYKUBE_NODE_LABELS", ""),
            eviction_hard=environment.get("PYKUBE_EVICTION_HARD", "memory.available<100Mi"),
            shutdown_grace=float(duration.parse(environment.get("PYKUBE_SHUTDOWN_GRACE_PERIOD", "0s"))),
        )


def containerd() -> list[str]:
    config = RUN / "containerd.toml"
    config.write_text(CONTAINERD_CONFIG)
    return ["containerd", "--config", str(config), "--log-level", "warn"]


def dockerd() -> list[str]:
    """The engine: no networks and no packet filter of its own (those are kubelet's and proxy's), logs that rotate.

    With live-restore its end leaves containers running.
    """
    return [
        "dockerd",
        f"--host=unix://{DOCKER_SOCKET}",
        f"--containerd={CONTAINERD_SOCKET}",
        "--data-root=/var/lib/docker",
        "--exec-opt=native.cgroupdriver=cgroupfs",
        "--bridge=none",
        "--iptables=false",
        "--ip6tables=false",
        "--ip-forward=false",
        "--userland-proxy=false",
        "--live-restore",
        "--log-level=error",  # it warns of every pull from a registry without TLS
        "--log-driver=json-file",
        "--log-opt=max-size=10m",
        "--log-opt=max-file=5",
        "--max-concurrent-downloads=6",
        f"--insecure-registry=localhost:{REGISTRY_PORT}",
    ]


def identity(settings: Settings, file: str) -> list[str]:
    """Which API server, and as whom."""
    return [
        f"--server={settings.server}",
        f"--ca-file={settings.pki}/ca.crt",
        f"--cert-file={settings.pki}/{file}.crt",
        f"--key-file={settings.pki}/{file}.key",
    ]


def kubelet(settings: Settings) -> list[str]:
    command = [
        *(sys.executable, "-m", "kubelet"),
        *identity(settings, "kubelet"),
        f"--node-name={settings.name}",
        f"--node-ip={settings.address}",
        f"--docker-host=unix://{DOCKER_SOCKET}",
        f"--tls-cert-file={settings.pki}/kubelet.crt",
        f"--tls-private-key-file={settings.pki}/kubelet.key",
        f"--client-ca-file={settings.pki}/ca.crt",
        f"--sandbox-image={settings.sandbox_image}",
        f"--resolv-conf={RUN}/resolv.conf",
        f"--pod-manifest-path={MANIFESTS}",
        # The disk is the host's, which its owner may keep as full as he likes: no node evicts or cleans up for that.
        f"--eviction-hard={settings.eviction_hard}",
        "--image-gc-high-threshold=100",
    ]
    if settings.labels:
        command.append(f"--node-labels={settings.labels}")
    return command


def proxy(settings: Settings) -> list[str]:
    return [*(sys.executable, "-m", "proxy"), *identity(settings, "proxy"), f"--node-name={settings.name}"]


def boot() -> None:
    """Everything that has to be right before the first program starts."""
    prepare.mounts()
    prepare.clean()
    prepare.cgroups()
    Path("/var/lib/docker/containerd").mkdir(parents=True, exist_ok=True)
    boot_agents()


def boot_agents() -> None:
    """What kubelet and proxy need on any machine."""
    prepare.sysctls()
    prepare.relay_address()
    RUN.mkdir(parents=True, exist_ok=True)
    (RUN / "resolv.conf").write_text(prepare.pods_resolv_conf(RESOLV_CONF.read_text()))


async def relays(settings: Settings, resolver: str | None) -> list[asyncio.Server]:
    """The registry under its host's name, and a resolver that pods can reach."""
    servers = await TcpRelay(settings.registry, REGISTRY_PORT).listen(["127.0.0.1", "::1"], REGISTRY_PORT)
    if resolver is not None:
        servers += await relay_dns(prepare.RELAY_ADDRESS, resolver)
    return servers


async def stop_containers() -> None:
    """Stops all containers at once, as a machine that goes down does."""
    listing = await asyncio.create_subprocess_exec("docker", "ps", "--quiet", stdout=asyncio.subprocess.PIPE)
    names = (await listing.communicate())[0].decode().split()
    if not names:
        return
    log.info("stopping %d containers", len(names))
    stopping = await asyncio.create_subprocess_exec(
        "docker", "stop", "--time", str(POD_GRACE), *names, stdout=asyncio.subprocess.DEVNULL
    )
    await stopping.wait()


async def serve(settings: Settings, resolver: str | None) -> None:
    """Runs the node until SIGTERM or SIGINT."""
    down = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, down.set)
    engine = [Program("containerd", containerd()), Program("dockerd", dockerd())]
    agents = [
        Program("kubelet", kubelet(settings)),
        Program("proxy", proxy(settings)),
    ]
    servers = await relays(settings, resolver)
    async with asyncio.TaskGroup() as group:
        for program in (*engine, *agents):
            group.create_task(program.run(), name=program.name)
        await down.wait()
        log.info("shutting down")
        if settings.shutdown_grace:
            await agents[0].stop(settings.shutdown_grace + PROGRAM_GRACE, signal.SIGPWR)
        else:
            await agents[0].stop(PROGRAM_GRACE)
        try:
            async with asyncio.timeout(POD_GRACE + 5):
                await stop_containers()
        except (TimeoutError, OSError) as error:
            log.warning("stopping the containers: %s", error or "timed out")
        for program in (agents[1], *reversed(engine)):
            await program.stop(PROGRAM_GRACE)
    for server in servers:
        server.close()


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(levelname).1s %(asctime)s node: %(message)s", datefmt="%H:%M:%S")
    settings = Settings.read(os.environ)
    boot()
    asyncio.run(serve(settings, prepare.loopback_resolver(RESOLV_CONF.read_text())))


if __name__ == "__main__":
    main()
