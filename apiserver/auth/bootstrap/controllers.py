"""The bootstrap roles of the single controllers, `system:controller:*`."""

from __future__ import annotations

from api.types.rbac_v1 import ClusterRole, PolicyRule
from apiserver.auth.bootstrap.notation import EVENTS, READ, cluster_role, rule

_APPS = "apps extensions"
_CRUD = "create delete get list patch update watch"
_OWNED_PODS = rule("create delete list patch watch", "core", "pods")
_POD_STATUS = rule("patch update", "core", "pods/status")
_ALL_SIGNERS = (
    "kubernetes.io/kube-apiserver-client kubernetes.io/kube-apiserver-client-kubelet kubernetes.io/kubelet-serving "
    "kubernetes.io/legacy-unknown"
)


def _owner(groups: str, resource: str, verbs: str = READ) -> list[PolicyRule]:
    """The resource a controller reconciles, its status, and (to own others with a block on deletion) finalizers."""
    return [
        rule(verbs, groups, resource),
        rule("update", groups, f"{resource}/status"),
        rule("update", groups, f"{resource}/finalizers"),
    ]


_RULES: dict[str, list[PolicyRule]] = {
    "attachdetach-controller": [
        rule("list watch", "core", "persistentvolumeclaims persistentvolumes"),
        rule(READ, "core", "nodes"),
        rule("patch update", "core", "nodes/status"),
        rule("list watch", "core", "pods"),
        EVENTS,
        rule("create delete get list watch", "storage.k8s.io", "volumeattachments"),
        rule(READ, "storage.k8s.io", "csidrivers"),
        rule(READ, "storage.k8s.io", "csinodes"),
    ],
    "certificate-controller": [
        rule("delete get list watch", "certificates.k8s.io", "certificatesigningrequests"),
        rule(
            "update",
            "certificates.k8s.io",
            "certificatesigningrequests/approval certificatesigningrequests/status",
        ),
        rule("approve", "certificates.k8s.io", "signers", names="kubernetes.io/kube-apiserver-client-kubelet"),
        rule("sign", "certificates.k8s.io", "signers", names=_ALL_SIGNERS),
        rule("create", "authorization.k8s.io", "subjectaccessreviews"),
        EVENTS,
    ],
    "clusterrole-aggregation-controller": [
        rule("escalate get list patch update watch", "rbac.authorization.k8s.io", "clusterroles"),
    ],
    "cronjob-controller": [
        *_owner("batch", "cronjobs", "get list update watch"),
        rule(_CRUD, "batch", "jobs"),
        rule("delete list watch", "core", "pods"),
        EVENTS,
    ],
    "daemon-set-controller": [
        *_owner(_APPS, "daemonsets"),
        rule("list watch", "core", "nodes"),
        _OWNED_PODS,
        rule("create", "core", "pods/binding"),
        rule(_CRUD, "apps", "controllerrevisions"),
        EVENTS,
    ],
    "deployment-controller": [
        *_owner(_APPS, "deployments", "get list update watch"),
        rule(_CRUD, _APPS, "replicasets"),
        rule("get list update watch", "core", "pods"),
        EVENTS,
    ],
    "device-taint-eviction-controller": [
        rule("delete get list watch", "core", "pods"),
        _POD_STATUS,
        rule(READ, "resource.k8s.io", "resourceclaims"),
        rule(READ, "resource.k8s.io", "resourceslices"),
        rule(READ, "resource.k8s.io", "deviceclasses"),
        EVENTS,
    ],
    "disruption-controller": [
        rule(READ, _APPS, "deployments"),
        rule(READ, _APPS, "replicasets"),
        rule(READ, "core", "replicationcontrollers"),
        rule(READ, "policy", "poddisruptionbudgets"),
        rule(READ, "apps", "statefulsets"),
        rule("update", "policy", "poddisruptionbudgets/status"),
        _POD_STATUS,
        rule("get", "*", "*/scale"),
        EVENTS,
    ],
    "endpoint-controller": [
        rule(READ, "core", "pods services"),
        rule("create delete get list update watch", "core", "endpoints"),
        rule("create", "core", "endpoints/restricted"),
        EVENTS,
    ],
    "endpointslice-controller": [
        rule(READ, "core", "nodes pods services"),
        rule("update", "core", "services/finalizers"),
        rule("create delete get list update watch", "discovery.k8s.io", "endpointslices"),
        EVENTS,
    ],
    "endpointslicemirroring-controller": [
        rule(READ, "core", "endpoints services"),
        rule("update", "core", "services/finalizers"),
        rule("update", "core", "endpoints/finalizers"),
        rule("create delete get list update watch", "discovery.k8s.io", "endpointslices"),
        EVENTS,
    ],
    "ephemeral-volume-controller": [
        rule(READ, "core", "pods"),
        rule("update", "core", "pods/finalizers"),
        rule("create get list watch", "core", "persistentvolumeclaims"),
        EVENTS,
    ],
    "expand-controller": [
        rule("get list patch update watch", "core", "persistentvolumes"),
        rule("patch update", "core", "persistentvolumeclaims/status"),
        rule(READ, "core", "persistentvolumeclaims"),
        EVENTS,
    ],
    "generic-garbage-collector": [rule("delete get list patch update watch", "*", "*"), EVENTS],
    "horizontal-pod-autoscaler": [
        rule(READ, "autoscaling", "horizontalpodautoscalers"),
        rule("update", "autoscaling", "horizontalpodautoscalers/status"),
        rule("get update", "*", "*/scale"),
        rule("list watch", "core", "pods"),
        rule("list watch", "metrics.k8s.io", "pods"),
        rule(READ, "custom.metrics.k8s.io", "*"),
        rule(READ, "external.metrics.k8s.io", "*"),
        EVENTS,
    ],
    "job-controller": [*_owner("batch", "jobs", "get list patch update watch"), _OWNED_PODS, EVENTS],
    "legacy-service-account-token-cleaner": [
        rule("get", "core", "configmaps", names="kube-apiserver-legacy-service-account-token-tracking"),
        rule("delete patch", "core", "secrets"),
    ],
    "namespace-controller": [
        rule("delete get list watch", "core", "namespaces"),
        rule("update", "core", "namespaces/finalize namespaces/status"),
        rule("delete deletecollection get list watch", "*", "*"),
    ],
    "node-controller": [
        rule("delete get list patch update watch", "core", "nodes"),
        rule("patch update", "core", "nodes/status"),
        _POD_STATUS,
        rule("delete get list watch", "core", "pods"),
        EVENTS,
    ],
    "persistent-volume-binder": [
        rule("create delete get list update watch", "core", "persistentvolumes"),
        rule("update", "core", "persistentvolumes/status"),
        rule("get list update watch", "core", "persistentvolumeclaims"),
        rule("update", "core", "persistentvolumeclaims/status"),
        rule("create delete get list watch", "core", "pods"),
        rule(READ, "storage.k8s.io", "storageclasses"),
        rule("list watch", "core", "nodes"),
        EVENTS,
        rule("watch", "core", "events"),
    ],
    "pod-garbage-collector": [
        rule("delete list watch", "core", "pods"),
        rule(READ, "core", "nodes"),
        rule("patch", "core", "pods/status"),
    ],
    "pv-protection-controller": [rule("get list update watch", "core", "persistentvolumes"), EVENTS],
    "pvc-protection-controller": [
        rule("get list update watch", "core", "persistentvolumeclaims"),
        rule("update", "core", "persistentvolumeclaims/status"),
        rule(READ, "core", "pods"),
        EVENTS,
    ],
    "replicaset-controller": [*_owner(_APPS, "replicasets", "get list update watch"), _OWNED_PODS, EVENTS],
    "replication-controller": [
        *_owner("core", "replicationcontrollers", "get list update watch"),
        _OWNED_PODS,
        EVENTS,
    ],
    "resource-claim-controller": [
        rule(READ, "core", "pods"),
        rule("update", "core", "pods/finalizers"),
        rule("create delete get list watch", "resource.k8s.io", "resourceclaims"),
        rule("patch update", "resource.k8s.io", "resourceclaims resourceclaims/status"),
        _POD_STATUS,
        EVENTS,
        rule("patch update", "resource.k8s.io", "resourceclaims/binding"),
    ],
    "resourcequota-controller": [
        rule("list watch", "*", "*"),
        rule("update", "core", "resourcequotas/status"),
        EVENTS,
    ],
    "root-ca-cert-publisher": [rule("create update", "core", "configmaps"), EVENTS],
    "route-controller": [rule("list watch", "core", "nodes"), rule("patch", "core", "nodes/status"), EVENTS],
    "selinux-warning-controller": [
        EVENTS,
        rule(READ, "core", "persistentvolumes"),
        rule(READ, "core", "persistentvolumeclaims"),
        rule(READ, "core", "pods"),
        rule(READ, "storage.k8s.io", "csidrivers"),
    ],
    "service-account-controller": [rule("create", "core", "serviceaccounts"), EVENTS],
    "service-cidrs-controller": [
        rule("get list patch update watch", "networking.k8s.io", "servicecidrs"),
        rule("patch update", "networking.k8s.io", "servicecidrs/finalizers"),
        rule("patch update", "networking.k8s.io", "servicecidrs/status"),
        rule(READ, "networking.k8s.io", "ipaddresses"),
        EVENTS,
    ],
    "service-controller": [
        rule(READ, "core", "services"),
        rule("patch update", "core", "services/status"),
        rule("list watch", "core", "nodes"),
        EVENTS,
    ],
    "statefulset-controller": [
        rule("list watch", "core", "pods"),
        *_owner("apps", "statefulsets"),
        rule("create delete get patch update", "core", "pods"),
        rule(_CRUD, "apps", "controllerrevisions"),
        rule("create get list watch", "core", "persistentvolumeclaims"),
        rule("delete update", "core", "persistentvolumeclaims"),
        rule("update", "core", "pods/finalizers"),
        EVENTS,
    ],
    "ttl-after-finished-controller": [rule("delete get list watch", "batch", "jobs"), EVENTS],
    "ttl-controller": [rule("list patch update watch", "core", "nodes"), EVENTS],
    "validatingadmissionpolicy-status-controller": [
        rule(READ, "admissionregistration.k8s.io", "validatingadmissionpolicies"),
        rule("get patch update", "admissionregistration.k8s.io", "validatingadmissionpolicies/status"),
        EVENTS,
    ],
    "volumeattributesclass-protection-controller": [
        rule(READ, "core", "persistentvolumeclaims"),
        rule(READ, "core", "persistentvolumes"),
        rule("get list update watch", "storage.k8s.io", "volumeattributesclasses"),
        EVENTS,
    ],
}

NAMES = tuple(_RULES)


def cluster_roles() -> list[ClusterRole]:
    """One per controller."""
    return [cluster_role(f"system:controller:{name}", *rules) for name, rules in _RULES.items()]
