"""Defaults of the apps group."""

from __future__ import annotations

from api.types import apps_v1
from apiserver.defaults.core import default_persistent_volume_claim
from apiserver.defaults.pods import default_pod_template


def default_deployment(deployment: apps_v1.Deployment) -> None:
    spec = deployment.spec
    default_pod_template(spec.template)
    if spec.replicas is None:
        spec.replicas = 1
    strategy = spec.strategy
    if not strategy.type:
        strategy.type = "RollingUpdate"
    if strategy.type == "RollingUpdate":
        if strategy.rolling_update is None:
            strategy.rolling_update = apps_v1.RollingUpdateDeployment()
        if strategy.rolling_update.max_unavailable is None:
            strategy.rolling_update.max_unavailable = "25%"
        if strategy.rolling_update.max_surge is None:
            strategy.rolling_update.max_surge = "25%"
    if spec.revision_history_limit is None:
        spec.revision_history_limit = 10
    if spec.progress_deadline_seconds is None:
        spec.progress_deadline_seconds = 600


def default_replica_set(replica_set: apps_v1.ReplicaSet) -> None:
    default_pod_template(replica_set.spec.template)
    if replica_set.spec.replicas is None:
        replica_set.spec.replicas = 1


def default_stateful_set(stateful_set: apps_v1.StatefulSet) -> None:
    spec = stateful_set.spec
    default_pod_template(spec.template)
    if not spec.pod_management_policy:
        spec.pod_management_policy = "OrderedReady"
    strategy = spec.update_strategy
    if not strategy.type:
        strategy.type = "RollingUpdate"
        if strategy.rolling_update is None:
            strategy.rolling_update = apps_v1.RollingUpdateStatefulSetStrategy()
    if strategy.type == "RollingUpdate" and strategy.rolling_update is not None:
        if strategy.rolling_update.partition is None:
            strategy.rolling_update.partition = 0
        if strategy.rolling_update.max_unavailable is None:
            strategy.rolling_update.max_unavailable = 1
    if spec.persistent_volume_claim_retention_policy is None:
        spec.persistent_volume_claim_retention_policy = apps_v1.StatefulSetPersistentVolumeClaimRetentionPolicy()
    policy = spec.persistent_volume_claim_retention_policy
    policy.when_deleted = policy.when_deleted or "Retain"
    policy.when_scaled = policy.when_scaled or "Retain"
    if spec.replicas is None:
        spec.replicas = 1
    if spec.revision_history_limit is None:
        spec.revision_history_limit = 10
    for claim in spec.volume_claim_templates or ():
        default_persistent_volume_claim(claim)


def default_daemon_set(daemon_set: apps_v1.DaemonSet) -> None:
    spec = daemon_set.spec
    default_pod_template(spec.template)
    strategy = spec.update_strategy
    if not strategy.type:
        strategy.type = "RollingUpdate"
    if strategy.type == "RollingUpdate":
        if strategy.rolling_update is None:
            strategy.rolling_update = apps_v1.RollingUpdateDaemonSet()
        if strategy.rolling_update.max_unavailable is None:
            strategy.rolling_update.max_unavailable = 1
        if strategy.rolling_update.max_surge is None:
            strategy.rolling_update.max_surge = 0
    if spec.revision_history_limit is None:
        spec.revision_history_limit = 10
