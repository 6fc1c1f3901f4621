"""DefaultPreemption: makes room for a pod by removing pods of lower priority from one node.

Invariants: only pods of strictly lower priority are victims, as few and as unimportant as possible; budgets
(PodDisruptionBudget) are kept where a choice exists; what is tried on the table is always undone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from api.selectors import selector_from
from api.types.policy_v1 import PodDisruptionBudget
from scheduler.decision import Decider, Unfit, unfit_message
from scheduler.nodes import NodeTable
from scheduler.pods import PodInfo

#: Upstream looks at 10% of the nodes, at least this many candidates.
_MIN_CANDIDATES = 100
_NOBODY = "No preemption victims found for incoming pod"
#: The condition that victims get, and by which they are known while they end.
DISRUPTION_TARGET, BY_SCHEDULER = "DisruptionTarget", "PreemptionByScheduler"


@dataclass(frozen=True, slots=True)
class Plan:
    node_name: str
    victims: list[PodInfo]
    violations: int  # victims that a disruption budget protects


def ineligible(table: NodeTable, pod: PodInfo, unfit: Unfit, nominated: str) -> str:
    """Why `pod` may not preempt now, in upstream's words, or "".

    Who has made room on its `nominated` node already waits for that before it has more pods killed.
    """
    if pod.pod.spec.preemption_policy == "Never":
        return "not eligible due to preemptionPolicy=Never."
    row = table.rows.get(nominated)
    if row is None or not unfit.preemptable[row]:
        return ""
    if any(p.priority < pod.priority and _is_making_room(p) for p in table.pods_on(row)):
        return "not eligible due to a terminating pod on the nominated node."
    return ""


def plan(
    table: NodeTable, decider: Decider, pod: PodInfo, unfit: Unfit, budgets: Iterable[PodDisruptionBudget]
) -> Plan | str:
    """The best node to make room on, or upstream's message why preemption does not help."""
    reasons: Counter[str] = Counter()
    hopeless = int(np.count_nonzero(table.alive & ~unfit.preemptable))
    if hopeless:
        reasons["Preemption is not helpful for scheduling"] += hopeless
    lower: dict[str, list[PodInfo]] = {}
    for placed in table.placed.values():
        if placed.pod.priority < pod.priority:
            lower.setdefault(placed.node_name, []).append(placed.pod)
    limit = max(_MIN_CANDIDATES, table.count // 10)
    known_budgets = list(budgets)
    plans: list[Plan] = []
    for row in np.flatnonzero(unfit.preemptable):
        name = table.names[row]
        if len(plans) >= limit:
            break
        found = _plan_node(table, decider, pod, int(row), lower.get(name, []), known_budgets)
        if isinstance(found, Plan):
            plans.append(found)
        else:
            reasons.update(found)
    if not plans:
        return unfit_message(table.count, reasons)
    return min(plans, key=_cost)


def _plan_node(
    table: NodeTable,
    decider: Decider,
    pod: PodInfo,
    row: int,
    lower: list[PodInfo],
    budgets: list[PodDisruptionBudget],
) -> Plan | list[str]:
    """Whom to remove from one node, or what would still be against it if all of `lower` were gone."""
    if not lower:
        return [_NOBODY]
    name = table.names[row]
    for victim in lower:
        table.remove_pod(victim.uid)
    spared: list[PodInfo] = []
    try:
        if still := decider.refusals(pod, row):
            return still
        # Most important first get to stay if the pod still fits; those that a budget protects before all others.
        protected = _protected(lower, budgets)
        order = sorted(lower, key=lambda p: (p.uid not in protected, -p.priority, _started(p)))
        victims = []
        for candidate in order:
            table.place(candidate, name)
            if decider.fits(pod, row):
                spared.append(candidate)
            else:
                table.remove_pod(candidate.uid)
                victims.append(candidate)
        return Plan(name, victims, sum(v.uid in protected for v in victims)) if victims else [_NOBODY]
    finally:
        kept = {p.uid for p in spared}
        for victim in lower:
            if victim.uid not in kept:
                table.place(victim, name)


def _protected(pods: list[PodInfo], budgets: list[PodDisruptionBudget]) -> set[str]:
    """Pods whose removal would break a budget, in the order in which upstream counts them."""
    allowed = {id(b): b.status.disruptions_allowed or 0 for b in budgets}
    protected = set()
    for pod in sorted(pods, key=lambda p: (-p.priority, _started(p))):
        for budget in budgets:
            if budget.metadata.namespace != pod.namespace or not pod.labels:
                continue
            if pod.name in (budget.status.disrupted_pods or {}):
                continue
            selector = selector_from(budget.spec.selector)
            if not selector.empty and selector.matches(pod.labels):  # to the scheduler an empty one selects nothing
                allowed[id(budget)] -= 1
                if allowed[id(budget)] < 0:
                    protected.add(pod.uid)
    return protected


def _is_making_room(pod: PodInfo) -> bool:
    return pod.terminating and any(
        (c.type, c.status, c.reason) == (DISRUPTION_TARGET, "True", BY_SCHEDULER)
        for c in pod.pod.status.conditions or ()
    )


def _cost(plan: Plan) -> tuple[int, int, int, int, str]:
    """Upstream's order: fewest violations, lowest highest priority, lowest sum, fewest victims, latest start."""
    priorities = [v.priority for v in plan.victims]
    highest = max(priorities)
    earliest = min(_started(v) for v in plan.victims if v.priority == highest)
    inverted = "".join(chr(0x10FFFF - ord(c)) for c in earliest)  # the latest of the earliest starts wins
    return plan.violations, highest, sum(p + 2**31 for p in priorities), len(plan.victims), inverted


def _started(pod: PodInfo) -> str:
    return pod.pod.status.start_time or pod.pod.metadata.creation_timestamp or ""
