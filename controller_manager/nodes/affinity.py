"""Whether a node is one that a pod may be on by its node name, selector and required affinity."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from api.types.core_v1 import Node, NodeSelectorRequirement, NodeSelectorTerm, PodSpec


def matches(spec: PodSpec, node: Node) -> bool:
    """nodeSelector and requiredDuringSchedulingIgnoredDuringExecution."""
    labels = node.metadata.labels or {}
    if not (spec.node_selector or {}).items() <= labels.items():
        return False
    affinity = spec.affinity.node_affinity if spec.affinity else None
    required = affinity.required_during_scheduling_ignored_during_execution if affinity else None
    return required is None or terms_match(required.node_selector_terms, node)


def terms_match(terms: Iterable[NodeSelectorTerm], node: Node) -> bool:
    """One of the terms; an empty term matches nothing."""
    fields = {"metadata.name": node.metadata.name or ""}
    return any(
        (term.match_expressions or term.match_fields)
        and all(_meets(r, node.metadata.labels or {}) for r in term.match_expressions or ())
        and all(_meets(r, fields) for r in term.match_fields or ())
        for term in terms
    )


def _meets(requirement: NodeSelectorRequirement, values: Mapping[str, str]) -> bool:
    value, wanted = values.get(requirement.key), requirement.values or []
    match requirement.operator:
        case "In":
            return value is not None and value in wanted
        case "NotIn":
            return value is None or value not in wanted
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
    try:
        found, bound = int(value or ""), int(wanted[0])
    except (ValueError, IndexError):
        return False
    return found > bound if requirement.operator == "Gt" else found < bound
