"""`pykube-node join --server --token`: makes a machine with Docker a node of a cluster that runs elsewhere.

The token is a bootstrap token (a Secret in kube-system); with it the machine asks for a certificate as
`system:node:<name>`, which the controller manager grants by itself. As that node it asks for two more, for the Node
service and for the proxy, which a person approves, as everywhere in Kubernetes. What it got is kept: after a restart
no token is needed. Then kubelet and proxy run, in the foreground, until SIGTERM.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import os
import secrets
import signal
import socket
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import click
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from api import errors
from api.types.certificates_v1 import CertificateSigningRequest, CertificateSigningRequestSpec
from api.types.meta_v1 import ObjectMeta
from client.api import Api
from client.rest import RestTransport
from client.transport import TLS
from deploy.node import __main__ as node
from deploy.node import discovery, prepare
from deploy.node.supervisor import Program
from deploy.pki import RENEW, names, subject, write, write_key

log = logging.getLogger("node")

RETRY = 1.0
"""Seconds between looks at a request that nobody has decided yet."""


class Refused(Exception):
    """A certificate was denied."""


@dataclass(frozen=True)
class Wanted:
    """A certificate to ask for."""

    file: str
    signer: str
    usage: str
    common_name: str
    groups: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()


def wanted(name: str, address: str) -> tuple[Wanted, Wanted, Wanted]:
    """Who the kubelet is, what it serves with, who the proxy is."""
    user, groups = f"system:node:{name}", ("system:nodes",)
    return (
        Wanted("kubelet", "kubernetes.io/kube-apiserver-client-kubelet", "client auth", user, groups),
        Wanted("serving", "kubernetes.io/kubelet-serving", "server auth", user, groups, (name, address)),
        Wanted("proxy", "kubernetes.io/kube-apiserver-client", "client auth", "system:kube-proxy"),
    )


def good(pki: Path, file: str) -> bool:
    """Is there a certificate that holds for some time to come?"""
    certificate, key = pki / f"{file}.crt", pki / f"{file}.key"
    if not (certificate.exists() and key.exists()):
        return False
    found = x509.load_pem_x509_certificate(certificate.read_bytes())
    return found.not_valid_after_utc - datetime.now(UTC) > RENEW


async def obtain(api: Api, pki: Path, asked: Wanted, node_name: str) -> None:
    """Ask for a certificate and wait for it. Raises Refused, StatusError."""
    key = ec.generate_private_key(ec.SECP256R1())
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject(asked.common_name, asked.groups))
    if asked.hosts:
        builder = builder.add_extension(x509.SubjectAlternativeName(names(asked.hosts)), critical=False)
    request = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    made = await api.create(
        CertificateSigningRequest(
            metadata=ObjectMeta(name=f"{node_name}-{asked.file}-{secrets.token_hex(3)}"),
            spec=CertificateSigningRequestSpec(
                request=base64.b64encode(request).decode(),
                signer_name=asked.signer,
                usages=["digital signature", asked.usage],
            ),
        )
    )
    name = made.metadata.name or ""
    told = False
    while not made.status.certificate:
        for condition in made.status.conditions or ():
            if condition.type in ("Denied", "Failed"):
                raise Refused(f"{name}: {condition.message or condition.reason or condition.type}")
        await asyncio.sleep(RETRY)
        made = await api.get(CertificateSigningRequest, name)
        if not told and not made.status.conditions and asked.file != "kubelet":
            told = True
            click.echo(f"waiting for an administrator: kubectl certificate approve {name}")
    write_key(pki / f"{asked.file}.key", key)
    write(pki / f"{asked.file}.crt", base64.b64decode(made.status.certificate), 0o644)


async def authority(server: str, token: str, pki: Path, given: Path | None, pins: Sequence[str]) -> None:
    """The cluster's CA in `pki`: the file that was given, else what is there, else found with the token.
    Raises Untrusted, ValueError, TimeoutError."""
    pki.mkdir(mode=0o700, parents=True, exist_ok=True)
    kept = pki / "ca.crt"
    if given is not None:
        if given != kept:
            write(kept, given.read_bytes(), 0o644)
    elif not kept.exists():
        write(kept, await discovery.find_ca(server, token, pins), 0o644)
        click.echo("the cluster's CA was found with the token")


async def certificates(server: str, grpc: str, token: str, pki: Path, name: str, address: str) -> None:
    """Everything this node needs of certificates, in `pki`. Raises StatusError, Refused if the cluster says no."""
    identity, *others = wanted(name, address)
    if not good(pki, identity.file):
        with tempfile.NamedTemporaryFile("w") as file:
            file.write(token)
            file.flush()
            async with Api(RestTransport(server, ca=pki / "ca.crt", token_file=file.name)) as api:
                await obtain(api, pki, identity, name)
        click.echo(f"this machine is now {identity.common_name}")
    missing = [other for other in others if not good(pki, other.file)]
    if missing:
        tls = TLS(ca=pki / "ca.crt", cert=pki / "kubelet.crt", key=pki / "kubelet.key")
        async with Api.connect(grpc, tls=tls) as api, asyncio.TaskGroup() as group:
            for other in missing:
                group.create_task(obtain(api, pki, other, name))


async def serve(settings: node.Settings, docker: str) -> None:
    """Kubelet and proxy, and the registry under its name, until SIGTERM or SIGINT."""
    down = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, down.set)
    kubelet = [
        *node.kubelet(settings),
        f"--docker-host={docker}",
        f"--tls-cert-file={settings.pki}/serving.crt",
        f"--tls-private-key-file={settings.pki}/serving.key",
    ]
    agents = [Program("kubelet", kubelet), Program("proxy", node.proxy(settings))]
    servers = await node.relays(settings, prepare.loopback_resolver(node.RESOLV_CONF.read_text()))
    async with asyncio.TaskGroup() as group:
        for program in agents:
            group.create_task(program.run(), name=program.name)
        await down.wait()
        for program in agents:
            await program.stop(node.PROGRAM_GRACE)  # containers are left alone
    for server in servers:
        server.close()


def own_address(host: str, port: int) -> str:
    """The address from which this machine reaches the API server."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((host, port))
        return str(probe.getsockname()[0])


@click.group()
def main() -> None:
    """Nodes of a pykube cluster."""


@main.command()
@click.option("--server", required=True, help="https://host:port of the cluster's API server")
@click.option("--token", default="", envvar="PYKUBE_TOKEN", help="a bootstrap token; only the first start needs one")
@click.option("--ca-file", type=click.Path(path_type=Path, exists=True), help="the cluster's CA; else it is discovered")
@click.option(
    "--discovery-token-ca-cert-hash",
    "pins",
    multiple=True,
    help="sha256:... of the public key that the discovered CA must have; may be repeated",
)
@click.option(
    "--discovery-token-unsafe-skip-ca-verification",
    "skip",
    is_flag=True,
    help="trust whoever knows the token to be the cluster",
)
@click.option("--grpc-port", default=6444, help="of the API server's other face, for components")
@click.option("--node-name", default="", help="default: this machine's host name")
@click.option("--node-ip", default="", help="default: the address that reaches the server")
@click.option("--registry", default="", help="host of the cluster's images, port 5000; default: the server's")
@click.option("--docker-host", default="unix:///var/run/docker.sock", help="where dockerd listens")
@click.option("--directory", default="/etc/pykube/pki", type=click.Path(path_type=Path), help="for its keys")
def join(
    server: str,
    token: str,
    ca_file: Path | None,
    pins: tuple[str, ...],
    skip: bool,
    grpc_port: int,
    node_name: str,
    node_ip: str,
    registry: str,
    docker_host: str,
    directory: Path,
) -> None:
    """Make this machine a node, and run one."""
    logging.basicConfig(level=logging.INFO, format="%(levelname).1s %(asctime)s node: %(message)s", datefmt="%H:%M:%S")
    url = urlsplit(server)
    if url.scheme != "https" or not url.hostname:
        raise click.BadParameter("https://host:port is wanted", param_hint="--server")
    name = node_name or socket.gethostname().lower()
    address = node_ip or own_address(url.hostname, url.port or 443)
    grpc = f"{url.hostname}:{grpc_port}"
    if ca_file is None and not (pins or skip or (directory / "ca.crt").exists()):
        raise click.UsageError(
            "using token-based discovery without --discovery-token-ca-cert-hash can be unsafe: "
            "name the hash, or --ca-file, or set --discovery-token-unsafe-skip-ca-verification"
        )

    async def prepared() -> None:
        await authority(server.rstrip("/"), token, directory, ca_file, pins)
        await certificates(server, grpc, token, directory, name, address)

    try:
        asyncio.run(prepared())
    except* (errors.StatusError, Refused, discovery.Untrusted, ValueError, OSError) as group:
        raise click.ClickException("; ".join(_messages(group))) from None
    settings = node.Settings.read(
        {
            **os.environ,
            "PYKUBE_NODE_NAME": name,
            "PYKUBE_NODE_IP": address,
            "PYKUBE_SERVER": grpc,
            "PYKUBE_REGISTRY": registry or url.hostname,
            "PYKUBE_PKI": str(directory),
        }
    )
    node.boot_agents()
    asyncio.run(serve(settings, docker_host))


def _messages(group: BaseExceptionGroup[BaseException]) -> Sequence[str]:
    return [m for e in group.exceptions for m in (_messages(e) if isinstance(e, BaseExceptionGroup) else [str(e)])]


if __name__ == "__main__":
    main()
