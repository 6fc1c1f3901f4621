"""How far and how fast the number of replicas may move: stabilization, policies, minimum and maximum.

Recommendations and scale events of the past are kept in memory only, as upstream's: after a restart an autoscaler
starts with a clean slate.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from api.types.autoscaling_v2 import (
    HorizontalPodAutoscaler,
    HorizontalPodAutoscalerBehavior,
    HPAScalingPolicy,
    HPAScalingRules,
)


@dataclass
class Memory:
    """What one autoscaler remembers; times are of a monotonic clock, changes are always positive."""

    recommendations: list[tuple[float, int]] = field(default_factory=list)
    ups: list[tuple[float, int]] = field(default_factory=list)
    downs: list[tuple[float, int]] = field(default_factory=list)


@dataclass(frozen=True)
class Outcome:
    """A number of replicas, and what the conditions AbleToScale and ScalingLimited say about it."""

    replicas: int
    able: tuple[str, str]
    limited: tuple[str, str, str]


_READY = ("ReadyForNewScale", "recommended size matches current size")
_IN_RANGE = ("False", "DesiredWithinRange", "the desired count is within the acceptable range")

_DEFAULT_UP = HPAScalingRules(
    stabilization_window_seconds=0,
    select_policy="Max",
    policies=[
        HPAScalingPolicy(type="Pods", value=4, period_seconds=15),
        HPAScalingPolicy(type="Percent", value=100, period_seconds=15),
    ],
)
_DEFAULT_DOWN = HPAScalingRules(
    select_policy="Max", policies=[HPAScalingPolicy(type="Percent", value=100, period_seconds=15)]
)


def apply(
    hpa: HorizontalPodAutoscaler, memory: Memory, current: int, wanted: int, now: float, stabilization: float
) -> Outcome:
    """`wanted` within what the past, the policies and the bounds allow. `stabilization`: default seconds for down."""
    if hpa.spec.behavior is None:
        return _plain(hpa, memory, current, wanted, now, stabilization)
    return _with_behavior(hpa, hpa.spec.behavior, memory, current, wanted, now, stabilization)


def remember_scaling(hpa: HorizontalPodAutoscaler, memory: Memory, before: int, after: int, now: float) -> None:
    if hpa.spec.behavior is None:
        return
    events = memory.ups if after > before else memory.downs
    events.append((now, abs(after - before)))
    rules = _rules(hpa.spec.behavior, up=after > before)
    longest = max((p.period_seconds for p in rules.policies or ()), default=0)
    events[:] = [(at, change) for at, change in events if now - at <= longest]


def _minimum(hpa: HorizontalPodAutoscaler) -> int:
    return 1 if hpa.spec.min_replicas is None else hpa.spec.min_replicas


def _plain(
    hpa: HorizontalPodAutoscaler, memory: Memory, current: int, wanted: int, now: float, stabilization: float
) -> Outcome:
    memory.recommendations = [(at, n) for at, n in memory.recommendations if now - at < stabilization]
    stable = max([wanted, *(n for _, n in memory.recommendations)])
    memory.recommendations.append((now, wanted))
    able = _READY
    if stable != wanted:
        able = (
            "ScaleDownStabilized",
            "recent recommendations were higher than current one, applying the highest recent recommendation",
        )
    fastest = max(2 * current, 4)
    least, most, limit = _minimum(hpa), hpa.spec.max_replicas, _IN_RANGE
    if stable < least:
        limit = ("True", "TooFewReplicas", "the desired replica count is less than the minimum replica count")
    elif stable > min(fastest, most):
        limit = _too_many(most <= fastest)
    return Outcome(max(least, min(stable, fastest, most)), able, limit)


def _too_many(bound: bool) -> tuple[str, str, str]:
    if bound:
        return "True", "TooManyReplicas", "the desired replica count is more than the maximum replica count"
    return "True", "ScaleUpLimit", "the desired replica count is increasing faster than the maximum scale rate"


def _rules(behavior: HorizontalPodAutoscalerBehavior, *, up: bool) -> HPAScalingRules:
    given, default = (behavior.scale_up, _DEFAULT_UP) if up else (behavior.scale_down, _DEFAULT_DOWN)
    if given is None:
        return default
    return HPAScalingRules(
        policies=given.policies or default.policies,
        select_policy=given.select_policy or "Max",
        stabilization_window_seconds=(
            default.stabilization_window_seconds
            if given.stabilization_window_seconds is None
            else given.stabilization_window_seconds
        ),
        tolerance=given.tolerance,
    )


def _with_behavior(
    hpa: HorizontalPodAutoscaler,
    behavior: HorizontalPodAutoscalerBehavior,
    memory: Memory,
    current: int,
    wanted: int,
    now: float,
    stabilization: float,
) -> Outcome:
    up, down = _rules(behavior, up=True), _rules(behavior, up=False)
    up_window = up.stabilization_window_seconds or 0
    down_window = stabilization if down.stabilization_window_seconds is None else down.stabilization_window_seconds
    lowest = min([wanted, *(n for at, n in memory.recommendations if now - at < up_window)])
    highest = max([wanted, *(n for at, n in memory.recommendations if now - at < down_window)])
    longest = max(up_window, down_window)
    memory.recommendations = [(at, n) for at, n in memory.recommendations if now - at < longest] + [(now, wanted)]
    stable = lowest if current < lowest else highest if current > highest else current
    able = _READY
    if stable < wanted:
        able = (
            "ScaleUpStabilized",
            "recent recommendations were lower than current one, applying the lowest recent recommendation",
        )
    elif stable > wanted:
        able = (
            "ScaleDownStabilized",
            "recent recommendations were higher than current one, applying the highest recent recommendation",
        )
    return _within_policies(hpa, memory, current, stable, now, able, up, down)


def _within_policies(
    hpa: HorizontalPodAutoscaler,
    memory: Memory,
    current: int,
    stable: int,
    now: float,
    able: tuple[str, str],
    up: HPAScalingRules,
    down: HPAScalingRules,
) -> Outcome:
    least, most = _minimum(hpa), hpa.spec.max_replicas
    if stable > current:
        limit = max(current, _up_limit(current, memory, up, now))
        highest = min(most, limit)
        if stable > highest:
            return Outcome(highest, able, _too_many(most <= limit))
    elif stable < current:
        limit = min(current, _down_limit(current, memory, down, now))
        lowest = max(least, limit)
        if stable < lowest:
            words = (
                ("True", "TooFewReplicas", "the desired replica count is less than the minimum replica count")
                if least >= limit
                else (
                    "True",
                    "ScaleDownLimit",
                    "the desired replica count is decreasing faster than the maximum scale rate",
                )
            )
            return Outcome(lowest, able, words)
    return Outcome(max(least, min(stable, most)), able, _IN_RANGE)


def _changed(events: Sequence[tuple[float, int]], period: int, now: float) -> int:
    return sum(change for at, change in events if now - at < period)


def _up_limit(current: int, memory: Memory, rules: HPAScalingRules, now: float) -> int:
    if rules.select_policy == "Disabled":
        return current
    limits = []
    for policy in rules.policies or ():
        start = current - _changed(memory.ups, policy.period_seconds, now)
        start += _changed(memory.downs, policy.period_seconds, now)
        if policy.type == "Pods":
            limits.append(start + policy.value)
        else:
            limits.append(math.ceil(start * (1 + policy.value / 100)))
    return min(limits) if rules.select_policy == "Min" else max(limits)


def _down_limit(current: int, memory: Memory, rules: HPAScalingRules, now: float) -> int:
    if rules.select_policy == "Disabled":
        return current
    limits = []
    for policy in rules.policies or ():
        start = current - _changed(memory.ups, policy.period_seconds, now)
        start += _changed(memory.downs, policy.period_seconds, now)
        if policy.type == "Pods":
            limits.append(start - policy.value)
        else:
            limits.append(int(start * (1 - policy.value / 100)))
    return max(limits) if rules.select_policy == "Min" else min(limits)
