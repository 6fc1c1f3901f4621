"""The cluster's certificates and keys, made once: `python -m deploy.pki DIR [--node NAME=ADDRESS] ...`.

Running it again keeps every file that is still good and issues anew what expires within `RENEW` or names the wrong
hosts, so it is safe to run at each start. Names and subjects are kubeadm's where kubeadm has one: the subject of a
certificate is the identity that RBAC sees (CN the user, O the groups).

DIR is for the control plane. A node gets nothing but its own keys and the CA's certificate: `--bundle NAME=FOLDER` puts
those there. Keys are P-256; the one that signs service account tokens is RSA, which every verifier of tokens knows.
"""

from __future__ import annotations

import base64
import ipaddress
import os
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
import yaml
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CA_LIFETIME = timedelta(days=3650)
LIFETIME = timedelta(days=365)
RENEW = timedelta(days=30)
"""A certificate with less time left than this is issued anew."""

BACKDATE = timedelta(minutes=5)
"""How far before now a certificate starts to hold, for clocks that differ a little."""

API_HOSTS = (
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
    "apiserver",
    "localhost",
    "127.0.0.1",
    "::1",
)

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


@dataclass(frozen=True, kw_only=True)
class Leaf:
    """A certificate to be: whom it names, which hosts it serves (none: clients only)."""

    file: str
    common_name: str
    groups: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    client: bool = True


@dataclass(frozen=True)
class Node:
    name: str
    address: str


def leaves(*, service_address: str, api_hosts: Iterable[str], nodes: Iterable[Node]) -> list[Leaf]:
    """What the cluster's CA signs."""
    masters = ("system:masters",)
    return [
        Leaf(
            file="apiserver",
            common_name="kube-apiserver",
            hosts=(*API_HOSTS, service_address, *api_hosts),
            client=False,
        ),
        Leaf(file="apiserver-kubelet-client", common_name="kube-apiserver-kubelet-client", groups=masters),
        Leaf(file="admin", common_name="kubernetes-admin", groups=masters),
        Leaf(file="scheduler", common_name="system:kube-scheduler"),
        Leaf(file="controller-manager", common_name="system:kube-controller-manager"),
        Leaf(file="proxy", common_name="system:kube-proxy"),
        *(
            Leaf(
                file=f"node-{node.name}",
                common_name=f"system:node:{node.name}",
                groups=("system:nodes",),
                hosts=(node.name, node.address),
            )
            for node in nodes
        ),
    ]


def front_proxy_leaves() -> list[Leaf]:
    """How the API server shows itself to aggregated ones; a CA of its own, so that nobody else can name users."""
    return [Leaf(file="front-proxy-client", common_name="front-proxy-client")]


def etcd_leaves() -> list[Leaf]:
    """What etcd's own CA signs: no other certificate of the cluster opens the store."""
    return [
        Leaf(file="etcd-server", common_name="etcd", hosts=("etcd", "localhost", "127.0.0.1", "::1")),
        Leaf(file="apiserver-etcd-client", common_name="kube-apiserver-etcd-client"),
    ]


class Authority:
    """A CA in a folder: `<file>.crt` and `<file>.key`."""

    def __init__(self, folder: Path, file: str, common_name: str) -> None:
        self.folder = folder
        self.certificate_file = folder / f"{file}.crt"
        key_file = folder / f"{file}.key"
        if self.certificate_file.exists() and key_file.exists():
            self.certificate = x509.load_pem_x509_certificate(self.certificate_file.read_bytes())
            key = serialization.load_pem_private_key(key_file.read_bytes(), None)
            assert isinstance(key, ec.EllipticCurvePrivateKey)
            self.key = key
            return
        self.key = ec.generate_private_key(ec.SECP256R1())
        name = subject(common_name)
        self.certificate = (
            builder(name, name, self.key.public_key(), CA_LIFETIME)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(usage(sign_certificates=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self.key.public_key()), critical=False)
            .sign(self.key, hashes.SHA256())
        )
        write_key(key_file, self.key)
        write(self.certificate_file, self.certificate.public_bytes(serialization.Encoding.PEM), 0o644)

    def issue(self, leaf: Leaf) -> bool:
        """Makes a certificate unless a good one is there; says whether it did."""
        certificate_file, key_file = self.folder / f"{leaf.file}.crt", self.folder / f"{leaf.file}.key"
        if key_file.exists() and self._good(certificate_file, leaf):
            return False
        key = ec.generate_private_key(ec.SECP256R1())
        purposes = [ExtendedKeyUsageOID.CLIENT_AUTH] if leaf.client else []
        if leaf.hosts:
            purposes.append(ExtendedKeyUsageOID.SERVER_AUTH)
        request = (
            builder(
                subject(leaf.common_name, leaf.groups),
                self.certificate.subject,
                key.public_key(),
                min(LIFETIME, self.certificate.not_valid_after_utc - datetime.now(UTC)),
            )
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(usage(sign_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
        )
        if leaf.hosts:
            request = request.add_extension(x509.SubjectAlternativeName(names(leaf.hosts)), critical=False)
        certificate = request.sign(self.key, hashes.SHA256())
        write_key(key_file, key)
        write(certificate_file, certificate.public_bytes(serialization.Encoding.PEM), 0o644)
        return True

    def _good(self, file: Path, leaf: Leaf) -> bool:
        if not file.exists():
            return False
        certificate = x509.load_pem_x509_certificate(file.read_bytes())
        try:
            certificate.verify_directly_issued_by(self.certificate)
        except (ValueError, TypeError, InvalidSignature):
            return False
        if certificate.not_valid_after_utc - datetime.now(UTC) < RENEW:
            return False
        try:
            held = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except x509.ExtensionNotFound:
            return not leaf.hosts
        return set(names(leaf.hosts)) <= set(held)


def subject(common_name: str, groups: Iterable[str] = ()) -> x509.Name:
    organizations = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
    return x509.Name([*organizations, x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def names(hosts: Iterable[str]) -> list[x509.GeneralName]:
    """Hosts as certificate names: addresses as addresses, the rest as DNS names."""
    result: list[x509.GeneralName] = []
    for host in hosts:
        try:
            result.append(x509.IPAddress(ipaddress.ip_address(host)))
        except ValueError:
            result.append(x509.DNSName(host))
    return result


def builder(
    name: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, lifetime: timedelta
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATE)
        .not_valid_after(now + lifetime)
    )


def usage(*, sign_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=sign_certificates,
        crl_sign=sign_certificates,
        key_encipherment=not sign_certificates,
        content_commitment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def write(file: Path, content: bytes, mode: int) -> None:
    """Puts a file in place whole, never readable to more than `mode` allows."""
    temporary = file.with_name(f".{file.name}.new")
    temporary.unlink(missing_ok=True)
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as handle:
        handle.write(content)
    temporary.chmod(mode)
    temporary.replace(file)


def write_key(file: Path, key: PrivateKey) -> None:
    encoding, shape = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    write(file, key.private_bytes(encoding, shape, serialization.NoEncryption()), 0o600)


def service_account_keys(folder: Path) -> None:
    """The pair that signs and verifies service account tokens."""
    if (folder / "sa.key").exists() and (folder / "sa.pub").exists():
        return
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    write_key(folder / "sa.key", key)
    shape = serialization.PublicFormat.SubjectPublicKeyInfo
    write(folder / "sa.pub", key.public_key().public_bytes(serialization.Encoding.PEM, shape), 0o644)


def kubeconfig(folder: Path, server: str) -> bytes:
    """The administrator's kubeconfig, complete in one file."""

    def inline(file: str) -> str:
        return base64.b64encode((folder / file).read_bytes()).decode()

    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {"name": "pykube", "cluster": {"certificate-authority-data": inline("ca.crt"), "server": server}},
        ],
        "users": [
            {
                "name": "pykube",
                "user": {"client-certificate-data": inline("admin.crt"), "client-key-data": inline("admin.key")},
            },
        ],
        "contexts": [{"name": "pykube", "context": {"cluster": "pykube", "user": "pykube"}}],
        "current-context": "pykube",
    }
    return yaml.safe_dump(config, sort_keys=False).encode()


def bundle(folder: Path, node: str, target: Path) -> None:
    """A node's own files: the CA's certificate, its kubelet's pair and its proxy's."""
    target.mkdir(parents=True, exist_ok=True)
    pairs = {"kubelet": f"node-{node}", "proxy": "proxy"}
    files = {"ca.crt": "ca.crt"} | {f"{to}.{end}": f"{of}.{end}" for to, of in pairs.items() for end in ("crt", "key")}
    for name, source in files.items():
        content = (folder / source).read_bytes()
        if not (target / name).exists() or (target / name).read_bytes() != content:
            write(target / name, content, 0o600 if name.endswith(".key") else 0o644)


def make(
    folder: Path,
    *,
    nodes: Iterable[Node] = (),
    api_hosts: Iterable[str] = (),
    service_address: str = "10.96.0.1",
    server: str = "https://127.0.0.1:6443",
) -> list[str]:
    """Everything in `folder`; returns what had to be issued."""
    folder.mkdir(parents=True, exist_ok=True)
    authority = Authority(folder, "ca", "kubernetes-ca")
    etcd = Authority(folder, "etcd-ca", "etcd-ca")
    front_proxy = Authority(folder, "front-proxy-ca", "front-proxy-ca")
    wanted = leaves(service_address=service_address, api_hosts=api_hosts, nodes=nodes)
    issued = [leaf.file for leaf in wanted if authority.issue(leaf)]
    issued += [leaf.file for leaf in etcd_leaves() if etcd.issue(leaf)]
    issued += [leaf.file for leaf in front_proxy_leaves() if front_proxy.issue(leaf)]
    service_account_keys(folder)
    write(folder / "admin.conf", kubeconfig(folder, server), 0o600)
    return issued


def pairs(convert: Callable[[str, str], object]) -> Callable[[click.Context, click.Parameter, tuple[str, ...]], object]:
    """A click callback for options of the form NAME=VALUE."""

    def parse(_context: click.Context, _parameter: click.Parameter, values: tuple[str, ...]) -> object:
        result = []
        for value in values:
            name, separator, rest = value.partition("=")
            if not (name and separator and rest):
                raise click.BadParameter(f"{value!r} is not NAME=VALUE")
            result.append(convert(name, rest))
        return result

    return parse


@click.command(context_settings={"auto_envvar_prefix": "PYKUBE_PKI"})
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--node", "nodes", multiple=True, callback=pairs(Node), help="NAME=ADDRESS of a node; may be repeated.")
@click.option(
    "--bundle", "bundles", multiple=True, callback=pairs(lambda *p: p), help="NAME=FOLDER for a node's files."
)
@click.option("--api-host", "api_hosts", multiple=True, help="A further name or address of the API server.")
@click.option("--service-address", default="10.96.0.1", show_default=True, help="The `kubernetes` Service's address.")
@click.option("--server", default="https://127.0.0.1:6443", show_default=True, help="What admin.conf points at.")
@click.option("--owner", type=int, help="Numeric user that the files in FOLDER belong to.")
def main(
    folder: Path,
    nodes: list[Node],
    bundles: list[tuple[str, str]],
    api_hosts: tuple[str, ...],
    service_address: str,
    server: str,
    owner: int | None,
) -> None:
    """Makes the cluster's certificates in FOLDER, keeping those that are good."""
    issued = make(folder, nodes=nodes, api_hosts=api_hosts, service_address=service_address, server=server)
    if owner is not None:
        for file in (folder, *folder.iterdir()):
            shutil.chown(file, owner, owner)
    for name, target in bundles:
        bundle(folder, name, Path(target))
    click.echo(f"issued: {', '.join(issued)}" if issued else "all certificates are good")


if __name__ == "__main__":
    main()
