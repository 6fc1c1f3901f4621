"""A machine with Docker becomes a node with a bootstrap token and the hash of the cluster's CA, and leaves again."""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Iterator

import pytest
import yaml
from cryptography import x509

from deploy.node import discovery
from tests.cluster.harness import Cluster, CommandFailed, Space, pod, run, until

NAME = "guest"
# A machine like any other: an engine runs, nobody knows the cluster.
ENGINE = """
import subprocess
from deploy.node import __main__ as node
node.boot()
subprocess.Popen(node.containerd())
subprocess.run(node.dockerd())
"""


@pytest.fixture
def machine(cluster: Cluster) -> Iterator[str]:
    """A container with dockerd in it, on the network of the cluster's machines."""
    name = f"{cluster.project}-{NAME}-1"
    like = json.loads(cluster.docker("inspect", cluster.container("node1")))[0]
    caps = [f"--cap-add={c}" for c in like["HostConfig"]["CapAdd"]]
    run(["docker", "rm", "-fv", name])
    cluster.docker(
        "run", "-d", f"--name={name}", f"--hostname={NAME}", f"--network={cluster.project}_cluster", *caps,
        "--security-opt=seccomp=unconfined", "--security-opt=apparmor=unconfined", "--tmpfs=/run", "--tmpfs=/tmp:exec",
        "--volume=/var/lib/docker", "--volume=/var/lib/kubelet",
        "--entrypoint=catatonit", like["Config"]["Image"], "--", "python3", "-c", ENGINE,
    )  # fmt: skip
    until(lambda: cluster.docker("exec", name, "docker", "version"), "its dockerd runs")
    yield name
    cluster.docker("rm", "-fv", name)
    try:
        cluster.kubectl("delete", "node", NAME)
    except CommandFailed:
        pass


def bootstrap_token(cluster: Cluster) -> str:
    identity, secret = secrets.token_hex(3), secrets.token_hex(8)
    document = {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "bootstrap.kubernetes.io/token",
        "metadata": {"name": f"bootstrap-token-{identity}", "namespace": "kube-system"},
        "stringData": {
            "token-id": identity,
            "token-secret": secret,
            "usage-bootstrap-authentication": "true",
            "usage-bootstrap-signing": "true",
        },
    }
    cluster.kubectl("apply", "-f", "-", stdin=yaml.safe_dump(document))
    return f"{identity}.{secret}"


def requests(cluster: Cluster) -> dict[str, str]:
    """Name and signer of this machine's undecided requests."""
    found = cluster.get("certificatesigningrequests")["items"]
    mine = [c for c in found if c["metadata"]["name"].startswith(f"{NAME}-") and not c["status"].get("conditions")]
    return {c["metadata"]["name"]: c["spec"]["signerName"] for c in mine}


def test_a_machine_joins_with_a_token(cluster: Cluster, space: Space, machine: str) -> None:
    config = yaml.safe_load(cluster.kubeconfig.read_text())
    ca = base64.b64decode(config["clusters"][0]["cluster"]["certificate-authority-data"]).decode()
    run(["docker", "exec", "-i", machine, "sh", "-c", "cat > /tmp/ca.crt"], stdin=ca)
    join = ["python3", "-m", "deploy.node.join", "join", "--server=https://apiserver:6443", "--registry=registry"]
    with pytest.raises(CommandFailed) as failure:
        refused = ["--directory=/tmp/refused", "--ca-file=/tmp/ca.crt", "--token=abcdef.0123456789abcdef"]
        cluster.docker("exec", machine, *join, *refused)
    assert "Unauthorized" in failure.value.stderr
    token = bootstrap_token(cluster)
    # Nothing but a token, and the hash of the CA that the administrator has read to somebody over the telephone.
    pinned = "--discovery-token-ca-cert-hash={}".format
    with pytest.raises(CommandFailed) as failure:
        cluster.docker("exec", machine, *join, f"--token={token}", pinned(f"sha256:{'0' * 64}"))
    assert "are pinned" in failure.value.stderr
    own = discovery.pin_of(x509.load_pem_x509_certificate(ca.encode()))
    cluster.docker("exec", "-d", machine, *join, f"--token={token}", pinned(own))
    signers = {"kubernetes.io/kubelet-serving", "kubernetes.io/kube-apiserver-client"}
    until(lambda: set(requests(cluster).values()) == signers, "it asks for what a person has to approve")
    cluster.kubectl("certificate", "approve", *requests(cluster))
    until(lambda: NAME in cluster.ready_nodes(), "it is a Ready node", timeout=120)
    space.apply(pod("visitor", "echo hello; sleep infinity", nodeName=NAME))
    space.wait_ready("visitor")
    assert space.kubectl("logs", "visitor") == "hello\n"
    assert space.exec("visitor", "hostname") == "visitor\n"
    # Its pods reach the cluster's Services, so its proxy works.
    until(lambda: "10.96.0.1" in space.exec("visitor", "getent", "hosts", "kubernetes.default.svc"), "DNS answers")
    space.kubectl("delete", "pod", "visitor", "--timeout=30s")
