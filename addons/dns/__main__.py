"""`python -m addons.dns`: cluster DNS, in a pod."""

from __future__ import annotations

import asyncio
from pathlib import Path

from addons.dns.forward import Forwarder, resolvers
from addons.dns.records import Zone
from addons.dns.server import DNSServer
from addons.dns.source import ClusterSource
from client.rest import in_cluster
from component import Process, main, option


async def run(process: Process) -> None:
    options = process.options
    async with in_cluster() as api:
        source = ClusterSource(api)
        process.ready_check("synced", lambda: "" if source.has_synced() else "the cluster's services are not known yet")
        server = DNSServer(Zone(options.cluster_domain, source), Forwarder(resolvers(Path(options.resolv_conf))))
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(source.run())
            tasks.create_task(server.serve(options.address, options.port))


if __name__ == "__main__":
    main(
        "dns",
        run,
        [
            option("--cluster-domain", default="cluster.local", help="the domain this server has authority over"),
            option("--address", default="0.0.0.0", help="where to listen, UDP and TCP"),
            option("--port", default=53, type=int, help="the port to listen on"),
            option("--resolv-conf", default="/etc/resolv.conf", help="names the resolvers for all other domains"),
        ],
        health_port=8080,
        help="Answers for the cluster's services and pods (Kubernetes DNS specification 1.1.0), forwards the rest.",
    )
