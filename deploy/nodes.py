"""The compose file for another number of nodes than three: what `make up NODES=5` adds to docker-compose.yml.

Fewer nodes are a choice among the services that are there; more are further services that extend the last one. Names,
addresses and volumes follow docker-compose.yml's pattern. The result is written to `.build/nodes.yaml`, so that plain
compose commands work on such a cluster with `COMPOSE_FILE=docker-compose.yml:.build/nodes.yaml`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from deploy.machine import ROOT, Problem

COMPOSE = ROOT / "docker-compose.yml"
OVERRIDE = ROOT / ".build/nodes.yaml"
WRITTEN = 3
"""Nodes that docker-compose.yml has."""

MOST = 200
"""The machines' network has addresses for this many."""

PKI = "pki-more"
"""The service that makes the keys of the nodes that are not in docker-compose.yml."""

SUBNET = "${PYKUBE_SUBNET:-172.30.0}"
VOLUMES = {"pki": "/etc/pykube/pki:ro", "docker": "/var/lib/docker", "kubelet": "/var/lib/kubelet"}


def names(count: int) -> list[str]:
    if not 1 <= count <= MOST:
        raise Problem(f"the number of nodes is between 1 and {MOST}, not {count}")
    return [f"node{number}" for number in range(1, count + 1)]


def override(compose: dict[str, Any], count: int) -> dict[str, Any]:
    """The compose document that adds nodes 4 to `count`.

    Their keys are made by a service of their own: compose replaces whatever depends on a service that has changed, and
    the control plane depends on `pki`.
    """
    added = names(count)[WRITTEN:]
    addresses = {name: f"{SUBNET}.{10 + int(name.removeprefix('node'))}" for name in added}
    pki = compose["services"]["pki"]
    common = [word for word in pki["command"] if not word.startswith(("--node=", "--bundle="))]
    services: dict[str, Any] = {
        PKI: {
            **pki,
            "depends_on": {"pki": {"condition": "service_completed_successfully"}},
            "command": [
                *common,
                *(f"--node={name}={addresses[name]}" for name in added),
                *(f"--bundle={name}=/nodes/{name}" for name in added),
            ],
            "volumes": ["pki:/pki", *(f"{name}-pki:/nodes/{name}" for name in added)],
        }
    }
    for name in added:
        services[name] = {
            "extends": {"file": str(COMPOSE), "service": f"node{WRITTEN}"},
            "hostname": name,
            "depends_on": {PKI: {"condition": "service_completed_successfully"}},
            "environment": {"PYKUBE_NODE_NAME": name, "PYKUBE_NODE_IP": addresses[name]},
            "volumes": [f"{name}-{volume}:{target}" for volume, target in VOLUMES.items()],
            "networks": {"cluster": {"ipv4_address": addresses[name]}},
        }
    return {"services": services, "volumes": {f"{name}-{volume}": None for name in added for volume in VOLUMES}}


def select(count: int, *, file: Path = OVERRIDE) -> tuple[list[str], list[str]]:
    """Compose's `-f` arguments and the services to start, for this many nodes (none named means all)."""
    compose = yaml.safe_load(COMPOSE.read_text())
    if count > WRITTEN:
        file.parent.mkdir(exist_ok=True)
        file.write_text(yaml.safe_dump(override(compose, count), sort_keys=False))
        return ["-f", str(COMPOSE), "-f", str(file)], []
    file.unlink(missing_ok=True)
    left_out = set(names(WRITTEN)) - set(names(count))
    chosen = [name for name in compose["services"] if name not in left_out] if left_out else []
    return ["-f", str(COMPOSE)], chosen
