"""What extends the API: webhooks, admission policies, custom resource definitions, aggregated services."""

from __future__ import annotations

from api import names
from api.types import admissionregistration_v1, apiextensions_v1, apiregistration_v1
from apiserver.defaults import others as defaults
from apiserver.extensions.cleanup import mark_for_cleanup
from apiserver.printers import others as rows
from apiserver.resources.base import BuiltIn
from apiserver.strategy import Context, Strategy
from apiserver.validation import extension as rules


class CustomResourceDefinitionStrategy(BuiltIn):
    def __init__(self) -> None:
        super().__init__(
            apiextensions_v1.CustomResourceDefinition,
            defaults=defaults.default_custom_resource_definition,
            create=rules.validate_custom_resource_definition,
            update=rules.validate_custom_resource_definition_update,
            generation_of=("spec",),
            unconditional_update=False,
        )

    def prepare_create(self, ctx: Context, obj: apiextensions_v1.CustomResourceDefinition) -> None:
        super().prepare_create(ctx, obj)
        obj.status.stored_versions = [version.name for version in obj.spec.versions if version.storage]

    def prepare_delete(self, ctx: Context, obj: apiextensions_v1.CustomResourceDefinition) -> None:
        mark_for_cleanup(obj)

    def prepare_update(
        self,
        ctx: Context,
        new: apiextensions_v1.CustomResourceDefinition,
        old: apiextensions_v1.CustomResourceDefinition,
    ) -> None:
        super().prepare_update(ctx, new, old)
        stored = list(new.status.stored_versions or ())
        stored += [v.name for v in new.spec.versions if v.storage and v.name not in stored]
        new.status.stored_versions = stored


class APIServiceStrategy(BuiltIn):
    def __init__(self) -> None:
        super().__init__(
            apiregistration_v1.APIService,
            defaults=defaults.default_api_service,
            columns=rows.API_SERVICE,
            cells=rows.api_service_cells,
            create=rules.validate_api_service,
            update=rules.validate_api_service_update,
            unconditional_update=False,
            name=names.path_segment,
        )

    def prepare_create(self, ctx: Context, obj: apiregistration_v1.APIService) -> None:
        obj.status = apiregistration_v1.APIServiceStatus()
        if obj.spec.service is None:
            condition = apiregistration_v1.APIServiceCondition(
                type="Available",
                status="True",
                reason="Local",
                message="Local APIServices are always available",
                last_transition_time=obj.metadata.creation_timestamp,
            )
            obj.status.conditions = [condition]


def strategies() -> list[Strategy]:
    return [
        CustomResourceDefinitionStrategy(),
        APIServiceStrategy(),
        BuiltIn(
            admissionregistration_v1.MutatingWebhookConfiguration,
            defaults=defaults.default_webhooks,
            columns=rows.WEBHOOKS,
            cells=rows.webhooks_cells,
            create=rules.validate_webhooks,
            update=lambda new, old: rules.validate_webhooks(new),
            generation_of=("webhooks",),
            unconditional_update=False,
        ),
        BuiltIn(
            admissionregistration_v1.ValidatingWebhookConfiguration,
            defaults=defaults.default_webhooks,
            columns=rows.WEBHOOKS,
            cells=rows.webhooks_cells,
            create=rules.validate_webhooks,
            update=lambda new, old: rules.validate_webhooks(new),
            generation_of=("webhooks",),
            unconditional_update=False,
        ),
        BuiltIn(
            admissionregistration_v1.ValidatingAdmissionPolicy,
            defaults=defaults.default_admission_policy,
            columns=rows.VALIDATING_POLICY,
            cells=rows.validating_policy_cells,
            create=rules.validate_validating_policy,
            update=lambda new, old: rules.validate_validating_policy(new),
            generation_of=("spec",),
            unconditional_update=False,
        ),
        BuiltIn(
            admissionregistration_v1.ValidatingAdmissionPolicyBinding,
            defaults=defaults.default_admission_policy_binding,
            columns=rows.POLICY_BINDING,
            cells=rows.policy_binding_cells,
            create=rules.validate_validating_policy_binding,
            update=lambda new, old: rules.validate_validating_policy_binding(new),
            generation_of=("spec",),
            unconditional_update=False,
        ),
        BuiltIn(
            admissionregistration_v1.MutatingAdmissionPolicy,
            defaults=defaults.default_admission_policy,
            columns=rows.MUTATING_POLICY,
            cells=rows.mutating_policy_cells,
            generation_of=("spec",),
            unconditional_update=False,
        ),
        BuiltIn(
            admissionregistration_v1.MutatingAdmissionPolicyBinding,
            defaults=defaults.default_admission_policy_binding,
            columns=rows.POLICY_BINDING,
            cells=rows.policy_binding_cells,
            generation_of=("spec",),
            unconditional_update=False,
        ),
    ]
