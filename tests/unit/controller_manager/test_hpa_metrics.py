"""Autoscaling by metrics of other servers: what is asked, what the status shows, what is said without an answer."""

from __future__ import annotations

from typing import Any

from api.types.apiextensions_v1 import (
    CustomResourceDefinition,
    CustomResourceDefinitionCondition,
    CustomResourceDefinitionNames,
    CustomResourceDefinitionSpec,
    CustomResourceDefinitionStatus,
    CustomResourceDefinitionVersion,
)
from api.types.apiregistration_v1 import APIService
from api.types.apps_v1 import Deployment
from api.types.autoscaling_v2 import (
    CrossVersionObjectReference,
    ExternalMetricSource,
    HorizontalPodAutoscaler,
    HorizontalPodAutoscalerSpec,
    MetricIdentifier,
    MetricSpec,
    MetricTarget,
    ObjectMetricSource,
    PodsMetricSource,
)
from api.types.meta_v1 import LabelSelector, LabelSelectorRequirement, ObjectMeta
from client.fake import FakeApi
from controller_manager import conditions
from controller_manager.autoscaling.demand import selector_text
from controller_manager.autoscaling.hpa import HorizontalPodAutoscalerController
from controller_manager.autoscaling.metrics import metric_kind
from tests.support.controllers import Harness, running
from tests.unit.controller_manager.builders import ago, deployment, pod

WORKER = LabelSelector(match_labels={"queue": "worker"})
NOBODY = "unable to fetch metrics from custom metrics API: no custom metrics API (custom.metrics.k8s.io) registered"


def autoscaler(*metrics: MetricSpec, name: str = "web", least: int = 1, target: Any = None) -> HorizontalPodAutoscaler:
    return HorizontalPodAutoscaler(
        metadata=ObjectMeta(name=name, namespace="default"),
        spec=HorizontalPodAutoscalerSpec(
            min_replicas=least,
            max_replicas=10,
            metrics=list(metrics),
            scale_target_ref=target
            or CrossVersionObjectReference(api_version="apps/v1", kind="Deployment", name="web"),
        ),
    )


def of_pods(each: str, name: str = "requests") -> MetricSpec:
    target = MetricTarget(type="AverageValue", average_value=each)
    return MetricSpec(type="Pods", pods=PodsMetricSource(metric=MetricIdentifier(name=name), target=target))


def of_object(kind: str, api_version: str | None = "v1", **target: str) -> MetricSpec:
    ref = CrossVersionObjectReference(api_version=api_version, kind=kind, name="front")
    wanted = MetricTarget(type="AverageValue" if "average_value" in target else "Value", **target)
    source = ObjectMetricSource(metric=MetricIdentifier(name="hits"), described_object=ref, target=wanted)
    return MetricSpec(type="Object", object=source)


def external(**target: str) -> MetricSpec:
    wanted = MetricTarget(type="AverageValue" if "average_value" in target else "Value", **target)
    metric = MetricIdentifier(name="depth", selector=WORKER)
    return MetricSpec(type="External", external=ExternalMetricSource(metric=metric, target=wanted))


def world(*more: Any, custom: str = "v1beta2") -> FakeApi:
    """Two pods of a Deployment that asks for two, and a server of custom metrics."""
    web = deployment(replicas=2)
    web.status.replicas = 2
    return FakeApi(
        web, pod("a"), pod("b"), APIService(metadata=ObjectMeta(name=f"{custom}.custom.metrics.k8s.io")), *more
    )


async def put(api: FakeApi, group: str, path: str, value: str, described: str = "x", version: str = "v1beta1") -> None:
    document = {
        "metadata": {"name": described, "namespace": "default", "labels": {"app": "web", "queue": "worker"}},
        "describedObject": {"name": described},
        "timestamp": ago(5),
        "value": value,
    }
    await api.create(document, kind=metric_kind(group, version, path))


async def put_custom(api: FakeApi, path: str, value: str, described: str = "x") -> None:
    await put(api, "custom.metrics.k8s.io", path, value, described, "v1beta2")


def wanted(api: FakeApi) -> int | None:
    found = api.one(Deployment, "web", "default")
    assert found is not None
    return found.spec.replicas


def status(api: FakeApi, name: str = "web") -> Any:
    found = api.one(HorizontalPodAutoscaler, name, "default")
    assert found is not None
    return found.status


def said(api: FakeApi, type: str, name: str = "web") -> tuple[str, str | None, str | None]:
    found = conditions.find(status(api, name).conditions, type)
    assert found is not None
    return found.status, found.reason, found.message


async def again(harness: Harness, *names: str) -> None:
    """Their next turn, without waiting for it."""
    for name in names:
        harness.controllers[0].controller.enqueue(("default", name))
    await harness.settle()


def why(harness: Harness) -> list[str]:
    return harness.events("SuccessfulRescale")


async def test_a_metric_of_the_pods() -> None:
    api = world(autoscaler(of_pods("10")))
    await put_custom(api, "pods/*/requests", "15", "a")
    await put_custom(api, "pods/*/requests", "14500m", "b")
    async with running(api, HorizontalPodAutoscalerController) as harness:
        assert wanted(api) == 3
        assert why(harness) == ["SuccessfulRescale: New size: 3; reason: pods metric requests above target"]
        [metric] = status(api).current_metrics
        assert (metric.type, metric.pods.metric.name, metric.pods.current.average_value) == (
            "Pods",
            "requests",
            "14750m",
        )


async def test_a_metric_of_an_object_in_total_and_for_each_replica() -> None:
    api = world(autoscaler(of_object("Service", value="100")))
    await put_custom(api, "services/front/hits", "300")
    async with running(api, HorizontalPodAutoscalerController) as harness:
        assert wanted(api) == 4  # thrice the target would be six: no more than double at once
        assert why(harness) == ["SuccessfulRescale: New size: 4; reason: Service metric hits above target"]
        [metric] = status(api).current_metrics
        assert (metric.object.described_object.name, metric.object.current.value) == ("front", "300")
    api = world(autoscaler(of_object("Service", average_value="100")))
    await put_custom(api, "services/front/hits", "300")
    async with running(api, HorizontalPodAutoscalerController) as harness:
        assert wanted(api) == 3
        assert why(harness) == ["SuccessfulRescale: New size: 3; reason: external metric hits(nil) above target"]
        assert status(api).current_metrics[0].object.current.average_value == "150"


async def test_a_metric_of_the_namespace_is_that_of_its_own() -> None:
    api = world(autoscaler(of_object("Namespace", value="100")))
    await put_custom(api, "metrics/hits", "200", "default")
    async with running(api, HorizontalPodAutoscalerController):
        assert wanted(api) == 4


async def test_an_external_metric_is_the_sum_of_what_matches() -> None:
    api = world(autoscaler(external(average_value="10")))
    for name, value in (("one", "12"), ("two", "12500m")):
        await put(api, "external.metrics.k8s.io", "depth", value, name)
    async with running(api, HorizontalPodAutoscalerController) as harness:
        assert wanted(api) == 3
        labels = "MatchLabels:map[string]string{queue: worker,}"
        text = f"&LabelSelector{{{labels},MatchExpressions:[]LabelSelectorRequirement{{}},}}"
        assert why(harness) == [f"SuccessfulRescale: New size: 3; reason: external metric depth({text}) above target"]
        assert status(api).current_metrics[0].external.current.average_value == "12250m"


def test_selectors_are_written_as_upstream_writes_them() -> None:
    assert selector_text(None) == "nil"
    expression = LabelSelectorRequirement(key="tier", operator="In", values=["a", "b"])
    assert selector_text(LabelSelector(match_labels={"z": "1", "b": "2"}, match_expressions=[expression])) == (
        "&LabelSelector{MatchLabels:map[string]string{b: 2,z: 1,},MatchExpressions:[]LabelSelectorRequirement{"
        "LabelSelectorRequirement{Key:tier,Operator:In,Values:[a b],},},}"
    )


async def test_the_older_version_is_asked_if_it_is_all_there_is() -> None:
    api = world(autoscaler(of_pods("10")), custom="v1beta1")
    for name in "ab":
        await put(api, "custom.metrics.k8s.io", "pods/*/requests", "20", name)
    async with running(api, HorizontalPodAutoscalerController):
        assert wanted(api) == 4


async def test_one_that_cannot_be_read_keeps_its_place_and_only_stops_shrinking() -> None:
    api = world(autoscaler(of_pods("10", "missing"), of_pods("10")))
    for name in "ab":
        await put_custom(api, "pods/*/requests", "20", name)
    async with running(api, HorizontalPodAutoscalerController) as harness:
        assert wanted(api) == 4
        assert [m.type for m in status(api).current_metrics] == ["", "Pods"]
        assert said(api, "ScalingActive")[1] == "ValidMetricFound"
        message = "unable to get metric missing: no metrics returned from custom metrics API"
        assert harness.events("FailedGetPodsMetric") == [f"FailedGetPodsMetric: {message}"]
        assert harness.events("FailedComputeMetricsReplicas") == []
    api = world(autoscaler(of_pods("10", "missing"), of_pods("10")))
    for name in "ab":
        await put_custom(api, "pods/*/requests", "1", name)
    async with running(api, HorizontalPodAutoscalerController) as harness:
        assert wanted(api) == 2
        why_not = f"the HPA was unable to compute the replica count: {message}"
        assert said(api, "ScalingActive") == ("False", "FailedGetPodsMetric", why_not)
        assert harness.events("FailedComputeMetricsReplicas") == [
            "FailedComputeMetricsReplicas: invalid metrics (1 invalid out of 2), first error is: "
            f"failed to get pods metric value: {message}"
        ]


async def test_what_is_said_when_nobody_answers() -> None:
    selector = selector_text(WORKER)
    none = "no metrics returned from external metrics API"
    for metric, reason, message, summary in (
        (
            of_object("Service", value="1"),
            "FailedGetObjectMetric",
            f"unable to get metric hits: Service on default front/{NOBODY}",
            "failed to get object metric value: ",
        ),
        (
            of_object("Service", average_value="1"),
            "FailedGetObjectMetric",
            f"unable to get metric hits: Service on default front/{NOBODY}",
            "failed to get object metric value: failed to get hits object metric: ",
        ),
        (
            external(value="1"),
            "FailedGetExternalMetric",
            f"unable to get external metric default/depth/{selector}: {none}",
            "failed to get depth external metric value: failed to get external metric depth: ",
        ),
        (
            external(average_value="1"),
            "FailedGetExternalMetric",
            f"unable to get external metric default/depth/{selector}: {none}",
            "failed to get depth external metric value: failed to get depth external metric: ",
        ),
    ):
        web = deployment(replicas=2)
        web.status.replicas = 2
        api = FakeApi(web, pod("a"), pod("b"), autoscaler(metric))
        async with running(api, HorizontalPodAutoscalerController) as harness:
            assert said(api, "ScalingActive")[1:] == (
                reason,
                f"the HPA was unable to compute the replica count: {message}",
            )
            [event] = harness.events("FailedComputeMetricsReplicas")
            assert event.endswith(f"invalid metrics (1 invalid out of 1), first error is: {summary}{message}")


async def test_a_kind_that_nobody_knows() -> None:
    api = world(autoscaler(of_object("Gizmo", "example.com/v1", value="1")))
    async with running(api, HorizontalPodAutoscalerController):
        assert (said(api, "ScalingActive")[2] or "").endswith('no matches for kind "Gizmo" in group "example.com"')
    target = CrossVersionObjectReference(api_version="example.com/v1", kind="Gizmo", name="web")
    api = world(autoscaler(of_pods("1"), target=target))
    async with running(api, HorizontalPodAutoscalerController):
        assert said(api, "AbleToScale") == (
            "False",
            "FailedGetScale",
            "the HPA controller was unable to get the target's current scale: "
            'no matches for kind "Gizmo" in group "example.com"',
        )


def definition() -> CustomResourceDefinition:
    return CustomResourceDefinition(
        metadata=ObjectMeta(name="gizmos.example.com"),
        spec=CustomResourceDefinitionSpec(
            group="example.com",
            scope="Namespaced",
            names=CustomResourceDefinitionNames(kind="Gizmo", plural="gizmos"),
            versions=[CustomResourceDefinitionVersion(name="v1", served=True, storage=True)],
        ),
        status=CustomResourceDefinitionStatus(
            conditions=[CustomResourceDefinitionCondition(type="Established", status="True")]
        ),
    )


async def test_a_custom_resource_is_scaled_and_described_like_any_other() -> None:
    target = CrossVersionObjectReference(api_version="example.com/v1alpha1", kind="Gizmo", name="gizmo")
    hits = of_object("Gizmo", "example.com/v1", value="10")
    api = world(definition(), autoscaler(hits, target=target))
    gizmo = {
        "apiVersion": "example.com/v1",
        "kind": "Gizmo",
        "metadata": {"name": "gizmo", "namespace": "default"},
        "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "web"}}},
        "status": {"replicas": 2},
    }
    gizmos = metric_kind("example.com", "v1", "gizmos")
    await api.create(gizmo, kind=gizmos)
    await put_custom(api, "gizmos.example.com/front/hits", "20")
    async with running(api, HorizontalPodAutoscalerController):
        scaled = await api.get(gizmos, "gizmo", namespace="default")
        assert scaled["spec"]["replicas"] == 4


async def test_two_that_look_at_the_same_pods_both_stand_still() -> None:
    api = world(autoscaler(of_pods("10"), name="one"), autoscaler(of_pods("10"), name="two"))
    for name in "ab":
        await put_custom(api, "pods/*/requests", "10", name)
    async with running(api, HorizontalPodAutoscalerController) as harness:
        await again(harness, "one", "two")
        words = "pods by selector app=web are controlled by multiple HPAs: [{one default} {two default}]"
        for name in ("one", "two"):
            assert said(api, "ScalingActive", name) == ("False", "AmbiguousSelector", words)
        assert f"AmbiguousSelector: {words}" in harness.events("AmbiguousSelector")
        assert f"FailedComputeMetricsReplicas: {words}" in harness.events("FailedComputeMetricsReplicas")
        # One alone goes on.
        await api.delete(HorizontalPodAutoscaler, "one", namespace="default")
        await harness.settle()
        await again(harness, "two")
        assert said(api, "ScalingActive", "two")[1] == "ValidMetricFound"
