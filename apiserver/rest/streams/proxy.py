"""`pods/proxy`, `services/proxy` and `nodes/proxy`: HTTP to whatever listens there, as a reverse proxy.

The server reaches pods by their addresses; a Service is answered by one of its ready endpoints, as upstream. What a
node's kubelet serves over HTTP upstream comes here from its gRPC service.
"""

from __future__ import annotations

import random
import ssl
from typing import Any
from urllib.parse import unquote

import aiohttp
import grpc.aio
from aiohttp import web
from yarl import URL

from api import errors
from api.types.core_v1 import Node, Pod, Service
from api.types.discovery_v1 import EndpointSlice
from apiserver.rest.streams.links import Links
from apiserver.rest.streams.pods import kubelet_error
from apiserver.rest.streams.relaying import Backend, headers_of, relay, relay_upgrade, wants_upgrade
from apiserver.rest.streams.table import Request, streams
from proto import node_pb2


def _split(name: str) -> tuple[str, str, str]:
    """`[scheme:]name[:port]`."""
    parts = name.split(":")
    if len(parts) == 1:
        return "http", parts[0], ""
    if len(parts) == 2:
        return "http", parts[0], parts[1]
    if len(parts) == 3 and parts[0] in ("", "http", "https"):
        return parts[0] or "http", parts[1], parts[2]
    raise errors.bad_request(f'invalid request "{name}"')


@streams("pods", "proxy")
async def pod(request: Request) -> web.StreamResponse:
    """The pod's first address, at the port named or the first container port."""
    scheme, name, port = _split(request.target.name)
    found: Pod = await request.registry.get(Pod, name, namespace=request.target.namespace)
    if not found.status.pod_ip:
        raise errors.bad_request(f'address not allowed: pod "{name}" has no address')
    if not port:
        ports = [p.container_port for c in found.spec.containers for p in c.ports or ()]
        port = str(ports[0]) if ports else ("443" if scheme == "https" else "80")
    elif not port.isdigit():
        named = [p.container_port for c in found.spec.containers for p in c.ports or () if p.name == port]
        if not named:
            raise errors.bad_request(f'no port named "{port}" in pod "{name}"')
        port = str(named[0])
    return await _relay(request, scheme, found.status.pod_ip, int(port))


@streams("services", "proxy")
async def service(request: Request) -> web.StreamResponse:
    """One of the ready endpoints of the port."""
    scheme, name, port = _split(request.target.name)
    namespace = request.target.namespace
    found: Service = await request.registry.get(Service, name, namespace=namespace)
    wanted = next((p for p in found.spec.ports or () if not port or p.name == port or str(p.port) == port), None)
    if wanted is None:
        raise errors.service_unavailable(f'no service port "{port}" found for service "{name}"')
    addresses = []
    for one in request.registry.cached_list(EndpointSlice, namespace):
        if (one.metadata.labels or {}).get("kubernetes.io/service-name") != name:
            continue
        ports = [p.port for p in one.ports or () if (p.name or "") == (wanted.name or "") and p.port]
        for endpoint in one.endpoints or ():
            if endpoint.conditions is None or endpoint.conditions.ready is not False:
                addresses += [(address, number) for address in endpoint.addresses[:1] for number in ports]
    if not addresses:
        raise errors.service_unavailable(f'no endpoints available for service "{request.target.name}"')
    return await _relay(request, scheme, *random.choice(addresses))


@streams("nodes", "proxy")
async def node(request: Request) -> web.StreamResponse:
    """The kubelet's statistics and metrics."""
    _, name, _ = _split(request.target.name)
    await request.registry.get(Node, name)
    stub: Any = request.kubelet(name)
    path = "/" + request.target.rest.strip("/")
    try:
        if path == "/stats/summary":
            stats = await stub.Stats(node_pb2.StatsRequest())
            return web.Response(body=stats.json, content_type="application/json")
        if path == "/healthz":
            await stub.Stats(node_pb2.StatsRequest())
            return web.Response(text="ok")
        if path in ("/pods", "/runningpods"):
            pods = await stub.Metrics(node_pb2.MetricsRequest(path=path))
            return web.Response(body=pods.text, content_type="application/json")
        if path.startswith("/metrics"):
            metrics = await stub.Metrics(node_pb2.MetricsRequest(path=path))
            return web.Response(body=metrics.text, content_type="text/plain")
    except grpc.aio.AioRpcError as error:
        raise kubelet_error(error, "nodes", name) from None
    return web.Response(text="404 page not found\n", status=404)


async def _relay(request: Request, scheme: str, host: str, port: int) -> web.StreamResponse:
    http = request.http
    literal = f"[{host}]" if ":" in host else host
    query = f"?{http.rel_url.raw_query_string}" if http.query_string else ""
    prefix, rest = _parted(http.rel_url.raw_path)
    if not rest and http.method in ("GET", "HEAD") and not wants_upgrade(http):
        # links relative to the page would otherwise be relative to its parent
        return web.Response(status=301, headers={"Location": f"{prefix}/{query}"})
    url = URL(f"{scheme}://{literal}:{port}{rest or '/'}{query}", encoded=True)
    forwarded = [("X-Forwarded-Host", http.host), ("X-Forwarded-Uri", prefix + rest)]
    if http.remote:
        forwarded.append(("X-Forwarded-For", ", ".join([*http.headers.getall("X-Forwarded-For", []), http.remote])))
    headers = [pair for pair in headers_of(http) if not pair[0].lower().startswith("x-forwarded-")] + forwarded
    try:
        if wants_upgrade(http):
            tls = _trusting() if scheme == "https" else None
            return await relay_upgrade(http, Backend(host, port, tls=tls), url.raw_path_qs, headers)
        connector = aiohttp.TCPConnector(ssl=False)
        async with aiohttp.ClientSession(connector=connector, auto_decompress=False) as session:
            links = Links(unquote(prefix), f"{literal}:{port}", http.host)
            return await relay(http, session, url, headers, links)
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
        if isinstance(error, ConnectionResetError):
            raise  # the client has gone
        raise errors.service_unavailable(f"error trying to reach service: {error}") from None


def _parted(raw_path: str) -> tuple[str, str]:
    """The path up to `proxy`, and what follows it, both as the client wrote them: names may say `proxy`, too."""
    parts = raw_path.split("/")
    above = 8  # "", api, v1, namespaces, NAMESPACE, RESOURCE, NAME, proxy
    rest = parts[above:]
    return "/".join(parts[:above]), "/" + "/".join(rest) if rest else ""


def _trusting() -> ssl.SSLContext:
    """As upstream, which asks no certificate of what pods serve."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
