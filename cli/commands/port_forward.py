"""`port-forward`: local ports that lead into a pod, one WebSocket for each connection."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

import aiohttp

from cli.env import Env
from cli.errors import ApiError, CliError, Object, UsageError, describe
from cli.exec_stream import PORT_PROTOCOLS, websocket
from cli.framework import command as declare
from cli.framework import option
from cli.human import parse_duration
from cli.objects import dig, name_of, namespace_of
from cli.pods import pod_for
from cli.resources import single

DATA, ERROR = 0, 1


@dataclass
class Forward:
    local: int
    remote: int


@declare(
    "port-forward",
    usage="TYPE/NAME [options] [LOCAL_PORT:]REMOTE_PORT [...[LOCAL_PORT_N:]REMOTE_PORT_N]",
    help="Forward one or more local ports to a pod. With a type/name, a pod behind it is chosen.",
    examples="""
    # Listen on ports 5000 and 6000 locally, forwarding to and from ports 5000 and 6000 in the pod
    kubectl port-forward pod/mypod 5000 6000

    # Listen on port 8443 locally, forwarding to the targetPort of the service's port named "https"
    kubectl port-forward service/myservice 8443:https

    # Listen on a random port locally, forwarding to 5000 in the pod
    kubectl port-forward pod/mypod :5000
    """,
)
@option("--address", multiple=True, help="Addresses to listen on (comma separated). Defaults to localhost.")
@option("--pod-running-timeout", default="1m0s", help="The length of time to wait until at least one pod is running.")
async def command(env: Env, args: tuple[str, ...], address: tuple[str, ...], pod_running_timeout: str) -> None:
    if len(args) < 2:
        raise UsageError("TYPE/NAME and list of ports are required for port-forward")
    pod = await pod_for(env, args[0], timeout=parse_duration(pod_running_timeout))
    if dig(pod, "status", "phase") != "Running":
        raise CliError(
            f"unable to forward port because pod is not running. Current status={dig(pod, 'status', 'phase')}"
        )
    service: Object | None = None
    if "/" in args[0]:
        target = await single(env, (args[0],))
        service = target.object if target.mapping.kind == "Service" else None
    forwards = [_parse(text, pod, service) for text in args[1:]]
    addresses = [part for text in address for part in text.split(",")] or ["localhost"]
    path = f"/api/v1/namespaces/{namespace_of(pod)}/pods/{name_of(pod)}/portforward"
    servers: list[asyncio.Server] = []
    try:
        for forward in forwards:
            servers.extend(await _listen(env, path, forward, addresses))
        await asyncio.gather(*(server.serve_forever() for server in servers))
    finally:
        for server in servers:
            server.close()


def _parse(text: str, pod: Object, service: Object | None) -> Forward:
    local, colon, remote = text.partition(":")
    if not colon:
        remote = local
    number = _remote_port(remote, pod, service)
    if not colon:
        return Forward(int(local) if local.isdigit() else number, number)
    if local and not local.isdigit():
        raise CliError(f"error parsing local port '{local}': strconv.ParseUint: parsing \"{local}\": invalid syntax")
    return Forward(int(local or 0), number)


def _remote_port(text: str, pod: Object, service: Object | None) -> int:
    """The pod's port: through the service's `targetPort` if one was named, and by name if it is no number."""
    wanted: int | str = int(text) if text.isdigit() else text
    if service is not None:
        for port in dig(service, "spec", "ports", default=[]):
            if wanted in (port.get("port"), port.get("name")):
                wanted = port.get("targetPort") or port["port"]
                if dig(service, "spec", "clusterIP") == "None":
                    wanted = port["port"]
                break
        else:
            raise CliError(f"Service {name_of(service)} does not have a service port {text}")
    if isinstance(wanted, int):
        return wanted
    for container in dig(pod, "spec", "containers", default=[]):
        for port in container.get("ports") or []:
            if port.get("name") == wanted:
                return int(port["containerPort"])
    raise CliError(f"Pod '{name_of(pod)}' does not have a named port '{wanted}'")


async def _listen(env: Env, path: str, forward: Forward, addresses: Sequence[str]) -> list[asyncio.Server]:
    servers: list[asyncio.Server] = []
    problems: list[str] = []
    hosts = [host for one in addresses for host in (("127.0.0.1", "::1") if one == "localhost" else (one,))]
    for host in hosts:

        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await _connection(env, path, forward, reader, writer)

        shown = f"[{host}]" if ":" in host else host
        try:
            server = await asyncio.start_server(handle, host, forward.local)
        except OSError as problem:
            problems.append(
                f"unable to create listener: Error listen tcp {shown}:{forward.local}: bind: {problem.strerror}"
            )
            continue
        if not forward.local:
            forward.local = server.sockets[0].getsockname()[1]
        env.out(f"Forwarding from {shown}:{forward.local} -> {forward.remote}")
        servers.append(server)
    if not servers:
        raise CliError(
            f"unable to listen on port {forward.local}: Listeners failed to create with the following errors: "
            f"[{' '.join(problems)}]"
        )
    import sys

    sys.stdout.flush()
    return servers


async def _connection(
    env: Env, path: str, forward: Forward, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    env.out(f"Handling connection for {forward.local}")
    import sys

    sys.stdout.flush()
    try:
        async with websocket(env.client, path, {"ports": str(forward.remote)}, PORT_PROTOCOLS) as socket:
            ready = asyncio.Event()
            upload = asyncio.create_task(_upload(reader, socket, ready))
            try:
                await _download(env, forward, socket, writer, ready)
            finally:
                upload.cancel()
    except (ApiError, CliError) as problem:
        env.err(describe(problem))
    except (ConnectionError, OSError, aiohttp.ClientError):
        # Either side hung up; that ends this connection and nothing else.
        return
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError, OSError):
            await writer.wait_closed()


async def _upload(reader: asyncio.StreamReader, socket: aiohttp.ClientWebSocketResponse, ready: asyncio.Event) -> None:
    await ready.wait()
    while data := await reader.read(32 * 1024):
        await socket.send_bytes(bytes([DATA]) + data)
    await socket.close()


async def _download(
    env: Env,
    forward: Forward,
    socket: aiohttp.ClientWebSocketResponse,
    writer: asyncio.StreamWriter,
    ready: asyncio.Event,
) -> None:
    announced: set[int] = set()
    async for message in socket:
        if message.type != aiohttp.WSMsgType.BINARY or not message.data:
            continue
        channel, payload = message.data[0], message.data[1:]
        if channel not in announced:
            # The first frame of each channel repeats the port number, two bytes, little endian, and says that the
            # connection to the pod is there: what is sent before that may get lost.
            announced.add(channel)
            ready.set()
            payload = payload[2:]
        if not payload:
            continue
        if channel == DATA:
            writer.write(payload)
            await writer.drain()
        elif channel == ERROR:
            text = payload.decode(errors="replace")
            env.err(f"error: an error occurred forwarding {forward.local} -> {forward.remote}: {text}")
            return
