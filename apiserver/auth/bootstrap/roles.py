"""The bootstrap roles for people, nodes and components; those of single controllers are in `controllers`."""

from __future__ import annotations

from api.types.rbac_v1 import ClusterRole, PolicyRule, Role
from apiserver.auth.bootstrap.notation import ALL, EVENTS, READ, WRITE, aggregated, cluster_role, role, rule, urls

_HEALTH = "/healthz /livez /readyz"
_SIGNERS = {
    "kube-apiserver-client-approver": "kubernetes.io/kube-apiserver-client",
    "kube-apiserver-client-kubelet-approver": "kubernetes.io/kube-apiserver-client-kubelet",
    "kubelet-serving-approver": "kubernetes.io/kubelet-serving",
    "legacy-unknown-approver": "kubernetes.io/legacy-unknown",
}


def node_rules() -> list[PolicyRule]:
    """What a kubelet may do; the node authorizer grants this too, narrowed to what concerns its node."""
    return [
        rule("create", "authentication.k8s.io", "tokenreviews"),
        rule("create", "authorization.k8s.io", "localsubjectaccessreviews subjectaccessreviews"),
        rule(READ, "core", "services"),
        rule("create get list watch", "core", "nodes"),
        rule("patch update", "core", "nodes/status"),
        rule("patch update", "core", "nodes"),
        EVENTS,
        rule(READ, "core", "pods"),
        rule("create delete", "core", "pods"),
        rule("patch update", "core", "pods/status"),
        rule("create", "core", "pods/eviction"),
        rule(READ, "core", "configmaps secrets"),
        rule("get", "core", "persistentvolumeclaims persistentvolumes"),
        rule("get", "core", "endpoints"),
        rule("create get list watch", "certificates.k8s.io", "certificatesigningrequests"),
        rule("create delete get patch update", "coordination.k8s.io", "leases"),
        rule("get", "storage.k8s.io", "volumeattachments"),
        rule("create", "core", "serviceaccounts/token"),
        rule("get patch update", "core", "persistentvolumeclaims/status"),
        rule(READ, "storage.k8s.io", "csidrivers"),
        rule("create delete get patch update", "storage.k8s.io", "csinodes"),
        rule(READ, "node.k8s.io", "runtimeclasses"),
        rule("get", "resource.k8s.io", "resourceclaims"),
        rule("deletecollection", "resource.k8s.io", "resourceslices"),
        rule("create delete get list patch update watch", "resource.k8s.io", "resourceslices"),
    ]


def _people() -> list[ClusterRole]:
    return [
        cluster_role("cluster-admin", rule("*", "*", "*"), urls("*", "*")),
        aggregated("admin"),
        aggregated("edit", into="admin"),
        aggregated("view", into="edit"),
        cluster_role(
            "system:aggregate-to-admin",
            rule("create", "authorization.k8s.io", "localsubjectaccessreviews"),
            rule(ALL, "rbac.authorization.k8s.io", "rolebindings roles"),
            into="admin",
        ),
        cluster_role("system:aggregate-to-edit", *_edit_rules(), into="edit"),
        cluster_role("system:aggregate-to-view", *_view_rules(), into="view"),
        cluster_role(
            "system:discovery",
            urls("get", f"/api /api/* /apis /apis/* {_HEALTH} /openapi /openapi/* /version /version/"),
        ),
        cluster_role("system:public-info-viewer", urls("get", f"{_HEALTH} /version /version/")),
        cluster_role(
            "system:monitoring",
            urls("get", "/healthz /healthz/* /livez /livez/* /metrics /metrics/slis /readyz /readyz/*"),
        ),
        cluster_role(
            "system:basic-user",
            rule("create", "authorization.k8s.io", "selfsubjectaccessreviews selfsubjectrulesreviews"),
            rule("create", "authentication.k8s.io", "selfsubjectreviews"),
        ),
        cluster_role(
            "system:service-account-issuer-discovery",
            urls("get", "/.well-known/openid-configuration /openid/v1/jwks"),
        ),
        cluster_role(
            "system:auth-delegator",
            rule("create", "authentication.k8s.io", "tokenreviews"),
            rule("create", "authorization.k8s.io", "subjectaccessreviews"),
        ),
    ]


def _edit_rules() -> list[PolicyRule]:
    workloads = "daemonsets deployments deployments/rollback deployments/scale replicasets replicasets/scale"
    return [
        rule(READ, "core", "pods/attach pods/exec pods/portforward pods/proxy secrets services/proxy"),
        rule("impersonate", "core", "serviceaccounts"),
        rule(WRITE, "core", "pods pods/attach pods/exec pods/portforward pods/proxy"),
        rule("create", "core", "pods/eviction"),
        rule(
            WRITE,
            "core",
            "configmaps events persistentvolumeclaims replicationcontrollers replicationcontrollers/scale secrets "
            "serviceaccounts services services/proxy",
        ),
        rule("create", "core", "serviceaccounts/token"),
        rule(WRITE, "apps", f"{workloads} statefulsets statefulsets/scale"),
        rule(WRITE, "autoscaling", "horizontalpodautoscalers"),
        rule(WRITE, "batch", "cronjobs jobs"),
        rule(WRITE, "extensions", f"{workloads} ingresses networkpolicies replicationcontrollers/scale"),
        rule(WRITE, "policy", "poddisruptionbudgets"),
        rule(WRITE, "networking.k8s.io", "ingresses networkpolicies"),
        rule(ALL, "coordination.k8s.io", "leases"),
        rule(WRITE, "resource.k8s.io", "resourceclaims resourceclaimtemplates"),
    ]


def _view_rules() -> list[PolicyRule]:
    workloads = (
        "daemonsets daemonsets/status deployments deployments/scale deployments/status replicasets replicasets/scale "
        "replicasets/status"
    )
    return [
        rule(
            READ,
            "core",
            "configmaps endpoints persistentvolumeclaims persistentvolumeclaims/status pods replicationcontrollers "
            "replicationcontrollers/scale serviceaccounts services services/status",
        ),
        rule(
            READ,
            "core",
            "bindings events limitranges namespaces/status pods/log pods/status replicationcontrollers/status "
            "resourcequotas resourcequotas/status",
        ),
        rule(READ, "core", "namespaces"),
        rule(READ, "discovery.k8s.io", "endpointslices"),
        rule(READ, "apps", f"controllerrevisions {workloads} statefulsets statefulsets/scale statefulsets/status"),
        rule(READ, "autoscaling", "horizontalpodautoscalers horizontalpodautoscalers/status"),
        rule(READ, "batch", "cronjobs cronjobs/status jobs jobs/status"),
        rule(
            READ, "extensions", f"{workloads} ingresses ingresses/status networkpolicies replicationcontrollers/scale"
        ),
        rule(READ, "policy", "poddisruptionbudgets poddisruptionbudgets/status"),
        rule(READ, "networking.k8s.io", "ingresses ingresses/status networkpolicies"),
        rule(READ, "resource.k8s.io", "resourceclaims resourceclaims/status resourceclaimtemplates"),
    ]


def _nodes() -> list[ClusterRole]:
    return [
        cluster_role("system:node", *node_rules()),
        cluster_role(
            "system:node-problem-detector",
            rule("get", "core", "nodes"),
            rule("patch", "core", "nodes/status"),
            EVENTS,
        ),
        cluster_role(
            "system:node-proxier",
            rule("list watch", "core", "endpoints services"),
            rule(READ, "core", "nodes"),
            EVENTS,
            rule("list watch", "discovery.k8s.io", "endpointslices"),
            rule("list watch", "networking.k8s.io", "servicecidrs"),
        ),
        cluster_role(
            "system:kubelet-api-admin",
            rule(READ, "core", "nodes"),
            rule("proxy", "core", "nodes"),
            rule(
                "*",
                "core",
                "nodes/configz nodes/healthz nodes/log nodes/metrics nodes/pods nodes/proxy nodes/stats",
            ),
        ),
        cluster_role(
            "system:node-bootstrapper",
            rule("create get list watch", "certificates.k8s.io", "certificatesigningrequests"),
        ),
        *(
            cluster_role(
                f"system:certificates.k8s.io:certificatesigningrequests:{kind}",
                rule("create", "certificates.k8s.io", f"certificatesigningrequests/{kind}"),
            )
            for kind in ("nodeclient", "selfnodeclient")
        ),
        *(
            cluster_role(
                f"system:certificates.k8s.io:{name}", rule("approve", "certificates.k8s.io", "signers", names=signer)
            )
            for name, signer in _SIGNERS.items()
        ),
    ]


def _components() -> list[ClusterRole]:
    return [
        cluster_role(
            "system:heapster",
            rule(READ, "core", "events namespaces nodes pods"),
            rule(READ, "extensions", "deployments"),
        ),
        cluster_role("system:kube-aggregator", rule(READ, "core", "endpoints services")),
        cluster_role(
            "system:kube-controller-manager",
            EVENTS,
            rule("create", "coordination.k8s.io", "leases"),
            rule("get update", "coordination.k8s.io", "leases", names="kube-controller-manager"),
            rule("create", "core", "secrets serviceaccounts"),
            rule("delete", "core", "secrets"),
            rule("get", "core", "configmaps namespaces secrets serviceaccounts"),
            rule("update", "core", "secrets serviceaccounts"),
            rule("create", "authentication.k8s.io", "tokenreviews"),
            rule("create", "authorization.k8s.io", "subjectaccessreviews"),
            rule("list watch", "*", "*"),
            rule("create", "core", "serviceaccounts/token"),
        ),
        cluster_role(
            "system:kube-dns",
            rule("list watch", "core", "endpoints services"),
        ),
        cluster_role(
            "system:kube-scheduler",
            EVENTS,
            rule("create", "coordination.k8s.io", "leases"),
            rule("get update", "coordination.k8s.io", "leases", names="kube-scheduler"),
            rule(READ, "core", "nodes"),
            rule("delete get list watch", "core", "pods"),
            rule("create", "core", "bindings pods/binding"),
            rule("patch update", "core", "pods/status"),
            rule(READ, "core", "replicationcontrollers services"),
            rule(READ, "apps extensions", "replicasets"),
            rule(READ, "apps", "statefulsets"),
            rule(READ, "policy", "poddisruptionbudgets"),
            rule(READ, "core", "persistentvolumeclaims persistentvolumes"),
            rule("create", "authentication.k8s.io", "tokenreviews"),
            rule("create", "authorization.k8s.io", "subjectaccessreviews"),
            rule(READ, "storage.k8s.io", "csinodes"),
            rule(READ, "core", "namespaces"),
            rule(READ, "storage.k8s.io", "csidrivers"),
            rule(READ, "storage.k8s.io", "csistoragecapacities"),
            rule(READ, "storage.k8s.io", "volumeattachments"),
            rule(READ, "resource.k8s.io", "deviceclasses resourceclaims resourceslices"),
            rule("patch update", "resource.k8s.io", "resourceclaims resourceclaims/binding resourceclaims/status"),
            rule("update", "core", "pods/finalizers"),
        ),
        cluster_role(
            "system:persistent-volume-provisioner",
            rule("create delete get list watch", "core", "persistentvolumes"),
            rule("get list update watch", "core", "persistentvolumeclaims"),
            rule(READ, "storage.k8s.io", "storageclasses"),
            rule("watch", "core", "events"),
            EVENTS,
        ),
        cluster_role(
            "system:volume-scheduler",
            rule("get list patch update watch", "core", "persistentvolumes"),
            rule(READ, "storage.k8s.io", "storageclasses"),
            rule("get list patch update watch", "core", "persistentvolumeclaims"),
        ),
    ]


def cluster_roles() -> list[ClusterRole]:
    """All of them."""
    return [*_people(), *_nodes(), *_components()]


def roles() -> list[Role]:
    """The roles inside kube-system and kube-public."""
    locking = [
        rule("create get list update watch", "coordination.k8s.io", "leases"),
        rule("create get list update watch", "coordination.k8s.io", "leasecandidates"),
    ]
    return [
        role(
            "kube-system",
            "extension-apiserver-authentication-reader",
            rule(READ, "core", "configmaps", names="extension-apiserver-authentication"),
        ),
        role("kube-system", "system:controller:bootstrap-signer", rule(READ, "core", "secrets")),
        role("kube-system", "system:controller:cloud-provider", rule("create get list watch", "core", "configmaps")),
        role(
            "kube-system",
            "system:controller:token-cleaner",
            rule("delete get list watch", "core", "secrets"),
            EVENTS,
        ),
        role("kube-system", "system::leader-locking-kube-controller-manager", *locking),
        role("kube-system", "system::leader-locking-kube-scheduler", *locking),
        role(
            "kube-public",
            "system:controller:bootstrap-signer",
            rule(READ, "core", "configmaps"),
            rule("update", "core", "configmaps", names="cluster-info"),
            EVENTS,
        ),
    ]
