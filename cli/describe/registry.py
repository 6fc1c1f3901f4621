"""Which describer writes which kind. Modules are imported when their kind is asked for."""

from __future__ import annotations

import importlib
from collections.abc import Awaitable, Callable

from cli.describe.inspector import Inspector
from cli.describe.text import Text
from cli.discovery import Mapping
from cli.errors import Object

Describer = Callable[[Text, Object, Inspector], Awaitable[None]]

# (group, kind) -> module and function below cli.describe
DESCRIBERS: dict[tuple[str, str], str] = {
    ("", "Pod"): "pod.describe",
    ("", "Node"): "node.describe",
    ("", "Service"): "network.service",
    ("", "Endpoints"): "network.endpoints",
    ("discovery.k8s.io", "EndpointSlice"): "network.endpoint_slice",
    ("networking.k8s.io", "Ingress"): "network.ingress",
    ("apps", "Deployment"): "workloads.deployment",
    ("apps", "ReplicaSet"): "workloads.replica_set",
    ("", "ReplicationController"): "workloads.replica_set",
    ("apps", "StatefulSet"): "workloads.stateful_set",
    ("apps", "DaemonSet"): "workloads.daemon_set",
    ("batch", "Job"): "workloads.job",
    ("batch", "CronJob"): "workloads.cron_job",
    ("autoscaling", "HorizontalPodAutoscaler"): "workloads.autoscaler",
    ("policy", "PodDisruptionBudget"): "workloads.disruption_budget",
    ("", "Namespace"): "config.namespace",
    ("", "ConfigMap"): "config.config_map",
    ("", "Secret"): "config.secret",
    ("", "ServiceAccount"): "config.service_account",
    ("", "ResourceQuota"): "config.resource_quota",
    ("", "LimitRange"): "config.limit_range",
    ("", "PersistentVolumeClaim"): "config.volume_claim",
    ("", "PersistentVolume"): "config.volume",
    ("storage.k8s.io", "StorageClass"): "config.storage_class",
    ("scheduling.k8s.io", "PriorityClass"): "config.priority_class",
    ("rbac.authorization.k8s.io", "Role"): "config.role",
    ("rbac.authorization.k8s.io", "ClusterRole"): "config.role",
    ("rbac.authorization.k8s.io", "RoleBinding"): "config.role_binding",
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"): "config.role_binding",
}


def describer_for(mapping: Mapping) -> Describer:
    module, _, function = DESCRIBERS.get((mapping.group, mapping.kind), "generic.describe").partition(".")
    found: Describer = getattr(importlib.import_module(f"cli.describe.{module}"), function)
    return found
