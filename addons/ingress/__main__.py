"""`python -m addons.ingress`: the ingress controller, in a pod."""

from __future__ import annotations

import asyncio

from addons.ingress.certificates import Certificates
from addons.ingress.forward import CONNECT_TIMEOUT, READ_TIMEOUT, Forwarder
from addons.ingress.server import IngressServer
from addons.ingress.state import State
from addons.ingress.status import StatusController
from client.events import EventRecorder
from client.rest import in_cluster
from component import DURATION, Process, main, option


async def run(process: Process) -> None:
    options = process.options
    namespace, _, name = options.publish_service.partition("/")
    async with in_cluster() as api:
        recorder = EventRecorder(api, "pykube-ingress-controller")
        certificates = Certificates()
        state = State(
            api, certificates, lambda ingress, reason, message: recorder.event(ingress, "Warning", reason, message)
        )
        status = StatusController(api, state, recorder, (namespace, name))
        process.ready_check("synced", lambda: "" if state.has_synced() else "the cluster's ingresses are not known yet")
        forwarder = Forwarder(
            state.endpoints, connect_timeout=options.proxy_connect_timeout, read_timeout=options.proxy_read_timeout
        )
        server = IngressServer(lambda: state.routes, certificates, forwarder)
        async with forwarder, asyncio.TaskGroup() as tasks:
            tasks.create_task(state.run())
            tasks.create_task(status.run())
            tasks.create_task(server.serve(options.address, options.http_port, options.https_port))


if __name__ == "__main__":
    main(
        "ingress",
        run,
        [
            option("--address", default="0.0.0.0", help="where to listen"),
            option("--http-port", default=8080, type=int, help="the port for HTTP"),
            option("--https-port", default=8443, type=int, help="the port for HTTPS"),
            option(
                "--publish-service",
                default="kube-system/ingress",
                help="namespace/name of the Service whose addresses ingresses get",
            ),
            option(
                "--proxy-connect-timeout",
                default=f"{CONNECT_TIMEOUT:.0f}s",
                type=DURATION,
                help="how long a backend may take to accept a connection",
            ),
            option(
                "--proxy-read-timeout",
                default=f"{READ_TIMEOUT:.0f}s",
                type=DURATION,
                help="how long a backend may be silent",
            ),
        ],
        health_port=10254,
        help="Serves the cluster's Ingress objects over HTTP and HTTPS.",
    )
