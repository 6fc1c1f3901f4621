"""Pods: phase, QoS class and generation on creation; graceful deletion; what each subresource may change."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from api import time as api_time
from api.errors import FieldError
from api.pod_resources import qos_class
from api.types import core_v1, meta_v1
from apiserver.defaults.core import default_pod_template_object
from apiserver.defaults.pods import default_pod
from apiserver.printers.pods import POD, POD_TEMPLATE, pod_cells, pod_row_conditions, pod_template_cells
from apiserver.resources.base import BuiltIn
from apiserver.strategy import Context, Strategy
from apiserver.validation import pod_updates, pods
from apiserver.validation.common import semantic_equal
from apiserver.validation.templates import validate_pod_template_object, validate_pod_template_object_update
from apiserver.validation.warnings import pod_warnings

_GATED = "Scheduling is blocked due to non-empty scheduling gates"


class PodStrategy(BuiltIn):
    def __init__(self) -> None:
        super().__init__(
            core_v1.Pod,
            defaults=default_pod,
            columns=POD,
            cells=pod_cells,
            create=pods.validate_pod_create,
            update=pod_updates.validate_pod_update,
            status=pod_updates.validate_pod_status_update,
        )
        self.selectable_fields = (
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.podIPs",
            "status.nominatedNodeName",
        )

    def field_values(self, obj: core_v1.Pod) -> Mapping[str, str]:
        spec, status = obj.spec, obj.status
        return {
            "spec.nodeName": spec.node_name or "",
            "spec.restartPolicy": spec.restart_policy or "",
            "spec.schedulerName": spec.scheduler_name or "",
            "spec.serviceAccountName": spec.service_account_name or "",
            "spec.hostNetwork": "true" if spec.host_network else "false",
            "status.phase": status.phase or "",
            "status.podIP": status.pod_ip or "",
            "status.podIPs": ",".join(ip.ip for ip in status.pod_ips or ()),
            "status.nominatedNodeName": status.nominated_node_name or "",
        }

    def row_conditions(self, obj: core_v1.Pod) -> list[dict[str, str]] | None:
        """`conditions` of the Table row."""
        return pod_row_conditions(obj)

    def prepare_create(self, ctx: Context, obj: core_v1.Pod) -> None:
        obj.metadata.generation = 1
        obj.status = core_v1.PodStatus(phase="Pending", qos_class=qos_class(obj.spec))
        if obj.spec.scheduling_gates:
            obj.status.conditions = [
                core_v1.PodCondition(
                    type="PodScheduled",
                    status="False",
                    reason="SchedulingGated",
                    message=_GATED,
                    last_transition_time=api_time.now(),
                )
            ]
        _merge_match_label_keys(obj)
        _drop_disabled_fields(obj.spec)

    def prepare_update(self, ctx: Context, new: core_v1.Pod, old: core_v1.Pod) -> None:
        new.status = old.status
        _count_generation(new, old)

    def prepare_status_update(self, ctx: Context, new: core_v1.Pod, old: core_v1.Pod) -> None:
        new.spec = old.spec
        # A kubelet's view of who owns the pod is not to be trusted.
        new.metadata.owner_references = old.metadata.owner_references
        new.status.qos_class = new.status.qos_class or old.status.qos_class
        if new.status.observed_generation is None:
            new.status.observed_generation = old.status.observed_generation

    def warnings(self, ctx: Context, obj: core_v1.Pod, old: core_v1.Pod | None) -> list[str]:
        return pod_warnings(obj, old)

    def graceful_deletion(self, ctx: Context, obj: core_v1.Pod, options: meta_v1.DeleteOptions | None) -> int | None:
        """The grace asked for, or the pod's own; none at all for a pod that runs nowhere (CheckGracefulDelete)."""
        period = options.grace_period_seconds if options is not None else None
        if period is None:
            period = obj.spec.termination_grace_period_seconds or 0
        if not obj.spec.node_name or obj.status.phase in ("Succeeded", "Failed"):
            return 0
        return 1 if period < 0 else period

    # -- subresources ---------------------------------------------------------------------------------------------

    def prepare_ephemeral_containers(self, ctx: Context, new: core_v1.Pod, old: core_v1.Pod) -> None:
        """`ephemeralcontainers` changes these alone."""
        containers = new.spec.ephemeral_containers
        new.spec = _copy(old.spec)
        new.spec.ephemeral_containers = containers
        new.status = old.status
        new.metadata = _metadata(new, old)
        _count_generation(new, old)

    def validate_ephemeral_containers(self, ctx: Context, new: core_v1.Pod, old: core_v1.Pod) -> list[FieldError]:
        return pod_updates.validate_ephemeral_containers_update(new, old)

    def prepare_resize(self, ctx: Context, new: core_v1.Pod, old: core_v1.Pod) -> None:
        """`resize` changes resources and resize policies of containers alone (KEP-1287)."""
        asked = new.spec
        new.spec = _copy(old.spec)
        for group in ("containers", "init_containers"):
            before = getattr(old.spec, group) or []
            after = getattr(asked, group) or []
            merged = []
            for index, container in enumerate(before):
                kept = _copy(container)
                if index < len(after):
                    kept.resources = after[index].resources
                    kept.resize_policy = after[index].resize_policy
                merged.append(kept)
            if before:
                setattr(new.spec, group, merged)
        new.spec.resources = asked.resources
        new.status = old.status
        new.metadata = _metadata(new, old)
        _count_generation(new, old)

    def validate_resize(self, ctx: Context, new: core_v1.Pod, old: core_v1.Pod) -> list[FieldError]:
        return pod_updates.validate_pod_resize(new, old)


def _copy(struct: Any) -> Any:
    return type(struct)(**{name: getattr(struct, name) for name in struct.__struct_fields__})


def _metadata(new: core_v1.Pod, old: core_v1.Pod) -> meta_v1.ObjectMeta:
    kept: meta_v1.ObjectMeta = _copy(old.metadata)
    kept.resource_version = new.metadata.resource_version
    kept.managed_fields = new.metadata.managed_fields
    return kept


def _count_generation(new: core_v1.Pod, old: core_v1.Pod) -> None:
    changed = not semantic_equal(new.spec, old.spec)
    new.metadata.generation = (old.metadata.generation or 0) + changed


def _merge_match_label_keys(pod: core_v1.Pod) -> None:
    """`matchLabelKeys` become part of the selectors, with the pod's own values (KEP-3633, KEP-3243)."""
    labels = pod.metadata.labels or {}
    affinity = pod.spec.affinity
    terms: list[core_v1.PodAffinityTerm] = []
    for group in (affinity.pod_affinity, affinity.pod_anti_affinity) if affinity is not None else ():
        if group is not None:
            terms += group.required_during_scheduling_ignored_during_execution or []
            weighted = group.preferred_during_scheduling_ignored_during_execution or []
            terms += [term.pod_affinity_term for term in weighted]
    for term in terms:
        for keys, operator in ((term.match_label_keys, "In"), (term.mismatch_label_keys, "NotIn")):
            _require(term.label_selector, keys, operator, labels)
    for constraint in pod.spec.topology_spread_constraints or ():
        _require(constraint.label_selector, constraint.match_label_keys, "In", labels)


def _require(
    selector: meta_v1.LabelSelector | None, keys: list[str] | None, operator: str, labels: Mapping[str, str]
) -> None:
    if selector is None:
        return
    for key in keys or ():
        if key in labels:
            requirement = meta_v1.LabelSelectorRequirement(key=key, operator=operator, values=[labels[key]])
            selector.match_expressions = [*(selector.match_expressions or ()), requirement]


def strategies() -> list[Strategy]:
    return [
        PodStrategy(),
        BuiltIn(
            core_v1.PodTemplate,
            defaults=default_pod_template_object,
            columns=POD_TEMPLATE,
            cells=pod_template_cells,
            create=validate_pod_template_object,
            update=validate_pod_template_object_update,
            generation_of=("template",),
        ),
    ]


def _drop_disabled_fields(spec: core_v1.PodSpec) -> None:
    """What stands behind feature gates that are off by default, as the beta APIs that it needs are: upstream's
    ClusterTrustBundleProjection and PodCertificateRequest. The source stays, and projects nothing."""
    for volume in spec.volumes or ():
        for source in (volume.projected.sources if volume.projected else None) or ():
            source.cluster_trust_bundle = source.pod_certificate = None
