"""Certificates: who they name, that they are kept while good and renewed when not, and what a node gets to see."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.x509.oid import NameOID

from deploy import pki

NODES = [pki.Node("node1", "172.30.0.11"), pki.Node("node2", "172.30.0.12")]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    target = tmp_path / "pki"
    pki.make(target, nodes=NODES)
    return target


def certificate(file: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(file.read_bytes())


def subject(file: Path) -> tuple[str, list[str]]:
    name = certificate(file).subject
    groups = [str(attribute.value) for attribute in name.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)]
    return str(name.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value), groups


@pytest.mark.parametrize(
    ("file", "user", "groups"),
    [
        ("admin", "kubernetes-admin", ["system:masters"]),
        ("apiserver-kubelet-client", "kube-apiserver-kubelet-client", ["system:masters"]),
        ("scheduler", "system:kube-scheduler", []),
        ("controller-manager", "system:kube-controller-manager", []),
        ("proxy", "system:kube-proxy", []),
        ("node-node1", "system:node:node1", ["system:nodes"]),
    ],
)
def test_identities_are_those_that_rbac_knows(folder: Path, file: str, user: str, groups: list[str]) -> None:
    assert subject(folder / f"{file}.crt") == (user, groups)


def test_the_api_server_is_found_under_all_its_names(folder: Path) -> None:
    names = certificate(folder / "apiserver.crt").extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert {"kubernetes.default.svc", "apiserver", "localhost"} <= set(names.get_values_for_type(x509.DNSName))
    assert {"127.0.0.1", "10.96.0.1"} <= {str(address) for address in names.get_values_for_type(x509.IPAddress)}


def test_chains_verify_and_the_store_trusts_no_one_of_the_cluster(folder: Path) -> None:
    def verifies(authority: str, name: str) -> bool:
        try:
            certificate(folder / f"{name}.crt").verify_directly_issued_by(certificate(folder / f"{authority}.crt"))
        except (ValueError, InvalidSignature):
            return False
        return True

    assert verifies("ca", "admin")
    assert verifies("ca", "node-node2")
    assert verifies("etcd-ca", "apiserver-etcd-client")
    assert not verifies("etcd-ca", "admin")


def test_a_second_run_changes_nothing(folder: Path) -> None:
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    assert pki.make(folder, nodes=NODES) == []
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before


def test_a_new_node_or_address_gets_a_certificate_and_the_others_keep_theirs(folder: Path) -> None:
    moved = [pki.Node("node1", "172.31.0.11"), NODES[1], pki.Node("node3", "172.30.0.13")]
    assert pki.make(folder, nodes=moved) == ["node-node1", "node-node3"]


def test_what_expires_soon_is_renewed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pki, "RENEW", pki.LIFETIME + timedelta(days=1))
    assert "admin" in pki.make(folder, nodes=NODES)
    assert certificate(folder / "admin.crt").not_valid_after_utc > datetime.now(UTC) + timedelta(days=364)


def test_a_truncated_certificate_of_another_ca_is_replaced(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    pki.make(other, nodes=NODES)
    (folder / "proxy.crt").write_bytes((other / "proxy.crt").read_bytes())
    assert pki.make(folder, nodes=NODES) == ["proxy"]


def test_keys_are_for_their_owner_only(folder: Path) -> None:
    readable = [file.name for file in folder.iterdir() if file.stat().st_mode & 0o077]
    assert all(name.endswith((".crt", ".pub")) for name in readable), readable


def test_a_node_gets_its_own_keys_and_no_others(tmp_path: Path) -> None:
    target = tmp_path / "node1"
    arguments = [str(tmp_path / "pki"), "--node", "node1=172.30.0.11", "--bundle", f"node1={target}"]
    result = CliRunner().invoke(pki.main, arguments)
    assert result.exit_code == 0, result.output
    assert {file.name for file in target.iterdir()} == {
        *("ca.crt", "kubelet.crt", "kubelet.key", "proxy.crt", "proxy.key"),
    }
    assert subject(target / "kubelet.crt") == ("system:node:node1", ["system:nodes"])


def test_admin_conf_works_alone(folder: Path) -> None:
    config = yaml.safe_load((folder / "admin.conf").read_text())
    assert config["current-context"] == "pykube"
    assert config["clusters"][0]["cluster"]["server"] == "https://127.0.0.1:6443"
    assert set(config["users"][0]["user"]) == {"client-certificate-data", "client-key-data"}


def test_a_malformed_node_is_refused(tmp_path: Path) -> None:
    result = CliRunner().invoke(pki.main, [str(tmp_path), "--node", "node1"])
    assert result.exit_code == 2
    assert "'node1' is not NAME=VALUE" in result.output
