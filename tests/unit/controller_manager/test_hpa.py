"""Autoscaling: how many, how fast, and what is said about it."""

from __future__ import annotations

from typing import Any

import pytest

from api import time as api_time
from api.types.apps_v1 import Deployment
from api.types.autoscaling_v2 import (
    CrossVersionObjectReference,
    HorizontalPodAutoscaler,
    HorizontalPodAutoscalerBehavior,
    HorizontalPodAutoscalerSpec,
    HPAScalingPolicy,
    HPAScalingRules,
    MetricSpec,
    MetricTarget,
    ResourceMetricSource,
)
from api.types.core_v1 import Container, Pod, ResourceRequirements
from api.types.meta_v1 import ObjectMeta
from client.fake import FakeApi
from controller_manager import conditions
from controller_manager.autoscaling import limits, replicas
from controller_manager.autoscaling.hpa import HorizontalPodAutoscalerController
from controller_manager.autoscaling.metrics import NoMetrics, Sample, metric_kind
from controller_manager.autoscaling.replicas import Situation, Tolerance
from tests.support.controllers import running
from tests.unit.controller_manager.builders import ago, deployment, pod


def sized(name: str, request: str = "1", **kwargs: Any) -> Pod:
    made = pod(name, ready_for=1000, **kwargs)
    made.status.start_time = ago(2000)
    made.spec.containers[0].resources = ResourceRequirements(requests={"cpu": request})
    return made


def samples(**milli: int) -> dict[str, Sample]:
    return {name: Sample(value, api_time.parse(ago(10)), 30) for name, value in milli.items()}


def utilization(current: int, pods: list[Pod], values: dict[str, Sample], target: int = 50) -> int:
    return replicas.by_utilization(Situation(pods, current, current), target, values, "cpu")[0]


def test_the_ratio_to_the_target_decides() -> None:
    three = [sized(n) for n in "abc"]
    assert utilization(3, three, samples(a=900, b=900, c=900)) == 6
    assert utilization(3, three, samples(a=200, b=200, c=200)) == 2
    assert utilization(3, three, samples(a=540, b=500, c=490)) == 3


def test_unknown_pods_never_make_a_change_larger() -> None:
    four = [sized(n) for n in "abcd"]
    # going up, a missing pod counts as idle: 2700 m over 4 pods is 67 %
    assert utilization(4, four, samples(a=900, b=900, c=900)) == 6
    # going down, it counts as fully used: (600 + 1000) m over 4 pods is 40 %
    assert utilization(4, four, samples(a=200, b=200, c=200)) == 4
    starting = sized("d", ready=False)
    starting.status.start_time = ago(5)
    assert utilization(4, [*four[:3], starting], samples(a=900, b=900, c=900, d=0)) == 6
    going = sized("d", deletion_timestamp=ago(1))
    assert utilization(4, [*four[:3], going], samples(a=500, b=500, c=500, d=9000)) == 4


def test_missing_requests_and_metrics_are_errors() -> None:
    with pytest.raises(NoMetrics, match="missing request for cpu in container c of Pod a"):
        unsized = sized("a")
        unsized.spec.containers[0].resources = None
        utilization(1, [unsized], samples(a=1))
    with pytest.raises(NoMetrics, match="did not receive metrics for targeted pods"):
        utilization(1, [sized("a")], {})


def autoscaler(least: int = 1, most: int = 10, behavior: Any = None, **target: Any) -> HorizontalPodAutoscaler:
    target = target or {"type": "Utilization", "average_utilization": 50}
    resource = ResourceMetricSource(name="cpu", target=MetricTarget(**target))
    return HorizontalPodAutoscaler(
        metadata=ObjectMeta(name="web", namespace="default"),
        spec=HorizontalPodAutoscalerSpec(
            min_replicas=least,
            max_replicas=most,
            behavior=behavior,
            metrics=[MetricSpec(type="Resource", resource=resource)],
            scale_target_ref=CrossVersionObjectReference(api_version="apps/v1", kind="Deployment", name="web"),
        ),
    )


def test_growth_and_bounds_are_limited() -> None:
    memory = limits.Memory()
    assert limits.apply(autoscaler(), memory, 3, 9, 0, 300).replicas == 6
    outcome = limits.apply(autoscaler(most=4), limits.Memory(), 3, 9, 0, 300)
    assert (outcome.replicas, outcome.limited[1]) == (4, "TooManyReplicas")
    outcome = limits.apply(autoscaler(least=2), limits.Memory(), 3, 0, 0, 300)
    assert (outcome.replicas, outcome.limited[1]) == (2, "TooFewReplicas")


def test_shrinking_waits_for_the_highest_recommendation_to_age() -> None:
    memory = limits.Memory()
    limits.apply(autoscaler(), memory, 5, 5, 0, 300)
    outcome = limits.apply(autoscaler(), memory, 5, 2, 100, 300)
    assert (outcome.replicas, outcome.able[0]) == (5, "ScaleDownStabilized")
    assert limits.apply(autoscaler(), memory, 5, 2, 301, 300).replicas == 2


def test_policies_bound_the_rate() -> None:
    one_a_minute = HPAScalingRules(policies=[HPAScalingPolicy(type="Pods", value=1, period_seconds=60)])
    slow = HorizontalPodAutoscalerBehavior(
        scale_up=one_a_minute,
        scale_down=HPAScalingRules(
            policies=[HPAScalingPolicy(type="Percent", value=50, period_seconds=60)], stabilization_window_seconds=0
        ),
    )
    hpa, memory = autoscaler(behavior=slow), limits.Memory()
    outcome = limits.apply(hpa, memory, 3, 9, 0, 300)
    assert (outcome.replicas, outcome.limited[1]) == (4, "ScaleUpLimit")
    limits.remember_scaling(hpa, memory, 3, 4, 0)
    assert limits.apply(hpa, memory, 4, 9, 30, 300).replicas == 4
    assert limits.apply(hpa, memory, 4, 9, 61, 300).replicas == 5
    outcome = limits.apply(hpa, limits.Memory(), 8, 1, 0, 300)
    assert (outcome.replicas, outcome.limited[1]) == (4, "ScaleDownLimit")
    never = HorizontalPodAutoscalerBehavior(scale_down=HPAScalingRules(select_policy="Disabled"))
    assert limits.apply(autoscaler(behavior=never), limits.Memory(), 8, 1, 1000, 300).replicas == 8


async def put_metrics(api: FakeApi, **milli: int) -> None:
    kind = metric_kind("metrics.k8s.io", "v1beta1", "pods")
    for name, value in milli.items():
        document = {
            "apiVersion": "metrics.k8s.io/v1beta1",
            "kind": "PodMetrics",
            "metadata": {"name": name, "namespace": "default", "labels": {"app": "web"}},
            "timestamp": ago(5),
            "window": "30s",
            "containers": [{"name": "c", "usage": {"cpu": f"{value}m"}}],
        }
        await api.create(document, kind=kind)


def condition(api: FakeApi, type: str) -> tuple[str, str | None]:
    found = api.one(HorizontalPodAutoscaler, "web", "default")
    assert found is not None
    said = conditions.find(found.status.conditions, type)
    assert said is not None
    return said.status, said.reason


async def test_a_loaded_deployment_grows() -> None:
    api = FakeApi(deployment(replicas=2), sized("a"), sized("b"))
    await put_metrics(api, a=1000, b=1000)
    async with running(api, HorizontalPodAutoscalerController) as harness:
        await api.create(autoscaler())
        await harness.settle()
        target = api.one(Deployment, "web", "default")
        assert target is not None and target.spec.replicas == 4
        found = api.one(HorizontalPodAutoscaler, "web", "default")
        assert found is not None
        assert (found.status.current_replicas, found.status.desired_replicas) == (2, 4)
        [metric] = found.status.current_metrics or []
        assert metric.resource is not None and metric.resource.current.average_utilization == 100
        assert condition(api, "ScalingActive") == ("True", "ValidMetricFound")
        assert condition(api, "AbleToScale") == ("True", "SucceededRescale")
        words = "New size: 4; reason: cpu resource utilization (percentage of request) above target"
        assert harness.events("SuccessfulRescale") == [f"SuccessfulRescale: {words}"]


async def test_without_metrics_nothing_is_changed() -> None:
    api = FakeApi(deployment(replicas=2), sized("a"), sized("b"))
    async with running(api, HorizontalPodAutoscalerController) as harness:
        await api.create(autoscaler())
        await harness.settle()
        target = api.one(Deployment, "web", "default")
        assert target is not None and target.spec.replicas == 2
        assert condition(api, "ScalingActive") == ("False", "FailedGetResourceMetric")
        assert harness.events("FailedGetResourceMetric") == [
            "FailedGetResourceMetric: failed to get cpu utilization: "
            "unable to get metrics for resource cpu: no metrics returned from resource metrics API"
        ]
        assert harness.events("FailedComputeMetricsReplicas") == [
            "FailedComputeMetricsReplicas: invalid metrics (1 invalid out of 1), first error is: "
            "failed to get cpu resource metric value: failed to get cpu utilization: "
            "unable to get metrics for resource cpu: no metrics returned from resource metrics API"
        ]


async def test_bounds_apply_without_metrics_and_zero_means_off() -> None:
    api = FakeApi(deployment(replicas=1), autoscaler(least=3))
    async with running(api, HorizontalPodAutoscalerController) as harness:
        target = api.one(Deployment, "web", "default")
        assert target is not None and target.spec.replicas == 3
        words = "New size: 3; reason: Current number of replicas below Spec.MinReplicas"
        assert harness.events("SuccessfulRescale") == [f"SuccessfulRescale: {words}"]
    api = FakeApi(deployment(replicas=0), autoscaler())
    async with running(api, HorizontalPodAutoscalerController):
        assert condition(api, "ScalingActive") == ("False", "ScalingDisabled")


async def test_a_missing_target_is_said() -> None:
    api = FakeApi(autoscaler())
    async with running(api, HorizontalPodAutoscalerController):
        assert condition(api, "AbleToScale") == ("False", "FailedGetScale")


def average(current: int, pods: list[Pod], values: dict[str, Sample], target: int = 500) -> int:
    return replicas.by_average(Situation(pods, current, current), target, values)[0]


def test_a_custom_metric_is_believed_of_pods_that_start() -> None:
    starting = sized("c", ready=False)
    starting.status.start_time = ago(5)
    assert average(3, [sized("a"), sized("b"), starting], samples(a=1000, b=1000, c=1000)) == 6


def test_percentages_and_averages_are_whole_before_they_are_compared() -> None:
    # 1099 m of 2000 m are 54 %, and 54/50 is within the tolerance; so are 549 of 500 each, though 1099/1000 is, too
    assert utilization(2, [sized("a"), sized("b")], samples(a=549, b=550)) == 2
    # 119.99 % of the target in all would be 5 of 4 pods
    tight = Situation([sized(n) for n in "abcd"], 4, 4, Tolerance(0.1, 0.0))
    assert replicas.by_average(tight, 500, samples(a=500, b=500, c=500, d=503)) == (4, 500)


def test_a_missing_pod_counts_as_all_of_a_target_above_its_request() -> None:
    # the target is 150 %: the missing pod counts as 1500 m, so two pods use 2500 m of 2000 m, 125 %
    two = [sized("a"), sized("b")]
    assert utilization(2, two, samples(a=1000), target=150) == 2


def test_at_the_target_exactly_a_missing_pod_of_a_plain_metric_is_idle() -> None:
    four = [sized(n) for n in "abcd"]
    assert average(4, four, samples(a=500, b=500)) == 2
    assert utilization(4, four, samples(a=500, b=500)) == 4


def test_a_change_that_would_reverse_is_not_made() -> None:
    # 80 % of the two known ones asks for more, but there are only three pods of the eight yet, of which one is missing
    assert utilization(8, [sized(n) for n in "abc"], samples(a=900, b=900)) == 8
    assert average(8, [sized(n) for n in "abc"], samples(a=900, b=900)) == 8


def test_a_pod_may_have_one_request_for_all_its_containers() -> None:
    one = sized("a")
    one.spec.containers[0].resources = None
    one.spec.resources = ResourceRequirements(requests={"cpu": "2"})
    assert utilization(1, [one], samples(a=1000)) == 1
    with pytest.raises(NoMetrics, match="missing request for cpu in container c of Pod a"):
        replicas.by_utilization(Situation([one], 1, 1), 50, samples(a=1000), "cpu", "c")


def test_only_the_named_container_needs_a_request() -> None:
    one = sized("a")
    one.spec.containers.append(Container(name="helper"))
    assert replicas.by_utilization(Situation([one], 1, 1), 50, samples(a=1000), "cpu", "c") == (2, 100, 1000)


def test_tolerance_has_two_sides() -> None:
    tolerance = Tolerance(0.3, 0.05)
    five = [sized(n) for n in "abcde"]
    now = Situation(five, 5, 5, tolerance)
    assert replicas.by_utilization(now, 50, samples(**dict.fromkeys("abcde", 360)), "cpu")[0] == 5
    assert replicas.by_utilization(now, 50, samples(**dict.fromkeys("abcde", 340)), "cpu")[0] == 4
    assert replicas.by_utilization(now, 50, samples(**dict.fromkeys("abcde", 520)), "cpu")[0] == 5
    assert replicas.by_utilization(now, 50, samples(**dict.fromkeys("abcde", 530)), "cpu")[0] == 6


def test_targets_per_replica_and_in_total() -> None:
    three = Situation([sized(n) for n in "abc"], 3, 3)
    assert replicas.by_share(three, 300_000, 50_000) == (6, 100_000)
    assert replicas.by_total(three, 300_000, 100_000) == 9
    assert replicas.by_total(three, 105_000, 100_000) == 3
    # shares are of the replicas that there are, not of those that there should be
    assert replicas.by_share(Situation([], 3, 2), 100_000, 50_000) == (2, 50_000)
    # from nothing: as many as the metric asks for, ready or not
    assert replicas.by_total(Situation([], 0, 0), 250_000, 100_000) == 3
    assert replicas.by_share(Situation([], 0, 0), 250_000, 100_000)[0] == 3
    with pytest.raises(NoMetrics, match="unable to calculate ready pods: no pods returned by selector"):
        replicas.by_total(Situation([], 3, 3), 300_000, 100_000)
    # only ready pods do the work
    waiting = Situation([sized("a"), sized("b", ready=False)], 2, 2)
    assert replicas.by_total(waiting, 300_000, 100_000) == 3
