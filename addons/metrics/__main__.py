"""`python -m addons.metrics`: the resource metrics API, in a pod."""

from __future__ import annotations

import asyncio

from addons.metrics.identity import FrontProxy
from addons.metrics.samples import Samples
from addons.metrics.scrape import Scraper
from addons.metrics.server import MetricsServer
from addons.metrics.view import View, labelled
from api.types.core_v1 import Node
from client.api import Api
from client.informer import Informer
from client.rest import in_cluster_transport
from component import DURATION, Process, main, option


async def run(process: Process) -> None:
    options = process.options
    transport = in_cluster_transport()
    async with Api(transport) as api:
        nodes, pods = Informer(api, Node), Informer(api, labelled("Pod"))
        samples = Samples()
        scraper = Scraper(transport, nodes, samples, interval=options.metric_resolution)
        proxy = FrontProxy(api, host="metrics-server.kube-system.svc")
        server = MetricsServer(View(samples, nodes, pods), proxy.accepts)
        process.ready_check("metrics", lambda: "" if scraper.rounds >= 2 else "no rates yet")
        async with asyncio.TaskGroup() as tasks:
            for informer in (nodes, pods):
                tasks.create_task(informer.run())
            tasks.create_task(scraper.run())
            tasks.create_task(proxy.run())
            tasks.create_task(server.serve(options.address, options.secure_port, proxy.context))


if __name__ == "__main__":
    main(
        "metrics",
        run,
        [
            option("--address", default="0.0.0.0", help="where to listen"),
            option("--secure-port", default=10250, type=int, help="the port of the API"),
            option("--metric-resolution", default="15s", type=DURATION, help="time between two looks at a node"),
        ],
        health_port=8080,
        help="Serves metrics.k8s.io: what pods and nodes use, from the kubelets' resource metrics.",
    )
