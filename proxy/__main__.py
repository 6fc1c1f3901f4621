"""`python -m proxy`: the network agent of one node."""

from __future__ import annotations

from pathlib import Path

from client.api import Api
from client.transport import TLS
from component import Process, client_options, main, option
from proxy.agent import Agent
from proxy.rules import Network


async def run(process: Process) -> None:
    options = process.options
    # Without it the kernel drops what pods send through this node; a container's /proc/sys may have it off.
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
    tls = TLS(ca=options.ca_file, cert=options.cert_file, key=options.key_file)
    async with Api.connect(options.server, tls=tls) as api:
        network = Network(cluster_cidr=options.cluster_cidr, service_cidr=options.service_cidr)
        agent = Agent(api, node_name=options.node_name, network=network)
        process.live_check("rules", agent.healthy)
        process.ready_check("first-rules", agent.ready)
        await agent.run()


if __name__ == "__main__":
    main(
        "proxy",
        run,
        [
            *client_options(),
            option("--node-name", required=True, help="the node this proxy serves"),
            option("--cluster-cidr", default="10.244.0.0/16", help="the range of all pod addresses"),
            option("--service-cidr", default="10.96.0.0/16", help="the range of all Service addresses"),
        ],
        health_port=10256,
        help="Routes Services and pods on one node: nftables rules and routes, kept equal to what the API says.",
    )
