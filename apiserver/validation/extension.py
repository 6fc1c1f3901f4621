"""Webhooks, admission policies, custom resource definitions and aggregated services, as far as their own fields say."""

from __future__ import annotations

import re
from collections.abc import Container, Sequence
from urllib.parse import urlsplit

from api import codec
from api.errors import FieldError, Path
from api.types import admissionregistration_v1, apiextensions_v1, apiregistration_v1
from apiserver.extensions.names import APPROVAL, protected
from apiserver.extensions.structural import validate_schema
from apiserver.validation import names
from apiserver.validation.common import immutable, label_selector, name_errors

_SPEC = Path("spec")
_OPERATIONS = ("*", "CONNECT", "CREATE", "DELETE", "UPDATE")
_SCOPES = ("*", "Cluster", "Namespaced")
_VERSION = re.compile(r"^v\d+((alpha|beta)\d+)?$")

Webhook = admissionregistration_v1.MutatingWebhook | admissionregistration_v1.ValidatingWebhook
ClientConfig = admissionregistration_v1.WebhookClientConfig | apiextensions_v1.WebhookClientConfig


def validate_webhooks(
    configuration: (
        admissionregistration_v1.MutatingWebhookConfiguration | admissionregistration_v1.ValidatingWebhookConfiguration
    ),
) -> list[FieldError]:
    errors: list[FieldError] = []
    seen: set[str] = set()
    webhooks: Sequence[Webhook] = configuration.webhooks or ()
    for index, webhook in enumerate(webhooks):
        at = Path("webhooks").index(index)
        errors += _webhook(webhook, at)
        if webhook.name in seen:
            errors.append(FieldError.duplicate(at.child("name"), webhook.name))
        seen.add(webhook.name)
    return errors


def _webhook(webhook: Webhook, path: Path) -> list[FieldError]:
    errors = _fully_qualified(webhook.name, path.child("name"))
    if not webhook.admission_review_versions:
        detail = "must specify one of v1, v1beta1"
        errors.append(FieldError.required(path.child("admissionReviewVersions"), detail))
    elif not {"v1", "v1beta1"} & set(webhook.admission_review_versions):
        detail = "must include at least one of v1, v1beta1"
        errors.append(
            FieldError.invalid(path.child("admissionReviewVersions"), webhook.admission_review_versions, detail)
        )
    for index, rule in enumerate(webhook.rules or ()):
        errors += _rule(rule, path.child("rules").index(index))
    if webhook.failure_policy not in ("Fail", "Ignore"):
        valid = ("Fail", "Ignore")
        errors.append(FieldError.not_supported(path.child("failurePolicy"), webhook.failure_policy, valid))
    if webhook.match_policy not in ("Equivalent", "Exact"):
        valid = ("Equivalent", "Exact")
        errors.append(FieldError.not_supported(path.child("matchPolicy"), webhook.match_policy, valid))
    if not webhook.side_effects:
        errors.append(FieldError.required(path.child("sideEffects"), "must specify one of None, NoneOnDryRun"))
    elif webhook.side_effects not in ("None", "NoneOnDryRun"):
        valid = ("None", "NoneOnDryRun")
        errors.append(FieldError.not_supported(path.child("sideEffects"), webhook.side_effects, valid))
    timeout = webhook.timeout_seconds
    if timeout is not None and not 1 <= timeout <= 30:
        detail = "the timeout value must be between 1 and 30 seconds"
        errors.append(FieldError.invalid(path.child("timeoutSeconds"), timeout, detail))
    errors += label_selector(webhook.namespace_selector, path.child("namespaceSelector"))
    errors += label_selector(webhook.object_selector, path.child("objectSelector"))
    reinvocation = getattr(webhook, "reinvocation_policy", None)
    if reinvocation not in (None, "IfNeeded", "Never"):
        at = path.child("reinvocationPolicy")
        errors.append(FieldError.not_supported(at, reinvocation, ("IfNeeded", "Never")))
    return errors + _client_config(webhook.client_config, path.child("clientConfig"))


def _fully_qualified(name: str, path: Path) -> list[FieldError]:
    if not name:
        return [FieldError.required(path)]
    errors = name_errors(names.dns1123_subdomain, name, path)
    if not errors and name.count(".") < 2:
        detail = "should be a domain with at least three segments separated by dots"
        errors.append(FieldError.invalid(path, name, detail))
    return errors


def _rule(rule: admissionregistration_v1.RuleWithOperations, path: Path) -> list[FieldError]:
    errors: list[FieldError] = []
    if not rule.operations:
        errors.append(FieldError.required(path.child("operations")))
    for index, operation in enumerate(rule.operations or ()):
        if operation not in _OPERATIONS:
            errors.append(FieldError.not_supported(path.child("operations").index(index), operation, _OPERATIONS))
    for field, values in (
        ("operations", rule.operations),
        ("apiGroups", rule.api_groups),
        ("apiVersions", rule.api_versions),
    ):
        if values and "*" in values and len(values) > 1:
            detail = f"if '*' is present, must not specify other {_WORDS[field]}"
            errors.append(FieldError.invalid(path.child(field), values, detail))
        if not values and field != "operations":
            errors.append(FieldError.required(path.child(field)))
    if not rule.resources:
        errors.append(FieldError.required(path.child("resources")))
    for index, resource in enumerate(rule.resources or ()):
        if not resource:
            errors.append(FieldError.required(path.child("resources").index(index)))
    if rule.scope is not None and rule.scope not in _SCOPES:
        errors.append(FieldError.not_supported(path.child("scope"), rule.scope, _SCOPES))
    return errors


_WORDS = {"operations": "operations", "apiGroups": "API groups", "apiVersions": "API versions"}


def _client_config(config: ClientConfig, path: Path) -> list[FieldError]:
    if (config.url is None) == (config.service is None):
        return [FieldError.required(path, "exactly one of url or service is required")]
    errors: list[FieldError] = []
    if config.url is not None:
        at = path.child("url")
        form = "desired format: https://host[/path]"
        parts = urlsplit(config.url)
        if parts.scheme != "https":
            detail = f"'https' is the only allowed URL scheme; {form}"
            errors.append(FieldError.invalid(at, parts.scheme, detail))
        if not parts.netloc:
            errors.append(FieldError.invalid(at, parts.netloc, f"host must be specified; {form}"))
        if "@" in parts.netloc:
            errors.append(FieldError.invalid(at, parts.netloc, f"user information is not permitted in the URL; {form}"))
        for part, word in (
            (parts.fragment, "fragments are not permitted in the URL"),
            (parts.query, "query parameters are not permitted in the URL"),
        ):
            if part:
                errors.append(FieldError.invalid(at, part, f"{word}; {form}"))
    if (service := config.service) is not None:
        at = path.child("service")
        for field, value in (("name", service.name), ("namespace", service.namespace)):
            if not value:
                errors.append(FieldError.required(at.child(field), f"service {field} is required"))
        if service.path and not service.path.startswith("/"):
            errors.append(FieldError.invalid(at.child("path"), service.path, "must start with a '/'"))
        if service.port is not None:
            for message in names.port_number(service.port):
                errors.append(FieldError.invalid(at.child("port"), service.port, f"port is not valid: {message}"))
    return errors


# -- admission policies -----------------------------------------------------------------------------------------------


def validate_validating_policy(policy: admissionregistration_v1.ValidatingAdmissionPolicy) -> list[FieldError]:
    spec = policy.spec
    errors: list[FieldError] = []
    if spec.failure_policy not in ("Fail", "Ignore"):
        errors.append(FieldError.not_supported(_SPEC.child("failurePolicy"), spec.failure_policy, ("Fail", "Ignore")))
    if spec.param_kind is not None:
        for field, value in (("apiVersion", spec.param_kind.api_version), ("kind", spec.param_kind.kind)):
            if not value:
                errors.append(FieldError.required(_SPEC.child("paramKind").child(field)))
    if spec.match_constraints is None:
        errors.append(FieldError.required(_SPEC.child("matchConstraints")))
    elif not spec.match_constraints.resource_rules:
        errors.append(FieldError.required(_SPEC.child("matchConstraints").child("resourceRules")))
    if not spec.validations and not spec.audit_annotations:
        detail = "validations or auditAnnotations must contain at least one item"
        errors.append(FieldError.required(_SPEC.child("validations"), detail))
        errors.append(FieldError.required(_SPEC.child("auditAnnotations"), detail))
    for index, validation in enumerate(spec.validations or ()):
        at = _SPEC.child("validations").index(index)
        if not validation.expression.strip():
            errors.append(FieldError.required(at.child("expression"), "expression is not specified"))
        if validation.message is not None and "\n" in validation.message.strip():
            detail = "message must not contain line breaks"
            errors.append(FieldError.invalid(at.child("message"), validation.message, detail))
    for index, variable in enumerate(spec.variables or ()):
        at = _SPEC.child("variables").index(index)
        if not variable.name:
            errors.append(FieldError.required(at.child("name"), "name is not specified"))
        if not variable.expression.strip():
            errors.append(FieldError.required(at.child("expression"), "expression is not specified"))
    return errors


def validate_validating_policy_binding(
    binding: admissionregistration_v1.ValidatingAdmissionPolicyBinding,
) -> list[FieldError]:
    spec = binding.spec
    errors: list[FieldError] = []
    if not spec.policy_name:
        errors.append(FieldError.required(_SPEC.child("policyName")))
    else:
        errors += name_errors(names.dns1123_subdomain, spec.policy_name, _SPEC.child("policyName"))
    path = _SPEC.child("validationActions")
    if not spec.validation_actions:
        errors.append(FieldError.required(path, "at least one validation action is required"))
    for index, action in enumerate(spec.validation_actions):
        if action not in ("Audit", "Deny", "Warn"):
            errors.append(FieldError.not_supported(path.index(index), action, ("Audit", "Deny", "Warn")))
        if action in spec.validation_actions[:index]:
            errors.append(FieldError.duplicate(path.index(index), action))
    if {"Deny", "Warn"} <= set(spec.validation_actions):
        detail = (
            "must not contain both Deny and Warn (repeating the same validation failure information in the API "
            "response and headers serves no purpose)"
        )
        errors.append(FieldError.invalid(path, spec.validation_actions, detail))
    return errors


# -- custom resource definitions --------------------------------------------------------------------------------------


def validate_custom_resource_definition(
    definition: apiextensions_v1.CustomResourceDefinition, known: Container[bytes] = ()
) -> list[FieldError]:
    """`known` are schemas (as JSON) that were let through before and need no second look."""
    spec = definition.spec
    errors: list[FieldError] = []
    wanted = f"{spec.names.plural}.{spec.group}"
    if definition.metadata.name and definition.metadata.name != wanted:
        detail = 'must be spec.names.plural+"."+spec.group'
        errors.append(FieldError.invalid("metadata.name", definition.metadata.name, detail))
    if not spec.group:
        errors.append(FieldError.required(_SPEC.child("group")))
    else:
        errors += name_errors(names.dns1123_subdomain, spec.group, _SPEC.child("group"))
        if "." not in spec.group:
            detail = "should be a domain with at least one dot"
            errors.append(FieldError.invalid(_SPEC.child("group"), spec.group, detail))
    if not spec.scope:
        errors.append(FieldError.required(_SPEC.child("scope")))
    elif spec.scope not in ("Cluster", "Namespaced"):
        errors.append(FieldError.not_supported(_SPEC.child("scope"), spec.scope, ("Cluster", "Namespaced")))
    if protected(spec.group) and not (definition.metadata.annotations or {}).get(APPROVAL):
        detail = (
            f'protected groups must have approval annotation "{APPROVAL}", see '
            "https://github.com/kubernetes/enhancements/pull/1111"
        )
        errors.append(FieldError.required(Path("metadata", "annotations").key(APPROVAL), detail))
    if spec.preserve_unknown_fields:
        detail = (
            "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead"
        )
        errors.append(FieldError.invalid(_SPEC.child("preserveUnknownFields"), True, detail))
    return errors + _versions(spec, known) + _crd_names(spec.names, _SPEC.child("names")) + _conversion(spec)


def _versions(spec: apiextensions_v1.CustomResourceDefinitionSpec, known: Container[bytes] = ()) -> list[FieldError]:
    errors: list[FieldError] = []
    path = _SPEC.child("versions")
    seen: set[str] = set()
    for index, version in enumerate(spec.versions):
        at = path.index(index)
        errors += name_errors(names.dns1035_label, version.name, at.child("name"))
        if version.name in seen:
            errors.append(FieldError.invalid(path, version.name, "must contain unique version names"))
        seen.add(version.name)
        schema = version.schema.open_api_v3_schema if version.schema is not None else None
        where = at.child("schema").child("openAPIV3Schema")
        if schema is None:
            errors.append(FieldError.required(where, "schemas are required"))
        elif codec.encode(schema) not in known:
            errors += validate_schema(codec.to_dict(schema), where)
        if version.deprecation_warning is not None and not version.deprecated:
            detail = "can only be set for deprecated versions"
            errors.append(FieldError.invalid(at.child("deprecationWarning"), version.deprecation_warning, detail))
        errors += _subresources(version, at)
        for position, column in enumerate(version.additional_printer_columns or ()):
            below = at.child("additionalPrinterColumns").index(position)
            for field, value in (("name", column.name), ("jsonPath", column.json_path)):
                if not value:
                    errors.append(FieldError.required(below.child(field)))
            types = ("boolean", "date", "integer", "number", "string")
            if not column.type:
                errors.append(FieldError.required(below.child("type"), f"must be one of {','.join(types)}"))
            elif column.type not in types:
                detail = f"must be one of {','.join(types)}"
                errors.append(FieldError.invalid(below.child("type"), column.type, detail))
    stored = sum(version.storage for version in spec.versions)
    if stored != 1:
        detail = "must have exactly one version marked as storage version"
        errors.append(FieldError.invalid(path, [version.name for version in spec.versions], detail))
    return errors


def _subresources(version: apiextensions_v1.CustomResourceDefinitionVersion, path: Path) -> list[FieldError]:
    errors: list[FieldError] = []
    scale = version.subresources.scale if version.subresources is not None else None
    if scale is not None:
        at = path.child("subresources").child("scale")
        for field, value, below in (
            ("specReplicasPath", scale.spec_replicas_path, (".spec.",)),
            ("statusReplicasPath", scale.status_replicas_path, (".status.",)),
            ("labelSelectorPath", scale.label_selector_path, (".status.", ".spec.")),
        ):
            if not value:
                if field != "labelSelectorPath":
                    errors.append(FieldError.required(at.child(field)))
            elif not _SIMPLE_PATH.match(value):
                detail = "is not a valid json path: only simple json paths with '.' and field names are allowed"
                errors.append(FieldError.invalid(at.child(field), value, detail))
            elif not value.startswith(below):
                words = " or ".join(f"{prefix[:-1]}" for prefix in below)
                errors.append(FieldError.invalid(at.child(field), value, f"should be a json path under {words}"))
    seen: set[str] = set()
    for index, selectable in enumerate(version.selectable_fields or ()):
        at = path.child("selectableFields").index(index).child("jsonPath")
        if not selectable.json_path:
            errors.append(FieldError.required(at))
        elif not _SIMPLE_PATH.match(selectable.json_path):
            errors.append(FieldError.invalid(at, selectable.json_path, "must be a simple json path"))
        elif selectable.json_path.startswith(".metadata"):
            detail = "must not point to fields in metadata"
            errors.append(FieldError.invalid(at, selectable.json_path, detail))
        elif selectable.json_path in seen:
            errors.append(FieldError.duplicate(at, selectable.json_path))
        seen.add(selectable.json_path)
    return errors


_SIMPLE_PATH = re.compile(r"^(\.[A-Za-z_][A-Za-z0-9_-]*)+$")


def _crd_names(value: apiextensions_v1.CustomResourceDefinitionNames, path: Path) -> list[FieldError]:
    errors: list[FieldError] = []
    for field, text, lower in (
        ("plural", value.plural, False),
        ("singular", value.singular or "", False),
        ("kind", value.kind, True),
        ("listKind", value.list_kind or "", True),
    ):
        if not text:
            if field in ("plural", "kind", "listKind"):
                errors.append(FieldError.required(path.child(field)))
            continue
        checked = text.lower() if lower else text
        for message in names.dns1035_label(checked):
            shown = f"may have mixed case, but should otherwise match: {message}" if lower else message
            errors.append(FieldError.invalid(path.child(field), text, shown))
    for index, short in enumerate(value.short_names or ()):
        errors += name_errors(names.dns1035_label, short, path.child("shortNames").index(index))
    for index, category in enumerate(value.categories or ()):
        errors += name_errors(names.dns1035_label, category, path.child("categories").index(index))
    if value.kind and value.kind == value.list_kind:
        detail = "kind and listKind may not be the same"
        errors.append(FieldError.invalid(path.child("listKind"), value.list_kind, detail))
    return errors


def _conversion(spec: apiextensions_v1.CustomResourceDefinitionSpec) -> list[FieldError]:
    conversion, path = spec.conversion, _SPEC.child("conversion")
    if conversion is None:
        return []
    if not conversion.strategy:
        return [FieldError.required(path.child("strategy"))]
    if conversion.strategy not in ("None", "Webhook"):
        return [FieldError.not_supported(path.child("strategy"), conversion.strategy, ("None", "Webhook"))]
    if conversion.strategy == "None":
        if conversion.webhook is not None:
            detail = "should not be set when strategy is not set to Webhook"
            return [FieldError.forbidden(path.child("webhook"), detail)]
        return []
    if conversion.webhook is None or conversion.webhook.client_config is None:
        detail = "required when strategy is set to Webhook"
        return [FieldError.required(path.child("webhook").child("clientConfig"), detail)]
    errors = _client_config(conversion.webhook.client_config, path.child("webhook").child("clientConfig"))
    if not conversion.webhook.conversion_review_versions:
        errors.append(FieldError.required(path.child("webhook").child("conversionReviewVersions")))
    return errors


def validate_custom_resource_definition_update(
    new: apiextensions_v1.CustomResourceDefinition, old: apiextensions_v1.CustomResourceDefinition
) -> list[FieldError]:
    schemas = (v.schema.open_api_v3_schema for v in old.spec.versions if v.schema is not None)
    errors = validate_custom_resource_definition(new, {codec.encode(schema) for schema in schemas if schema})
    established = any(c.type == "Established" and c.status == "True" for c in old.status.conditions or ())
    if established:
        errors += immutable(new.spec.scope, old.spec.scope, _SPEC.child("scope"))
        errors += immutable(new.spec.names.kind, old.spec.names.kind, _SPEC.child("names").child("kind"))
    errors += immutable(new.spec.group, old.spec.group, _SPEC.child("group"))
    errors += immutable(new.spec.names.plural, old.spec.names.plural, _SPEC.child("names").child("plural"))
    served = {version.name for version in new.spec.versions}
    for index, name in enumerate(new.status.stored_versions or ()):
        if name not in served:
            at = Path("status", "storedVersions").index(index)
            detail = (
                f"missing from spec.versions; {name} was previously a storage version, and must remain in "
                f"spec.versions until a storage migration ensures no data remains persisted in {name} and removes "
                f"{name} from status.storedVersions"
            )
            errors.append(FieldError.invalid(at, name, detail))
    return errors


# -- aggregated services ----------------------------------------------------------------------------------------------


def validate_api_service(service: apiregistration_v1.APIService) -> list[FieldError]:
    spec = service.spec
    errors: list[FieldError] = []
    group, version = spec.group or "", spec.version or ""
    wanted = f"{version}.{group}"
    if service.metadata.name and service.metadata.name != wanted:
        detail = f'must be `spec.version+"."+spec.group`: "{wanted}"'
        errors.append(FieldError.invalid("metadata.name", service.metadata.name, detail))
    if not group and version != "v1":
        errors.append(
            FieldError.required(_SPEC.child("group"), "only v1 may have an empty group and it better be legacy kube")
        )
    if group:
        errors += name_errors(names.dns1123_subdomain, group, _SPEC.child("group"))
    errors += name_errors(names.dns1035_label, version, _SPEC.child("version"))
    for field, value, low, high in (
        ("groupPriorityMinimum", spec.group_priority_minimum, 0, 20000),
        ("versionPriority", spec.version_priority, 0, 1000),
    ):
        if not low < value <= high:
            detail = f"must be positive and less than {high}"
            errors.append(FieldError.invalid(_SPEC.child(field), value, detail))
    if (target := spec.service) is None:
        if spec.ca_bundle:
            errors.append(
                FieldError.invalid(_SPEC.child("caBundle"), spec.ca_bundle, "local APIServices may not have a caBundle")
            )
        if spec.insecure_skip_tls_verify:
            errors.append(
                FieldError.invalid(
                    _SPEC.child("insecureSkipTLSVerify"), True, "local APIServices may not have insecureSkipTLSVerify"
                )
            )
        return errors
    at = _SPEC.child("service")
    for field, text in (("namespace", target.namespace), ("name", target.name)):
        if not text:
            errors.append(FieldError.required(at.child(field)))
    if target.port is not None:
        for message in names.port_number(target.port):
            errors.append(FieldError.invalid(at.child("port"), target.port, f"port is not valid: {message}"))
    if spec.insecure_skip_tls_verify and spec.ca_bundle:
        detail = "may not be true if caBundle is present"
        errors.append(FieldError.invalid(_SPEC.child("insecureSkipTLSVerify"), True, detail))
    return errors


def validate_api_service_update(
    new: apiregistration_v1.APIService, old: apiregistration_v1.APIService
) -> list[FieldError]:
    return validate_api_service(new)
