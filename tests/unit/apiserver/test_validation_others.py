"""The remaining kinds: namespaces, nodes, configuration, volumes, networking, policy, RBAC, certificates, extensions."""

# ruff: noqa: E501 (messages and documents in tables are easier to compare unbroken)
from __future__ import annotations

import base64
from typing import Any

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.unit.apiserver.building import (
    context,
    create_errors,
    created,
    make,
    status_errors,
    strategy_of,
    update_errors,
)


def doc(api_version: str, kind: str, rest: str = "{}") -> dict[str, Any]:
    metadata = {"name": "x", "namespace": "default"}
    found: dict[str, Any] = {"apiVersion": api_version, "kind": kind, "metadata": metadata, **yaml.safe_load(rest)}
    return found


def cluster(api_version: str, kind: str, rest: str = "{}") -> dict[str, Any]:
    found = doc(api_version, kind, rest)
    found["metadata"].pop("namespace", None)
    return found


NET, RBAC = "networking.k8s.io/v1", "rbac.authorization.k8s.io/v1"
SEALED = "field is immutable when `immutable` is set"

CREATE: list[tuple[dict[str, Any], list[str]]] = [
    # configuration
    (doc("v1", "ConfigMap", "{data: {'a b': x}}"), [
        "data[a b]: Invalid value: \"a b\": a valid config key must consist of alphanumeric characters, '-', '_' or "
        "'.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"]),
    (doc("v1", "ConfigMap", "{data: {a: x}, binaryData: {a: eA==}}"), [
        'data[a]: Invalid value: "a": duplicate of key present in binaryData']),
    (doc("v1", "ConfigMap", f"{{data: {{a: {'x' * 1048577}}}}}"), [
        "[]: Too long: may not be more than 1048576 bytes"]),
    (doc("v1", "Secret", "{type: kubernetes.io/tls, data: {tls.crt: eA==}}"), ["data[tls.key]: Required value"]),
    (doc("v1", "Secret", "{type: kubernetes.io/dockerconfigjson, stringData: {.dockerconfigjson: '{}'}}"), []),
    (doc("v1", "Secret", "{type: kubernetes.io/service-account-token}"), [
        "metadata.annotations[kubernetes.io/service-account.name]: Required value"]),
    # nodes and namespaces
    (cluster("v1", "Node", "{spec: {taints: [{key: a, effect: NoExecute}, {key: a, effect: NoExecute}]}}"), [
        'spec.taints[1]: Duplicate value: {"effect":"NoExecute","key":"a"}: taints must be unique by key and effect pair'
        ]),
    (cluster("v1", "Node", "{spec: {taints: [{key: a, effect: Never}]}}"), [
        'spec.taints[0].effect: Unsupported value: "Never": supported values: "NoSchedule", "PreferNoSchedule", '
        '"NoExecute"']),
    (cluster("v1", "Node", "{spec: {podCIDRs: [10.0.0.0/99]}}"), [
        'spec.podCIDRs[0]: Invalid value: "10.0.0.0/99": '
        "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"]),
    (cluster("v1", "Namespace", "{spec: {finalizers: [mine]}}"), [
        'spec.finalizers: Invalid value: "mine": name is neither a standard finalizer name nor is it fully qualified']),
    # volumes
    (cluster("v1", "PersistentVolume", "{spec: {hostPath: {path: /x}}}"), [
        "spec.accessModes: Required value: at least 1 access mode is required", "spec.capacity: Required value"]),
    (cluster("v1", "PersistentVolume",
             "{spec: {accessModes: [ReadWriteOnce], capacity: {storage: 1Gi}, local: {path: /x}}}"), [
        "spec.nodeAffinity: Required value: Local volume requires node affinity"]),
    (doc("v1", "PersistentVolumeClaim", "{spec: {accessModes: [ReadWriteSometimes]}}"), [
        'spec.accessModes: Unsupported value: "ReadWriteSometimes": supported values: "ReadOnlyMany", '
        '"ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"',
        "spec.resources[storage]: Required value"]),
    (cluster("storage.k8s.io/v1", "StorageClass", "{provisioner: '', reclaimPolicy: Keep}"), [
        "provisioner: Required value",
        'reclaimPolicy: Unsupported value: "Keep": supported values: "Delete", "Retain"']),
    # networking
    (doc(NET, "Ingress", "{spec: {}}"), [
        "spec: Invalid value: []: either `defaultBackend` or `rules` must be specified"]),
    (doc(NET, "Ingress", "{spec: {rules: [{host: 1.2.3.4, http: {paths: [{path: x, pathType: Prefix, "
                         "backend: {service: {name: web}}}]}}]}}"), [
        'spec.rules[0].host: Invalid value: "1.2.3.4": must be a DNS name, not an IP address',
        'spec.rules[0].http.paths[0].path: Invalid value: "x": must be an absolute path',
        "spec.rules[0].http.paths[0].backend: Required value: port name or number is required"]),
    (doc(NET, "Ingress", "{spec: {rules: [{http: {paths: [{backend: {service: {name: web, port: {number: 1}}}}]}}]}}"), [
        "spec.rules[0].http.paths[0].pathType: Required value: pathType must be specified"]),
    (doc(NET, "NetworkPolicy", "{spec: {podSelector: {}, ingress: [{from: [{}], ports: [{port: 80, endPort: 70}]}]}}"), [
        "spec.ingress[0].ports[0].endPort: Invalid value: 70: must be greater than or equal to `port`",
        "spec.ingress[0].from[0]: Required value: must specify a peer"]),
    (doc(NET, "NetworkPolicy",
         "{spec: {podSelector: {}, egress: [{to: [{ipBlock: {cidr: 10.0.0.0/8, except: [11.0.0.0/16]}}]}]}}"), [
        'spec.egress[0].to[0].ipBlock.except[0]: Invalid value: "11.0.0.0/16": must be a strict subset of `cidr`']),
    # policy
    (doc("policy/v1", "PodDisruptionBudget", "{spec: {minAvailable: 1, maxUnavailable: 1}}"), [
        'spec: Invalid value: {"maxUnavailable":1,"minAvailable":1}: '
        "minAvailable and maxUnavailable cannot be both set"]),
    (cluster("scheduling.k8s.io/v1", "PriorityClass", "{value: 1000000001}"), [
        "value: Forbidden: maximum allowed value of a user defined priority is 1000000000"]),
    (doc("autoscaling/v2", "HorizontalPodAutoscaler",
         "{spec: {minReplicas: 3, maxReplicas: 2, scaleTargetRef: {kind: Deployment, name: web}}}"), [
        "spec.maxReplicas: Invalid value: 2: must be greater than or equal to `minReplicas`"]),
    (doc("v1", "LimitRange", "{spec: {limits: [{type: Pod, min: {cpu: 2}, max: {cpu: 1}}]}}"), [
        'spec.limits[0].min[cpu]: Invalid value: "2": min value 2 is greater than max value 1']),
    (doc("v1", "ResourceQuota", "{spec: {hard: {pods: 1.5, tapes: 1}, scopes: [BestEffort, NotBestEffort]}}"), [
        'spec.hard[pods]: Invalid value: "1500m": must be an integer',
        'spec.hard[tapes]: Invalid value: "tapes": must be a standard resource for quota',
        'spec.scopes: Invalid value: ["BestEffort","NotBestEffort"]: conflicting scopes']),
    (doc("coordination.k8s.io/v1", "Lease", "{spec: {leaseDurationSeconds: 0}}"), [
        "spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0"]),
    (doc("v1", "Event", "{involvedObject: {namespace: other, kind: Pod, name: a}}"), [
        'involvedObject.namespace: Invalid value: "other": does not match event.namespace']),
    # RBAC
    (doc(RBAC, "Role", "{rules: [{apiGroups: [''], resources: [pods]}, {verbs: [get], nonResourceURLs: [/x]}]}"), [
        "rules[0].verbs: Required value: verbs must contain at least one value",
        'rules[1].nonResourceURLs: Invalid value: ["/x"]: namespaced rules cannot apply to non-resource URLs']),
    (doc(RBAC, "RoleBinding", "{roleRef: {kind: Power, name: r}, subjects: [{kind: Robot, name: r}]}"), [
        'roleRef.kind: Unsupported value: "Power": supported values: "Role", "ClusterRole"',
        'subjects[0].kind: Unsupported value: "Robot": supported values: "Group", "ServiceAccount", "User"']),
    (cluster(RBAC, "ClusterRoleBinding", "{roleRef: {kind: ClusterRole, name: r}, "
                                         "subjects: [{kind: ServiceAccount, name: s}]}"), [
        "subjects[0].namespace: Required value"]),
    # extensions
    (cluster("apiextensions.k8s.io/v1", "CustomResourceDefinition",
             "{metadata: {name: crons.example.com}, spec: {group: example.com, scope: Namespaced, names: {plural: cronz, "
             "kind: Cron}, versions: [{name: v1, served: true, storage: false}]}}"), [
        'metadata.name: Invalid value: "crons.example.com": must be spec.names.plural+"."+spec.group',
        "spec.versions[0].schema.openAPIV3Schema: Required value: schemas are required",
        'spec.versions: Invalid value: ["v1"]: must have exactly one version marked as storage version']),
    (cluster("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration",
             "{webhooks: [{name: hook, clientConfig: {url: 'http://x'}, admissionReviewVersions: [v1], "
             "sideEffects: Some, rules: [{operations: [CREATE], apiGroups: [''], apiVersions: [v1], "
             "resources: [pods]}]}]}"), [
        'webhooks[0].name: Invalid value: "hook": should be a domain with at least three segments separated by dots',
        'webhooks[0].sideEffects: Unsupported value: "Some": supported values: "None", "NoneOnDryRun"',
        "webhooks[0].clientConfig.url: Invalid value: \"http\": 'https' is the only allowed URL scheme; desired format: "
        "https://host[/path]"]),
]  # fmt: skip


@pytest.mark.parametrize(("document", "expected"), CREATE, ids=lambda v: v["kind"] if isinstance(v, dict) else "")
def test_creation(document: dict[str, Any], expected: list[str]) -> None:
    assert create_errors(document) == expected


def text(document: dict[str, Any]) -> str:
    return yaml.safe_dump(document)


CLAIM = text(doc("v1", "PersistentVolumeClaim",
                 "{spec: {accessModes: [ReadWriteOnce], storageClassName: fast, resources: {requests: {storage: 1Gi}}}}"))  # fmt: skip

UPDATE: list[tuple[str, str | None, str, list[str]]] = [
    (text(doc("v1", "ConfigMap", "{data: {a: b}}")), "immutable: true", "data: {a: c}", [
        f"immutable: Forbidden: {SEALED}", f"data: Forbidden: {SEALED}"]),
    (text(doc("v1", "Secret", "{stringData: {a: b}}")), None, "type: other/kind", [
        'type: Invalid value: "other/kind": field is immutable']),
    (text(doc("v1", "Secret", "{data: {a: YQ==}, immutable: true}")), None, "metadata: {labels: {a: b}}", []),
    (text(cluster("v1", "Node")), "spec: {podCIDR: 10.0.0.0/24}", "spec: {podCIDR: 10.0.1.0/24}", [
        'spec.podCIDRs: Forbidden: node updates may not change podCIDR except from "" to valid']),
    (text(cluster("storage.k8s.io/v1", "StorageClass", "{provisioner: a/b}")), None, "provisioner: c/d", [
        "provisioner: Forbidden: updates to provisioner are forbidden."]),
    (text(cluster("scheduling.k8s.io/v1", "PriorityClass", "{value: 1}")), None, "value: 2", [
        "value: Forbidden: may not be changed in an update."]),
    (text(doc(RBAC, "RoleBinding", "{roleRef: {kind: Role, name: r}}")), None, "roleRef: {name: s}", [
        'roleRef: Invalid value: {"apiGroup":"rbac.authorization.k8s.io","kind":"Role","name":"s"}: '
        "cannot change roleRef"]),
]  # fmt: skip


@pytest.mark.parametrize(("base", "before", "after", "expected"), UPDATE)
def test_updates(base: str, before: str | None, after: str, expected: list[str]) -> None:
    assert update_errors(base, before, after) == expected


def test_a_claim_is_fixed_but_may_grow_once_bound() -> None:
    (error,) = update_errors(CLAIM, None, "spec: {storageClassName: slow}")
    assert error.startswith(
        "spec: Forbidden: spec is immutable after creation except resources.requests and volumeAttributesClassName "
        "for bound claims\n"
    )
    old, new = make(CLAIM, "status: {phase: Bound}"), make(CLAIM, "spec: {resources: {requests: {storage: 2Gi}}}")
    strategy, ctx = strategy_of(old), context(old)
    strategy.prepare_update(ctx, new, old)
    assert strategy.validate_update(ctx, new, old) == []
    smaller = make(CLAIM, "spec: {resources: {requests: {storage: 500Mi}}}")
    strategy.prepare_update(ctx, smaller, old)
    assert [str(e) for e in strategy.validate_update(ctx, smaller, old)] == [
        "spec.resources.requests.storage: Forbidden: field can not be less than status.capacity"
    ]


def test_a_namespaces_phase_follows_its_deletion() -> None:
    base = text(cluster("v1", "Namespace"))
    assert status_errors(base, "status: {phase: Active}", "status: {phase: Terminating}") == [
        "status.Phase: Invalid value: \"Terminating\": may only be 'Active' if `deletionTimestamp` is empty"
    ]


def test_service_accounts_keep_only_names_of_secrets() -> None:
    account = created(doc("v1", "ServiceAccount", "{secrets: [{name: a, uid: u}]}"))
    assert [(s.name, s.uid) for s in account.secrets] == [("a", None)]


def csr(organization: str = "dev") -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name(
        [x509.NameAttribute(NameOID.COMMON_NAME, "jane"), x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization)]
    )
    request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    return base64.b64encode(request.public_bytes(serialization.Encoding.PEM)).decode()


def certificate_request(**spec: Any) -> dict[str, Any]:
    base = {"request": csr(), "signerName": "example.com/signer", "usages": ["client auth"]}
    return {**cluster("certificates.k8s.io/v1", "CertificateSigningRequest"), "spec": {**base, **spec}}


def test_certificate_requests() -> None:
    assert create_errors(certificate_request()) == []
    assert create_errors(certificate_request(usages=["flying"], expirationSeconds=10))[0].startswith(
        'spec.usages[0]: Unsupported value: "flying": supported values: "any", "cert sign"'
    )
    (error,) = create_errors(certificate_request(request=base64.b64encode(b"no pem").decode()))
    assert error.endswith("PEM block type must be CERTIFICATE REQUEST")
    request = created(certificate_request(username="root", groups=["system:masters"]))
    assert (request.spec.username, request.spec.groups) == ("jane", ["system:authenticated"])


def test_decisions_on_certificate_requests_are_for_good() -> None:
    approved = {"type": "Approved", "status": "True"}
    old = make(certificate_request(), {"status": {"conditions": [approved]}})
    strategy, ctx = strategy_of(old), context(old)

    def decide(*conditions: dict[str, str]) -> list[str]:
        new = make(certificate_request(), {"status": {"conditions": list(conditions)}})
        strategy.prepare_approval(ctx, new, old)  # type: ignore[attr-defined]
        return [str(e) for e in strategy.validate_approval(ctx, new, old)]  # type: ignore[attr-defined]

    assert decide(approved) == []
    assert decide() == ['status.conditions: Forbidden: updates may not remove a condition of type "Approved"']
    assert decide(approved, {"type": "Denied", "status": "True"}) == [
        'status.conditions[1].type: Invalid value: "Denied": Approved and Denied conditions are mutually exclusive'
    ]
