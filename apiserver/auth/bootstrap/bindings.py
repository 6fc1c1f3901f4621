"""Who has the bootstrap roles."""

from __future__ import annotations

from api.types.rbac_v1 import ClusterRoleBinding, RoleBinding
from apiserver.auth.bootstrap import controllers
from apiserver.auth.bootstrap.notation import binding, cluster_binding, group, service_account, user

_CONTROLLER_MANAGER = user("system:kube-controller-manager")
_SCHEDULER = user("system:kube-scheduler")


def cluster_role_bindings() -> list[ClusterRoleBinding]:
    """Bindings to ClusterRoles."""
    authenticated, unauthenticated = group("system:authenticated"), group("system:unauthenticated")
    return [
        cluster_binding("cluster-admin", group("system:masters")),
        cluster_binding("system:monitoring", group("system:monitoring")),
        cluster_binding("system:discovery", authenticated),
        cluster_binding("system:basic-user", authenticated),
        cluster_binding("system:public-info-viewer", authenticated, unauthenticated),
        cluster_binding("system:node-proxier", user("system:kube-proxy")),
        cluster_binding("system:kube-controller-manager", _CONTROLLER_MANAGER),
        cluster_binding("system:kube-dns", service_account("kube-dns")),
        cluster_binding("system:kube-scheduler", _SCHEDULER),
        cluster_binding("system:volume-scheduler", _SCHEDULER),
        cluster_binding("system:service-account-issuer-discovery", group("system:serviceaccounts")),
        # Without subjects: it is the node authorizer that lets nodes in, each only to what concerns it.
        cluster_binding("system:node"),
        # Upstream's controllers each take the identity of their own service account
        # (--use-service-account-credentials). Ours share the controller manager's certificate, so that identity holds
        # the controllers' roles as well.
        *(
            cluster_binding(f"system:controller:{name}", service_account(name), _CONTROLLER_MANAGER)
            for name in controllers.NAMES
        ),
    ]


def role_bindings() -> list[RoleBinding]:
    """Bindings inside kube-system and kube-public."""
    leader_manager = service_account("kube-controller-manager"), service_account("leader-election-controller")
    signer = "system:controller:bootstrap-signer"
    return [
        binding(
            "kube-system",
            "system::extension-apiserver-authentication-reader",
            _CONTROLLER_MANAGER,
            _SCHEDULER,
            to="extension-apiserver-authentication-reader",
        ),
        binding("kube-system", "system::leader-locking-kube-controller-manager", _CONTROLLER_MANAGER, *leader_manager),
        binding("kube-system", "system::leader-locking-kube-scheduler", _SCHEDULER, service_account("kube-scheduler")),
        binding("kube-system", signer, service_account("bootstrap-signer"), _CONTROLLER_MANAGER),
        binding("kube-system", "system:controller:cloud-provider", service_account("cloud-provider")),
        binding(
            "kube-system", "system:controller:token-cleaner", service_account("token-cleaner"), _CONTROLLER_MANAGER
        ),
        binding("kube-public", signer, service_account("bootstrap-signer"), _CONTROLLER_MANAGER),
    ]
