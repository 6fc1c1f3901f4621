"""What a pod asks for, read once from its spec into the form that filters and scores need.

Equal pods share work: pods of one template have the same `shape`, and everything that depends on nothing but a pod's
spec and the nodes is kept by shape.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from api.pod_resources import BEST_EFFORT, is_resizing, pod_requests, qos_class
from api.quantity import Quantity
from api.selectors import Selector, selector_from
from api.types.core_v1 import NodeSelectorTerm, Pod, PodAffinityTerm, Toleration
from api.types.meta_v1 import LabelSelector, LabelSelectorRequirement

#: What scores take a container that asks for nothing to use (upstream's DefaultMilliCPURequest, DefaultMemoryRequest).
_DEFAULTS = {"cpu": Quantity("100m"), "memory": Quantity("200Mi")}

ANTI_REQUIRED, AFFINITY_REQUIRED, AFFINITY_PREFERRED, ANTI_PREFERRED = "anti", "affinity", "preferred", "anti-preferred"


@dataclass(frozen=True, slots=True)
class Term:
    """Pods of certain namespaces (None: of all) with certain labels, and the topology they are looked at in."""

    namespaces: frozenset[str] | None
    selector: Selector
    topology_key: str = ""

    def matches(self, namespace: str, labels: Mapping[str, str]) -> bool:
        return (self.namespaces is None or namespace in self.namespaces) and self.selector.matches(labels)


@dataclass(frozen=True, slots=True)
class PortClaim:
    protocol: str
    port: int
    ip: str  # "0.0.0.0" claims every address


@dataclass(frozen=True, slots=True)
class Spread:
    """A topology spread constraint (KEP-895), with match label keys already in the selector."""

    topology_key: str
    max_skew: int
    term: Term
    required: bool  # DoNotSchedule
    min_domains: int = 1
    honor_affinity: bool = True
    honor_taints: bool = False


@dataclass(slots=True, eq=False)
class PodInfo:
    """A pod as the scheduler sees it. `shape` is shared by all pods that ask for the same."""

    uid: str
    namespace: str
    name: str
    pod: Pod
    labels: dict[str, str]
    priority: int
    terminating: bool
    shape: Shape
    requests: dict[str, int]
    nonzero: tuple[int, int]
    ports: tuple[PortClaim, ...]
    held_terms: tuple[tuple[str, Term, int], ...]
    group_key: Any


@dataclass(slots=True, eq=False)
class Shape:
    """The parts of a spec that matter to scheduling, parsed; and what plugins keep for pods of this shape."""

    requests: dict[str, int]  # milli-CPU, else units
    nonzero: tuple[int, int]
    best_effort: bool
    ports: tuple[PortClaim, ...]
    node_selector: dict[str, str]
    required_nodes: tuple[NodeSelectorTerm, ...] | None
    preferred_nodes: tuple[tuple[int, NodeSelectorTerm], ...]
    tolerations: tuple[Toleration, ...]
    affinity: tuple[Term, ...]
    anti_affinity: tuple[Term, ...]
    preferred: tuple[tuple[int, Term], ...]  # negative weights: anti-affinity
    spreads: tuple[Spread, ...]
    images: tuple[str, ...]
    containers: int
    cache: dict[str, Any] = field(default_factory=dict)


def selects_namespaces(pod: Pod) -> bool:
    """Whether an affinity term of the pod has a namespace selector."""
    affinity = pod.spec.affinity
    found: list[PodAffinityTerm] = []
    for side in (affinity.pod_affinity, affinity.pod_anti_affinity) if affinity else ():
        if side is not None:
            found += side.required_during_scheduling_ignored_during_execution or ()
            found += [p.pod_affinity_term for p in side.preferred_during_scheduling_ignored_during_execution or ()]
    return any(term.namespace_selector is not None for term in found)


class PodReader:
    """Turns pods into `PodInfo`, sharing shapes. `namespaces_matching` answers a namespace selector."""

    def __init__(self, namespaces_matching: Callable[[Selector], frozenset[str]]) -> None:
        self._namespaces_matching = namespaces_matching
        self._shapes: dict[bytes, Shape] = {}
        self._by_namespaces: set[bytes] = set()  # those of pods that select namespaces by labels

    def forget_namespaces(self) -> None:
        """When namespaces' labels change: what namespace selectors mean is part of a shape."""
        for key in self._by_namespaces:
            self._shapes.pop(key, None)
        self._by_namespaces.clear()

    def read(self, pod: Pod) -> PodInfo:
        meta, spec = pod.metadata, pod.spec
        labels = meta.labels or {}
        key = _encode(
            (
                meta.namespace,
                labels if spec.topology_spread_constraints else None,
                [(c.resources, c.ports, c.image) for c in spec.containers],
                [(c.resources, c.ports, c.image, c.restart_policy) for c in spec.init_containers or ()],
                (spec.resources, spec.overhead, spec.host_network),
                (spec.node_selector, spec.affinity, spec.tolerations, spec.topology_spread_constraints),
            )
        )
        shape = self._shapes.get(key)
        if shape is None:
            if len(self._shapes) > 10_000:
                self._shapes.clear()
                self._by_namespaces.clear()
            shape = self._shapes[key] = self._parse(pod)
            if selects_namespaces(pod):
                self._by_namespaces.add(key)
        terminating = bool(meta.deletion_timestamp)
        asked, nonzero = shape.requests, shape.nonzero
        if spec.node_name and is_resizing(pod):
            asked, nonzero = _requests(pod, on_node=True)
        return PodInfo(
            uid=meta.uid or f"{meta.namespace}/{meta.name}",
            namespace=meta.namespace or "",
            name=meta.name or "",
            pod=pod,
            labels=labels,
            priority=spec.priority or 0,
            terminating=terminating,
            shape=shape,
            requests=asked,
            nonzero=nonzero,
            ports=shape.ports,
            held_terms=(
                *((ANTI_REQUIRED, t, 1) for t in shape.anti_affinity),
                *((AFFINITY_REQUIRED, t, 1) for t in shape.affinity),
                *((AFFINITY_PREFERRED if w > 0 else ANTI_PREFERRED, t, abs(w)) for w, t in shape.preferred),
            ),
            group_key=(meta.namespace, terminating, tuple(sorted(labels.items()))),
        )

    def _parse(self, pod: Pod) -> Shape:
        spec, namespace = pod.spec, pod.metadata.namespace or ""
        labels = pod.metadata.labels or {}
        affinity = spec.affinity
        nodes = affinity.node_affinity if affinity else None
        pods = affinity.pod_affinity if affinity else None
        anti = affinity.pod_anti_affinity if affinity else None
        required = nodes.required_during_scheduling_ignored_during_execution if nodes else None
        term = functools.partial(self._term, namespace=namespace)
        preferred = [
            (p.weight, term(p.pod_affinity_term))
            for p in (pods.preferred_during_scheduling_ignored_during_execution if pods else None) or ()
        ] + [
            (-p.weight, term(p.pod_affinity_term))
            for p in (anti.preferred_during_scheduling_ignored_during_execution if anti else None) or ()
        ]
        asked, nonzero = _requests(pod)
        every = [*spec.containers, *(c for c in spec.init_containers or () if c.restart_policy == "Always")]
        return Shape(
            requests=asked,
            nonzero=nonzero,
            best_effort=qos_class(spec) == BEST_EFFORT,
            ports=tuple(
                PortClaim(p.protocol or "TCP", p.host_port, p.host_ip or "0.0.0.0")
                for c in every
                for p in c.ports or ()
                if p.host_port
            ),
            node_selector=spec.node_selector or {},
            required_nodes=tuple(required.node_selector_terms) if required else None,
            preferred_nodes=tuple(
                (p.weight, p.preference)
                for p in (nodes.preferred_during_scheduling_ignored_during_execution if nodes else None) or ()
            ),
            tolerations=tuple(spec.tolerations or ()),
            affinity=tuple(
                term(t) for t in (pods.required_during_scheduling_ignored_during_execution if pods else None) or ()
            ),
            anti_affinity=tuple(
                term(t) for t in (anti.required_during_scheduling_ignored_during_execution if anti else None) or ()
            ),
            preferred=tuple(preferred),
            spreads=tuple(
                Spread(
                    topology_key=c.topology_key,
                    max_skew=c.max_skew,
                    term=Term(frozenset([namespace]), _with_keys(c.label_selector, c.match_label_keys or (), labels)),
                    required=c.when_unsatisfiable == "DoNotSchedule",
                    min_domains=c.min_domains or 1,
                    honor_affinity=c.node_affinity_policy != "Ignore",
                    honor_taints=c.node_taints_policy == "Honor",
                )
                for c in spec.topology_spread_constraints or ()
            ),
            images=tuple(c.image or "" for c in (*spec.containers, *(spec.init_containers or ()))),
            containers=len(spec.containers) + len(spec.init_containers or ()),
        )

    def _term(self, term: PodAffinityTerm, *, namespace: str) -> Term:
        named = set(term.namespaces or ())
        namespaces: frozenset[str] | None
        if term.namespace_selector is not None:
            selector = selector_from(term.namespace_selector)
            namespaces = None if selector.empty else frozenset(named | self._namespaces_matching(selector))
        else:
            namespaces = frozenset(named or {namespace})
        # What matchLabelKeys and mismatchLabelKeys mean, the apiserver has put into the selector (KEP-3633).
        return Term(namespaces, selector_from(term.label_selector), term.topology_key)


def _requests(pod: Pod, *, on_node: bool = False) -> tuple[dict[str, int], tuple[int, int]]:
    """What the pod is counted with, and cpu and memory with defaults for scores."""
    asked = pod_requests(pod, on_node=on_node)
    scored = pod_requests(pod, defaults=_DEFAULTS, on_node=on_node)
    counted = {n: (q.milli if n == "cpu" else q.value) for n, q in asked.items() if n != "pods" and q}
    return counted, (scored["cpu"].milli, scored["memory"].value)


def _with_keys(selector: LabelSelector | None, match: Sequence[str], labels: Mapping[str, str]) -> Selector:
    """The selector with the pod's own values of `matchLabelKeys` required."""
    if selector is None or not match:
        return selector_from(selector)
    extra = [LabelSelectorRequirement(key=k, operator="In", values=[labels[k]]) for k in match if k in labels]
    expressions = [*(selector.match_expressions or ()), *extra]
    return selector_from(LabelSelector(match_labels=selector.match_labels, match_expressions=expressions))


_encode = msgspec.json.Encoder(order="sorted").encode
