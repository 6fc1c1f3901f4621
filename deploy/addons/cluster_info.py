"""What a machine that knows only a bootstrap token may read: `cluster-info` in kube-public, as kubeadm makes it.

The ConfigMap holds a kubeconfig with the cluster's CA and no user. The controller manager signs it for every token that
may sign; anybody may read it, this one object and nothing else.
"""

from __future__ import annotations

import base64
from typing import Any

import yaml

NAMESPACE, NAME = "kube-public", "cluster-info"
ROLE = "pykube:bootstrap-signer-clusterinfo"
RBAC = "rbac.authorization.k8s.io"


def kubeconfig(ca: bytes, url: str) -> str:
    """`ca` in PEM; `url` is where the cluster's machines reach the API server."""
    cluster = {"certificate-authority-data": base64.b64encode(ca).decode(), "server": url}
    return yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "", "cluster": cluster}],
            "contexts": None,
            "current-context": "",
            "preferences": {},
            "users": None,
        }
    )


def objects(ca: bytes, url: str) -> list[dict[str, Any]]:
    return [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": NAME, "namespace": NAMESPACE},
            "data": {"kubeconfig": kubeconfig(ca, url)},
        },
        {
            "apiVersion": f"{RBAC}/v1",
            "kind": "Role",
            "metadata": {"name": ROLE, "namespace": NAMESPACE},
            "rules": [{"apiGroups": [""], "resources": ["configmaps"], "resourceNames": [NAME], "verbs": ["get"]}],
        },
        {
            "apiVersion": f"{RBAC}/v1",
            "kind": "RoleBinding",
            "metadata": {"name": ROLE, "namespace": NAMESPACE},
            "roleRef": {"apiGroup": RBAC, "kind": "Role", "name": ROLE},
            "subjects": [{"apiGroup": RBAC, "kind": "User", "name": "system:anonymous"}],
        },
    ]
