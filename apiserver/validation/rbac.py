"""Roles and bindings. What a binding refers to may never change: it would be another grant."""

from __future__ import annotations

from api.errors import FieldError, Path
from api.types import rbac_v1
from apiserver.validation import names
from apiserver.validation.common import label_selector, name_errors

GROUP = "rbac.authorization.k8s.io"
_EITHER = "rules cannot apply to both regular resources and non-resource URLs"


def validate_role(role: rbac_v1.Role) -> list[FieldError]:
    return _rules(role.rules, namespaced=True)


def validate_cluster_role(role: rbac_v1.ClusterRole) -> list[FieldError]:
    errors = _rules(role.rules, namespaced=False)
    if (aggregation := role.aggregation_rule) is not None:
        path = Path("aggregationRule", "clusterRoleSelectors")
        if not aggregation.cluster_role_selectors:
            detail = "at least one clusterRoleSelector required if aggregationRule is non-nil"
            errors.append(FieldError.required(path, detail))
        for index, selector in enumerate(aggregation.cluster_role_selectors or ()):
            errors += label_selector(selector, path.index(index))
    return errors


def _rules(rules: list[rbac_v1.PolicyRule] | None, *, namespaced: bool) -> list[FieldError]:
    errors: list[FieldError] = []
    for index, rule in enumerate(rules or ()):
        at = Path("rules").index(index)
        if not rule.verbs:
            errors.append(FieldError.required(at.child("verbs"), "verbs must contain at least one value"))
        if rule.non_resource_urls:
            where = at.child("nonResourceURLs")
            if namespaced:
                detail = "namespaced rules cannot apply to non-resource URLs"
                errors.append(FieldError.invalid(where, rule.non_resource_urls, detail))
            if rule.api_groups or rule.resources or rule.resource_names:
                errors.append(FieldError.invalid(where, rule.non_resource_urls, _EITHER))
            continue
        if not rule.api_groups:
            detail = "resource rules must supply at least one api group"
            errors.append(FieldError.required(at.child("apiGroups"), detail))
        if not rule.resources:
            detail = "resource rules must supply at least one resource"
            errors.append(FieldError.required(at.child("resources"), detail))
    return errors


def validate_role_binding(binding: rbac_v1.RoleBinding) -> list[FieldError]:
    return _binding(binding, ("Role", "ClusterRole"), namespaced=True)


def validate_cluster_role_binding(binding: rbac_v1.ClusterRoleBinding) -> list[FieldError]:
    return _binding(binding, ("ClusterRole",), namespaced=False)


def validate_role_binding_update(
    new: rbac_v1.RoleBinding | rbac_v1.ClusterRoleBinding, old: rbac_v1.RoleBinding | rbac_v1.ClusterRoleBinding
) -> list[FieldError]:
    errors = validate_role_binding(new) if isinstance(new, rbac_v1.RoleBinding) else validate_cluster_role_binding(new)
    if new.role_ref != old.role_ref:
        errors.append(FieldError.invalid("roleRef", new.role_ref, "cannot change roleRef"))
    return errors


def _binding(
    binding: rbac_v1.RoleBinding | rbac_v1.ClusterRoleBinding, kinds: tuple[str, ...], *, namespaced: bool
) -> list[FieldError]:
    errors: list[FieldError] = []
    role, at = binding.role_ref, Path("roleRef")
    if role.api_group != GROUP:
        errors.append(FieldError.not_supported(at.child("apiGroup"), role.api_group, (GROUP,)))
    if role.kind not in kinds:
        errors.append(FieldError.not_supported(at.child("kind"), role.kind, kinds))
    if not role.name:
        errors.append(FieldError.required(at.child("name")))
    else:
        errors += name_errors(names.path_segment, role.name, at.child("name"))
    for index, subject in enumerate(binding.subjects or ()):
        errors += _subject(subject, Path("subjects").index(index), namespaced=namespaced)
    return errors


def _subject(subject: rbac_v1.Subject, path: Path, *, namespaced: bool) -> list[FieldError]:
    errors: list[FieldError] = []
    if not subject.name:
        errors.append(FieldError.required(path.child("name")))
    match subject.kind:
        case "ServiceAccount":
            if subject.name:
                errors += name_errors(names.dns1123_subdomain, subject.name, path.child("name"))
            if subject.api_group:
                errors.append(FieldError.not_supported(path.child("apiGroup"), subject.api_group, ("",)))
            if not namespaced and not subject.namespace:
                errors.append(FieldError.required(path.child("namespace")))
        case "User" | "Group":
            if subject.api_group != GROUP:
                errors.append(FieldError.not_supported(path.child("apiGroup"), subject.api_group, (GROUP,)))
        case _:
            errors.append(
                FieldError.not_supported(path.child("kind"), subject.kind, ("Group", "ServiceAccount", "User"))
            )
    return errors
