"""NodeAffinity: `nodeSelector` and node affinity, required and preferred."""

from __future__ import annotations

import contextlib

import numpy as np

from api.types.core_v1 import NodeSelectorRequirement, NodeSelectorTerm
from scheduler.framework import ClusterEvent, Plugin, Rejection, Rows, normalized
from scheduler.nodes import NAME_FIELD, Ints, Mask, NodeTable
from scheduler.pods import PodInfo, Shape

_REASON = "node(s) didn't match Pod's node affinity/selector"
_PINNED_REASON = "node(s) didn't satisfy plugin(s) [NodeAffinity]"


class NodeAffinity(Plugin):
    name = "NodeAffinity"
    weight = 2
    static = True

    def filter(self, table: NodeTable, pod: PodInfo) -> list[Rejection]:
        shape = pod.shape
        if not shape.node_selector and shape.required_nodes is None:
            return []
        pinned = _pinned(table, shape)
        if pinned is not None:
            other = ~matching_nodes(table, shape) & pinned
            return [
                Rejection(_PINNED_REASON, ~pinned, resolvable=False),
                Rejection(_REASON, other, resolvable=False),
            ]
        return [Rejection(_REASON, ~matching_nodes(table, shape), resolvable=False)]

    def score(self, table: NodeTable, pod: PodInfo, rows: Rows) -> Ints | None:
        if not pod.shape.preferred_nodes:
            return None
        raw = np.zeros(len(rows), np.int64)
        for weight, term in pod.shape.preferred_nodes:
            raw += weight * term_mask(table, term)[rows]
        return normalized(raw)

    def helped_by(self, event: ClusterEvent, pod: PodInfo) -> bool:
        if event.resource != "Node" or event.new is None:
            return False
        return event.action == "Add" or event.old.metadata.labels != event.new.metadata.labels


def matching_nodes(table: NodeTable, shape: Shape) -> Mask:
    """Nodes that the pod's nodeSelector and required node affinity allow. Other plugins honour it as well."""
    mask = np.ones(table.size, bool)
    for key, value in shape.node_selector.items():
        column = table.label(key)
        mask &= column.codes == column.values.get(value, -1)
    if shape.required_nodes is not None:
        any_term = np.zeros(table.size, bool)
        for term in shape.required_nodes:
            any_term |= term_mask(table, term)
        mask &= any_term
    return mask


def term_mask(table: NodeTable, term: NodeSelectorTerm) -> Mask:
    """Nodes that match every requirement of one term; a term without any matches none."""
    if not term.match_expressions and not term.match_fields:
        return np.zeros(table.size, bool)
    mask = np.ones(table.size, bool)
    for requirement in term.match_expressions or ():
        mask &= _requirement_mask(table, requirement.key, requirement)
    for requirement in term.match_fields or ():
        mask &= _requirement_mask(table, f"${requirement.key}", requirement)
    return mask


def _requirement_mask(table: NodeTable, key: str, requirement: NodeSelectorRequirement) -> Mask:
    """Decided once for each distinct value of the label, then looked up for all nodes."""
    column = table.label(key)
    verdicts = np.zeros(len(column.values) + 1, bool)
    wanted = requirement.values or []
    verdicts[0] = requirement.operator in ("NotIn", "DoesNotExist")
    for value, code in column.values.items():
        match requirement.operator:
            case "In":
                verdicts[code] = value in wanted
            case "NotIn":
                verdicts[code] = value not in wanted
            case "Exists":
                verdicts[code] = True
            case "Gt" | "Lt":
                with contextlib.suppress(ValueError):
                    number, limit = int(value), int(wanted[0])
                    verdicts[code] = number > limit if requirement.operator == "Gt" else number < limit
    return verdicts[column.codes]


def _pinned(table: NodeTable, shape: Shape) -> Mask | None:
    """Nodes that every term names by `metadata.name` (a DaemonSet's pods do); None if one does not."""
    if not shape.required_nodes:
        return None
    mask = np.zeros(table.size, bool)
    column = table.label(NAME_FIELD)
    for term in shape.required_nodes:
        named = [f for f in term.match_fields or () if f.key == "metadata.name" and f.operator == "In"]
        if not named:
            return None
        for value in named[0].values or ():
            mask |= column.codes == column.values.get(value, -1)
    return mask
