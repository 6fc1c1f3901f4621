"""One pod against all nodes: filter, score, choose; and, where nothing fits, why not in upstream's words."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from scheduler.framework import Plugin, Rejection
from scheduler.nodes import Mask, NodeTable
from scheduler.pods import PodInfo


@dataclass(slots=True)
class Unfit:
    """Why a pod fits nowhere: how many nodes for each reason, which plugins said so, and where preemption may help."""

    nodes: int
    reasons: Counter[str]
    refused_by: frozenset[Plugin]
    preemptable: Mask
    refusal: str = ""  # one for all nodes, which takes the place of counted reasons

    def message(self) -> str:
        if self.refusal and self.nodes:
            return f"0/{self.nodes} nodes are available: {self.refusal}."
        return unfit_message(self.nodes, self.reasons)


def unfit_message(nodes: int, reasons: Counter[str]) -> str:
    """`0/3 nodes are available: 1 Insufficient cpu, 2 node(s) were unschedulable.`"""
    if not nodes:
        return "no nodes available to schedule pods"
    listed = ", ".join(sorted(f"{count} {reason}" for reason, count in reasons.items()))
    return f"0/{nodes} nodes are available: {listed}."


class Decider:
    def __init__(self, table: NodeTable, plugins: Sequence[Plugin], *, seed: int | None = None) -> None:
        self._table = table
        self._plugins = plugins
        self._random = random.Random(seed)

    def decide(self, pod: PodInfo, nominated: str = "") -> str | Unfit:
        """The name of the best node, or why there is none. `nominated` is taken without looking further if it fits."""
        table = self._table
        for plugin in self._plugins:
            refusal = plugin.refuses(pod)
            if refusal:
                return Unfit(table.count, Counter(), frozenset([plugin]), np.zeros(table.size, bool), refusal)
        row = table.rows.get(nominated)
        if row is not None and self.fits(pod, row):
            return nominated
        left = table.alive.copy()
        rejected: list[tuple[Plugin, list[tuple[Rejection, Mask]]]] = []
        for plugin in self._plugins:
            hits = [(r, r.nodes & left) for r in self._rejections(plugin, pod)]
            hits = [(r, hit) for r, hit in hits if hit.any()]
            if not hits:
                continue
            rejected.append((plugin, hits))
            for _, hit in hits:
                left &= ~hit
            if not left.any():
                break
        rows = np.flatnonzero(left)
        if not len(rows):
            return self._explain(rejected)
        if len(rows) == 1:
            return table.names[int(rows[0])]
        total = np.zeros(len(rows), np.int64)
        for plugin in self._plugins:
            if plugin.weight:
                score = plugin.score(table, pod, rows)
                if score is not None:
                    total += plugin.weight * score
        best = rows[total == total.max()]
        return table.names[int(self._random.choice(best))]

    def fits(self, pod: PodInfo, row: int) -> bool:
        """Whether every filter lets `pod` onto one node as things are now; for preemption."""
        return not self.refusals(pod, row)

    def refusals(self, pod: PodInfo, row: int) -> list[str]:
        """What the first plugin that refuses one node has against it."""
        for plugin in self._plugins:
            if reasons := [r.reason for r in self._rejections(plugin, pod) if r.nodes[row]]:
                return reasons
        return []

    def _rejections(self, plugin: Plugin, pod: PodInfo) -> list[Rejection]:
        if not plugin.static:
            return plugin.filter(self._table, pod)
        generation = self._table.static_generation
        known = pod.shape.cache.get(plugin.name)
        if known is None or known[0] != generation:
            known = pod.shape.cache[plugin.name] = (generation, plugin.filter(self._table, pod))
        rejections: list[Rejection] = known[1]
        return rejections

    def _explain(self, rejected: list[tuple[Plugin, list[tuple[Rejection, Mask]]]]) -> Unfit:
        reasons: Counter[str] = Counter()
        preemptable = self._table.alive.copy()
        for _, hits in rejected:
            for rejection, hit in hits:
                reasons[rejection.reason] += int(np.count_nonzero(hit))
                if not rejection.resolvable:
                    preemptable &= ~hit
        return Unfit(self._table.count, reasons, frozenset(p for p, _ in rejected), preemptable)
