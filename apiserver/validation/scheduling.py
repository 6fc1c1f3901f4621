"""Where a pod may run: affinity, node selectors, tolerations, taints, topology spread."""

from __future__ import annotations

from api.errors import FieldError, Path
from api.types import core_v1
from apiserver.validation import names
from apiserver.validation.common import label_selector

_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
_POLICIES = ("Honor", "Ignore")


def label_name(value: str, path: Path) -> list[FieldError]:
    return [FieldError.invalid(path, value, message) for message in names.qualified_name(value)]


def affinity(value: core_v1.Affinity, path: Path) -> list[FieldError]:
    errors: list[FieldError] = []
    if value.node_affinity is not None:
        errors += _node_affinity(value.node_affinity, path.child("nodeAffinity"))
    if value.pod_affinity is not None:
        errors += _pod_affinity(value.pod_affinity, path.child("podAffinity"))
    if value.pod_anti_affinity is not None:
        errors += _pod_affinity(value.pod_anti_affinity, path.child("podAntiAffinity"))
    return errors


def _node_affinity(value: core_v1.NodeAffinity, path: Path) -> list[FieldError]:
    errors: list[FieldError] = []
    required = value.required_during_scheduling_ignored_during_execution
    if required is not None:
        errors += node_selector(required, path.child("requiredDuringSchedulingIgnoredDuringExecution"))
    at = path.child("preferredDuringSchedulingIgnoredDuringExecution")
    for index, term in enumerate(value.preferred_during_scheduling_ignored_during_execution or ()):
        errors += _weight(term.weight, at.index(index).child("weight"))
        errors += node_selector_term(term.preference, at.index(index).child("preference"))
    return errors


def _weight(weight: int, path: Path) -> list[FieldError]:
    return [] if 1 <= weight <= 100 else [FieldError.invalid(path, weight, "must be in the range 1-100")]


def node_selector(selector: core_v1.NodeSelector, path: Path) -> list[FieldError]:
    terms = path.child("nodeSelectorTerms")
    if not selector.node_selector_terms:
        return [FieldError.required(terms, "must have at least one node selector term")]
    errors: list[FieldError] = []
    for index, term in enumerate(selector.node_selector_terms):
        errors += node_selector_term(term, terms.index(index))
    return errors


def node_selector_term(term: core_v1.NodeSelectorTerm, path: Path) -> list[FieldError]:
    errors: list[FieldError] = []
    for index, requirement in enumerate(term.match_expressions or ()):
        errors += _requirement(requirement, path.child("matchExpressions").index(index))
    for index, requirement in enumerate(term.match_fields or ()):
        errors += _field_requirement(requirement, path.child("matchFields").index(index))
    return errors


def _requirement(requirement: core_v1.NodeSelectorRequirement, path: Path) -> list[FieldError]:
    errors: list[FieldError] = []
    values = requirement.values or []
    match requirement.operator:
        case "In" | "NotIn":
            if not values:
                detail = "must be specified when `operator` is 'In' or 'NotIn'"
                errors.append(FieldError.required(path.child("values"), detail))
        case "Exists" | "DoesNotExist":
            if values:
                detail = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
                errors.append(FieldError.forbidden(path.child("values"), detail))
        case "Gt" | "Lt":
            if len(values) != 1:
                detail = "must be specified single value when `operator` is 'Lt' or 'Gt'"
                errors.append(FieldError.required(path.child("values"), detail))
        case _:
            detail = "not a valid selector operator"
            errors.append(FieldError.invalid(path.child("operator"), requirement.operator, detail))
    errors += label_name(requirement.key, path.child("key"))
    for index, value in enumerate(values):
        errors += [
            FieldError.invalid(path.child("values").index(index), value, message)
            for message in names.label_value(value)
        ]
    return errors


def _field_requirement(requirement: core_v1.NodeSelectorRequirement, path: Path) -> list[FieldError]:
    errors: list[FieldError] = []
    values = requirement.values or []
    if requirement.operator not in ("In", "NotIn"):
        detail = "not a valid selector operator"
        errors.append(FieldError.invalid(path.child("operator"), requirement.operator, detail))
    elif len(values) != 1:
        detail = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector"
        errors.append(FieldError.required(path.child("values"), detail))
    if requirement.key != "metadata.name":
        errors.append(FieldError.invalid(path.child("key"), requirement.key, "not a valid field selector key"))
        return errors
    for index, value in enumerate(values):
        errors += [
            FieldError.invalid(path.child("values").index(index), value, message)
            for message in names.dns1123_subdomain(value)
        ]
    return errors


def _pod_affinity(value: core_v1.PodAffinity | core_v1.PodAntiAffinity, path: Path) -> list[FieldError]:
    errors: list[FieldError] = []
    at = path.child("requiredDuringSchedulingIgnoredDuringExecution")
    for index, term in enumerate(value.required_during_scheduling_ignored_during_execution or ()):
        errors += _pod_affinity_term(term, at.index(index))
    at = path.child("preferredDuringSchedulingIgnoredDuringExecution")
    for index, weighted in enumerate(value.preferred_during_scheduling_ignored_during_execution or ()):
        errors += _weight(weighted.weight, at.index(index).child("weight"))
        errors += _pod_affinity_term(weighted.pod_affinity_term, at.index(index).child("podAffinityTerm"))
    return errors


def _pod_affinity_term(term: core_v1.PodAffinityTerm, path: Path) -> list[FieldError]:
    errors = label_selector(term.label_selector, path.child("labelSelector"))
    errors += label_selector(term.namespace_selector, path.child("namespaceSelector"))
    for name in term.namespaces or ():
        errors += [FieldError.invalid(path.child("namespace"), name, message) for message in names.dns1123_label(name)]
    if not term.topology_key:
        return [*errors, FieldError.required(path.child("topologyKey"), "can not be empty")]
    errors += label_name(term.topology_key, path.child("topologyKey"))
    for field, keys in (("matchLabelKeys", term.match_label_keys), ("mismatchLabelKeys", term.mismatch_label_keys)):
        errors += _match_keys(keys, term.label_selector is not None, path.child(field))
    both = set(term.match_label_keys or ()) & set(term.mismatch_label_keys or ())
    for index, key in enumerate(term.match_label_keys or ()):
        if key in both:
            detail = "exists in both matchLabelKeys and mismatchLabelKeys"
            errors.append(FieldError.invalid(path.child("matchLabelKeys").index(index), key, detail))
    return errors


def _match_keys(keys: list[str] | None, has_selector: bool, path: Path) -> list[FieldError]:
    if not keys:
        return []
    errors: list[FieldError] = []
    if not has_selector:
        errors.append(FieldError.forbidden(path, "must not be specified when labelSelector is not set"))
    for index, key in enumerate(keys):
        errors += label_name(key, path.index(index))
    return errors


def topology_spread(constraints: list[core_v1.TopologySpreadConstraint], path: Path) -> list[FieldError]:
    errors: list[FieldError] = []
    seen: set[tuple[str, str]] = set()
    for index, constraint in enumerate(constraints):
        at = path.index(index)
        when = constraint.when_unsatisfiable
        if constraint.max_skew <= 0:
            errors.append(FieldError.invalid(at.child("maxSkew"), constraint.max_skew, "must be greater than zero"))
        if not constraint.topology_key:
            errors.append(FieldError.required(at.child("topologyKey"), "can not be empty"))
        else:
            errors += label_name(constraint.topology_key, at.child("topologyKey"))
        if when not in ("DoNotSchedule", "ScheduleAnyway"):
            valid = ("DoNotSchedule", "ScheduleAnyway")
            errors.append(FieldError.not_supported(at.child("whenUnsatisfiable"), when, valid))
        if (constraint.topology_key, when) in seen:
            shown = f"{{{constraint.topology_key}, {when}}}"
            errors.append(FieldError.duplicate(at.child("{topologyKey, whenUnsatisfiable}"), shown))
        seen.add((constraint.topology_key, when))
        if constraint.min_domains is not None:
            where = at.child("minDomains")
            if constraint.min_domains <= 0:
                errors.append(FieldError.invalid(where, constraint.min_domains, "must be greater than zero"))
            if when != "DoNotSchedule":
                detail = f"can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {when}"
                errors.append(FieldError.invalid(where, constraint.min_domains, detail))
        for field, policy in (
            ("nodeAffinityPolicy", constraint.node_affinity_policy),
            ("nodeTaintsPolicy", constraint.node_taints_policy),
        ):
            if policy is not None and policy not in _POLICIES:
                errors.append(FieldError.not_supported(at.child(field), policy, _POLICIES))
        errors += _match_keys(
            constraint.match_label_keys, constraint.label_selector is not None, at.child("matchLabelKeys")
        )
        errors += label_selector(constraint.label_selector, at.child("labelSelector"))
    return errors


def tolerations(values: list[core_v1.Toleration], path: Path) -> list[FieldError]:
    errors: list[FieldError] = []
    for index, toleration in enumerate(values):
        at = path.index(index)
        operator, value = toleration.operator or "", toleration.value or ""
        if toleration.key:
            errors += label_name(toleration.key, at.child("key"))
        elif operator != "Exists":
            detail = 'operator must be Exists when `key` is empty, which means "match all values and all keys"'
            errors.append(FieldError.invalid(at.child("operator"), operator, detail))
        if toleration.toleration_seconds is not None and toleration.effect != "NoExecute":
            detail = "effect must be 'NoExecute' when `tolerationSeconds` is set"
            errors.append(FieldError.invalid(at.child("effect"), toleration.effect or "", detail))
        if operator in ("", "Equal"):
            if messages := names.label_value(value):
                errors.append(FieldError.invalid(at.child("operator"), value, ";".join(messages)))
        elif operator == "Exists":
            if value:
                detail = "value must be empty when `operator` is 'Exists'"
                errors.append(FieldError.invalid(at.child("operator"), toleration, detail))
        else:
            errors.append(FieldError.not_supported(at.child("operator"), operator, ("Equal", "Exists")))
        if toleration.effect and toleration.effect not in _EFFECTS:
            errors.append(FieldError.not_supported(at.child("effect"), toleration.effect, _EFFECTS))
    return errors


def taints(values: list[core_v1.Taint], path: Path) -> list[FieldError]:
    """validateNodeTaints."""
    errors: list[FieldError] = []
    seen: set[tuple[str, str]] = set()
    for index, taint in enumerate(values):
        at = path.index(index)
        errors += label_name(taint.key, at.child("key"))
        if messages := names.label_value(taint.value or ""):
            errors.append(FieldError.invalid(at.child("value"), taint.value, ";".join(messages)))
        if not taint.effect:
            errors.append(FieldError.required(at.child("effect")))
        elif taint.effect not in _EFFECTS:
            errors.append(FieldError.not_supported(at.child("effect"), taint.effect, _EFFECTS))
        if (taint.key, taint.effect) in seen:
            error = FieldError.duplicate(at, taint)
            errors.append(FieldError(error.type, error.field, taint, "taints must be unique by key and effect pair"))
        seen.add((taint.key, taint.effect))
    return errors
