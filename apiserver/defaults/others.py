"""Defaults of the smaller groups: networking, discovery, policy, scheduling, storage, RBAC, certificates, and so on."""

from __future__ import annotations

from api.types import (
    admissionregistration_v1,
    apiextensions_v1,
    apiregistration_v1,
    autoscaling_v2,
    certificates_v1,
    discovery_v1,
    flowcontrol_v1,
    meta_v1,
    networking_v1,
    node_v1,
    rbac_v1,
    scheduling_v1,
    storage_v1,
)
from apiserver.defaults.quantities import canonical, default_resource_list

RBAC_GROUP = "rbac.authorization.k8s.io"


def default_endpoint_slice(endpoint_slice: discovery_v1.EndpointSlice) -> None:
    for port in endpoint_slice.ports or ():
        if port.name is None:
            port.name = ""
        if port.protocol is None:
            port.protocol = "TCP"


def default_ingress_class(ingress_class: networking_v1.IngressClass) -> None:
    parameters = ingress_class.spec.parameters
    if parameters is not None and parameters.scope is None:
        parameters.scope = "Cluster"


def default_network_policy(policy: networking_v1.NetworkPolicy) -> None:
    spec = policy.spec
    for rule in (*(spec.ingress or ()), *(spec.egress or ())):
        for port in rule.ports or ():
            if port.protocol is None:
                port.protocol = "TCP"
    if spec.pod_selector is None:
        spec.pod_selector = meta_v1.LabelSelector()
    if not spec.policy_types:
        spec.policy_types = ["Ingress", "Egress"] if spec.egress else ["Ingress"]


def default_priority_class(priority_class: scheduling_v1.PriorityClass) -> None:
    if priority_class.preemption_policy is None:
        priority_class.preemption_policy = "PreemptLowerPriority"
    if priority_class.value is None:
        priority_class.value = 0


def default_storage_class(storage_class: storage_v1.StorageClass) -> None:
    if storage_class.reclaim_policy is None:
        storage_class.reclaim_policy = "Delete"
    if storage_class.volume_binding_mode is None:
        storage_class.volume_binding_mode = "Immediate"


def default_csi_driver(driver: storage_v1.CSIDriver) -> None:
    spec = driver.spec
    if spec.attach_required is None:
        spec.attach_required = True
    if spec.pod_info_on_mount is None:
        spec.pod_info_on_mount = False
    if spec.storage_capacity is None:
        spec.storage_capacity = False
    if spec.fs_group_policy is None:
        spec.fs_group_policy = "ReadWriteOnceWithFSType"
    if not spec.volume_lifecycle_modes:
        spec.volume_lifecycle_modes = ["Persistent"]
    if spec.requires_republish is None:
        spec.requires_republish = False
    if spec.se_linux_mount is None:
        spec.se_linux_mount = False


def default_csi_storage_capacity(capacity: storage_v1.CSIStorageCapacity) -> None:
    if capacity.capacity is not None:
        capacity.capacity = canonical(capacity.capacity)
    if capacity.maximum_volume_size is not None:
        capacity.maximum_volume_size = canonical(capacity.maximum_volume_size)


def default_runtime_class(runtime_class: node_v1.RuntimeClass) -> None:
    if runtime_class.overhead is not None:
        default_resource_list(runtime_class.overhead.pod_fixed)
    if runtime_class.scheduling is not None:
        for toleration in runtime_class.scheduling.tolerations or ():
            if not toleration.operator:
                toleration.operator = "Equal"


def default_binding(binding: rbac_v1.RoleBinding | rbac_v1.ClusterRoleBinding) -> None:
    if not binding.role_ref.api_group:
        binding.role_ref.api_group = RBAC_GROUP
    for subject in binding.subjects or ():
        if not subject.api_group and subject.kind in ("User", "Group"):
            subject.api_group = RBAC_GROUP


def default_certificate_signing_request(request: certificates_v1.CertificateSigningRequest) -> None:
    for condition in request.status.conditions or ():
        if not condition.status:
            condition.status = "True"


def default_autoscaler_v2(autoscaler: autoscaling_v2.HorizontalPodAutoscaler) -> None:
    spec = autoscaler.spec
    if spec.min_replicas is None:
        spec.min_replicas = 1
    if not spec.metrics:
        spec.metrics = [
            autoscaling_v2.MetricSpec(
                type="Resource",
                resource=autoscaling_v2.ResourceMetricSource(
                    name="cpu",
                    target=autoscaling_v2.MetricTarget(type="Utilization", average_utilization=80),
                ),
            )
        ]
    for metric in spec.metrics:
        for source in (metric.container_resource, metric.external, metric.object, metric.pods, metric.resource):
            if source is not None:
                target = source.target
                if target.value is not None:
                    target.value = canonical(target.value)
                if target.average_value is not None:
                    target.average_value = canonical(target.average_value)
    if (behavior := spec.behavior) is not None:
        # Upstream fills the rules only where the user gave some behavior; scale up is quick, scale down patient.
        up = autoscaling_v2.HPAScalingRules(
            stabilization_window_seconds=0,
            select_policy="Max",
            policies=[
                autoscaling_v2.HPAScalingPolicy(type="Pods", value=4, period_seconds=15),
                autoscaling_v2.HPAScalingPolicy(type="Percent", value=100, period_seconds=15),
            ],
        )
        down = autoscaling_v2.HPAScalingRules(
            select_policy="Max",
            policies=[autoscaling_v2.HPAScalingPolicy(type="Percent", value=100, period_seconds=15)],
        )
        behavior.scale_up = _merge_rules(behavior.scale_up, up)
        behavior.scale_down = _merge_rules(behavior.scale_down, down)


def _merge_rules(
    given: autoscaling_v2.HPAScalingRules | None, default: autoscaling_v2.HPAScalingRules
) -> autoscaling_v2.HPAScalingRules:
    if given is None:
        return default
    if given.select_policy is None:
        given.select_policy = default.select_policy
    if given.stabilization_window_seconds is None:
        given.stabilization_window_seconds = default.stabilization_window_seconds
    if given.policies is None:
        given.policies = default.policies
    if given.tolerance is not None:
        given.tolerance = canonical(given.tolerance)
    return given


def default_webhooks(
    configuration: (
        admissionregistration_v1.MutatingWebhookConfiguration | admissionregistration_v1.ValidatingWebhookConfiguration
    ),
) -> None:
    for webhook in configuration.webhooks or ():
        if webhook.failure_policy is None:
            webhook.failure_policy = "Fail"
        if webhook.match_policy is None:
            webhook.match_policy = "Equivalent"
        if webhook.namespace_selector is None:
            webhook.namespace_selector = meta_v1.LabelSelector()
        if webhook.object_selector is None:
            webhook.object_selector = meta_v1.LabelSelector()
        if webhook.timeout_seconds is None:
            webhook.timeout_seconds = 10
        if isinstance(webhook, admissionregistration_v1.MutatingWebhook) and webhook.reinvocation_policy is None:
            webhook.reinvocation_policy = "Never"
        if (service := webhook.client_config.service) is not None and service.port is None:
            service.port = 443
        for rule in webhook.rules or ():
            if rule.scope is None:
                rule.scope = "*"


def _match_resources(resources: admissionregistration_v1.MatchResources | None) -> None:
    if resources is None:
        return
    if resources.match_policy is None:
        resources.match_policy = "Equivalent"
    if resources.namespace_selector is None:
        resources.namespace_selector = meta_v1.LabelSelector()
    if resources.object_selector is None:
        resources.object_selector = meta_v1.LabelSelector()
    for rule in (*(resources.resource_rules or ()), *(resources.exclude_resource_rules or ())):
        if rule.scope is None:
            rule.scope = "*"


def default_admission_policy(
    policy: admissionregistration_v1.ValidatingAdmissionPolicy | admissionregistration_v1.MutatingAdmissionPolicy,
) -> None:
    if policy.spec.failure_policy is None:
        policy.spec.failure_policy = "Fail"
    _match_resources(policy.spec.match_constraints)


def default_admission_policy_binding(
    binding: (
        admissionregistration_v1.ValidatingAdmissionPolicyBinding
        | admissionregistration_v1.MutatingAdmissionPolicyBinding
    ),
) -> None:
    _match_resources(binding.spec.match_resources)


def default_custom_resource_definition(definition: apiextensions_v1.CustomResourceDefinition) -> None:
    spec = definition.spec
    names = spec.names
    if not names.singular:
        names.singular = names.kind.lower()
    if not names.list_kind and names.kind:
        names.list_kind = names.kind + "List"
    if spec.conversion is None:
        spec.conversion = apiextensions_v1.CustomResourceConversion(strategy="None")
    webhook = spec.conversion.webhook
    if webhook is not None and webhook.client_config is not None:
        service = webhook.client_config.service
        if service is not None and service.port is None:
            service.port = 443
    status = definition.status
    if status.stored_versions is None:
        status.stored_versions = [version.name for version in spec.versions if version.storage] or None


def default_api_service(service: apiregistration_v1.APIService) -> None:
    if service.spec.service is not None and service.spec.service.port is None:
        service.spec.service.port = 443


def default_flow_schema(schema: flowcontrol_v1.FlowSchema) -> None:
    if not schema.spec.matching_precedence:
        schema.spec.matching_precedence = 1000


def default_priority_level(level: flowcontrol_v1.PriorityLevelConfiguration) -> None:
    spec = level.spec
    if spec.type == "Exempt":
        if spec.exempt is None:
            spec.exempt = flowcontrol_v1.ExemptPriorityLevelConfiguration()
        if spec.exempt.nominal_concurrency_shares is None:
            spec.exempt.nominal_concurrency_shares = 0
        if spec.exempt.lendable_percent is None:
            spec.exempt.lendable_percent = 0
    if spec.limited is not None:
        limited = spec.limited
        if limited.nominal_concurrency_shares is None:
            limited.nominal_concurrency_shares = 30
        if limited.lendable_percent is None:
            limited.lendable_percent = 0
        if limited.limit_response is not None and (queuing := limited.limit_response.queuing) is not None:
            queuing.hand_size = queuing.hand_size or 8
            queuing.queues = queuing.queues or 64
            queuing.queue_length_limit = queuing.queue_length_limit or 50
