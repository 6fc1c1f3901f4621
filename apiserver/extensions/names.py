"""Which names a definition gets: no two of a group may have one in common. Sets NamesAccepted and Established.

Source: apiextensions-apiserver's naming and establishing controllers.
"""

from __future__ import annotations

from collections.abc import Iterable

from api import codec
from api import time as api_time
from api.types.apiextensions_v1 import (
    CustomResourceDefinition,
    CustomResourceDefinitionCondition,
)

APPROVAL = "api-approved.kubernetes.io"


def set_condition(definition: CustomResourceDefinition, type_: str, status: str, reason: str, message: str) -> None:
    """Add or change a condition; its time moves with its status only."""
    conditions = definition.status.conditions = list(definition.status.conditions or ())
    for index, known in enumerate(conditions):
        if known.type == type_:
            moment = known.last_transition_time if known.status == status else api_time.now()
            conditions[index] = CustomResourceDefinitionCondition(
                type=type_, status=status, reason=reason, message=message, last_transition_time=moment
            )
            return
    conditions.append(
        CustomResourceDefinitionCondition(
            type=type_, status=status, reason=reason, message=message, last_transition_time=api_time.now()
        )
    )


def condition(definition: CustomResourceDefinition, type_: str) -> str:
    """A condition's status, empty if there is none."""
    return next((c.status for c in definition.status.conditions or () if c.type == type_), "")


def settle(definition: CustomResourceDefinition, others: Iterable[CustomResourceDefinition]) -> None:
    """Accept the names that are free, in place, and establish a definition that has all it asked for."""
    resources: set[str] = set()
    kinds: set[str] = set()
    for other in others:
        if other.metadata.uid == definition.metadata.uid or other.spec.group != definition.spec.group:
            continue
        taken = other.status.accepted_names
        resources |= {taken.plural, taken.singular or "", *(taken.short_names or ())} - {""}
        kinds |= {taken.kind, taken.list_kind or ""} - {""}
    requested, accepted = definition.spec.names, codec.deepcopy(definition.status.accepted_names)
    conflict: tuple[str, str] | None = None

    def free(name: str, taken: set[str], reason: str) -> bool:
        nonlocal conflict
        if name in taken:
            conflict = (reason, f'"{name}" is already in use')
            return False
        return True

    if free(requested.plural, resources, "PluralConflict"):
        accepted.plural = requested.plural
    if free(requested.singular or "", resources, "SingularConflict"):
        accepted.singular = requested.singular
    if clashes := [name for name in requested.short_names or () if name in resources]:
        conflict = ("ShortNamesConflict", "[" + ", ".join(f'"{name}" is already in use' for name in clashes) + "]")
    else:
        accepted.short_names = list(requested.short_names or ()) or None
    if free(requested.kind, kinds, "KindConflict"):
        accepted.kind = requested.kind
    if free(requested.list_kind or "", kinds, "ListKindConflict"):
        accepted.list_kind = requested.list_kind
    accepted.categories = list(requested.categories or ()) or None
    definition.status.accepted_names = accepted
    if conflict is not None:
        set_condition(definition, "NamesAccepted", "False", *conflict)
    else:
        set_condition(definition, "NamesAccepted", "True", "NoConflicts", "no conflicts found")
    if condition(definition, "Established") == "True":
        return
    if conflict is None:
        message = "the initial names have been accepted"
        set_condition(definition, "Established", "True", "InitialNamesAccepted", message)
    else:
        set_condition(definition, "Established", "False", "NotAccepted", "not all names are accepted")


def protected(group: str) -> bool:
    """Groups of the community, whose kinds need approval."""
    return group in ("k8s.io", "kubernetes.io") or group.endswith((".k8s.io", ".kubernetes.io"))


def approve(definition: CustomResourceDefinition) -> None:
    """The condition about that approval, in place."""
    type_ = "KubernetesAPIApprovalPolicyConformant"
    if not protected(definition.spec.group):
        kept = [c for c in definition.status.conditions or () if c.type != type_]
        definition.status.conditions = kept or None
        return
    value = (definition.metadata.annotations or {}).get(APPROVAL, "")
    if value.startswith("unapproved"):
        set_condition(definition, type_, "False", "UnapprovedAnnotation", f'not approved: "{value}"')
    elif value.startswith(("http://", "https://")):
        set_condition(definition, type_, "True", "ApprovedAnnotation", f"approved in {value}")
    elif value:
        message = (
            f'protected groups must have approval annotation "{APPROVAL}" with either a URL or a reason starting with '
            '"unapproved", see https://github.com/kubernetes/enhancements/pull/1111'
        )
        set_condition(definition, type_, "False", "InvalidAnnotation", message)
    else:
        message = f'protected groups must have approval annotation "{APPROVAL}", see https://github.com/kubernetes/enhancements/pull/1111'
        set_condition(definition, type_, "False", "MissingAnnotation", message)
