"""The controllers that nobody asks for: identities, certificates, endpoints by hand, replicas without a Deployment."""

from __future__ import annotations

import base64
import json
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.cluster.harness import SERVE_NAME, Cluster, Space, pod, until
from tests.cluster.workloads import live, names, reasons, template, workload

LABELS = {"app": "web"}


def test_replica_sets_and_replication_controllers_adopt_release_and_choose_whom_to_remove(space: Space) -> None:
    slow = {"exec": {"command": ["test", "-e", "/tmp/ready"]}, "periodSeconds": 1}
    stray = pod("stray", "touch /tmp/ready; exec sleep infinity", labels=LABELS)
    space.apply(stray)
    space.wait_ready("stray")
    made = template(LABELS, readinessProbe=slow)
    space.apply(workload("ReplicaSet", "web", made, replicas=3))
    until(lambda: len(live(space, "app=web")) == 3, "two more")
    (owner,) = space.get("pod", "stray")["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"], owner["controller"]) == ("ReplicaSet", "web", True)
    until(lambda: space.get("replicaset", "web")["status"].get("readyReplicas") == 1, "only the adopted one is ready")
    # A pod whose labels change is let go and replaced.
    other = next(n for n in names(live(space, "app=web")) if n != "stray")
    space.kubectl("label", "pod", other, "app=else", "--overwrite")
    until(lambda: not space.get("pod", other)["metadata"].get("ownerReferences"), "released")
    until(lambda: len(live(space, "app=web")) == 3, "replaced")
    # The ready one is the last to be removed; a cheap one goes before.
    space.kubectl("scale", "replicaset", "web", "--replicas=1")
    until(lambda: names(live(space, "app=web")) == {"stray"}, "the ready one is left")
    assert {"SuccessfulCreate", "SuccessfulDelete"} <= reasons(space, "web")
    legacy = {"app": "legacy"}
    controller = {
        "apiVersion": "v1",
        "kind": "ReplicationController",
        "metadata": {"name": "legacy"},
        "spec": {"replicas": 2, "selector": legacy, "template": template(legacy)},
    }
    space.apply(controller)
    until(lambda: space.get("rc", "legacy")["status"].get("readyReplicas") == 2, "two are ready")
    cheap = sorted(names(live(space, "app=legacy")))[0]
    space.kubectl("annotate", "pod", cheap, "controller.kubernetes.io/pod-deletion-cost=-1")
    space.kubectl("scale", "rc", "legacy", "--replicas=1")
    until(lambda: len(live(space, "app=legacy")) == 1, "one is left")
    assert cheap not in names(live(space, "app=legacy"))


def test_every_namespace_has_an_identity_and_the_ca(space: Space) -> None:
    until(lambda: "BEGIN CERTIFICATE" in space.get("configmap", "kube-root-ca.crt")["data"]["ca.crt"], "the CA")
    space.kubectl("delete", "configmap", "kube-root-ca.crt")
    until(lambda: space.get("configmap", "kube-root-ca.crt"), "the CA is back")
    space.kubectl("delete", "serviceaccount", "default")
    until(lambda: space.get("serviceaccount", "default"), "the default account is back")
    # A Secret of the old kind is filled, and goes with its account.
    space.kubectl("create", "serviceaccount", "robot")
    annotations = {"kubernetes.io/service-account.name": "robot"}
    metadata = {"name": "robot-token", "annotations": annotations}
    space.apply(
        {"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/service-account-token", "metadata": metadata}
    )
    filled = until(lambda: space.get("secret", "robot-token").get("data"), "filled")
    token = base64.b64decode(filled["token"]).decode()
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token}}
    said = space.kubectl("create", "-f", "-", "-o", "json", stdin=json.dumps(review))
    assert json.loads(said)["status"]["user"]["username"] == f"system:serviceaccount:{space.name}:robot"
    space.kubectl("delete", "serviceaccount", "robot")
    until(lambda: "robot-token" not in names(space.get("secrets")["items"]), "the token went too")


def test_certificates_that_are_approved_are_signed(cluster: Cluster, space: Space) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "jane")])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    pem = request.public_bytes(serialization.Encoding.PEM)
    spec = {
        "request": base64.b64encode(pem).decode(),
        "signerName": "kubernetes.io/kube-apiserver-client",
        "usages": ["client auth"],
        "expirationSeconds": 3600,
    }
    name = f"jane-{space.name}"
    csr = {"apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest", "metadata": {"name": name}}
    space.apply({**csr, "spec": spec})
    assert "Pending" in cluster.kubectl("get", "csr", name)
    cluster.kubectl("certificate", "approve", name)
    signed = until(lambda: cluster.get("csr", name)["status"].get("certificate"), "signed")
    certificate = x509.load_pem_x509_certificate(base64.b64decode(signed))
    assert certificate.subject == subject
    assert (certificate.not_valid_after_utc - certificate.not_valid_before_utc).total_seconds() < 2 * 3600
    cluster.kubectl("delete", "csr", name)


def test_endpoints_by_hand_are_mirrored_into_slices_and_serve(space: Space) -> None:
    space.apply(pod("server", SERVE_NAME), pod("client"))
    space.wait_ready("server", "client")
    ip = space.get("pod", "server")["status"]["podIP"]
    service: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "manual"},
        "spec": {"ports": [{"port": 80, "targetPort": 8080}]},
    }
    endpoints = {
        "apiVersion": "v1",
        "kind": "Endpoints",
        "metadata": {"name": "manual"},
        "subsets": [{"addresses": [{"ip": ip}], "ports": [{"port": 8080}]}],
    }
    space.apply(service, endpoints)

    def mirrored() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = space.get("endpointslices", "-l", "kubernetes.io/service-name=manual")["items"]
        return found

    (slice_,) = until(mirrored, "a slice")
    managed = slice_["metadata"]["labels"]["endpointslice.kubernetes.io/managed-by"]
    assert managed == "endpointslicemirroring-controller.k8s.io"
    assert slice_["endpoints"][0]["addresses"] == [ip]
    until(lambda: space.exec("client", "wget", "-qO-", "-T1", "http://manual").strip() == "server", "it serves")
    space.kubectl("delete", "endpoints", "manual")
    until(lambda: not mirrored(), "the slice is gone")
