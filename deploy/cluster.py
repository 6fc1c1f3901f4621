"""Brings the compose cluster up and down: `python -m deploy.cluster up [--nodes N] | down | kubeconfig`.

`up` ends when the cluster works: the API server answers, every node is Ready, the addons are applied and cluster DNS
answers. Whatever keeps it from getting there is said at once, with the end of the log of the part that failed.
"""

from __future__ import annotations

import base64
import contextlib
import ipaddress
import json
import os
import re
import socket
import ssl
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import docker
import yaml
from docker.errors import APIError, DockerException
from docker.models.containers import Container

from deploy import kubeconfig, nodes
from deploy.machine import ROOT, Problem, reach_docker, say

LABEL = "com.docker.compose.project"
SERVICE = "com.docker.compose.service"
TIMEOUT = 180.0
"""Seconds that the whole cluster gets."""

POLL = 0.25
OLDEST_DOCKER = (20, 10)
"""The first that gives containers a cgroup namespace, which nodes need on cgroup v2."""

MANY_RESTARTS = 5
"""A container that was started this often again is not going to work."""

CLUSTER_DNS = "10.96.0.10"


def setting(name: str, default: str) -> str:
    """A setting of docker-compose.yml: from the environment, else from `.env` as compose reads it."""
    if name in os.environ:
        return os.environ[name] or default
    dotenv = ROOT / ".env"
    for line in dotenv.read_text().splitlines() if dotenv.exists() else ():
        key, separator, value = line.partition("=")
        if separator and key.strip() == name:
            return value.strip().strip("'\"") or default
    return default


def project() -> str:
    """The name of the compose project: several clusters of one machine differ in it, as in subnet and ports."""
    return setting("COMPOSE_PROJECT_NAME", "pykube")


class Cluster:
    """The compose project, seen through Docker."""

    def __init__(self, client: docker.DockerClient) -> None:
        self.client = client

    def containers(self) -> dict[str, Container]:
        """Containers by service."""
        found = self.client.containers.list(all=True, filters={"label": f"{LABEL}={project()}"}, ignore_removed=True)
        return {container.labels[SERVICE]: container for container in found}

    def check_ground(self) -> None:
        """Raises `Problem` if a port or the subnet belongs to something else."""
        ours = self.containers()
        for service, variable, port in (
            ("apiserver", "PYKUBE_API_PORT", "6443"),
            ("registry", "PYKUBE_REGISTRY_PORT", "5000"),
        ):
            number = int(setting(variable, port))
            running = service in ours and ours[service].status in ("running", "restarting")
            if not running and not port_free(number):
                raise Problem(
                    f"port {number} of 127.0.0.1 is taken (see `ss -ltnp`); free it or set {variable} to another"
                )
        prefix = setting("PYKUBE_SUBNET", "172.30.0")
        clash = overlapping(f"{prefix}.0/24", self.other_networks())
        if clash:
            raise Problem(
                f"{prefix}.0/24 overlaps {clash}; set PYKUBE_SUBNET to the first three octets of a free network"
            )

    def other_networks(self) -> dict[str, str]:
        """Subnets in use on this machine that are not the cluster's own, and by what."""
        used = {}
        own_bridges = set()
        for network in self.client.networks.list():
            subnets = [item["Subnet"] for item in network.attrs["IPAM"]["Config"] or [] if "Subnet" in item]
            if (network.attrs.get("Labels") or {}).get(LABEL) == project():
                own_bridges.update(subnets)
            else:
                used.update(dict.fromkeys(subnets, f"the Docker network {network.name}"))
        routes = subprocess.run(["ip", "-4", "-o", "route"], capture_output=True, text=True).stdout
        for line in routes.splitlines():
            target = line.split()[0]
            if "/" in target and target not in own_bridges and target not in used:
                used[target] = f"the route {line.strip()!r}"
        return used

    def remove_nodes(self, *, except_for: set[str]) -> None:
        """Stops and removes node containers that are not wanted any more."""
        for service, container in self.containers().items():
            if re.fullmatch(r"node\d+", service) and service not in except_for:
                container.stop()
                container.remove(v=True)

    def look_for_failures(self) -> None:
        """Raises `Problem` if a part has failed for good, with the end of its log."""
        for service, container in self.containers().items():
            state = container.attrs.get("State", {})
            if isinstance(state, str):  # the listing's short form
                container.reload()
                state = container.attrs["State"]
            restarts = container.attrs.get("RestartCount", 0)
            failed = container.status == "exited" and state.get("ExitCode", 0) != 0
            if failed or restarts >= MANY_RESTARTS:
                what = f"ended with exit code {state.get('ExitCode')}" if failed else f"keeps ending ({restarts} times)"
                raise Problem(f"{service} {what}; the end of its log:\n{log_tail(container)}")

    def admin_conf(self) -> dict[str, Any]:
        """The administrator's kubeconfig, out of the control plane's volume."""
        container = self.containers().get("apiserver")
        if container is None:
            raise Problem("the cluster is not up; `make up` starts it")
        try:
            stream, _ = container.get_archive("/pki/admin.conf")
        except APIError as error:
            raise Problem(f"the cluster has no admin.conf yet: {error.explanation}") from None
        import io
        import tarfile

        with tarfile.open(fileobj=io.BytesIO(b"".join(stream))) as archive:
            member = archive.extractfile("admin.conf")
            assert member is not None
            return dict(yaml.safe_load(member.read()))


def log_tail(container: Container, lines: int = 20) -> str:
    return container.logs(tail=lines).decode(errors="replace").rstrip() or "(empty)"


def port_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def overlapping(subnet: str, used: dict[str, str]) -> str | None:
    """Who uses an overlapping subnet, if anyone. The default route overlaps nothing."""
    wanted = ipaddress.ip_network(subnet)
    for other, owner in used.items():
        try:
            network = ipaddress.ip_network(other, strict=False)
        except ValueError:
            continue
        if network.version == wanted.version and network.prefixlen and wanted.overlaps(network):
            return owner
    return None


def unsuited(info: dict[str, Any]) -> str:
    """Why nodes cannot run in the engine of this `docker info`, or ""."""
    options = [str(option) for option in info.get("SecurityOptions") or ()]
    if info.get("OSType", "linux") != "linux":
        return f"this Docker runs {info['OSType']} containers; nodes are Linux"
    for option, what in (("name=rootless", "is rootless"), ("name=userns", "remaps users (userns-remap)")):
        if any(o.split(",")[0] == option for o in options):
            return f"this Docker {what}; nodes run a Docker of their own and need the host's root to mount file systems"
    number = re.match(r"(\d+)\.(\d+)", info.get("ServerVersion") or "")
    if number and tuple(map(int, number.groups())) < OLDEST_DOCKER:
        oldest = ".".join(map(str, OLDEST_DOCKER))
        return f"Docker {oldest} or newer is needed, this is {info['ServerVersion']}"
    return ""


class ApiProbe:
    """Just enough of a client to see whether the cluster works, from the admin's kubeconfig."""

    def __init__(self, config: dict[str, Any]) -> None:
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        self.server = cluster["server"]
        authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
        self.context = ssl.create_default_context(cadata=authority)
        with tempfile.NamedTemporaryFile(suffix=".pem") as pair:  # the ssl module reads a key only from a file
            pair.write(base64.b64decode(user["client-certificate-data"]))
            pair.write(base64.b64decode(user["client-key-data"]))
            pair.flush()
            self.context.load_cert_chain(pair.name)

    def get(self, path: str) -> bytes | None:
        """The body of a 200 answer, or None."""
        try:
            with urllib.request.urlopen(f"{self.server}{path}", context=self.context, timeout=5) as answer:
                return bytes(answer.read())
        except (urllib.error.URLError, OSError):
            return None

    def nodes(self) -> list[dict[str, Any]]:
        body = self.get("/api/v1/nodes")
        return list(json.loads(body)["items"]) if body else []

    def delete_node(self, name: str) -> None:
        request = urllib.request.Request(f"{self.server}/api/v1/nodes/{name}", method="DELETE")
        with contextlib.suppress(urllib.error.URLError, OSError):
            urllib.request.urlopen(request, context=self.context, timeout=5).close()


def ready(items: list[dict[str, Any]]) -> set[str]:
    """The nodes among these that are Ready."""
    return {
        node["metadata"]["name"]
        for node in items
        for condition in node.get("status", {}).get("conditions", [])
        if condition["type"] == "Ready" and condition["status"] == "True"
    }


def leftover(items: list[dict[str, Any]], wanted: set[str]) -> list[str]:
    """Nodes of ours that an earlier `up` with more nodes has left; nodes that others have added stay."""
    names = {item["metadata"]["name"] for item in items}
    return sorted(name for name in names - wanted if re.fullmatch(r"node\d+", name))


class Progress:
    """Waits for one thing after the other, each shown with the time it came."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.started = time.monotonic()
        self.deadline = self.started + TIMEOUT

    def say(self, what: str) -> None:
        say(f"{time.monotonic() - self.started:5.1f} s  {what}")

    def until(self, what: str, done: Callable[[], bool], culprit: str) -> None:
        """Waits until `done`; if that takes too long, shows the log of the service it is up to."""
        looked = time.monotonic()
        while not done():
            now = time.monotonic()
            if now > self.deadline:
                container = self.cluster.containers().get(culprit)
                tail = log_tail(container) if container else "(there is no such container)"
                raise Problem(f"not within {TIMEOUT:.0f} s: {what}; the end of {culprit}'s log:\n{tail}")
            if now - looked > 1:
                looked = now
                self.cluster.look_for_failures()
            time.sleep(POLL)


def up(count: int) -> None:
    client = docker.from_env()
    if why := unsuited(client.info()):
        raise Problem(why)
    cluster = Cluster(client)
    cluster.check_ground()
    files, services = nodes.select(count)
    say(f"starting a control plane and {count} node{'s' if count > 1 else ''}")
    progress = Progress(cluster)
    compose = ["docker", "compose", "-p", project(), *files, "--progress", "quiet"]
    # not --wait: one-shot services end, and that it would take for a failure
    done = subprocess.run(
        [*compose, "up", "-d", "--remove-orphans", *services], cwd=ROOT, stderr=subprocess.PIPE, text=True
    )
    if done.returncode:
        cluster.look_for_failures()
        raise Problem(f"docker compose up failed:\n{done.stderr.strip()[-3000:]}")
    cluster.remove_nodes(except_for=set(nodes.names(count)))
    config = cluster.admin_conf()
    probe = ApiProbe(config)
    progress.until("the API server is ready", lambda: probe.get("/readyz") is not None, "apiserver")
    progress.say("the API server answers")
    wanted, seen = set(nodes.names(count)), set[str]()

    def all_ready() -> bool:
        now_ready = ready(probe.nodes())
        for name in sorted((now_ready & wanted) - seen):
            seen.add(name)
            progress.say(f"{name} is Ready ({len(seen)}/{count})")
        return wanted <= seen

    try:
        progress.until("all nodes are Ready", all_ready, "node1")
    except Problem as problem:
        missing = ", ".join(sorted(wanted - seen))
        raise Problem(f"{problem}\nnot Ready: {missing}") from None
    for name in leftover(probe.nodes(), wanted):
        probe.delete_node(name)
        progress.say(f"{name} is no longer part of the cluster")
    progress.until("cluster DNS answers", lambda: dns_answers(cluster), "addons")
    progress.say("cluster DNS answers")
    target = kubeconfig.location(os.environ)
    kubeconfig.install(config, target)
    say(f"the cluster is ready; context {kubeconfig.NAME!r} is the current one in {target}")
    click.echo(
        "    try:  .venv/bin/pykubectl get nodes -o wide        (or kubectl)\n"
        "          .venv/bin/pykubectl apply -f examples/guestbook/guestbook.yaml\n"
        "          docker push localhost:5000/NAME              (every node can pull it)\n"
        "          make down                                    (removes everything)"
    )


def dns_answers(cluster: Cluster) -> bool:
    """Whether a node gets an answer through the kube-dns Service."""
    container = cluster.containers().get("node1")
    if container is None or container.status != "running":
        return False
    query = ["busybox", "timeout", "2", "busybox", "nslookup", "kubernetes.default.svc.cluster.local", CLUSTER_DNS]
    with contextlib.suppress(APIError):
        return container.exec_run(query).exit_code == 0
    return False


def down() -> None:
    """Removes containers, volumes, networks and the kubeconfig's context; finds them by label, whatever made them."""
    client = docker.from_env(timeout=300)
    removed = 0
    for kind, listing, remove in (
        ("container", ["ps", "--all", "--quiet"], ["rm", "--force", "--volumes"]),
        ("network", ["network", "ls", "--quiet"], ["network", "rm"]),
        ("volume", ["volume", "ls", "--quiet"], ["volume", "rm", "--force"]),
    ):
        listed = subprocess.run(
            ["docker", *listing, "--filter", f"label={LABEL}={project()}"], capture_output=True, text=True
        )
        if listed.returncode:
            raise Problem(f"listing the {kind}s: {listed.stderr.strip()}")
        found = listed.stdout.split()
        if found:
            say(f"removing {len(found)} {kind}{'s' if len(found) > 1 else ''}")
            done = subprocess.run(["docker", *remove, *found], capture_output=True, text=True)
            if done.returncode:
                raise Problem(f"removing the {kind}s: {done.stderr.strip()}")
            removed += len(found)
    client.close()
    nodes.OVERRIDE.unlink(missing_ok=True)
    target = kubeconfig.location(os.environ)
    if kubeconfig.remove(target, server=f"https://127.0.0.1:{setting('PYKUBE_API_PORT', '6443')}"):
        say(f"removed the context from {target}")
    elif not removed:
        say("there is no cluster")


@click.group()
def main() -> None:
    """The compose cluster."""


@main.command("up")
@click.option("--nodes", "count", default=nodes.WRITTEN, show_default=True, help="Number of nodes.")
def up_command(count: int) -> None:
    """Starts the cluster and waits until it works."""
    guarded(lambda: up(count))


@main.command("down")
def down_command() -> None:
    """Removes the cluster and everything it kept."""
    guarded(down)


@main.command("kubeconfig")
@click.option("--file", type=click.Path(path_type=Path), help="Where to; the user's own by default.")
def kubeconfig_command(file: Path | None) -> None:
    """Puts the cluster into a kubeconfig."""

    def put() -> None:
        target = file or kubeconfig.location(os.environ)
        kubeconfig.install(Cluster(docker.from_env()).admin_conf(), target)
        say(f"context {kubeconfig.NAME!r} is in {target}")

    guarded(put)


def guarded(work: Callable[[], None]) -> None:
    """Runs a command; a `Problem` is shown as what it is."""
    try:
        reach_docker()
        work()
    except (Problem, DockerException, OSError) as problem:  # OSError: a full disk, or an engine that went away
        click.echo(f"pykube: {problem}", err=True)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
