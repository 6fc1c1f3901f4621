"""The cluster as columns: one row for each node, NumPy arrays for everything that filters and scores ask about.

Invariants:
- A pod is matched against all nodes by vector operations; nothing here loops over nodes for one pod.
- What pods add to a node (requests, ports, counts by labels) is kept up to date as pods come and go, never recounted.
- Rows of removed nodes are reused; `alive` says which rows are nodes. `static_generation` changes when something
  changes that pods do not (labels, taints, capacity, ...), so that results that depend on nothing else can be kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from api.pod_resources import amounts
from api.types.core_v1 import Node
from scheduler.pods import PodInfo, PortClaim, Term

Mask = NDArray[np.bool_]
Ints = NDArray[np.int64]
Codes = NDArray[np.int32]

CPU, MEMORY, STORAGE, PODS = range(4)
_FIXED = ("cpu", "memory", "ephemeral-storage", "pods")
_FIRST_ROWS = 16
#: The label column that holds nodes' names, for `matchFields`; no label can be called so.
NAME_FIELD = "$metadata.name"


@dataclass(slots=True)
class LabelColumn:
    """One label key over all nodes: `codes` index `values`; code 0 means that the node does not have it."""

    codes: Codes
    values: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class ImageColumn:
    size: int  # bytes
    present: Mask


@dataclass(slots=True, eq=False)
class Matcher:
    """How many pods that match all of `terms` run on each node, kept current."""

    terms: tuple[Term, ...]
    include_terminating: bool
    counts: Ints

    def matches(self, pods: PodInfo) -> bool:
        if pods.terminating and not self.include_terminating:
            return False
        return all(t.matches(pods.namespace, pods.labels) for t in self.terms)


@dataclass(slots=True)
class _Group:
    """Pods that no selector can tell apart, with their number on each row."""

    sample: PodInfo
    rows: dict[int, int] = field(default_factory=dict)
    matchers: list[Matcher] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Placed:
    pod: PodInfo
    node_name: str


class NodeTable:
    """All nodes and what runs on them."""

    def __init__(self) -> None:
        self.size = _FIRST_ROWS
        self.rows: dict[str, int] = {}
        self.names: list[str] = [""] * self.size
        self.nodes: list[Node | None] = [None] * self.size
        self.alive: Mask = np.zeros(self.size, bool)
        self.unschedulable: Mask = np.zeros(self.size, bool)
        self.resources: dict[str, int] = {name: i for i, name in enumerate(_FIXED)}
        self.allocatable: Ints = np.zeros((len(_FIXED), self.size), np.int64)
        self.requested: Ints = np.zeros((len(_FIXED), self.size), np.int64)
        #: cpu and memory with upstream's defaults for containers that ask for nothing; scores use it
        self.nonzero: Ints = np.zeros((2, self.size), np.int64)
        self.labels: dict[str, LabelColumn] = {}
        #: (key, value, effect) -> which nodes have that taint
        self.taints: dict[tuple[str, str, str], Mask] = {}
        self.images: dict[str, ImageColumn] = {}
        self.static_generation = 0
        self.placed: dict[str, Placed] = {}  # by pod uid
        self._ports: dict[tuple[str, int], dict[int, list[str]]] = {}
        self._free: list[int] = list(range(self.size - 1, -1, -1))
        self._groups: dict[Any, _Group] = {}
        self._matchers: dict[tuple[tuple[Term, ...], bool], Matcher] = {}
        #: (kind, term, weight) of affinity terms that running pods hold -> pods that hold it, by row
        self.held_terms: dict[str, dict[Term, tuple[int, Ints]]] = {}
        self._waiting: dict[str, dict[str, PodInfo]] = {}  # node name -> pods bound to it before it was known

    # -- nodes ----------------------------------------------------------------------------------------------------

    @property
    def count(self) -> int:
        return len(self.rows)

    def set_node(self, node: Node) -> None:
        """Add a node or take over its new state."""
        name = node.metadata.name or ""
        row = self.rows.get(name)
        if row is None:
            if not self._free:
                self._grow()
            row = self._free.pop()
            self.rows[name] = row
            self.names[row] = name
            self.alive[row] = True
        else:
            old = self.nodes[row]
            if old is not None and _static_part(old) == _static_part(node):
                self.nodes[row] = node
                return
            self._clear_static(row)
        self.nodes[row] = node
        self.static_generation += 1
        self.unschedulable[row] = bool(node.spec.unschedulable)
        for resource, quantity in amounts(node.status.allocatable or node.status.capacity).items():
            column = self.resource(resource)
            self.allocatable[column, row] = quantity.milli if column == CPU else quantity.value
        for key, value in {**(node.metadata.labels or {}), NAME_FIELD: name}.items():
            column_ = self.label(key)
            column_.codes[row] = column_.values.setdefault(value, len(column_.values) + 1)
        for taint in node.spec.taints or ():
            identity = (taint.key, taint.value or "", taint.effect)
            if identity not in self.taints:
                self.taints[identity] = np.zeros(self.size, bool)
            self.taints[identity][row] = True
        for image in node.status.images or ():
            for image_name in image.names or ():
                entry = self.images.get(image_name)
                if entry is None:
                    entry = self.images[image_name] = ImageColumn(image.size_bytes or 0, np.zeros(self.size, bool))
                entry.present[row] = True
        for info in self._waiting.pop(name, {}).values():
            self.place(info, name)

    def remove_node(self, name: str) -> None:
        row = self.rows.get(name)
        if row is None:
            return
        stranded = [p.pod for p in self.placed.values() if p.node_name == name]
        for info in stranded:
            self.remove_pod(info.uid)
        del self.rows[name]
        self._clear_static(row)
        self.alive[row] = False
        self.names[row] = ""
        self.nodes[row] = None
        self._free.append(row)
        self.static_generation += 1
        for info in stranded:
            self.place(info, name)  # they count again should the node come back

    def resource(self, name: str) -> int:
        """The column of a resource, made if it is new."""
        column = self.resources.get(name)
        if column is None:
            column = self.resources[name] = len(self.resources)
            extra = np.zeros((1, self.size), np.int64)
            self.allocatable = np.vstack([self.allocatable, extra])
            self.requested = np.vstack([self.requested, extra])
        return column

    def label(self, key: str) -> LabelColumn:
        """The column of a label key; all zeros if no node has it."""
        column = self.labels.get(key)
        if column is None:
            column = self.labels[key] = LabelColumn(np.zeros(self.size, np.int32))
        return column

    # -- pods -----------------------------------------------------------------------------------------------------

    def place(self, info: PodInfo, node_name: str) -> None:
        """Count a pod on its node: one that runs there, or one that was just decided (assumed)."""
        if info.uid in self.placed:
            self.remove_pod(info.uid)
        row = self.rows.get(node_name)
        if row is None:
            self._waiting.setdefault(node_name, {})[info.uid] = info
            return
        self.placed[info.uid] = Placed(info, node_name)
        self._count(info, row, 1)

    def remove_pod(self, uid: str) -> None:
        placed = self.placed.pop(uid, None)
        if placed is None:
            for pods in self._waiting.values():
                pods.pop(uid, None)
            return
        self._count(placed.pod, self.rows[placed.node_name], -1)

    def pods_on(self, row: int) -> list[PodInfo]:
        """For preemption and other rare questions: looks at all pods."""
        name = self.names[row]
        return [p.pod for p in self.placed.values() if p.node_name == name]

    def matcher(self, terms: tuple[Term, ...], *, include_terminating: bool) -> Matcher:
        """Counts of pods that match all of `terms`; kept current from the first time it is asked for."""
        key = (terms, include_terminating)
        found = self._matchers.get(key)
        if found is None:
            found = self._matchers[key] = Matcher(terms, include_terminating, np.zeros(self.size, np.int64))
            for group in self._groups.values():
                if found.matches(group.sample):
                    group.matchers.append(found)
                    for row, number in group.rows.items():
                        found.counts[row] += number
        return found

    def port_conflicts(self, claims: Iterable[PortClaim]) -> Mask | None:
        """Nodes on which one of `claims` is taken; None if nowhere."""
        mask: Mask | None = None
        for claim in claims:
            for row, ips in self._ports.get((claim.protocol, claim.port), {}).items():
                if claim.ip == "0.0.0.0" or "0.0.0.0" in ips or claim.ip in ips:
                    if mask is None:
                        mask = np.zeros(self.size, bool)
                    mask[row] = True
        return mask

    def _count(self, info: PodInfo, row: int, sign: int) -> None:
        for resource, amount in info.requests.items():
            # The column first: looking up a new resource replaces the array.
            column = self.resource(resource)
            self.requested[column, row] += sign * amount
        self.requested[PODS, row] += sign
        self.nonzero[0, row] += sign * info.nonzero[0]
        self.nonzero[1, row] += sign * info.nonzero[1]
        for claim in info.ports:
            ips = self._ports.setdefault((claim.protocol, claim.port), {}).setdefault(row, [])
            if sign > 0:
                ips.append(claim.ip)
            else:
                ips.remove(claim.ip)
                if not ips:
                    del self._ports[claim.protocol, claim.port][row]
        for kind, term, weight in info.held_terms:
            terms = self.held_terms.setdefault(kind, {})
            if term not in terms:
                terms[term] = (weight, np.zeros(self.size, np.int64))
            terms[term][1][row] += sign * weight
            if sign < 0 and not terms[term][1].any():
                del terms[term]
        self._count_group(info, row, sign)

    def _count_group(self, info: PodInfo, row: int, sign: int) -> None:
        key = info.group_key
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = _Group(info, matchers=[m for m in self._matchers.values() if m.matches(info)])
        number = group.rows.get(row, 0) + sign
        if number:
            group.rows[row] = number
        else:
            del group.rows[row]
            if not group.rows:
                del self._groups[key]
        for matcher in group.matchers:
            matcher.counts[row] += sign

    # -- storage --------------------------------------------------------------------------------------------------

    def _clear_static(self, row: int) -> None:
        self.allocatable[:, row] = 0
        self.unschedulable[row] = False
        for column in self.labels.values():
            column.codes[row] = 0
        for identity in [i for i, mask in self.taints.items() if mask[row]]:
            self.taints[identity][row] = False
            if not self.taints[identity].any():
                del self.taints[identity]
        for name in [n for n, image in self.images.items() if image.present[row]]:
            self.images[name].present[row] = False
            if not self.images[name].present.any():
                del self.images[name]

    def _grow(self) -> None:
        old, self.size = self.size, self.size * 2
        self._free.extend(range(self.size - 1, old - 1, -1))
        self.names += [""] * old
        self.nodes += [None] * old
        wider: Callable[[Any], Any] = lambda a: np.concatenate([a, np.zeros_like(a)], axis=-1)  # noqa: E731
        self.alive, self.unschedulable = wider(self.alive), wider(self.unschedulable)
        self.allocatable, self.requested = wider(self.allocatable), wider(self.requested)
        self.nonzero = wider(self.nonzero)
        for column in self.labels.values():
            column.codes = wider(column.codes)
        self.taints = {identity: wider(mask) for identity, mask in self.taints.items()}
        for image in self.images.values():
            image.present = wider(image.present)
        for matcher in self._matchers.values():
            matcher.counts = wider(matcher.counts)
        for terms in self.held_terms.values():
            for term, (weight, counts) in terms.items():
                terms[term] = (weight, wider(counts))


def _static_part(node: Node) -> tuple[Any, ...]:
    status = node.status
    return (
        node.metadata.labels,
        node.spec.unschedulable,
        node.spec.taints,
        status.allocatable,
        status.capacity if not status.allocatable else None,
        status.images,
    )
