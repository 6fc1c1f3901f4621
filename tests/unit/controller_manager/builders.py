"""Short ways to write the objects that the tests of the controllers start from."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from api import time as api_time
from api.types.apps_v1 import Deployment, DeploymentSpec, DeploymentStrategy, ReplicaSet, ReplicaSetSpec
from api.types.apps_v1 import RollingUpdateDeployment as RollingUpdate
from api.types.core_v1 import Container, Pod, PodCondition, PodSpec, PodStatus, PodTemplateSpec
from api.types.meta_v1 import LabelSelector, ObjectMeta, OwnerReference
from client.fake import FakeApi
from controller_manager.owners import controller_ref

LABELS = {"app": "web"}


def ago(seconds: float) -> str:
    return api_time.format_time(datetime.now(UTC) - timedelta(seconds=seconds))


def template(image: str = "web:1", labels: dict[str, str] | None = None) -> PodTemplateSpec:
    return PodTemplateSpec(
        metadata=ObjectMeta(labels=dict(labels or LABELS)),
        spec=PodSpec(containers=[Container(name="c", image=image)]),
    )


def replica_set(name: str = "web", replicas: int = 3, **spec: Any) -> ReplicaSet:
    return ReplicaSet(
        metadata=ObjectMeta(name=name, namespace="default"),
        spec=ReplicaSetSpec(
            replicas=replicas, selector=LabelSelector(match_labels=dict(LABELS)), template=template(), **spec
        ),
    )


def deployment(
    name: str = "web",
    replicas: int = 3,
    image: str = "web:1",
    surge: Any = "25%",
    unavailable: Any = "25%",
    **spec: Any,
) -> Deployment:
    spec.setdefault(
        "strategy",
        DeploymentStrategy(
            type="RollingUpdate", rolling_update=RollingUpdate(max_surge=surge, max_unavailable=unavailable)
        ),
    )
    spec.setdefault("progress_deadline_seconds", 600)
    spec.setdefault("revision_history_limit", 10)
    return Deployment(
        metadata=ObjectMeta(name=name, namespace="default"),
        spec=DeploymentSpec(
            replicas=replicas, selector=LabelSelector(match_labels=dict(LABELS)), template=template(image), **spec
        ),
    )


def pod(
    name: str,
    owner: Any = None,
    *,
    labels: dict[str, str] | None = None,
    node: str | None = "n1",
    phase: str = "Running",
    ready: bool = True,
    ready_for: float = 100,
    namespace: str = "default",
    **meta: Any,
) -> Pod:
    refs: list[OwnerReference] | None = [controller_ref(owner)] if owner is not None else None
    return Pod(
        metadata=ObjectMeta(
            name=name,
            namespace=namespace,
            labels=dict(LABELS if labels is None else labels),
            owner_references=refs,
            **meta,
        ),
        spec=PodSpec(containers=[Container(name="c", image="web:1")], node_name=node),
        status=PodStatus(phase=phase, conditions=[ready_condition(ready, ready_for)]),
    )


def ready_condition(ready: bool = True, ready_for: float = 100) -> PodCondition:
    return PodCondition(type="Ready", status="True" if ready else "False", last_transition_time=ago(ready_for))


async def run_pods(api: FakeApi, *, ready: bool = True) -> int:
    """What scheduler and kubelets would do: every pod that is not going is running; those that are, go."""
    changed = 0
    for one in api.objects(Pod):
        name, namespace = one.metadata.name or "", one.metadata.namespace or ""
        if one.metadata.deletion_timestamp:
            await api.delete(Pod, name, namespace=namespace, grace_period_seconds=0)
            changed += 1
        elif one.status.phase not in ("Running", "Succeeded", "Failed"):
            one.spec.node_name = "n1"
            one = await api.update(one)
            one.status = PodStatus(phase="Running", conditions=[ready_condition(ready, 0)])
            await api.update_status(one)
            changed += 1
    return changed
