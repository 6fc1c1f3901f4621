"""What decides about pods without running them: budgets, priorities, runtimes, autoscalers, flow control, devices."""

from __future__ import annotations

from api.resources import find
from api.types import (
    flowcontrol_v1,
    node_v1,
    policy_v1,
    resource_v1,
    scheduling_v1,
)
from apiserver.defaults import others as defaults
from apiserver.printers import NAME_AND_AGE, name_and_age_cells
from apiserver.printers import others as rows
from apiserver.printers import workloads as workload_rows
from apiserver.resources.base import BuiltIn
from apiserver.strategy import Context, Strategy
from apiserver.validation import autoscaling, policy


class AutoscalerStrategy(BuiltIn):
    """Both versions are stored as autoscaling/v2, so this serves both."""

    def __init__(self, version: str) -> None:
        resource = find("autoscaling", version, "horizontalpodautoscalers")
        assert resource is not None
        super().__init__(
            resource,
            defaults=defaults.default_autoscaler_v2,
            columns=workload_rows.AUTOSCALER,
            cells=workload_rows.autoscaler_cells,
            create=autoscaling.validate_autoscaler,
            update=lambda new, old: autoscaling.validate_autoscaler(new),
            status=autoscaling.validate_autoscaler_status_update,
            unconditional_update=False,
        )


class PriorityClassStrategy(BuiltIn):
    def __init__(self) -> None:
        super().__init__(
            scheduling_v1.PriorityClass,
            defaults=defaults.default_priority_class,
            columns=rows.PRIORITY_CLASS,
            cells=rows.priority_class_cells,
            create=policy.validate_priority_class,
            update=policy.validate_priority_class_update,
        )

    def prepare_create(self, ctx: Context, obj: scheduling_v1.PriorityClass) -> None:
        obj.metadata.generation = 1


def strategies() -> list[Strategy]:
    return [
        AutoscalerStrategy("v1"),
        AutoscalerStrategy("v2"),
        PriorityClassStrategy(),
        BuiltIn(
            policy_v1.PodDisruptionBudget,
            columns=workload_rows.DISRUPTION_BUDGET,
            cells=workload_rows.disruption_budget_cells,
            create=policy.validate_disruption_budget,
            update=policy.validate_disruption_budget_update,
            status=policy.validate_disruption_budget_status_update,
            generation_of=("spec",),
            unconditional_update=False,
        ),
        BuiltIn(
            node_v1.RuntimeClass,
            defaults=defaults.default_runtime_class,
            columns=rows.RUNTIME_CLASS,
            cells=rows.runtime_class_cells,
            create=policy.validate_runtime_class,
            update=policy.validate_runtime_class_update,
            unconditional_update=False,
        ),
        BuiltIn(
            flowcontrol_v1.FlowSchema,
            columns=rows.FLOW_SCHEMA,
            cells=rows.flow_schema_cells,
            defaults=defaults.default_flow_schema,
            create=policy.validate_flow_schema,
            update=lambda new, old: policy.validate_flow_schema(new),
            generation_of=("spec",),
            unconditional_update=False,
        ),
        BuiltIn(
            flowcontrol_v1.PriorityLevelConfiguration,
            columns=rows.PRIORITY_LEVEL,
            cells=rows.priority_level_cells,
            defaults=defaults.default_priority_level,
            create=policy.validate_priority_level,
            update=lambda new, old: policy.validate_priority_level(new),
            generation_of=("spec",),
            unconditional_update=False,
        ),
        BuiltIn(resource_v1.DeviceClass, columns=NAME_AND_AGE, cells=name_and_age_cells, generation_of=("spec",)),
        BuiltIn(
            resource_v1.ResourceClaim,
            columns=rows.RESOURCE_CLAIM,
            cells=rows.resource_claim_cells,
            update=policy.validate_spec_unchanged,
        ),
        BuiltIn(
            resource_v1.ResourceClaimTemplate,
            columns=NAME_AND_AGE,
            cells=name_and_age_cells,
            update=policy.validate_spec_unchanged,
        ),
        BuiltIn(
            resource_v1.ResourceSlice,
            columns=rows.RESOURCE_SLICE,
            cells=rows.resource_slice_cells,
            generation_of=("spec",),
            fields={
                "spec.nodeName": lambda resource_slice: resource_slice.spec.node_name or "",
                "spec.driver": lambda resource_slice: resource_slice.spec.driver,
            },
        ),
    ]
