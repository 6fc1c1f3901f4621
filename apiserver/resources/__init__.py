"""The strategies of all built-in resources, one file for each family of kinds.

Lives here: what preparing, allocating and presenting a kind needs beyond its defaults, rules and rows, which have their
own packages. May not live here: the pipeline that calls it.
"""

from __future__ import annotations

from api.resources import RESOURCES, Resource
from apiserver.allocators.ports import PortAllocator
from apiserver.allocators.ranges import Ranges
from apiserver.strategy import Strategy

DEFAULT_SERVICE_CIDR = "10.96.0.0/16"
DEFAULT_NODE_PORTS = (30000, 32767)


def strategies(
    *, service_cidr: str = DEFAULT_SERVICE_CIDR, node_ports: tuple[int, int] = DEFAULT_NODE_PORTS
) -> dict[Resource, Strategy]:
    """A strategy for every built-in resource; `node_ports` are the first and the last one."""
    from apiserver.resources import (
        batch,
        certificates,
        cluster,
        config,
        extension,
        networking,
        pods,
        policy,
        rbac,
        services,
        storage,
        workloads,
    )

    families = (batch, certificates, cluster, config, extension, networking, pods, policy, rbac, storage, workloads)
    found = {s.resource: s for family in families for s in family.strategies()}
    for strategy in services.strategies(Ranges(service_cidr), PortAllocator(*node_ports)):
        found[strategy.resource] = strategy
    return {resource: found.get(resource) or Strategy(resource) for resource in RESOURCES}
